// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MDIO master: one command register, busy while the bits go over the wire.
//!
//! The command is taken when START_BUSY is written, and the bit falls when the transfer is over.
//! There is one PHY; for any other address, and for a PHY that is dead, nobody pulls the line
//! down: the data reads as ones and READ_FAIL is set.

use crate::phy::{self, Phy};

/// Offset of the command in UMAC.
pub(crate) const CMD: u32 = 0x614;
/// Offset of the configuration in UMAC: clause 22 and the clock divider.
pub(crate) const CFG: u32 = 0x618;
pub(crate) const START_BUSY: u32 = 1 << 29;
const READ_FAIL: u32 = 1 << 28;
const OP: u32 = 3 << 26;
const OP_WRITE: u32 = 1 << 26;
const OP_READ: u32 = 2 << 26;
/// 64 bits at 2.5 MHz.
const TRANSFER_NS: u64 = 25_600;

/// What writing the command register led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// Only the fields were set, without START_BUSY.
    No,
    /// The transfer is under way.
    Yes,
    /// The last transfer is still under way: the write is lost.
    Busy,
    /// Neither a read nor a write: nothing was sent.
    NoSuchOp,
}

/// The MDIO master.
#[derive(Clone, Debug)]
pub(crate) struct Mdio {
    cmd: u32,
    pub(crate) cfg: u32,
    done_ns: Option<u64>,
}

impl Mdio {
    pub(crate) const fn new() -> Self {
        Self {
            cmd: 0,
            cfg: 1,
            done_ns: None,
        }
    }

    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.done_ns
    }

    pub(crate) fn read(&self) -> u32 {
        if self.done_ns.is_some() {
            self.cmd | START_BUSY
        } else {
            self.cmd
        }
    }

    pub(crate) fn write(&mut self, value: u32, phy: Option<&mut Phy>, now_ns: u64) -> Started {
        if self.done_ns.is_some() {
            return Started::Busy;
        }
        self.cmd = value & !START_BUSY;
        if value & START_BUSY == 0 {
            return Started::No;
        }
        let register = (value >> 16) & 0x1f;
        let phy = phy.filter(|_| (value >> 21) & 0x1f == phy::ADDRESS);
        let data = u16::try_from(value & 0xffff).unwrap_or_default();
        match (value & OP, phy) {
            (OP_READ, Some(phy)) => {
                self.cmd = (self.cmd & !(READ_FAIL | 0xffff)) | u32::from(phy.read(register));
            }
            (OP_READ, None) => self.cmd |= READ_FAIL | 0xffff,
            (OP_WRITE, Some(phy)) => phy.write(register, data, now_ns),
            (OP_WRITE, None) => {}
            _ => return Started::NoSuchOp,
        }
        self.done_ns = Some(now_ns + TRANSFER_NS);
        Started::Yes
    }

    /// Ends a transfer whose time is over: whether it failed.
    pub(crate) fn advance(&mut self, now_ns: u64) -> Option<bool> {
        self.done_ns.filter(|at| now_ns >= *at)?;
        self.done_ns = None;
        Some(self.cmd & READ_FAIL != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_ID: u32 = START_BUSY | OP_READ | (1 << 21) | (2 << 16);

    #[test]
    fn busy_falls_when_the_transfer_is_over() {
        let (mut mdio, mut phy) = (Mdio::new(), Phy::new());
        assert_eq!(mdio.write(READ_ID, Some(&mut phy), 0), Started::Yes);
        assert_ne!(mdio.read() & START_BUSY, 0);
        assert_eq!(mdio.write(READ_ID, Some(&mut phy), 9), Started::Busy);
        assert_eq!(mdio.advance(TRANSFER_NS - 1), None);
        assert_eq!(mdio.advance(TRANSFER_NS), Some(false));
        assert_eq!(mdio.read() & (START_BUSY | READ_FAIL | 0xffff), 0x600d);
    }

    #[test]
    fn nobody_answers_at_other_addresses() {
        let (mut mdio, mut phy) = (Mdio::new(), Phy::new());
        mdio.write(READ_ID + (1 << 21), Some(&mut phy), 0);
        assert_eq!(mdio.advance(TRANSFER_NS), Some(true));
        assert_eq!(mdio.read() & (READ_FAIL | 0xffff), READ_FAIL | 0xffff);
        mdio.write(READ_ID, None, 0);
        assert_eq!(mdio.advance(TRANSFER_NS), Some(true), "a dead PHY");
        mdio.write(READ_ID, Some(&mut phy), 0);
        assert_eq!(
            mdio.advance(TRANSFER_NS),
            Some(false),
            "the failure is over"
        );
    }

    #[test]
    fn clause_45_is_refused() {
        let mut mdio = Mdio::new();
        assert_eq!(mdio.write(START_BUSY, None, 0), Started::NoSuchOp);
        assert_eq!(mdio.read() & START_BUSY, 0);
    }
}
