// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and their responses.

/// CMD12, which ends what is sent and received.
pub(crate) const STOP_TRANSMISSION: u8 = 12;

/// Which response a command brings (Physical Layer §4.9).
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
    /// How long the card may be busy after it.
    pub busy_us: u32,
}

/// A card may be busy for 500 ms (Physical Layer §4.6.2.2).
const BUSY_US: u32 = 1_000_000;

impl Command {
    /// CMD`index`.
    pub const fn new(index: u8, argument: u32, response: ResponseKind) -> Self {
        Self {
            index,
            argument,
            response,
            busy_us: BUSY_US,
        }
    }

    /// The same, after which the card may be busy for so long.
    pub const fn busy_for(self, busy_us: u32) -> Self {
        Self { busy_us, ..self }
    }

    /// The error bits of its response, if that is a card status.
    pub(crate) const fn errors(self, response: Response) -> u32 {
        match self.response {
            ResponseKind::R1 | ResponseKind::R1b => response.short() & STATUS_ERRORS,
            _ => 0,
        }
    }
}

/// The error bits of a card status (§4.10.1): out of range, address, block length, erase sequence and parameter,
/// write protection, unlocking, ECC, controller, general, CSD overwritten, erase skipped. Not CRC (23) nor illegal
/// command (22): those speak of the command before, to which there was no response.
pub(crate) const STATUS_ERRORS: u32 = 0xfd39_8000;

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
