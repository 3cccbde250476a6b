// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers of the watchdog in the power management block.
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    pub RSTC [
        WRCFG OFFSET(4) NUMBITS(2) [ FullReset = 2 ],
        PASSWORD OFFSET(24) NUMBITS(8) [ Write = 0x5a ]
    ],
    pub RSTS [
        HADWRF OFFSET(5) NUMBITS(1) []
    ],
    pub WDOG [
        TIME OFFSET(0) NUMBITS(20) [],
        PASSWORD OFFSET(24) NUMBITS(8) [ Write = 0x5a ]
    ]
}

pub const RSTC: Reg<RSTC::Register> = Reg::at(0x1c);
pub const RSTS: Reg<RSTS::Register> = Reg::at(0x20);
pub const WDOG: Reg<WDOG::Register> = Reg::at(0x24);
