// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a standard SD host controller, version 3.00, as 32-bit words.
//!
//! Section numbers are those of the SD Host Controller Simplified Specification 3.00.

/// Length of the register window in bytes.
pub const WINDOW: u32 = 0x100;

/// SDMA system address, also argument 2 of Auto CMD23 (2.2.1)
pub const SDMA_ADDRESS: u32 = 0x00;
/// Block size and SDMA boundary; block count in the upper half (2.2.2, 2.2.3)
pub const BLOCK: u32 = 0x04;
/// Argument (2.2.4)
pub const ARGUMENT: u32 = 0x08;
/// Transfer mode; command in the upper half (2.2.5, 2.2.6)
pub const COMMAND: u32 = 0x0c;
/// Response, four words (2.2.7)
pub const RESPONSE: u32 = 0x10;
/// Buffer data port (2.2.8)
pub const BUFFER: u32 = 0x20;
/// Present state (2.2.9)
pub const PRESENT_STATE: u32 = 0x24;
/// Host control 1, power, block gap, wakeup (2.2.10 to 2.2.13)
pub const HOST_CONTROL: u32 = 0x28;
/// Clock control, timeout control, software reset (2.2.14 to 2.2.16)
pub const CLOCK: u32 = 0x2c;
/// Normal and error interrupt status (2.2.17, 2.2.18)
pub const STATUS: u32 = 0x30;
/// Status enable (2.2.19, 2.2.20)
pub const STATUS_ENABLE: u32 = 0x34;
/// Signal enable (2.2.21, 2.2.22)
pub const SIGNAL_ENABLE: u32 = 0x38;
/// Auto CMD error status; host control 2 in the upper half (2.2.23, 2.2.24)
pub const HOST_CONTROL2: u32 = 0x3c;
/// Capabilities, two words (2.2.25)
pub const CAPABILITIES: u32 = 0x40;
/// Maximum current capabilities, two words (2.2.26)
pub const MAX_CURRENT: u32 = 0x48;
/// Force event (2.2.27, 2.2.28)
pub const FORCE_EVENT: u32 = 0x50;
/// ADMA error status (2.2.29)
pub const ADMA_ERROR: u32 = 0x54;
/// ADMA system address, two words (2.2.30)
pub const ADMA_ADDRESS: u32 = 0x58;
/// Preset values, four words (2.2.31)
pub const PRESET: u32 = 0x60;
/// Slot interrupt status; version in the upper half (2.2.33, 2.2.34)
pub const SLOT: u32 = 0xfc;

/// What the board's controller reads as its capabilities.
pub const CAPABILITIES_LOW: u32 = 0x45ee_6432;
/// SDR50, DDR50, driver type C, tuning for SDR50.
pub const CAPABILITIES_HIGH: u32 = 0x0000_a525;
/// The board's value.
pub const MAX_CURRENT_LOW: u32 = 0x0008_0008;
/// Vendor 0x10, specification 3.00.
pub const VERSION: u32 = 0x1002_0000;

/// TRANSFER_MODE, the lower half of [`COMMAND`].
pub mod mode {
    /// Data goes by DMA.
    pub const DMA: u32 = 1 << 0;
    /// The block count counts.
    pub const COUNT: u32 = 1 << 1;
    /// Auto CMD12.
    pub const AUTO_CMD12: u32 = 1 << 2;
    /// Auto CMD23.
    pub const AUTO_CMD23: u32 = 2 << 2;
    /// Both bits of the choice.
    pub const AUTO: u32 = 3 << 2;
    /// From the card to the host.
    pub const READ: u32 = 1 << 4;
    /// More than one block.
    pub const MULTI: u32 = 1 << 5;
}

/// COMMAND, the upper half of [`COMMAND`](super::regs::COMMAND).
pub mod command {
    /// Which response is awaited.
    pub const RESPONSE: u32 = 3 << 16;
    /// 136 bits.
    pub const RESPONSE_136: u32 = 1 << 16;
    /// 48 bits.
    pub const RESPONSE_48: u32 = 2 << 16;
    /// 48 bits, then busy.
    pub const RESPONSE_48_BUSY: u32 = 3 << 16;
    /// The response's check sequence is checked.
    pub const CHECK_CRC: u32 = 1 << 19;
    /// The response's index is checked.
    pub const CHECK_INDEX: u32 = 1 << 20;
    /// Data follows.
    pub const DATA: u32 = 1 << 21;
    /// Suspend, resume or abort.
    pub const TYPE: u32 = 3 << 22;
    /// Abort: may be sent while data flows.
    pub const TYPE_ABORT: u32 = 3 << 22;
    /// Where the command's number begins.
    pub const INDEX_SHIFT: u32 = 24;
}

/// PRESENT_STATE.
pub mod present {
    /// A command is under way.
    pub const COMMAND_INHIBIT: u32 = 1 << 0;
    /// The data lines are in use.
    pub const DATA_INHIBIT: u32 = 1 << 1;
    /// A data line is active.
    pub const DATA_ACTIVE: u32 = 1 << 2;
    /// Data flows to the card.
    pub const WRITE_ACTIVE: u32 = 1 << 8;
    /// Data flows from the card.
    pub const READ_ACTIVE: u32 = 1 << 9;
    /// The buffer takes a block.
    pub const BUFFER_WRITE: u32 = 1 << 10;
    /// The buffer holds a block.
    pub const BUFFER_READ: u32 = 1 << 11;
    /// Inserted, stable, detect pin: not wired on the board, and so always set; the write protect
    /// switch, which microSD has not.
    pub const CARD: u32 = 0xf << 16;
    /// The level of DAT3 to DAT0.
    pub const DATA_LEVEL: u32 = 0xf << 20;
    /// The level of DAT0: low while the card is busy.
    pub const DATA0_LEVEL: u32 = 1 << 20;
    /// The level of CMD.
    pub const COMMAND_LEVEL: u32 = 1 << 24;
    /// The level of DAT7 to DAT4.
    pub const DATA_HIGH_LEVEL: u32 = 0xf << 25;
}

