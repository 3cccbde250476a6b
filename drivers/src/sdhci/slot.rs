// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a controller's driver needs of those around it: time, interrupts, and the card's supply.
use super::regs::{INT_SIGNAL_ENABLE, INT_STATUS};
use crate::Io;
use embedded_hal::delay::DelayNs;

/// The surroundings of one slot. Threads only: all of it may sleep.
pub trait Slot: DelayNs {
    /// Calls `arm`, and sleeps until the controller has interrupted, or `timeout_us` have passed: then false.
    ///
    /// `arm` lets the controller interrupt; it and the handler's [`silence`] exclude each other (one lock around
    /// both), or a late handler would silence what was just armed. An interrupt that came before the call, and for
    /// which no call has returned yet, counts. Returning true without one is allowed, now and then. Who polls asks
    /// [`asserts`].
    fn wait_event(&mut self, timeout_us: u32, arm: impl FnOnce()) -> bool;

    /// Cuts the card's supply until the card has forgotten everything, and puts it back, with the signals at 3.3 V.
    /// False if the board cannot; then 1.8 V is not tried.
    fn cycle_power(&mut self) -> bool {
        false
    }

    /// Puts the signals at 1.8 V, if the board can; returns when they are.
    fn lower_signal_voltage(&mut self) -> bool {
        false
    }
}

/// Does the controller at `io` pull its interrupt line?
pub fn asserts(io: &impl Io) -> bool {
    INT_STATUS.read(io).get() & INT_SIGNAL_ENABLE.read(io).get() != 0
}

/// What the handler does while a thread waits in [`Slot::wait_event`]: makes the controller let its interrupt line
/// go, without losing what it has to tell. False if it did not pull it.
pub fn silence(io: &impl Io) -> bool {
    let asserted = asserts(io);
    if asserted {
        io.write32(INT_SIGNAL_ENABLE.offset, 0);
    }
    asserted
}
