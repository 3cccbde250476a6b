// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock that is broken on purpose: what the torture must notice.
use super::Rng;
use super::place::{Pair, dawdle};
use crate::thread;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, Ordering};
use sync::domain::{Cx, MaySleep};

/// Between two looks at a lock that is taken.
const TURN_NS: u64 = 50_000;

/// Looks whether it is free, and takes it some time later: two that look at the same time are both let in.
pub struct BrokenLock {
    taken: AtomicBool,
    pub pair: Pair,
}

impl BrokenLock {
    pub const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            pair: Pair::new(),
        }
    }

    pub fn enter<K: MaySleep>(&self, cx: &mut Cx<K>, rng: &mut Rng) {
        while self.taken.load(Ordering::Acquire) {
            // Not a yield: the holder may be less urgent, and nobody lends it priority here.
            thread::sleep_until(cx, now_ns() + TURN_NS);
        }
        dawdle(cx, rng);
        self.taken.store(true, Ordering::Relaxed);
    }

    pub fn exit(&self) {
        self.taken.store(false, Ordering::Release);
    }
}
