// SPDX-License-Identifier: MIT OR Apache-2.0
//! SDHCI registers as 32-bit words (SD Host Controller Simplified Specification 3.00, §2.2).
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    /// BLOCK_SIZE (§2.2.2) and BLOCK_COUNT (§2.2.3).
    pub BLOCK [
        SIZE OFFSET(0) NUMBITS(12) [],
        COUNT OFFSET(16) NUMBITS(16) []
    ],
    /// TRANSFER_MODE (§2.2.5) in the lower, COMMAND (§2.2.6) in the upper half.
    pub COMMAND [
        DMA OFFSET(0) NUMBITS(1) [],
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
    /// §2.2.9.
    pub PRESENT_STATE [
        COMMAND_INHIBIT_CMD OFFSET(0) NUMBITS(1) [],
        COMMAND_INHIBIT_DAT OFFSET(1) NUMBITS(1) [],
        BUFFER_WRITE_ENABLE OFFSET(10) NUMBITS(1) [],
        BUFFER_READ_ENABLE OFFSET(11) NUMBITS(1) [],
        /// The slot's pin: the card may be written.
        WRITE_ENABLED OFFSET(19) NUMBITS(1) [],
        DAT0_LEVEL OFFSET(20) NUMBITS(1) [],
        DAT_LEVELS OFFSET(20) NUMBITS(4) []
    ],
    /// HOST_CONTROL_1 (§2.2.10) and POWER_CONTROL (§2.2.11), with BLOCK_GAP and WAKEUP above them.
    pub HOST_CONTROL [
        DATA_WIDTH OFFSET(1) NUMBITS(1) [ OneLine = 0, FourLines = 1 ],
        HIGH_SPEED OFFSET(2) NUMBITS(1) [],
        DMA_SELECT OFFSET(3) NUMBITS(2) [ Sdma = 0, Adma2 = 2 ],
        BUS_POWER OFFSET(8) NUMBITS(1) [],
        BUS_VOLTAGE OFFSET(9) NUMBITS(3) [ V33 = 7 ]
    ],
    /// CLOCK_CONTROL (§2.2.14), TIMEOUT_CONTROL (§2.2.15) and SOFTWARE_RESET (§2.2.16).
    pub CLOCK_CONTROL [
        INTERNAL_ENABLE OFFSET(0) NUMBITS(1) [],
        INTERNAL_STABLE OFFSET(1) NUMBITS(1) [],
        SD_ENABLE OFFSET(2) NUMBITS(1) [],
        DIVISOR_HIGH OFFSET(6) NUMBITS(2) [],
        DIVISOR_LOW OFFSET(8) NUMBITS(8) [],
        /// 2^(13 + n) clocks of CAPABILITIES' timeout clock.
        DATA_TIMEOUT OFFSET(16) NUMBITS(4) [],
        RESET_ALL OFFSET(24) NUMBITS(1) [],
        RESET_CMD OFFSET(25) NUMBITS(1) [],
        RESET_DAT OFFSET(26) NUMBITS(1) []
    ],
    /// One layout for INT_STATUS (§2.2.17, 18), INT_STATUS_ENABLE (19, 20) and INT_SIGNAL_ENABLE (21, 22).
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
        ADMA OFFSET(25) NUMBITS(1) [],
        ALL_ERRORS OFFSET(16) NUMBITS(16) []
    ],
    /// AUTO_CMD_ERROR (§2.2.23) in the lower, HOST_CONTROL_2 (§2.2.24) in the upper half.
    pub HOST_CONTROL_2 [
        AUTO_CMD_ERROR OFFSET(0) NUMBITS(8) [],
        UHS_MODE OFFSET(16) NUMBITS(3) [ Sdr12 = 0, Sdr25 = 1, Sdr50 = 2, Ddr50 = 4 ],
        SIGNALS_1V8 OFFSET(19) NUMBITS(1) [],
        EXECUTE_TUNING OFFSET(22) NUMBITS(1) [],
        SAMPLING_CLOCK OFFSET(23) NUMBITS(1) []
    ],
    /// The first half of §2.2.25.
    pub CAPABILITIES [
        TIMEOUT_CLOCK OFFSET(0) NUMBITS(6) [],
        TIMEOUT_CLOCK_MHZ OFFSET(7) NUMBITS(1) [],
        BASE_CLOCK_MHZ OFFSET(8) NUMBITS(8) [],
        ADMA2 OFFSET(19) NUMBITS(1) [],
        HIGH_SPEED OFFSET(21) NUMBITS(1) []
    ],
    /// The second half.
    pub CAPABILITIES_1 [
        SDR50 OFFSET(0) NUMBITS(1) [],
        DDR50 OFFSET(2) NUMBITS(1) [],
        SDR50_TUNING OFFSET(13) NUMBITS(1) []
    ],
    /// §2.2.28.
    pub ADMA_ERROR [
        /// State and length mismatch.
        ALL OFFSET(0) NUMBITS(3) []
    ],
    /// §2.2.32.
    pub HOST_VERSION [
        SPECIFICATION OFFSET(16) NUMBITS(8) []
    ]
}

pub const BLOCK: Reg<BLOCK::Register> = Reg::at(0x04);
pub const ARGUMENT: Reg = Reg::at(0x08);
pub const COMMAND: Reg<COMMAND::Register> = Reg::at(0x0c);
/// §2.2.7: the last one holds the response to an automatic CMD12.
pub const RESPONSE: [Reg; 4] = [Reg::at(0x10), Reg::at(0x14), Reg::at(0x18), Reg::at(0x1c)];
pub const BUFFER_DATA_PORT: Reg = Reg::at(0x20);
pub const PRESENT_STATE: Reg<PRESENT_STATE::Register> = Reg::at(0x24);
pub const HOST_CONTROL: Reg<HOST_CONTROL::Register> = Reg::at(0x28);
pub const CLOCK_CONTROL: Reg<CLOCK_CONTROL::Register> = Reg::at(0x2c);
pub const INT_STATUS: Reg<INT::Register> = Reg::at(0x30);
pub const INT_STATUS_ENABLE: Reg<INT::Register> = Reg::at(0x34);
pub const INT_SIGNAL_ENABLE: Reg<INT::Register> = Reg::at(0x38);
pub const HOST_CONTROL_2: Reg<HOST_CONTROL_2::Register> = Reg::at(0x3c);
pub const CAPABILITIES: Reg<CAPABILITIES::Register> = Reg::at(0x40);
pub const CAPABILITIES_1: Reg<CAPABILITIES_1::Register> = Reg::at(0x44);
pub const ADMA_ERROR: Reg<ADMA_ERROR::Register> = Reg::at(0x54);
/// §2.2.29: the controller counts it up from descriptor to descriptor.
pub const ADMA_ADDRESS: Reg = Reg::at(0x58);
pub const HOST_VERSION: Reg<HOST_VERSION::Register> = Reg::at(0xfc);
