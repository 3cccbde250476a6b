// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on spl and spin mutexes, each a function, for interrupts to fall into.
//!
//! # Theory
//! Four lines of this check's own interrupt CPU 0: one of each device domain, and one of Bio whose handler takes the mutex
//! that the operations take. A handler notes which line ran, and what was masked then.
//!
//! A debugger (tests/qemu/step.rs) stops at [`step_ready`], calls the operations from there by setting registers, stops
//! them before each of their instructions, and calls [`step_pend`] there. So its interrupts come between two
//! instructions that it chose. They return to [`step_look`], which tells it what came of it. It finds all of them by
//! name, and the operations by `step_op_`. What it calls in the middle of an operation does no read-modify-write, which would open
//! the exclusive monitor between the two halves of the operation's own.
//!
//! Without a debugger the check itself sets the lines pending a little before each operation, each time a little earlier.
//! On the board that lets them arrive anywhere in it, too.
//!
//! # Contexts
//! CPU 0, thread; the debugger has IRQ masked while it calls the `step_` functions that are no operations.
//!
//! # Memory ordering
//! The handlers, the operations and who looks are one CPU: all accesses are Relaxed.
use super::{PATIENCE_NS, PRIORITY, Verdict, join, require, spawn};
use crate::cpu::{self, CpuSet};
use crate::intr::{self, Handler, Ipi, SourceError};
use crate::lock_order;
use crate::thread::{self, Kernel, ThreadCx};
use alloc::format;
use alloc::sync::Arc;
use bsp::cpu::{irq_restore, irq_save, wait_for_interrupt};
use bsp::map;
use bsp::timer::now_ns;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::domain::{Bio, Cx, Interrupt, InterruptDomain, Net, Tty};
use sync::ipl::Ipl;
use sync::kmutex::{IntrCookie, KMutex};
use sync::spl::{splbio, splhigh, splnet, splsched, spltty, splvm, splx};

/// How many lines there are; line N, from 1, is bit N-1 of a set.
const LINES: usize = 4;
/// The first of [`map::IRQ_UNUSED`] that is this check's.
const FIRST: usize = 3;

/// What ran, 16 bits each, the latest lowest: the line in three bits, the classes that were masked in five, the phase.
static RAN: AtomicU64 = AtomicU64::new(0);
/// How far an operation has come: parts of which each masks or opens once. 0 before and after.
static PHASE: AtomicU64 = AtomicU64::new(0);
/// Entries into [`MUTEX`], counted inside.
static ENTRIES: AtomicU64 = AtomicU64::new(0);
static MUTEX: KMutex<(), lock_order::TrialBio> = KMutex::new(());
/// Held by a thread on another CPU while the check runs.
static BUSY: KMutex<(), lock_order::TrialBio> = KMutex::new(());

/// The classes that the current thread masks: a bit for each of [`Ipl::HARDWARE`].
fn masked() -> u64 {
    let mask = thread::current().sync.mask();
    let classes = Ipl::HARDWARE.iter().enumerate();
    classes.fold(0, |bits, (n, class)| {
        bits | u64::from(mask.masks(*class)) << n
    })
}

fn note(line: usize) {
    let this = PHASE.load(Ordering::Relaxed) << 8 | masked() << 3 | line as u64;
    // Handlers come on top of each other.
    let _always = RAN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ran| {
        Some(ran << 16 | this)
    });
}

fn noting<D: InterruptDomain>(_: &mut Cx<Interrupt<D>>, line: usize) {
    note(line);
}

fn locking(cx: &mut ThreadCx, line: usize) {
    note(line);
    let (_guard, _) = MUTEX.enter(cx);
    count();
}

struct Established(
    IntrCookie<Bio>,
    IntrCookie<Net>,
    IntrCookie<Tty>,
    IntrCookie<Bio>,
);

/// Counts an entry, in two halves.
#[inline(always)]
fn count() {
    let entries = ENTRIES.load(Ordering::Relaxed);
    ENTRIES.store(entries + 1, Ordering::Relaxed);
}

