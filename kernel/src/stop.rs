// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stopping the machine: one CPU goes on, the others wait where they are, and can go on later.
//!
//! # Theory
//! The order to stop is an interrupt that nothing holds off but IRQ masked (`intr/mod.rs`): whatever spl, it is taken at the
//! next instruction, and the stopped CPU's registers are in the frame of that trap. A CPU with IRQ masked cannot be
//! reached: the only interrupt that would, FIQ, is the secure world's on this board. So each thread notes where it masks
//! IRQ ([`cpu::irq_save`], and the interrupt's entry), three instructions, and for a CPU that is silent the callers are
//! told from there.
//!
//! A stopped CPU waits with IRQ masked and its mask register shut for all but the two that nothing masks, so that
//! it sleeps. What comes meanwhile stays pending in the GIC, and comes when it goes on. A CPU that takes the order late stops
//! late; one that takes it when the machine goes on already finds nobody who wants it, and returns.
//!
//! # Contexts
//! [`stop_others`], [`release`], [`stay`]: any, IRQ masked. No lock, no heap.
//!
//! # Memory ordering
//! (1) `HOLDER` is set (Release, and the barrier of the interrupt's sending) before the order goes out, and read by who takes it
//! (Acquire). (2) A CPU's state is set to `Stopped` (Release) after it has said where it is, and read with Acquire: so that
//! is seen. (3) `HOLDER` is cleared with Release and read by the stopped with Acquire: they see all that was done meanwhile.
//! QEMU tests: `ddb::*`, `watchdog::*`, `faults::*`.
//!
//! # Rejected
//! - FIQ as the order: Group 0 belongs to EL3 on the board, and BL31 does not pass it on.
//! - Reading the silent CPU's program counter through its external debug registers (`EDPCSR`): they are not mapped to
//!   the ARM on this chip as far as is known, and QEMU has none.
use crate::cpu::{self, CPUS, CpuSet, CpuState};
use crate::{intr, watchdog};
use bsp::cpu::index;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How long the others may take to stop, or to go on.
const PATIENCE_NS: u64 = 1_000_000_000;

/// The proof that no CPU changes what this one looks at, past all locks.
pub struct Stopped(());

impl Stopped {
    /// Says so.
    ///
    /// # Safety
    /// [`stop_others`] has said that the machine is stopped, and it is as long as this lives. A CPU that did not answer may
    /// still run: what is read is to be taken for what it is, values and not promises.
    pub unsafe fn assume() -> Self {
        Stopped(())
    }
}

/// The CPU for which the others stop; `CPUS`: none.
static HOLDER: AtomicUsize = AtomicUsize::new(CPUS);

/// Notes that this CPU stops the others from the function that this is inlined into, and that this function stays.
#[inline(always)]
pub fn note_here() {
    let fp = bsp::cpu::frame_pointer() as u64;
    cpu::this().stopped_at.store(fp, Ordering::Relaxed);
}

/// True if this CPU has stopped the others.
pub fn is_mine() -> bool {
    HOLDER.load(Ordering::Relaxed) == index()
}

/// Stops all other CPUs, and waits until those of them that are not `silent` say so; returns which were online. `None` if
/// the machine is stopped already: this CPU, too, is to [`stay`]. IRQ masked.
pub fn stop_others(silent: CpuSet) -> Option<CpuSet> {
    let me = index();
    // ORDERING: (1).
    HOLDER
        .compare_exchange(CPUS, me, Ordering::AcqRel, Ordering::Relaxed)
        .ok()?;
    let others = CpuSet(cpu::online().0 & !CpuSet::only(me).0);
    intr::send(intr::Ipi::Stop, others);
    let answering = CpuSet(others.0 & !silent.0);
    wait_for(answering, |state| state == CpuState::Stopped);
    Some(others)
}

/// Waits until all `cpus` are as they should, or patience is over.
fn wait_for(cpus: CpuSet, is_right: impl Fn(CpuState) -> bool) {
    let end = now_ns() + PATIENCE_NS;
    while now_ns() < end && !cpus.iter().all(|n| is_right(cpu::cpu(n).state())) {
        bsp::cpu::relax();
    }
}

/// Lets those go on that [`stop_others`] stopped. IRQ masked.
pub fn release(others: CpuSet) {
    // ORDERING: (3).
    HOLDER.store(CPUS, Ordering::Release);
    intr::send(intr::Ipi::Stop, others);
    wait_for(others, |state| state != CpuState::Stopped);
}

/// The order to stop has come. IRQ masked.
pub fn interrupt() {
    stay();
}

/// Waits, if another CPU has stopped the machine, until it goes on. IRQ masked.
pub fn stay() {
    // ORDERING: (1) and (3).
    let held = || !matches!(HOLDER.load(Ordering::Acquire), CPUS) && !is_mine();
    if !held() {
        return;
    }
    note_here();
    watchdog::stop_ticking();
    let mask = intr::hush();
    cpu::set_state(index(), CpuState::Stopped); // (2)
    while held() {
        bsp::cpu::wait_for_interrupt();
        intr::drain();
    }
    cpu::set_state(index(), CpuState::Online);
    intr::unhush(mask);
    watchdog::start_ticking();
}
