// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock that is broken on purpose: what the torture must notice.
use super::Rng;
use super::place::{Pair, dawdle};
use crate::thread;
use core::sync::atomic::{AtomicBool, Ordering};
use sync::domain::{Cx, MaySleep};

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
            thread::yield_now(cx); // its holder may be behind us
        }
        dawdle(cx, rng);
        self.taken.store(true, Ordering::Relaxed);
    }

    pub fn exit(&self) {
        self.taken.store(false, Ordering::Release);
    }
}
