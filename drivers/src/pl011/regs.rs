// SPDX-License-Identifier: MIT OR Apache-2.0
//! PL011 registers (ARM DDI 0183G, chapter 3).
use crate::Reg;
use tock_registers::register_bitfields;

register_bitfields! { u32,
    pub DR [
        DATA OFFSET(0) NUMBITS(8) [],
        FE OFFSET(8) NUMBITS(1) [],
        PE OFFSET(9) NUMBITS(1) [],
        BE OFFSET(10) NUMBITS(1) [],
        OE OFFSET(11) NUMBITS(1) []
    ],
    pub FR [
        BUSY OFFSET(3) NUMBITS(1) [],
        RXFE OFFSET(4) NUMBITS(1) [],
        TXFF OFFSET(5) NUMBITS(1) [],
        TXFE OFFSET(7) NUMBITS(1) []
    ],
    pub IBRD [ BAUD_DIVINT OFFSET(0) NUMBITS(16) [] ],
    pub FBRD [ BAUD_DIVFRAC OFFSET(0) NUMBITS(6) [] ],
    pub LCRH [
        FEN OFFSET(4) NUMBITS(1) [],
        WLEN OFFSET(5) NUMBITS(2) [ Bits8 = 3 ]
    ],
    pub CR [
        UARTEN OFFSET(0) NUMBITS(1) [],
        TXE OFFSET(8) NUMBITS(1) [],
        RXE OFFSET(9) NUMBITS(1) []
    ],
    pub IFLS [
        TXIFLSEL OFFSET(0) NUMBITS(3) [ Eighth = 0 ],
        RXIFLSEL OFFSET(3) NUMBITS(3) [ Half = 2 ]
    ],
    /// One layout for IMSC, RIS, MIS and ICR.
    pub INT [
        RX OFFSET(4) NUMBITS(1) [],
        TX OFFSET(5) NUMBITS(1) [],
        RT OFFSET(6) NUMBITS(1) [],
        FE OFFSET(7) NUMBITS(1) [],
        PE OFFSET(8) NUMBITS(1) [],
        BE OFFSET(9) NUMBITS(1) [],
        OE OFFSET(10) NUMBITS(1) []
    ]
}

pub const DR: Reg<DR::Register> = Reg::at(0x00);
pub const FR: Reg<FR::Register> = Reg::at(0x18);
pub const IBRD: Reg<IBRD::Register> = Reg::at(0x24);
pub const FBRD: Reg<FBRD::Register> = Reg::at(0x28);
pub const LCRH: Reg<LCRH::Register> = Reg::at(0x2c);
pub const CR: Reg<CR::Register> = Reg::at(0x30);
pub const IFLS: Reg<IFLS::Register> = Reg::at(0x34);
pub const IMSC: Reg<INT::Register> = Reg::at(0x38);
pub const RIS: Reg<INT::Register> = Reg::at(0x3c);
pub const MIS: Reg<INT::Register> = Reg::at(0x40);
pub const ICR: Reg<INT::Register> = Reg::at(0x44);
