// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mailbox registers: number 0 from the VideoCore to the ARM, number 1 the other way.
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    pub MESSAGE [
        CHANNEL OFFSET(0) NUMBITS(4) [ Property = 8 ],
        ADDRESS OFFSET(4) NUMBITS(28) []
    ],
    pub STATUS [
        EMPTY OFFSET(30) NUMBITS(1) [],
        FULL OFFSET(31) NUMBITS(1) []
    ]
}

pub const MAIL0_READ: Reg<MESSAGE::Register> = Reg::at(0x00);
pub const MAIL0_STATUS: Reg<STATUS::Register> = Reg::at(0x18);
pub const MAIL1_WRITE: Reg<MESSAGE::Register> = Reg::at(0x20);
pub const MAIL1_STATUS: Reg<STATUS::Register> = Reg::at(0x38);
