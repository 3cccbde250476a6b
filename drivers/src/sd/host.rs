// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the card protocol asks of a host controller.
use core::fmt;

/// Which response a command brings (SD Physical Layer §4.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// None at all.
    None,
    /// Card status.
    R1,
    /// Card status, and then busy on DAT0.
    R1b,
    /// CID or CSD: 136 bits.
    R2,
    /// OCR: without a CRC.
    R3,
    /// A relative card address.
    R6,
    /// Interface condition.
    R7,
}

/// A command without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// 0 to 63.
    pub index: u8,
    /// The 32 bits after it.
    pub argument: u32,
    /// What comes back.
    pub response: ResponseKind,
}

impl Command {
    /// CMD`index`.
    pub const fn new(index: u8, argument: u32, response: ResponseKind) -> Self {
        Self {
            index,
            argument,
            response,
        }
    }

    /// Passes a response on, unless it is a card status with error bits.
    ///
    /// # Errors
    /// [`HostError::Status`].
    pub(crate) const fn check(self, response: Response) -> Result<Response, HostError> {
        let errors = response.short() & STATUS_ERRORS;
        match self.response {
            ResponseKind::R1 | ResponseKind::R1b if errors != 0 => Err(HostError::Status(errors)),
            _ => Ok(response),
        }
    }
}

/// The error bits of a card status (§4.10.1): out of range, address, block length, erase sequence and parameter,
/// write protection, unlocking, ECC, controller, general, CSD overwritten, erase skipped. Not CRC (23) nor illegal
/// command (22): those speak of the command before, to which there was no response.
const STATUS_ERRORS: u32 = 0xfd39_8000;

/// A response's bits, without start bit, index and CRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response(pub(crate) u128);

impl Response {
    /// The 32 bits of a short response.
    pub const fn short(self) -> u32 {
        self.0 as u32
    }

    /// A long response as the specification numbers its bits: 127 to 8, and zeroes where the CRC was.
    pub const fn long(self) -> u128 {
        self.0 << 8
    }
}

/// The bus's speed modes at 3.3 V (§4.3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Up to 25 MHz.
    Default,
    /// Up to 50 MHz.
    High,
}

/// Why the host could not carry a command or its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// Caller: the data are not 1 to 65,535 whole blocks of 4 to 2048 bytes.
    Length {
        /// Bytes of data.
        bytes: usize,
    },
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
    /// Device: the controller says it cut the card's supply, or set an error bit that this driver knows nothing of;
    /// the error half of INT_STATUS.
    Unexpected(u16),
    /// Medium: no response. There is no card, or it does not know the command, or did not understand it.
    NoResponse,
    /// Medium: the card refused the command, or lost data; the error bits of its status (§4.10.1).
    Status(u32),
    /// Medium: the response's CRC is wrong, or another drove the line.
    CommandCrc,
    /// Medium: the response has no end bit.
    CommandEndBit,
    /// Medium: the response is another command's.
    CommandIndex,
    /// Medium: the card stays busy after a command.
    Busy,
    /// Medium: a block did not come, or was not taken, within a second.
    DataTimeout,
    /// Medium: a block's CRC is wrong.
    DataCrc,
    /// Medium: a block has no end bit.
    DataEndBit,
    /// Medium: the card did not accept the CMD12 that ends a transfer.
    AutoCommand,
}

impl HostError {
    /// May the same command succeed if it is repeated?
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::NoResponse
                | Self::CommandCrc
                | Self::CommandEndBit
                | Self::CommandIndex
                | Self::DataTimeout
                | Self::DataCrc
                | Self::DataEndBit
                | Self::AutoCommand
        )
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Length { bytes } => return write!(f, "{bytes} bytes are not whole blocks"),
            Self::Version(spec) => {
                return write!(f, "the SD controller's version field is {spec}: too old");
            }
            Self::Unexpected(bits) => return write!(f, "the SD controller failed ({bits:#06x})"),
            Self::Status(bits) => return write!(f, "refused by the card (status {bits:#010x})"),
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
            Self::AutoCommand => "the card did not accept the end of a transfer",
        })
    }
}

impl core::error::Error for HostError {}

/// A host controller with one card slot. After an error it is ready for the next command; what the card then
/// thinks is the caller's affair. A card status with error bits is an error, too: [`HostError::Status`].
pub trait Host {
    /// Resets the controller, supplies 3.3 V, and clocks an idle bus of one data line at no more than 400 kHz for
    /// 74 clocks and more.
    ///
    /// # Errors
    /// The device's.
    fn power_up(&mut self) -> Result<(), HostError>;

    /// Sends a command without data, and waits for its response and, with R1b, for the end of busy.
    ///
    /// # Errors
    /// Any of the device's and the medium's.
    fn command(&mut self, command: Command) -> Result<Response, HostError>;

    /// Sends a command that reads blocks of `block_bytes`; more than one block is ended by CMD12.
    ///
    /// # Errors
    /// Any; `data` is then partly written.
    fn read(
        &mut self,
        command: Command,
        block_bytes: usize,
        data: &mut [u8],
    ) -> Result<Response, HostError>;

    /// Sends a command that writes blocks of 512 bytes; more than one block is ended by CMD12.
    ///
    /// # Errors
    /// Any; how much the card took is then unknown.
    fn write(&mut self, command: Command, data: &[u8]) -> Result<Response, HostError>;

    /// Uses four data lines from now on.
    fn set_four_lines(&mut self);

    /// Can the controller do [`Speed::High`]?
    fn has_high_speed(&self) -> bool;

    /// Clocks the bus as near below the mode's limit as the controller can; tells the rate in Hz.
    ///
    /// # Errors
    /// The device's.
    fn set_speed(&mut self, speed: Speed) -> Result<u32, HostError>;

    /// Does nothing for so long.
    fn delay_us(&mut self, us: u32);
}
