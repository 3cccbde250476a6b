// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VideoCore mailbox: questions to the firmware, by the property channel.
//!
//! # Theory
//! A request is a buffer in memory: its length, a word for the verdict, then tags, each with room for its values,
//! then a zero. Its address, with the channel in the low four bits, goes into the mailbox; the same word comes back
//! when the firmware has written the answers over the request. One tag a request keeps the verdicts apart.
//!
//! Three verdicts must be looked at, for each is known to fail alone: the buffer's (0x80000000), the tag's (bit 31),
//! and the tag's length: newer firmware and QEMU say "done" to a tag that they do not know, with length 0.
//!
//! After a time-out the firmware may still answer. So what lies in the mailbox is thrown away before a request,
//! and a reply that comes early finds the verdict word still zero and is refused.
//!
//! # Contexts
//! Thread, or early boot. A call polls for up to two seconds, usually some 50 µs.
//!
//! # References
//! The property interface's wiki page of the Raspberry Pi firmware; Linux `bcm2835-mailbox.c`, `raspberrypi.c`.
mod error;
#[cfg(test)]
mod model;
mod property;
mod regs;
mod words;

use crate::wait::wait_until;
use crate::{DmaBuffer, Io};
use embedded_hal::delay::DelayNs;
pub use error::Error;
pub use property::{Clock, ExpanderPin, Memory, PowerDomain};
use regs::{MAIL0_READ, MAIL0_STATUS, MAIL1_STATUS, MAIL1_WRITE, MESSAGE, STATUS};
pub use words::{BoardRevision, Throttled};

/// Words a buffer needs: one cache line.
pub const BUFFER_WORDS: usize = 16;
/// What a single tag leaves for its values.
const VALUE_WORDS: usize = BUFFER_WORDS - 6;

const DONE: u32 = 0x8000_0000;
const ANSWERED: u32 = 0x8000_0000;
const TIMEOUT_US: u32 = 1_000_000;
const STEP_US: u32 = 5;

/// The mailbox behind its registers, with the buffer that its requests are written in.
pub struct Mailbox<I: Io, B: DmaBuffer, D: DelayNs> {
    io: I,
    buffer: B,
    delay: D,
}

impl<I: Io, B: DmaBuffer, D: DelayNs> Mailbox<I, B, D> {
    /// The mailbox at `io`. `buffer` lies in the first GiB, at 16-byte alignment or better, and has
    /// [`BUFFER_WORDS`] words or more.
    pub const fn new(io: I, buffer: B, delay: D) -> Self {
        Self { io, buffer, delay }
    }

    /// Asks one tag, with `request` as its values, and takes the first `N` words of the answer, of which
    /// the firmware must have filled `bytes`.
    fn ask<const N: usize>(
        &mut self,
        tag: u32,
        request: &[u32],
        bytes: u32,
    ) -> Result<[u32; N], Error> {
        const { assert!(N <= VALUE_WORDS) };
        let value_words = N.max(request.len());
        let words = self.buffer.words();
        if words.len() < BUFFER_WORDS {
            return Err(Error::BufferTooSmall { words: words.len() });
        }
        words.fill(0);
        words[0] = 4 * (value_words as u32 + 6);
        words[2] = tag;
        words[3] = 4 * value_words as u32;
        words[5..5 + request.len()].copy_from_slice(request);
        self.buffer.clean();
        self.exchange()?;
        self.buffer.invalidate();
        let words = self.buffer.words();
        if words[1] != DONE {
            return Err(Error::Rejected(words[1]));
        }
        let answered_bytes = words[4] & !ANSWERED;
        if words[4] & ANSWERED == 0 || answered_bytes == 0 {
            return Err(Error::Unanswered { tag });
        }
        if answered_bytes < bytes {
            return Err(Error::ShortAnswer {
                tag,
                bytes: answered_bytes,
            });
        }
        Ok(core::array::from_fn(|i| words[5 + i]))
    }

