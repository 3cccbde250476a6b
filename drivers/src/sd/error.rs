// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with a card, and who is to blame.
use crate::sdhci::{self, Blame};
use core::fmt;

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
    /// Medium: nothing in the slot answers.
    NoCard,
    /// Medium: the card that was there answers no longer.
    Removed,
    /// Medium: another card is in the slot now.
    Exchanged,
    /// Medium: the card answers but did not get ready within a second.
    NotReady,
    /// Medium: the card does not work at 3.3 V.
    WrongVoltage,
    /// Medium: the card is locked with a password.
    Locked,
    /// Medium: the card or the slot's switch says that nothing must be written.
    ReadOnly,
    /// Medium: the card has refused a write, for that part of it is protected.
    WriteProtected,
    /// Medium: a card description (CSD) of a kind this driver does not know, such as SDUC's; its version field.
    UnknownCsd(u8),
    /// Medium: the card is still busy seconds after a write.
    StillBusy,
    /// Medium: the eMMC did not take a setting; the byte of its EXT_CSD.
    Switch(u8),
    /// Medium: the card had to begin anew, and what it kept in its volatile cache may be lost: all that was written since
    /// the last flush.
    CacheLost,
    /// A command failed.
    Bus {
        /// The command.
        command: u8,
        /// What happened.
        cause: sdhci::Error,
    },
    /// The controller could not be made ready.
    Host(sdhci::Error),
}

impl Error {
    /// Who is to blame.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::OutOfRange { .. } => Blame::Caller,
            Self::Bus { cause, .. } | Self::Host(cause) => cause.blame(),
            _ => Blame::Medium,
        }
    }

    /// May the same succeed if it is repeated after a recovery?
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Bus { cause, .. } => cause.is_transient(),
            _ => false,
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
            Self::NoCard => f.write_str("no SD card in the slot"),
            Self::Removed => f.write_str("the SD card was removed"),
            Self::Exchanged => f.write_str("another SD card is in the slot"),
            Self::NotReady => f.write_str("the SD card did not get ready within a second"),
            Self::WrongVoltage => f.write_str("the SD card does not work at 3.3 V"),
            Self::Locked => f.write_str("the SD card is locked with a password"),
            Self::ReadOnly => f.write_str("the SD card is read-only"),
            Self::WriteProtected => f.write_str("the SD card refuses the write as protected"),
            Self::UnknownCsd(version) => {
                write!(f, "an SD card of an unknown kind (CSD version {version})")
            }
            Self::StillBusy => f.write_str("the SD card stays busy"),
            Self::Switch(byte) => write!(f, "the eMMC did not take setting {byte}"),
            Self::CacheLost => f.write_str("the SD card may have lost what was not flushed"),
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
        use sdhci::Error as Cause;
        let bus = |cause| Error::Bus { command: 17, cause };
        let bus_address = 0x1002;
        let caller = [
            Error::OutOfRange {
                lba: 1,
                blocks: 2,
                capacity_blocks: 3,
            },
            bus(Cause::Length { bytes: 3 }),
            bus(Cause::Unaligned { bus_address }),
            bus(Cause::TooManySegments { room: 4 }),
            bus(Cause::Occupied),
            bus(Cause::NotRecovered),
            Error::Host(Cause::NoBaseClock),
        ];
        let device = [
            Error::Host(Cause::Version(1)),
            Error::Host(Cause::ResetStuck),
            Error::Host(Cause::ClockStuck),
            bus(Cause::InhibitStuck),
            bus(Cause::CommandStuck),
            bus(Cause::Short(7)),
            bus(Cause::Adma {
                error: 5,
                bus_address,
            }),
            bus(Cause::Unexpected(0x80)),
        ];
        let medium = [
            Error::NoCard,
            Error::Removed,
            Error::Exchanged,
            Error::NotReady,
            Error::WrongVoltage,
            Error::Locked,
            Error::ReadOnly,
            Error::WriteProtected,
            Error::UnknownCsd(2),
            Error::StillBusy,
            Error::Switch(183),
            Error::CacheLost,
            bus(Cause::Status(1 << 26)),
            bus(Cause::NoResponse),
            bus(Cause::CommandCrc),
            bus(Cause::CommandEndBit),
            bus(Cause::CommandIndex),
            bus(Cause::Busy),
            bus(Cause::DataTimeout),
            bus(Cause::DataCrc),
            bus(Cause::DataEndBit),
            bus(Cause::AutoCommand(2)),
            bus(Cause::VoltageSwitch),
            bus(Cause::Tuning),
        ];
        let mut sentences = std::vec::Vec::new();
        for (blame, errors) in [
            (Blame::Caller, &caller[..]),
            (Blame::Device, &device[..]),
            (Blame::Medium, &medium[..]),
        ] {
            for error in errors {
                assert_eq!(error.blame(), blame, "{error}");
                sentences.push(format!("{error}"));
            }
        }
        let count = sentences.len();
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), count);
    }

    #[test]
    fn what_the_card_refuses_and_the_caller_does_wrong_is_not_repeated() {
        let bus = |cause| Error::Bus { command: 17, cause };
        assert!(bus(sdhci::Error::DataCrc).is_transient());
        assert!(bus(sdhci::Error::CommandStuck).is_transient());
        assert!(!bus(sdhci::Error::Status(1 << 31)).is_transient());
        assert!(bus(sdhci::Error::Status(1 << 21)).is_transient());
        assert!(!bus(sdhci::Error::Status(1 << 21 | 1 << 31)).is_transient());
        assert!(!bus(sdhci::Error::Occupied).is_transient());
        assert!(!Error::Removed.is_transient());
    }
}
