// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUs that hang on purpose, for the console's `hang` command: they show that each is found and told.
use crate::cpu::{CpuSet, irq_save};
use crate::thread::{self, JoinHandle, Kernel, ThreadCx, TooManyThreads};
use bsp::cpu::irq_restore;
use bsp::timer::now_ns;
use sync::lockview;
use sync::spl::{splhigh, splx};

/// How a CPU hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With IRQ masked: nothing reaches it.
    Masked,
    /// At splhigh.
    Spl,
    /// At splhigh, with all locks of the machine, for ever.
    Locks,
}

/// How long [`How::Locks`] waits for locks to come free.
const PATIENCE_NS: u64 = 500_000_000;

/// Has CPU `n` hang from about now on until `until_ns`.
pub fn start(
    cx: &mut ThreadCx,
    n: usize,
    how: How,
    until_ns: u64,
) -> Result<JoinHandle, TooManyThreads> {
    let mut name = heapless::String::<16>::new();
    let _ = core::fmt::Write::write_fmt(&mut name, format_args!("hang/{n}"));
    let body = move |_: &mut ThreadCx| match how {
        How::Masked => hang_masked(until_ns),
        How::Spl => hang_at_splhigh(until_ns),
        How::Locks => hang_with_all_locks(),
    };
    thread::spawn(cx, &name, thread::PRIORITY_SYSTEM, CpuSet::only(n), body)
}

#[inline(never)]
fn hang_masked(until_ns: u64) {
    let daif = irq_save();
    spin(until_ns);
    irq_restore(daif);
}

#[inline(never)]
fn hang_at_splhigh(until_ns: u64) {
    let before = splhigh::<Kernel>();
    spin(until_ns);
    splx::<_, Kernel>(before);
}

#[inline(never)]
fn hang_with_all_locks() {
    // SAFETY: the machine is lost, as asked for.
    let (taken, all) = unsafe { lockview::seize_all::<Kernel>(PATIENCE_NS) };
    crate::console::tty::tell_polled(format_args!("{taken} of {all} locks taken\n"));
    spin(u64::MAX);
}

#[inline(always)]
fn spin(until_ns: u64) {
    while now_ns() < until_ns {
        bsp::cpu::relax();
    }
}
