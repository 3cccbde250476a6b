// SPDX-License-Identifier: MIT OR Apache-2.0
//! INTRL2: a second-level interrupt controller with set, clear and mask registers.
//!
//! A status bit stays until it is cleared, masked or not. The line is high while any bit is
//! set that the mask lets through. Out of reset everything is masked.

const STATUS: u32 = 0x00;
const SET: u32 = 0x04;
const CLEAR: u32 = 0x08;
const MASK_STATUS: u32 = 0x0c;
const MASK_SET: u32 = 0x10;
const MASK_CLEAR: u32 = 0x14;

/// Bits of line A.
pub mod a {
    /// The PHY's link came up.
    pub const LINK_UP: u32 = 1 << 4;
    /// The PHY's link went down.
    pub const LINK_DOWN: u32 = 1 << 5;
    /// The transmit buffer ran empty inside a frame.
    pub const TBUF_UNDERRUN: u32 = 1 << 8;
    /// The receive buffer overflowed.
    pub const RBUF_OVERFLOW: u32 = 1 << 9;
    /// Receive ring 16: threshold or time-out, packet, buffer done.
    pub const RX_MBDONE: u32 = 1 << 13;
    /// A packet for receive ring 16 is complete.
    pub const RX_PDONE: u32 = 1 << 14;
    /// A buffer of receive ring 16 is filled.
    pub const RX_BDONE: u32 = 1 << 15;
    /// Transmit ring 16: threshold reached or ring empty.
    pub const TX_MBDONE: u32 = 1 << 16;
    /// A packet of transmit ring 16 is sent.
    pub const TX_PDONE: u32 = 1 << 17;
    /// A buffer of transmit ring 16 is read.
    pub const TX_BDONE: u32 = 1 << 18;
    /// An MDIO command ended.
    pub const MDIO_DONE: u32 = 1 << 23;
    /// An MDIO command found no PHY.
    pub const MDIO_ERROR: u32 = 1 << 24;
}

/// One of the two controllers.
#[derive(Clone, Debug)]
pub(crate) struct Intrl2 {
    status: u32,
    mask: u32,
}

impl Intrl2 {
    pub(crate) const fn new() -> Self {
        Self {
            status: 0,
            mask: u32::MAX,
        }
    }

    /// Whether the line is high.
    pub(crate) fn level(&self) -> bool {
        self.status & !self.mask != 0
    }

    pub(crate) fn raise(&mut self, bits: u32) {
        self.status |= bits;
    }

    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        match register {
            STATUS => Some(self.status),
            MASK_STATUS => Some(self.mask),
            SET | CLEAR | MASK_SET | MASK_CLEAR => Some(0),
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            SET => self.status |= value,
            CLEAR => self.status &= !value,
            MASK_SET => self.mask |= value,
            MASK_CLEAR => self.mask &= !value,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_bit_is_kept_and_not_signalled() {
        let mut intr = Intrl2::new();
        intr.raise(a::LINK_UP);
        assert!(!intr.level());
        assert_eq!(intr.read(STATUS), Some(a::LINK_UP));
        intr.write(MASK_CLEAR, a::LINK_UP);
        assert!(intr.level());
        intr.write(CLEAR, a::LINK_DOWN);
        assert!(intr.level(), "another bit was cleared");
        intr.write(CLEAR, a::LINK_UP);
        assert!(!intr.level());
    }

    #[test]
    fn software_sets_bits_and_masks_them_again() {
        let mut intr = Intrl2::new();
        intr.write(MASK_CLEAR, 6);
        intr.write(SET, 2);
        assert!(intr.level());
        intr.write(MASK_SET, 2);
        assert!(!intr.level());
        assert_eq!(intr.read(MASK_STATUS), Some(!4));
        assert_eq!(intr.write(STATUS, 1), None, "status is read-only");
    }
}
