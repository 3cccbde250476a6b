// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host tests of every driver share: a plain register file with a log, a clock, memory with two truths.
mod memory;

use crate::Io;
use core::cell::{Cell, RefCell};
use embedded_hal::delay::DelayNs;
use std::collections::BTreeMap;
use std::vec::Vec;

pub(crate) use memory::{Forgets, Memory, TwoCopies};

/// Registers that keep what is written, and remember every write in order.
#[derive(Default)]
pub(crate) struct RegisterFile {
    values: RefCell<BTreeMap<usize, u32>>,
    writes: RefCell<Vec<(usize, u32)>>,
}

impl RegisterFile {
    /// A file whose registers read as given, and zero elsewhere.
    pub(crate) fn with(values: &[(usize, u32)]) -> Self {
        Self {
            values: RefCell::new(values.iter().copied().collect()),
            ..Self::default()
        }
    }

    /// The writes so far, oldest first.
    pub(crate) fn writes(&self) -> Vec<(usize, u32)> {
        self.writes.borrow().clone()
    }
}

impl Io for RegisterFile {
    fn read32(&self, offset: usize) -> u32 {
        self.values.borrow().get(&offset).copied().unwrap_or(0)
    }
    fn write32(&self, offset: usize, value: u32) {
        self.values.borrow_mut().insert(offset, value);
        self.writes.borrow_mut().push((offset, value));
    }
}

/// A clock that only pauses move, so that a test can tell how long a driver waited.
#[derive(Default)]
pub(crate) struct Clock {
    now_ns: Cell<u64>,
}

impl Clock {
    /// Nanoseconds of pause so far.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// It is `now_ns` now, at least.
    pub(crate) fn move_to_ns(&self, now_ns: u64) {
        self.now_ns.set(self.now_ns.get().max(now_ns));
    }

    /// Microseconds of pause so far.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_ns.get() / 1_000
    }
}

impl DelayNs for &Clock {
    fn delay_ns(&mut self, ns: u32) {
        self.now_ns.set(self.now_ns.get() + u64::from(ns));
    }
}
