// SPDX-License-Identifier: MIT OR Apache-2.0
//! lockdebug's findings, on their way to the log.
//!
//! A finding is made in the middle of entering or leaving a lock, where nothing may be entered, not even the log's. So
//! the CPU interrupts itself, and as soon as nothing holds Sched interrupts off, the handler logs what is new.
//!
//! # Contexts
//! [`note`]: any. [`interrupt`]: the handler of [`Ipi::Findings`].
use crate::cpu::CpuSet;
use crate::intr::{self, Ipi};
use crate::thread::Kernel;
use core::sync::atomic::{AtomicUsize, Ordering};
use log::warn;
use sync::domain::{Cx, Interrupt, Sched};
use sync::lockdebug;

/// Findings that were logged: they keep their places.
static LOGGED: AtomicUsize = AtomicUsize::new(0);

/// There is a new finding.
pub fn note() {
    intr::send(Ipi::Findings, CpuSet::only(bsp::cpu::index()));
}

/// Logs what is new.
pub fn interrupt(_: &mut Cx<Interrupt<Sched>>, _: usize) {
    let reports = lockdebug::reports::<Kernel>();
    let new = reports.iter().flatten().enumerate();
    for (place, report) in new {
        // ORDERING: a number that only moves forward; a finding logged twice is no harm.
        if LOGGED.fetch_max(place + 1, Ordering::Relaxed) <= place {
            warn!("lockdebug: {report}");
        }
    }
}

/// Forgets all findings.
pub fn clear() {
    lockdebug::clear::<Kernel>();
    LOGGED.store(0, Ordering::Relaxed);
}
