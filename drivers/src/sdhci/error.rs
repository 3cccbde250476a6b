// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a controller could not carry a command or its data, and who is to blame.
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

/// Of a card status (Physical Layer §4.10.1).
const CARD_ECC_FAILED: u32 = 1 << 21;
const CC_ERROR: u32 = 1 << 20;
const GENERAL_ERROR: u32 = 1 << 19;

/// What went wrong between controller and card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Caller: the data are not 1 to 65,535 whole blocks of 512 bytes, or the segments' bytes are not the blocks'.
    Length {
        /// Bytes of data.
        bytes: usize,
    },
    /// Caller: a segment begins or ends at an address that is no multiple of 4.
    Unaligned {
        /// Where it begins.
        bus_address: u32,
    },
    /// Caller: the descriptor table has no room for so many segments.
    TooManySegments {
        /// How many descriptors it has room for.
        room: usize,
    },
    /// Caller: an earlier command is still under way.
    Occupied,
    /// Caller: after a failure nothing goes before the recovery.
    NotRecovered,
    /// Caller: neither the controller nor the caller knows the controller's base clock.
    NoBaseClock,
    /// Device: this controller is older than SDHCI 3.00; its version field.
    Version(u8),
    /// Device: a reset does not end.
    ResetStuck,
    /// Device: the internal clock does not become stable.
    ClockStuck,
    /// Device: the controller does not become free for a command.
    InhibitStuck,
    /// Device: a command neither completes nor fails.
    CommandStuck,
    /// Device: the controller says that all is done, while it still owes or is owed blocks; how many.
    Short(u32),
    /// Device: the controller could not follow its descriptors, or reach memory.
    Adma {
        /// The ADMA error register: state in bits 1:0, length mismatch in bit 2.
        error: u8,
        /// Which descriptor it was at.
        bus_address: u32,
    },
    /// Device: the controller says it cut the card's supply, or set an error bit that this driver knows nothing of;
    /// the error half of INT_STATUS.
    Unexpected(u16),
    /// Medium: no response. There is no card, or it does not know the command, or did not understand it.
    NoResponse,
    /// Medium: the card refused the command, or lost data; the error bits of its status (Physical Layer §4.10.1).
    Status(u32),
    /// Medium: the response's CRC is wrong, or another drove the line.
    CommandCrc,
    /// Medium: the response has no end bit.
    CommandEndBit,
    /// Medium: the response is another command's.
    CommandIndex,
    /// Medium: the card stays busy after a command.
    Busy,
    /// Medium: a block did not come, or was not taken, in time.
    DataTimeout,
    /// Medium: a block's CRC is wrong.
    DataCrc,
    /// Medium: a block has no end bit.
    DataEndBit,
    /// Medium: the card did not accept the CMD12 that ends a transfer; the auto command error register.
    AutoCommand(u8),
    /// Medium: the card, or the board's regulator, did not follow the change to 1.8 V.
    VoltageSwitch,
    /// Medium: no sampling point was found at which the card is read without errors.
    Tuning,
}

impl Error {
    /// May the same command succeed if it is repeated, the circuits reset and the card asked?
    pub const fn is_transient(self) -> bool {
        match self {
            // What the card says of its inside; the rest is the command's fault.
            Self::Status(bits) => bits & !(CARD_ECC_FAILED | CC_ERROR | GENERAL_ERROR) == 0,
            error => !matches!(error.blame(), Blame::Caller),
        }
    }

    /// Who is to blame.
    pub const fn blame(self) -> Blame {
        match self {
            Self::Length { .. }
            | Self::Unaligned { .. }
            | Self::TooManySegments { .. }
            | Self::Occupied
            | Self::NotRecovered
            | Self::NoBaseClock => Blame::Caller,
            Self::Version(_)
            | Self::ResetStuck
            | Self::ClockStuck
            | Self::InhibitStuck
            | Self::CommandStuck
            | Self::Short(_)
            | Self::Adma { .. }
            | Self::Unexpected(_) => Blame::Device,
            _ => Blame::Medium,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Length { bytes } => return write!(f, "{bytes} bytes are not whole blocks"),
            Self::Unaligned { bus_address } => {
                return write!(f, "a segment at {bus_address:#x} is not whole words");
            }
            Self::TooManySegments { room } => {
                return write!(f, "more segments than {room} descriptors hold");
            }
            Self::Version(spec) => {
                return write!(f, "the SD controller's version field is {spec}: too old");
            }
            Self::Short(blocks) => {
                return write!(f, "the SD controller ended {blocks} blocks early");
            }
            Self::Adma { error, bus_address } => {
                return write!(
                    f,
                    "the SD controller's DMA failed ({error:#04x}, descriptor {bus_address:#010x})"
                );
            }
            Self::Unexpected(bits) => return write!(f, "the SD controller failed ({bits:#06x})"),
            Self::Status(bits) => return write!(f, "refused by the card (status {bits:#010x})"),
            Self::AutoCommand(bits) => {
                return write!(
                    f,
                    "the card did not accept the end of a transfer ({bits:#04x})"
                );
            }
            Self::Occupied => "the SD controller is at another command",
            Self::NotRecovered => "the SD controller awaits its recovery",
            Self::NoBaseClock => "nobody knows the SD controller's base clock",
            Self::ResetStuck => "the SD controller's reset does not end",
            Self::ClockStuck => "the SD controller's clock does not become stable",
            Self::InhibitStuck => "the SD controller does not become free",
            Self::CommandStuck => "the SD controller does not finish a command",
            Self::NoResponse => "no response",
            Self::CommandCrc => "bad CRC in a response",
            Self::CommandEndBit => "a response without end bit",
            Self::CommandIndex => "a response to another command",
            Self::Busy => "the card stays busy",
            Self::DataTimeout => "no data in time",
            Self::DataCrc => "bad CRC in a block",
            Self::DataEndBit => "a block without end bit",
            Self::VoltageSwitch => "the card did not follow to 1.8 V",
            Self::Tuning => "no sampling point without errors",
        })
    }
}

impl core::error::Error for Error {}
