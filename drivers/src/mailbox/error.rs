// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong between the ARM and the VideoCore's firmware.
use core::fmt;

/// Why a question to the firmware got no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Caller: the buffer has fewer than [`BUFFER_WORDS`](super::BUFFER_WORDS) words.
    BufferTooSmall {
        /// Words it has.
        words: usize,
    },
    /// Caller: the buffer's bus address is not a multiple of 16 bytes.
    BufferUnaligned {
        /// Its bus address.
        bus_address: u32,
    },
    /// Device: the mailbox to the firmware stayed full for a second.
    StaysFull,
    /// Device: no answer within a second.
    NoReply,
    /// Device: the firmware rejected the whole request; the word it wrote instead of "done".
    Rejected(u32),
    /// Device: the firmware does not know this tag. Some tags are answered on some boards only, and QEMU lacks the
    /// GPIO expander's: often to be ignored.
    Unanswered {
        /// The tag.
        tag: u32,
    },
    /// Device: the answer is shorter than the tag's values.
    ShortAnswer {
        /// The tag.
        tag: u32,
        /// Bytes answered.
        bytes: u32,
    },
    /// Device: the firmware does not run this clock, or does not know it.
    NoClock {
        /// The clock's number.
        clock: u32,
    },
    /// Device: the firmware has no such power domain, or could not switch it; the state it reported.
    PowerRefused {
        /// The domain's number.
        domain: u32,
        /// Bit 0: on; bit 1: there is no such domain.
        state: u32,
    },
    /// Device: the firmware could not set this pin of the GPIO expander.
    ExpanderRefused {
        /// The pin's number.
        pin: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BufferTooSmall { words } => {
                write!(f, "a mailbox buffer of {words} words is too small")
            }
            Self::BufferUnaligned { bus_address } => {
                write!(
                    f,
                    "the mailbox buffer at {bus_address:#x} is not aligned to 16 bytes"
                )
            }
            Self::StaysFull => f.write_str("the firmware does not empty its mailbox"),
            Self::NoReply => f.write_str("the firmware does not answer the mailbox"),
            Self::Rejected(code) => write!(f, "the firmware rejected the request ({code:#010x})"),
            Self::Unanswered { tag } => write!(f, "the firmware does not know tag {tag:#010x}"),
            Self::ShortAnswer { tag, bytes } => {
                write!(
                    f,
                    "the firmware answered tag {tag:#010x} with only {bytes} bytes"
                )
            }
            Self::NoClock { clock } => write!(f, "the firmware tells no rate for clock {clock}"),
            Self::PowerRefused { domain, state } => {
                write!(
                    f,
                    "the firmware did not switch on power domain {domain} (state {state:#x})"
                )
            }
            Self::ExpanderRefused { pin } => {
                write!(f, "the firmware could not set expander GPIO {pin}")
            }
        }
    }
}

impl core::error::Error for Error {}