    /// Hands the buffer to the firmware and waits until it is back.
    fn exchange(&mut self) -> Result<(), Error> {
        let io = &self.io;
        let bus_address = self.buffer.bus_address();
        if !bus_address.is_multiple_of(16) {
            return Err(Error::BufferUnaligned { bus_address });
        }
        // Late answers to requests that have timed out. The mailbox holds eight words.
        for _ in 0..8 {
            if MAIL0_STATUS.read(io).is_set(STATUS::EMPTY) {
                break;
            }
            MAIL0_READ.read(io);
        }
        if !wait_until(&mut self.delay, TIMEOUT_US, STEP_US, || {
            !MAIL1_STATUS.read(io).is_set(STATUS::FULL)
        }) {
            return Err(Error::StaysFull);
        }
        let message = MESSAGE::ADDRESS.val(bus_address >> 4) + MESSAGE::CHANNEL::Property;
        MAIL1_WRITE.write(io, message);
        // Other channels' messages are nobody's here: thrown away.
        let answered = wait_until(&mut self.delay, TIMEOUT_US, STEP_US, || {
            !MAIL0_STATUS.read(io).is_set(STATUS::EMPTY)
                && MAIL0_READ.read(io).get() == message.value
        });
        if answered {
            Ok(())
        } else {
            Err(Error::NoReply)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::model::{Fault, Firmware};
    use super::*;
    use crate::testing::{Clock as TestClock, Forgets};
    use std::string::ToString;

    fn ask_under(fault: Fault) -> (Result<u32, Error>, u64) {
        let (firmware, clock) = (Firmware::new(fault), TestClock::default());
        let revision =
            Mailbox::new(&firmware, firmware.buffer(BUFFER_WORDS), &clock).firmware_revision();
        (revision, clock.now_us())
    }

    #[test]
    fn a_question_is_answered_through_memory_that_is_not_coherent() {
        assert_eq!(ask_under(Fault::None).0, Ok(0x6650_0000));
    }

    #[test]
    fn a_forgotten_invalidate_is_seen() {
        let (firmware, clock) = (Firmware::new(Fault::None), TestClock::default());
        let buffer = firmware
            .buffer(BUFFER_WORDS)
            .forgetting(Forgets::Invalidate);
        let revision = Mailbox::new(&firmware, buffer, &clock).firmware_revision();
        assert_eq!(revision, Err(Error::Rejected(0)));
    }

    #[test]
    #[should_panic(expected = "a request's verdict word is zero")]
    fn a_forgotten_clean_is_seen() {
        let (firmware, clock) = (Firmware::new(Fault::None), TestClock::default());
        let buffer = firmware.buffer(BUFFER_WORDS).forgetting(Forgets::Clean);
        let _ = Mailbox::new(&firmware, buffer, &clock).firmware_revision();
    }

    #[test]
    fn messages_of_others_and_late_replies_are_thrown_away() {
        assert_eq!(ask_under(Fault::StaleReplies).0, Ok(0x6650_0000));
        assert_eq!(ask_under(Fault::ForeignReply).0, Ok(0x6650_0000));
    }

    #[test]
    fn a_reply_before_the_work_is_done_is_not_believed() {
        assert_eq!(ask_under(Fault::EarlyReply).0, Err(Error::Rejected(0)));
    }

    #[test]
    fn every_wait_ends_after_a_second() {
        for (fault, error) in [
            (Fault::StaysFull, Error::StaysFull),
            (Fault::Mute, Error::NoReply),
        ] {
            let (answer, waited_us) = ask_under(fault);
            assert_eq!(answer, Err(error));
            assert_eq!(waited_us, 1_000_000);
        }
    }

    #[test]
    fn each_of_the_three_verdicts_is_looked_at() {
        let tag = 1;
        assert_eq!(
            ask_under(Fault::ParseError).0,
            Err(Error::Rejected(0x8000_0001))
        );
        assert_eq!(
            ask_under(Fault::TagIgnored).0,
            Err(Error::Unanswered { tag })
        );
        assert_eq!(ask_under(Fault::TagEmpty).0, Err(Error::Unanswered { tag }));
        assert_eq!(
            ask_under(Fault::TagShort).0,
            Err(Error::ShortAnswer { tag, bytes: 2 })
        );
    }

    #[test]
    fn a_bad_buffer_is_refused_before_the_firmware_sees_it() {
        let firmware = Firmware::new(Fault::None);
        let clock = TestClock::default();
        let small = firmware.buffer(15);
        let error = Mailbox::new(&firmware, small, &clock)
            .firmware_revision()
            .unwrap_err();
        assert_eq!(error, Error::BufferTooSmall { words: 15 });
        let firmware = Firmware::new(Fault::None);
        let crooked = firmware.buffer(BUFFER_WORDS).moved(8);
        let error = Mailbox::new(&firmware, crooked, &clock)
            .firmware_revision()
            .unwrap_err();
        assert_eq!(
            error,
            Error::BufferUnaligned {
                bus_address: 0xc010_0008
            }
        );
        assert_eq!(firmware.requests(), 0);
    }

    #[test]
    fn errors_say_what_happened() {
        for (error, part) in [
            (Error::BufferTooSmall { words: 3 }, "3 words"),
            (Error::BufferUnaligned { bus_address: 8 }, "0x8"),
            (Error::StaysFull, "empty"),
            (Error::NoReply, "answer"),
            (Error::Rejected(0x8000_0001), "0x80000001"),
            (Error::Unanswered { tag: 0x30041 }, "0x00030041"),
            (Error::ShortAnswer { tag: 1, bytes: 2 }, "only 2 bytes"),
            (Error::NoClock { clock: 12 }, "clock 12"),
            (
                Error::PowerRefused {
                    domain: 0,
                    state: 2,
                },
                "domain 0",
            ),
            (Error::ExpanderRefused { pin: 132 }, "GPIO 132"),
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
