// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with a card, and who is to blame.
use super::host::HostError;
use core::fmt;

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The request: repeated, it fails again.
    Caller,
    /// The host controller.
    Device,
    /// The card, its contacts, or its absence.
    Medium,
}

/// Why a card could not be brought up, read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Caller: the blocks lie, at least in part, behind the card's end.
    OutOfRange {
        /// First block.
        lba: u64,
        /// How many.
        blocks: u64,
        /// How many the card has.
        capacity_blocks: u64,
    },
    /// Caller: the buffer's length is no multiple of 512 bytes.
    PartialBlock {
        /// The buffer's length.
        bytes: usize,
    },
    /// Medium: nothing in the slot answers.
    NoCard,
    /// Medium: the card answers but did not get ready within a second.
    NotReady,
    /// Medium: the card does not work at 3.3 V.
    WrongVoltage,
    /// Medium: the card is locked with a password.
    Locked,
    /// Medium: the card is marked read-only.
    ReadOnly,
    /// Medium: a card description (CSD) of a kind this driver does not know, such as SDUC's; its version field.
    UnknownCsd(u8),
    /// Medium: the card is still busy a second after a write.
    StillBusy,
    /// A command failed on its way, and the repetitions too.
    Bus {
        /// The command.
        command: u8,
        /// What happened.
        cause: HostError,
    },
    /// The controller could not be made ready.
    Host(HostError),
}

impl Error {
    /// Who is to blame.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::OutOfRange { .. } | Self::PartialBlock { .. } => Blame::Caller,
            Self::Bus { cause, .. } | Self::Host(cause) => match cause {
                HostError::Length { .. } | HostError::NoBaseClock => Blame::Caller,
                HostError::Version(_)
                | HostError::ResetStuck
                | HostError::ClockStuck
                | HostError::InhibitStuck
                | HostError::CommandStuck
                | HostError::Unexpected(_) => Blame::Device,
                _ => Blame::Medium,
            },
            _ => Blame::Medium,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfRange {
                lba,
                blocks,
                capacity_blocks,
            } => {
                write!(
                    f,
                    "{blocks} blocks from {lba} on are not on a card of {capacity_blocks}"
                )
            }
            Self::PartialBlock { bytes } => {
                write!(f, "{bytes} bytes are not whole blocks of 512")
            }
            Self::NoCard => f.write_str("no SD card in the slot"),
            Self::NotReady => f.write_str("the SD card did not get ready within a second"),
            Self::WrongVoltage => f.write_str("the SD card does not work at 3.3 V"),
            Self::Locked => f.write_str("the SD card is locked with a password"),
            Self::ReadOnly => f.write_str("the SD card is read-only"),
            Self::UnknownCsd(version) => {
                write!(f, "an SD card of an unknown kind (CSD version {version})")
            }
            Self::StillBusy => f.write_str("the SD card stays busy after a write"),
            Self::Bus { command, cause } => write!(f, "SD card, CMD{command}: {cause}"),
            Self::Host(cause) => cause.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn each_error_blames_one_and_says_so_in_words_of_its_own() {
        let host = |cause| Error::Host(cause);
        let bus = |cause| Error::Bus { command: 17, cause };
        let all = [
            (
                Error::OutOfRange {
                    lba: 1,
                    blocks: 2,
                    capacity_blocks: 3,
                },
                Blame::Caller,
            ),
            (Error::PartialBlock { bytes: 3 }, Blame::Caller),
            (Error::NoCard, Blame::Medium),
            (Error::NotReady, Blame::Medium),
            (Error::WrongVoltage, Blame::Medium),
            (Error::Locked, Blame::Medium),
            (Error::ReadOnly, Blame::Medium),
            (Error::UnknownCsd(2), Blame::Medium),
            (bus(HostError::Status(1 << 26)), Blame::Medium),
            (Error::StillBusy, Blame::Medium),
            (bus(HostError::Length { bytes: 3 }), Blame::Caller),
            (host(HostError::NoBaseClock), Blame::Caller),
            (host(HostError::Version(1)), Blame::Device),
            (host(HostError::ResetStuck), Blame::Device),
            (host(HostError::ClockStuck), Blame::Device),
            (bus(HostError::InhibitStuck), Blame::Device),
            (bus(HostError::CommandStuck), Blame::Device),
            (bus(HostError::Unexpected(0x80)), Blame::Device),
            (bus(HostError::NoResponse), Blame::Medium),
            (bus(HostError::CommandCrc), Blame::Medium),
            (bus(HostError::CommandEndBit), Blame::Medium),
            (bus(HostError::CommandIndex), Blame::Medium),
            (bus(HostError::Busy), Blame::Medium),
            (bus(HostError::DataTimeout), Blame::Medium),
            (bus(HostError::DataCrc), Blame::Medium),
            (bus(HostError::DataEndBit), Blame::Medium),
            (bus(HostError::AutoCommand), Blame::Medium),
        ];
        let mut sentences: std::vec::Vec<_> = all.iter().map(|(e, _)| format!("{e}")).collect();
        for (error, blame) in all {
            assert_eq!(error.blame(), blame, "{error}");
        }
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), all.len());
    }
}
