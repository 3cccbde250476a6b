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

    /// How much of a wait of `wished_us` for the device there is time for.
    fn patience_us(&self, wished_us: u32) -> u32 {
        wished_us
    }

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

/// The surroundings in a machine that has stopped: nothing interrupts, nobody sleeps, and waiting has a limit.
#[derive(Debug)]
pub struct Polled<I: Io, D: DelayNs> {
    io: I,
    delay: D,
    left_us: u32,
}

/// Between two looks at the controller.
const LOOK_US: u32 = 5;

impl<I: Io, D: DelayNs> Polled<I, D> {
    /// Surroundings of the controller at `io`. Once all pauses together have lasted `limit_us`, what has not come is given
    /// up at once. The pauses that a slow bus wants between two writes stay: without them a write may be lost.
    pub const fn new(io: I, delay: D, limit_us: u32) -> Self {
        Self {
            io,
            delay,
            left_us: limit_us,
        }
    }
}

impl<I: Io, D: DelayNs> DelayNs for Polled<I, D> {
    fn delay_ns(&mut self, ns: u32) {
        self.left_us = self.left_us.saturating_sub(ns.div_ceil(1_000));
        self.delay.delay_ns(ns);
    }
}

impl<I: Io, D: DelayNs> Slot for Polled<I, D> {
    fn wait_event(&mut self, timeout_us: u32, arm: impl FnOnce()) -> bool {
        arm();
        let (mut waited_us, timeout_us) = (0, self.patience_us(timeout_us));
        while !asserts(&self.io) {
            if waited_us >= timeout_us {
                return false;
            }
            self.delay_us(LOOK_US);
            waited_us += LOOK_US;
        }
        true
    }

    fn patience_us(&self, wished_us: u32) -> u32 {
        wished_us.min(self.left_us)
    }
}
