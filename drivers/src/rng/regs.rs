// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers of RNG200.
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    pub CTRL [
        RBGEN OFFSET(0) NUMBITS(13) [ Run = 1 ]
    ],
    pub RESET [
        HELD OFFSET(0) NUMBITS(1) []
    ],
    pub INT_STATUS [
        NIST_FAIL OFFSET(5) NUMBITS(1) [],
        MASTER_FAIL_LOCKOUT OFFSET(31) NUMBITS(1) []
    ],
    pub FIFO_COUNT [
        WORDS OFFSET(0) NUMBITS(8) []
    ]
}

pub const CTRL: Reg<CTRL::Register> = Reg::at(0x00);
pub const RNG_SOFT_RESET: Reg<RESET::Register> = Reg::at(0x04);
pub const RBG_SOFT_RESET: Reg<RESET::Register> = Reg::at(0x08);
pub const INT_STATUS: Reg<INT_STATUS::Register> = Reg::at(0x18);
pub const FIFO_DATA: Reg = Reg::at(0x20);
pub const FIFO_COUNT: Reg<FIFO_COUNT::Register> = Reg::at(0x24);
