// SPDX-License-Identifier: MIT OR Apache-2.0
//! SDHCI registers as 32-bit words (SD Host Controller Simplified Specification 3.00, §2.2).
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    pub BLOCK [
        SIZE OFFSET(0) NUMBITS(12) [],
        COUNT OFFSET(16) NUMBITS(16) []
    ],
    /// TRANSFER_MODE in the lower, COMMAND in the upper half.
    pub COMMAND [
        BLOCK_COUNT_ENABLE OFFSET(1) NUMBITS(1) [],
        AUTO_CMD OFFSET(2) NUMBITS(2) [ Cmd12 = 1 ],
        DIRECTION OFFSET(4) NUMBITS(1) [ Write = 0, Read = 1 ],
        MULTI_BLOCK OFFSET(5) NUMBITS(1) [],
        RESPONSE OFFSET(16) NUMBITS(2) [ None = 0, Bits136 = 1, Bits48 = 2, Bits48Busy = 3 ],
        CRC_CHECK OFFSET(19) NUMBITS(1) [],
        INDEX_CHECK OFFSET(20) NUMBITS(1) [],
        DATA_PRESENT OFFSET(21) NUMBITS(1) [],
        TYPE OFFSET(22) NUMBITS(2) [ Normal = 0, Abort = 3 ],
        INDEX OFFSET(24) NUMBITS(6) []
    ],
    pub PRESENT_STATE [
        COMMAND_INHIBIT_CMD OFFSET(0) NUMBITS(1) [],
        COMMAND_INHIBIT_DAT OFFSET(1) NUMBITS(1) [],
        DAT0_LEVEL OFFSET(20) NUMBITS(1) []
    ],
    /// HOST_CONTROL_1 and POWER_CONTROL, with BLOCK_GAP and WAKEUP above them.
    pub HOST_CONTROL [
        DATA_WIDTH OFFSET(1) NUMBITS(1) [ OneLine = 0, FourLines = 1 ],
        HIGH_SPEED OFFSET(2) NUMBITS(1) [],
        BUS_POWER OFFSET(8) NUMBITS(1) [],
        BUS_VOLTAGE OFFSET(9) NUMBITS(3) [ V33 = 7 ]
    ],
    /// CLOCK_CONTROL, TIMEOUT_CONTROL and SOFTWARE_RESET.
    pub CLOCK_CONTROL [
        INTERNAL_ENABLE OFFSET(0) NUMBITS(1) [],
        INTERNAL_STABLE OFFSET(1) NUMBITS(1) [],
        SD_ENABLE OFFSET(2) NUMBITS(1) [],
        DIVISOR_HIGH OFFSET(6) NUMBITS(2) [],
        DIVISOR_LOW OFFSET(8) NUMBITS(8) [],
        DATA_TIMEOUT OFFSET(16) NUMBITS(4) [ Longest = 14 ],
        RESET_ALL OFFSET(24) NUMBITS(1) [],
        RESET_CMD OFFSET(25) NUMBITS(1) [],
        RESET_DAT OFFSET(26) NUMBITS(1) []
    ],
    /// One layout for INT_STATUS, INT_STATUS_ENABLE and INT_SIGNAL_ENABLE.
    pub INT [
        COMMAND_COMPLETE OFFSET(0) NUMBITS(1) [],
        TRANSFER_COMPLETE OFFSET(1) NUMBITS(1) [],
        BUFFER_WRITE_READY OFFSET(4) NUMBITS(1) [],
        BUFFER_READ_READY OFFSET(5) NUMBITS(1) [],
        ERROR OFFSET(15) NUMBITS(1) [],
        COMMAND_TIMEOUT OFFSET(16) NUMBITS(1) [],
        COMMAND_CRC OFFSET(17) NUMBITS(1) [],
        COMMAND_END_BIT OFFSET(18) NUMBITS(1) [],
        COMMAND_INDEX OFFSET(19) NUMBITS(1) [],
        DATA_TIMEOUT OFFSET(20) NUMBITS(1) [],
        DATA_CRC OFFSET(21) NUMBITS(1) [],
        DATA_END_BIT OFFSET(22) NUMBITS(1) [],
        CURRENT_LIMIT OFFSET(23) NUMBITS(1) [],
        AUTO_CMD OFFSET(24) NUMBITS(1) [],
        ALL_ERRORS OFFSET(16) NUMBITS(16) []
    ],
    pub CAPABILITIES [
        BASE_CLOCK_MHZ OFFSET(8) NUMBITS(8) [],
        HIGH_SPEED OFFSET(21) NUMBITS(1) []
    ],
    pub HOST_VERSION [
        SPECIFICATION OFFSET(16) NUMBITS(8) []
    ]
}

pub const BLOCK: Reg<BLOCK::Register> = Reg::at(0x04);
pub const ARGUMENT: Reg = Reg::at(0x08);
pub const COMMAND: Reg<COMMAND::Register> = Reg::at(0x0c);
pub const RESPONSE: [Reg; 4] = [Reg::at(0x10), Reg::at(0x14), Reg::at(0x18), Reg::at(0x1c)];
pub const BUFFER_DATA_PORT: Reg = Reg::at(0x20);
pub const PRESENT_STATE: Reg<PRESENT_STATE::Register> = Reg::at(0x24);
pub const HOST_CONTROL: Reg<HOST_CONTROL::Register> = Reg::at(0x28);
pub const CLOCK_CONTROL: Reg<CLOCK_CONTROL::Register> = Reg::at(0x2c);
pub const INT_STATUS: Reg<INT::Register> = Reg::at(0x30);
pub const INT_STATUS_ENABLE: Reg<INT::Register> = Reg::at(0x34);
pub const INT_SIGNAL_ENABLE: Reg<INT::Register> = Reg::at(0x38);
pub const CAPABILITIES: Reg<CAPABILITIES::Register> = Reg::at(0x40);
pub const HOST_VERSION: Reg<HOST_VERSION::Register> = Reg::at(0xfc);