/// HOST_CONTROL and its neighbours.
pub mod host {
    /// Which DMA: 0 SDMA, 2 ADMA2.
    pub const DMA_SELECT: u32 = 3 << 3;
    /// 32-bit ADMA2.
    pub const DMA_ADMA2: u32 = 2 << 3;
    /// The card has power.
    pub const POWER: u32 = 1 << 8;
    /// Stop at the next block gap.
    pub const GAP_STOP: u32 = 1 << 16;
    /// Go on after such a stop.
    pub const GAP_CONTINUE: u32 = 1 << 17;
    /// Always set on the board.
    pub const FIXED: u32 = 1 << 23;
}

/// CLOCK and its neighbours.
pub mod clock {
    /// The internal clock runs.
    pub const INTERNAL: u32 = 1 << 0;
    /// It is stable: read-only.
    pub const STABLE: u32 = 1 << 1;
    /// The card has a clock.
    pub const CARD: u32 = 1 << 2;
    /// Where the time-out's exponent begins.
    pub const TIMEOUT_SHIFT: u32 = 16;
    /// Resets all but the card.
    pub const RESET_ALL: u32 = 1 << 24;
    /// Resets the command circuit.
    pub const RESET_COMMAND: u32 = 1 << 25;
    /// Resets the data circuit.
    pub const RESET_DATA: u32 = 1 << 26;
    /// All three.
    pub const RESETS: u32 = 7 << 24;
}

/// Interrupts: the normal ones below, the errors above bit 16.
pub mod intr {
    /// The response is here.
    pub const COMMAND_COMPLETE: u32 = 1 << 0;
    /// All data is moved, or the card is no longer busy.
    pub const TRANSFER_COMPLETE: u32 = 1 << 1;
    /// Stopped at a block gap.
    pub const BLOCK_GAP: u32 = 1 << 2;
    /// SDMA met a boundary, or ADMA a descriptor that asks for it.
    pub const DMA: u32 = 1 << 3;
    /// The buffer takes a block.
    pub const BUFFER_WRITE: u32 = 1 << 4;
    /// The buffer holds a block.
    pub const BUFFER_READ: u32 = 1 << 5;
    /// Some error.
    pub const ERROR: u32 = 1 << 15;
    /// No response.
    pub const COMMAND_TIMEOUT: u32 = 1 << 16;
    /// The response's check sequence is wrong.
    pub const COMMAND_CRC: u32 = 1 << 17;
    /// The response does not end where it should.
    pub const COMMAND_END: u32 = 1 << 18;
    /// The response is another command's.
    pub const COMMAND_INDEX: u32 = 1 << 19;
    /// No data, or busy for too long.
    pub const DATA_TIMEOUT: u32 = 1 << 20;
    /// Wrong check sequence of a block, either way.
    pub const DATA_CRC: u32 = 1 << 21;
    /// A block does not end where it should.
    pub const DATA_END: u32 = 1 << 22;
    /// A command that the controller sent itself failed.
    pub const AUTO_COMMAND: u32 = 1 << 24;
    /// ADMA failed.
    pub const ADMA: u32 = 1 << 25;
    /// Normal interrupts that a driver can enable and clear.
    pub const NORMAL: u32 = 0x01ff;
    /// Errors that a driver can enable and clear.
    pub const ERRORS: u32 = 0x07ff << 16;
}

/// AUTO CMD error status, the lower half of HOST_CONTROL2.
pub mod auto {
    /// Auto CMD12 was not sent: the error came first.
    pub const NOT_EXECUTED: u32 = 1 << 0;
    /// No response.
    pub const TIMEOUT: u32 = 1 << 1;
    /// A command waited for Auto CMD12 and was not sent.
    pub const ALL: u32 = 0x009f;
}

/// HOST_CONTROL2.
pub mod host2 {
    /// 1.8 V on the signal lines.
    pub const LOW_VOLTAGE: u32 = 1 << 19;
    /// Tuning is under way.
    pub const EXECUTE_TUNING: u32 = 1 << 22;
    /// The tuned clock is used.
    pub const TUNED: u32 = 1 << 23;
    /// What can be written.
    pub const ALL: u32 = 0xc0ff << 16;
}

/// A register's name for people.
pub fn name(offset: u32) -> String {
    let known = match offset & !3 {
        SDMA_ADDRESS => "SDMA_ADDRESS",
        BLOCK => "BLOCK_SIZE",
        ARGUMENT => "ARGUMENT",
        COMMAND => "COMMAND",
        0x10..0x20 => "RESPONSE",
        BUFFER => "BUFFER",
        PRESENT_STATE => "PRESENT_STATE",
        HOST_CONTROL => "HOST_CONTROL",
        CLOCK => "CLOCK_CONTROL",
        STATUS => "INT_STATUS",
        STATUS_ENABLE => "INT_STATUS_ENABLE",
        SIGNAL_ENABLE => "INT_SIGNAL_ENABLE",
        HOST_CONTROL2 => "HOST_CONTROL2",
        0x40..0x48 => "CAPABILITIES",
        0x48..0x50 => "MAX_CURRENT",
        FORCE_EVENT => "FORCE_EVENT",
        ADMA_ERROR => "ADMA_ERROR",
        0x58..0x60 => "ADMA_ADDRESS",
        0x60..0x70 => "PRESET",
        SLOT => "SLOT_STATUS",
        _ => "SDHCI",
    };
    format!("{known} ({offset:#x})")
}
