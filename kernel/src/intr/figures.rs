// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the CPUs did about interrupts, as each of them says.
//!
//! # Contexts
//! [`figures`]: threads.
use super::{this, with};
use crate::cpu::irq_save;
use crate::cpu::{CPUS, CpuSet};
use crate::thread::ThreadCx;
use crate::{lock_order, xcall};
use bsp::cpu::{index, irq_restore};
use core::sync::atomic::Ordering;
use sync::delivery::Statistics;
use sync::domain::{Cx, Interrupt, Sched};
use sync::kmutex::KMutex;

/// What a CPU did about interrupts since it started.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// What the policy did.
    pub delivery: Statistics,
    /// Interrupts that wait in memory.
    pub waiting: usize,
    /// Interrupts deactivated: a register access each.
    pub deactivated: u64,
    /// Raises of spl, while they are [counted](super::count_raises).
    pub raises: u64,
    /// Times there was nothing to acknowledge.
    pub spurious: u64,
    /// Interrupts without a handler.
    pub unexpected: u64,
}

static FIGURES: KMutex<[Option<Figures>; CPUS], lock_order::Figures> = KMutex::new([None; CPUS]);

/// The figures of each CPU that is online.
pub fn figures(cx: &mut ThreadCx) -> [Option<Figures>; CPUS] {
    *FIGURES.enter(cx).0 = [None; CPUS];
    xcall::call(cx, CpuSet::ALL, say_figures, 0);
    *FIGURES.enter(cx).0
}

fn say_figures(cx: &mut Cx<Interrupt<Sched>>, _: usize) {
    let figures = figures_here();
    FIGURES.enter(cx).0[index()] = Some(figures);
}

/// The figures of this CPU, which the caller stays on.
pub fn figures_here() -> Figures {
    let this = this();
    let daif = irq_save();
    // SAFETY: IRQ is masked.
    let (delivery, waiting) = unsafe { with(|d| (d.statistics(), d.waiting())) };
    irq_restore(daif);
    Figures {
        delivery,
        waiting,
        deactivated: this.deactivated.load(Ordering::Relaxed),
        raises: this.raises.load(Ordering::Relaxed),
        spurious: this.spurious.load(Ordering::Relaxed),
        unexpected: this.unexpected.load(Ordering::Relaxed),
    }
}