/// Connects the lines, on CPU 0.
fn establish(cx: &mut ThreadCx) -> Result<Established, SourceError> {
    let lines = [0, 1, 2, 3].map(|n| map::IRQ_UNUSED[FIRST + n]);
    let [b, n, t, m] = lines;
    let established = Established(
        intr::establish(cx, b, "step bio", Handler::Direct(noting::<Bio>), 1)?,
        intr::establish(cx, n, "step net", Handler::Direct(noting::<Net>), 2)?,
        intr::establish(cx, t, "step tty", Handler::Direct(noting::<Tty>), 3)?,
        intr::establish(cx, m, "step mutex", Handler::Threaded(locking), 4)?,
    );
    for line in lines {
        intr::move_to(cx, line.into(), 0)?;
    }
    Ok(established)
}

fn disestablish(cx: &mut ThreadCx, lines: Established) -> Result<(), SourceError> {
    intr::disestablish(cx, lines.0)?;
    intr::disestablish(cx, lines.1)?;
    intr::disestablish(cx, lines.2)?;
    intr::disestablish(cx, lines.3)
}

/// Where a debugger stops. What it reads lies at the addresses in the first two registers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_ready(seen: &Seen, ran: &AtomicU64) {
    black_box((seen, ran));
}

/// Has these lines interrupt; which of them were pending.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_pend(lines: u64) -> u64 {
    let mut were = 0;
    for line in 0..LINES {
        let intid = map::IRQ_UNUSED[FIRST + line];
        if lines >> line & 1 != 0 {
            were |= u64::from(intr::is_pending(intid)) << line;
            intr::set_pending(intid);
        }
    }
    were
}

/// How it all is, for a debugger to read.
#[repr(C)]
struct Seen {
    /// What is masked; from bit 8 on the phase, from bit 16 on what is pending for the current thread, from bit 32 on how
    /// often the mutex was entered.
    state: AtomicU64,
    /// What ran since the last look.
    ran: AtomicU64,
}

static SEEN: Seen = Seen {
    state: AtomicU64::new(0),
    ran: AtomicU64::new(0),
};

/// Writes down how it all is, and is ready for more. A debugger has an operation return to here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_look() {
    let pending = u64::from(thread::current().sync.pending.load(Ordering::Relaxed));
    let (entries, phase) = (
        ENTRIES.load(Ordering::Relaxed),
        PHASE.load(Ordering::Relaxed),
    );
    let state = masked() | phase << 8 | pending << 16 | entries << 32;
    SEEN.state.store(state, Ordering::Relaxed);
    SEEN.ran
        .store(RAN.load(Ordering::Relaxed), Ordering::Relaxed);
    RAN.store(0, Ordering::Relaxed);
    step_ready(&SEEN, &RAN);
}

/// Says which part of an operation follows.
#[inline(always)]
fn phase(number: u64) {
    PHASE.store(number, Ordering::Relaxed);
}

/// Declares the operations, and the list of them.
macro_rules! operations {
    ($(fn $name:ident($cx:ident) $body:block)*) => {
        $(#[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name() {
            // SAFETY: called by the check or in its place by a debugger, and no other token is in use then.
            let $cx = &mut unsafe { ThreadCx::assume() };
            $body
            phase(0);
            let _used = $cx;
        })*
        const OPERATIONS: &[(&str, extern "C" fn())] = &[$((stringify!($name), $name)),*];
    };
}

