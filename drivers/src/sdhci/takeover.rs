// SPDX-License-Identifier: MIT OR Apache-2.0
//! A controller taken from a driver that was stopped in mid-command.
//!
//! # Theory
//! The reset of the data circuits ends the controller's DMA: from then on it reads and writes no memory. The card knows
//! nothing of that. One that was receiving waits for more blocks, and CMD12 tells it that none come; one that is
//! programming what it took must be let finish, for CMD0 is heard at any time, and the blocks that it would cut short are
//! somebody's. A card that was doing nothing does not answer CMD12, which is as good.
//!
//! The board's regulator stays as it is: a card whose signals are at 1.8 V keeps them there through CMD0 until it loses its
//! supply (Physical Layer §4.2.4), so the controller's bit, which its reset clears, is set again.
use super::regs::{CLOCK_CONTROL, HOST_CONTROL_2, PRESENT_STATE};
use super::{Sdhci, Slot};
use crate::sd::{Command, ResponseKind, STOP_TRANSMISSION};
use crate::{DmaBuffer, Io};

/// A card may program for 500 ms (Physical Layer §4.6.2.2).
const BUSY_TIMEOUT_US: u32 = 1_000_000;

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// Stops the controller, whatever an earlier driver has it doing. It touches no memory any more; what the card thinks
    /// of it, [`Self::take_over`] finds out. False if the controller does not obey.
    pub fn stop_dma(&mut self) -> bool {
        self.listen();
        self.reset_lines().is_ok()
    }

    /// Ends what an earlier driver has under way, in the controller and, if the bus has a clock, in the card, as gently as
    /// it goes. Then comes
    /// [`crate::sd::Card::init_plain`], which also tells if it did not go.
    pub fn take_over(&mut self) {
        self.found_at_1v8 = HOST_CONTROL_2
            .read(&self.io)
            .is_set(HOST_CONTROL_2::SIGNALS_1V8);
        let runs = CLOCK_CONTROL
            .read(&self.io)
            .matches_all(CLOCK_CONTROL::INTERNAL_STABLE::SET + CLOCK_CONTROL::SD_ENABLE::SET);
        if !self.stop_dma() || !runs {
            return;
        }
        let stop = Command::new(STOP_TRANSMISSION, 0, ResponseKind::R1b);
        let _unanswered = self.command(stop);
        let _busy = self.comes(BUSY_TIMEOUT_US, |io| {
            PRESENT_STATE.read(io).is_set(PRESENT_STATE::DAT0_LEVEL)
        });
    }
}
