// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card status that R1 carries, and the states of a card.
//!
//! Physical Layer Simplified Specification 4.10.1; JESD84-B51, 6.13. An error stands until an R1
//! has reported it once; what is wrong with a command itself is told by the next command.

/// An address beyond the end.
pub const OUT_OF_RANGE: u32 = 1 << 31;
/// An address that does not fit the block length.
pub const ADDRESS_ERROR: u32 = 1 << 30;
/// A block length that the card does not do.
pub const BLOCK_LEN_ERROR: u32 = 1 << 29;
/// Erase commands out of order.
pub const ERASE_SEQ_ERROR: u32 = 1 << 28;
/// Erased from behind its end, or beyond the card's.
pub const ERASE_PARAM: u32 = 1 << 27;
/// Written although protected.
pub const WP_VIOLATION: u32 = 1 << 26;
/// A command that does not exist, or not now.
pub const ILLEGAL_COMMAND: u32 = 1 << 22;
/// What is stored there cannot be read.
pub const CARD_ECC_FAILED: u32 = 1 << 21;
/// Something else went wrong: a write.
pub const ERROR: u32 = 1 << 19;
/// The card can take data.
pub const READY_FOR_DATA: u32 = 1 << 8;
/// eMMC: CMD6 asked for what there is not.
pub const SWITCH_ERROR: u32 = 1 << 7;
/// The next command is one of the application's.
pub const APP_CMD: u32 = 1 << 5;

/// Where in its life a card is; the number is that of R1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle = 0,
    Ready = 1,
    Ident = 2,
    Standby = 3,
    Transfer = 4,
    Sending = 5,
    Receiving = 6,
    Programming = 7,
    Disconnected = 8,
    /// Until power is taken from it; R1 has no number for it.
    Inactive = 15,
}