operations! {
    fn step_op_bio(cx) {
        let bio = splbio::<Kernel>();
        phase(1);
        splx::<_, Kernel>(bio);
    }
    fn step_op_net(cx) {
        let net = splnet::<Kernel>();
        phase(1);
        splx::<_, Kernel>(net);
    }
    fn step_op_tty(cx) {
        let tty = spltty::<Kernel>();
        phase(1);
        splx::<_, Kernel>(tty);
    }
    fn step_op_vm(cx) {
        let vm = splvm::<Kernel>();
        phase(1);
        splx::<_, Kernel>(vm);
    }
    fn step_op_sched(cx) {
        let sched = splsched::<Kernel>();
        phase(1);
        splx::<_, Kernel>(sched);
    }
    fn step_op_high(cx) {
        let high = splhigh::<Kernel>();
        phase(1);
        splx::<_, Kernel>(high);
    }
    fn step_op_nested(cx) {
        let bio = splbio::<Kernel>();
        phase(1);
        let net = splnet::<Kernel>();
        phase(2);
        splx::<_, Kernel>(net);
        phase(3);
        splx::<_, Kernel>(bio);
    }
    fn step_op_crossed(cx) {
        let bio = splbio::<Kernel>();
        phase(1);
        let net = splnet::<Kernel>();
        phase(2);
        splx::<_, Kernel>(bio);
        phase(3);
        splx::<_, Kernel>(net);
    }
    fn step_op_again(cx) {
        let first = splbio::<Kernel>();
        phase(1);
        let second = splbio::<Kernel>();
        phase(2);
        splx::<_, Kernel>(first);
        phase(3);
        splx::<_, Kernel>(second);
    }
    fn step_op_union(cx) {
        let vm = splvm::<Kernel>();
        phase(1);
        let bio = splbio::<Kernel>();
        phase(2);
        splx::<_, Kernel>(vm);
        phase(3);
        splx::<_, Kernel>(bio);
    }
    fn step_op_mutex(cx) {
        let (guard, _) = MUTEX.enter(cx);
        phase(1);
        count();
        phase(2);
        drop(guard);
    }
    fn step_op_mutex_held(cx) {
        let bio = splbio::<Kernel>();
        phase(1);
        let (guard, _) = MUTEX.enter(cx);
        phase(2);
        count();
        phase(3);
        drop(guard);
        phase(4);
        splx::<_, Kernel>(bio);
    }
    fn step_op_mutex_crossed(cx) {
        let (guard, _) = MUTEX.enter(cx);
        phase(1);
        count();
        let tty = spltty::<Kernel>();
        phase(2);
        drop(guard);
        phase(3);
        splx::<_, Kernel>(tty);
    }
    fn step_op_mutex_tried(cx) {
        black_box(BUSY.try_enter(cx).is_none());
    }
}

pub fn step(cx: &mut ThreadCx) -> Verdict {
    let lines = establish(cx).map_err(|error| format!("{error}"))?;
    // Where the lines interrupt.
    thread::set_affinity(cx, thread::current(), CpuSet::only(0));
    let verdict = with_busy(cx, sweep);
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
    disestablish(cx, lines).map_err(|error| format!("{error}"))?;
    verdict
}

/// Runs `f` while another CPU, if there is one, holds [`BUSY`].
fn with_busy(cx: &mut ThreadCx, f: fn() -> Verdict) -> Verdict {
    let Some(other) = cpu::online().iter().find(|n| *n != 0) else {
        return f();
    };
    let done = Arc::new(AtomicBool::new(false));
    let ended = done.clone();
    let holder = spawn(cx, "holder", PRIORITY, CpuSet::only(other), move |cx| {
        let (_guard, _) = BUSY.enter(cx);
        while !ended.load(Ordering::Relaxed) {
            let daif = irq_save();
            if !ended.load(Ordering::Relaxed) {
                wait_for_interrupt();
            }
            irq_restore(daif);
        }
    })?;
    while BUSY.owner().is_none() {
        spin_loop();
    }
    let verdict = f();
    done.store(true, Ordering::Relaxed);
    intr::send(Ipi::Resched, CpuSet::only(other));
    join(cx, alloc::vec![holder])?;
    verdict
}

fn sweep() -> Verdict {
    // Once, for a lock's first visit goes the slow way.
    OPERATIONS.iter().for_each(|(_, operation)| operation());
    step_look();
    for (name, operation) in OPERATIONS {
        for turns in (0..64).rev() {
            once(*operation, turns).map_err(|what| format!("{name}, {turns} turns: {what}"))?;
        }
    }
    Ok(())
}

/// What is masked and pending.
fn look() -> u32 {
    step_look();
    SEEN.state.load(Ordering::Relaxed) as u32
}

/// Sets all lines pending, waits for so many turns of a loop, and runs the operation.
fn once(operation: extern "C" fn(), turns: u32) -> Verdict {
    let ran = || [48, 32, 16, 0].map(|bit| RAN.load(Ordering::Relaxed) >> bit & 7);
    require(ran() == [0; 4], || format!("{:?} ran once more", ran()))?;
    let quiet = look();
    step_pend((1 << LINES) - 1);
    for turn in 0..turns {
        black_box(turn);
    }
    operation();
    let end = now_ns() + PATIENCE_NS;
    while ran()[0] == 0 && now_ns() < end {
        spin_loop();
    }
    let mut lines = ran();
    lines.sort_unstable();
    let left = look();
    require(left == quiet && lines == [1, 2, 3, 4], || {
        format!("the lines {lines:?} ran, and left {left:#x} masked or pending, not {quiet:#x}")
    })
}
