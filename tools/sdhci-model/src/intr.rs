// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: status, what is let into it, and what of it is signalled.
//!
//! An event whose status is not enabled leaves no trace. The line is high while a bit stands that
//! is signalled. Bit 15 stands while any error does.

use crate::regs::intr;

const WRITABLE: u32 = intr::NORMAL | intr::ERRORS;

/// The three pairs of registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intr {
    status: u32,
    enable: u32,
    signal: u32,
    /// The line missed an event, and stays low until the next.
    lost: bool,
}

impl Intr {
    pub(crate) fn raise(&mut self, bits: u32) {
        let seen = bits & self.enable;
        self.status |= seen;
        self.lost &= seen == 0;
    }

    pub(crate) fn status(&self) -> u32 {
        let error = self.status & intr::ERRORS != 0;
        self.status | if error { intr::ERROR } else { 0 }
    }

    pub(crate) fn enable(&self) -> u32 {
        self.enable
    }

    pub(crate) fn signal(&self) -> u32 {
        self.signal
    }

    /// Ones clear.
    pub(crate) fn clear(&mut self, bits: u32) {
        self.status &= !(bits & WRITABLE);
        self.lost &= self.status != 0;
    }

    pub(crate) fn set_enable(&mut self, bits: u32) {
        self.enable = bits & WRITABLE;
        self.status &= self.enable;
    }

    pub(crate) fn set_signal(&mut self, bits: u32) {
        self.signal = bits & WRITABLE;
    }

    /// The line's next rise does not happen.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    pub(crate) fn level(&self) -> bool {
        !self.lost && self.status & self.signal != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_needs_both_enables_to_reach_the_line() {
        let mut intr = Intr::default();
        intr.raise(intr::DMA);
        assert_eq!(intr.status(), 0);
        intr.set_enable(intr::DMA | intr::DATA_CRC);
        intr.raise(intr::DMA | intr::ADMA);
        assert_eq!(intr.status(), intr::DMA);
        assert!(!intr.level());
        intr.set_signal(intr::DMA);
        assert!(intr.level());
        intr.clear(intr::DMA);
        assert!(!intr.level());
        intr.raise(intr::DATA_CRC);
        assert_eq!(intr.status(), intr::DATA_CRC | intr::ERROR);
    }

    #[test]
    fn a_lost_rise_is_made_good_by_the_next_event() {
        let mut intr = Intr::default();
        intr.set_enable(u32::MAX);
        intr.set_signal(u32::MAX);
        intr.raise(intr::COMMAND_COMPLETE);
        intr.lose();
        assert!(!intr.level());
        assert_eq!(intr.status(), intr::COMMAND_COMPLETE);
        intr.raise(intr::TRANSFER_COMPLETE);
        assert!(intr.level());
    }
}
