// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of locks and spl.
use super::{PATIENCE_NS, PRIORITY, Verdict, join, require, spawn};
use crate::cpu::{self, CpuSet};
use crate::thread::{self, Kernel, ThreadCx};
use crate::trial::{self, Line};
use crate::{callout, intr, lock_order};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use embedded_hal::delay::DelayNs;
use sync::delivery::Policy;
use sync::domain::{Bio, LockClass, Net, Sched, Vm};
use sync::kmutex::KMutex;
use sync::spl::{splbio, splnet, splsched, splvm, splx};

/// Threads on all CPUs enter `mutex`, and count in it and beside it.
fn contend<C>(cx: &mut ThreadCx, what: &str) -> Verdict
where
    C: LockClass<Machine = Kernel>,
{
    const EACH: u64 = 20_000;
    struct Shared<C: LockClass> {
        count: KMutex<u64, C>,
        inside: AtomicU32,
        most: AtomicU32,
    }
    let shared = Arc::new(Shared::<C> {
        count: KMutex::new(0),
        inside: AtomicU32::new(0),
        most: AtomicU32::new(0),
    });
    let threads = cpu::online().iter().map(|n| {
        let shared = shared.clone();
        spawn(cx, "locker", PRIORITY, CpuSet::only(n), move |cx| {
            for _ in 0..EACH {
                let (mut count, _) = shared.count.enter(cx);
                let inside = shared.inside.fetch_add(1, Ordering::Relaxed);
                shared.most.fetch_max(inside + 1, Ordering::Relaxed);
                *count += 1;
                shared.inside.fetch_sub(1, Ordering::Relaxed);
            }
        })
    });
    let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
    let expected = EACH * threads.len() as u64;
    join(cx, threads)?;
    let (count, most) = (
        *shared.count.enter(cx).0,
        shared.most.load(Ordering::Relaxed),
    );
    require(count == expected && most == 1, || {
        format!("{what}: counted {count} of {expected}, {most} inside at once")
    })
}

pub fn lock(cx: &mut ThreadCx) -> Verdict {
    contend::<lock_order::Trial>(cx, "adaptive")?;
    contend::<lock_order::TrialBio>(cx, "bio")?;
    contend::<lock_order::TrialSched>(cx, "sched")?;
    contend::<lock_order::TrialHigh>(cx, "high")
}

pub fn spl(cx: &mut ThreadCx) -> Verdict {
    let lines = trial::establish(cx, [0; 3]).map_err(|error| format!("{error}"))?;
    // Where the lines interrupt.
    thread::set_affinity(cx, thread::current(), CpuSet::only(0));
    let verdict = spl_on_cpu_0(cx);
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
    trial::disestablish(cx, lines).map_err(|error| format!("{error}"))?;
    verdict
}

/// Time for an interrupt to come through the GIC, if it is let.
pub fn settle() {
    bsp::timer::Spin.delay_us(200);
}

/// What ran of the trial lines, in order, as `lines` were set pending.
fn pend(lines: &[Line]) -> Vec<Line> {
    for line in lines {
        trial::set_pending(*line);
        settle();
    }
    trial::take_order()
}

fn spl_on_cpu_0(cx: &mut ThreadCx) -> Verdict {
    const ALL: [Line; 3] = [Line::Bio, Line::Net, Line::Tty];
    // First all that happens, then what to think of it: a check that fails must not go away with something held.
    let open = pend(&ALL[..1]);
    let bio = splbio::<Kernel>();
    let under_bio = pend(&ALL[..2]);
    splx::<Bio, Kernel>(bio);
    let after_bio = trial::take_order();

    let vm = splvm::<Kernel>();
    let under_vm = pend(&ALL);
    splx::<Vm, Kernel>(vm);
    let after_vm = trial::take_order();

    // Given back in another order than last in, first out.
    let (bio, net) = (splbio::<Kernel>(), splnet::<Kernel>());
    let under_both = pend(&ALL[..2]);
    splx::<Bio, Kernel>(bio);
    let after_one = trial::take_order();
    splx::<Net, Kernel>(net);
    let after_both = trial::take_order();

    // A ladder has Bio below Net.
    let (one, both): (&[_], &[_]) = match intr::policy() {
        Policy::Domain => (&[Line::Bio], &[Line::Net]),
        Policy::Eager | Policy::Lazy => (&[], &[Line::Net, Line::Bio]),
    };
    for (what, ran, expected) in [
        ("open", open, [Line::Bio].as_slice()),
        ("under splbio", under_bio, &[Line::Net]),
        ("after splbio", after_bio, &[Line::Bio]),
        ("under splvm", under_vm, &[]),
        ("after splvm", after_vm, &[Line::Tty, Line::Net, Line::Bio]),
        ("under splbio and splnet", under_both, &[]),
        ("after splbio alone", after_one, one),
        ("after both", after_both, both),
    ] {
        require(ran == expected, || {
            format!("{what}: {ran:?} ran instead of {expected:?}")
        })?;
    }
    let handled = trial::counts(cx).map(|(handled, _)| handled);
    require(handled == [4, 3, 1], || {
        format!("set pending 4, 3 and 1 times, handled {handled:?}")
    })?;
    clock(cx)?;
    preemption(cx)
}

/// The timer interrupt is held off, too.
fn clock(cx: &mut ThreadCx) -> Verdict {
    static RAN: AtomicU32 = AtomicU32::new(0);
    RAN.store(0, Ordering::Relaxed);
    let sched = splsched::<Kernel>();
    callout::schedule(
        cx,
        now_ns(),
        |_, _| RAN.store(RAN.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
        0,
    );
    settle();
    let held_off = RAN.load(Ordering::Relaxed);
    splx::<Sched, Kernel>(sched);
    // An emulated timer may not have expired yet.
    trial::spin_until(PATIENCE_NS, || RAN.load(Ordering::Relaxed) != 0);
    settle();
    let after = RAN.load(Ordering::Relaxed);
    require((held_off, after) == (0, 1), || {
        format!("a callout ran {held_off} times under splsched, {after} times after")
    })
}

/// A better thread waits for the last hold to go.
fn preemption(cx: &mut ThreadCx) -> Verdict {
    let ran = Arc::new(AtomicBool::new(false));
    let better = ran.clone();
    let (bio, net) = (splbio::<Kernel>(), splnet::<Kernel>());
    let handle = spawn(cx, "better", PRIORITY, CpuSet::only(0), move |_| {
        better.store(true, Ordering::Relaxed);
    });
    let held = ran.load(Ordering::Relaxed);
    splx::<Bio, Kernel>(bio);
    let half = ran.load(Ordering::Relaxed);
    splx::<Net, Kernel>(net);
    let open = ran.load(Ordering::Relaxed);
    join(cx, alloc::vec![handle?])?;
    require((held, half, open) == (false, false, true), || {
        format!("a better thread ran: under two holds {held}, under one {half}, with none {open}")
    })
}
