// SPDX-License-Identifier: MIT OR Apache-2.0
//! How late interrupts are handled: histograms, while somebody wants them.
//!
//! # Theory
//! When a device asked for its interrupt, nothing here knows. What is known: when a CPU took it, from where on it waits for
//! the kernel (it was deferred, or its thread had to come), and when its handler began; and when the timer was to interrupt,
//! and when it was handled. The first is sorted by class, the second stands for itself: it has the way of the interrupt
//! to the CPU in it, and the time that the CPU had everything masked.
//!
//! # Contexts
//! [`note`]: interrupts. The rest: threads.
use crate::octave::octave;
use crate::{cpu, trace};
use bsp::map;
use bsp::timer::{now_ns, ticks_to_ns};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sync::ipl::Ipl;

/// Powers of two: below 1 us, below 2 us, ..., below 131 ms, and the rest.
pub const BUCKETS: usize = 19;
/// The one that has the rest.
pub const LAST: usize = BUCKETS - 1;

struct Histogram {
    buckets: [AtomicU32; BUCKETS],
    worst_ns: AtomicU64,
}

impl Histogram {
    const fn new() -> Self {
        Self {
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
            worst_ns: AtomicU64::new(0),
        }
    }

    fn add(&self, ns: u64) {
        // ORDERING: numbers, each of its own.
        self.buckets[octave(ns, BUCKETS)].fetch_add(1, Ordering::Relaxed);
        self.worst_ns.fetch_max(ns, Ordering::Relaxed);
    }
}

/// The last is the timer's.
static ALL: [Histogram; Ipl::HARDWARE.len() + 1] =
    [const { Histogram::new() }; Ipl::HARDWARE.len() + 1];

/// The handler of interrupt `intid`, of `class`, begins, so long after it was taken. IRQ masked.
pub(super) fn note(class: Ipl, intid: u32, wait_ticks: u64) {
    if !trace::wants_latency() {
        return;
    }
    if let Some(n) = Ipl::HARDWARE.iter().position(|c| *c == class) {
        ALL[n].add(ticks_to_ns(wait_ticks));
    }
    let due_ns = cpu::this().timer_ns.load(Ordering::Relaxed);
    if intid == u32::from(map::IRQ_TIMER) && due_ns != u64::MAX {
        ALL[Ipl::HARDWARE.len()].add(now_ns().saturating_sub(due_ns));
    }
}

/// Forgets all.
pub fn clear() {
    for histogram in &ALL {
        let buckets = histogram.buckets.iter();
        buckets.for_each(|count| count.store(0, Ordering::Relaxed));
        histogram.worst_ns.store(0, Ordering::Relaxed);
    }
}

/// What was counted.
pub struct Line {
    /// The class; none: the timer, from when it was to interrupt.
    pub class: Option<Ipl>,
    /// How many there were of each [`octave`].
    pub buckets: [u32; BUCKETS],
    /// The longest, ns.
    pub worst_ns: u64,
}

/// All histograms.
pub fn lines() -> impl Iterator<Item = Line> {
    ALL.iter().enumerate().map(|(n, histogram)| Line {
        class: Ipl::HARDWARE.get(n).copied(),
        buckets: (histogram.buckets.each_ref()).map(|count| count.load(Ordering::Relaxed)),
        worst_ns: histogram.worst_ns.load(Ordering::Relaxed),
    })
}
