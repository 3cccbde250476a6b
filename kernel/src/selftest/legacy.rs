// SPDX-License-Identifier: MIT OR Apache-2.0
//! The check of legacy interrupts: handlers that were not written for several CPUs.
use super::{PATIENCE_NS, Verdict, require};
use crate::cpu::irq_save;
use crate::cpu::{self, CPUS};
use crate::intr::{self, DeviceDomain, Handler};
use crate::thread::ThreadCx;
use crate::trial::{self, LINES};
use alloc::format;
use alloc::string::String;
use bsp::cpu::irq_restore;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use sync::domain::{Bio, Net};

/// Two handlers, each of which waits inside for the other. ORDERING: counters, and flags that are looked at again and again;
/// a flag of `inside` is set by its handler while it is inside, so who sees it from inside has met it.
struct Meeting {
    inside: [AtomicBool; 2],
    /// They were inside together, in this round.
    met: AtomicBool,
    patience_ns: AtomicU64,
    ended: AtomicU32,
}

static MEETING: Meeting = Meeting {
    inside: [const { AtomicBool::new(false) }; 2],
    met: AtomicBool::new(false),
    patience_ns: AtomicU64::new(0),
    ended: AtomicU32::new(0),
};

fn meet(side: usize) {
    let m = &MEETING;
    m.inside[side].store(true, Ordering::SeqCst);
    let end = now_ns() + m.patience_ns.load(Ordering::Relaxed);
    while !m.met.load(Ordering::Relaxed) && now_ns() < end {
        if m.inside[1 - side].load(Ordering::SeqCst) {
            m.met.store(true, Ordering::Relaxed);
        }
        bsp::cpu::relax();
    }
    m.inside[side].store(false, Ordering::SeqCst);
    m.ended.fetch_add(1, Ordering::Release);
}

/// Interrupts two CPUs at once, again and again; in how many rounds the handlers were inside together.
fn meetings<A: DeviceDomain, B: DeviceDomain>(
    cx: &mut ThreadCx,
    (one, other): (Handler<A>, Handler<B>),
    rounds: u32,
    patience_ns: u64,
) -> Result<u32, String> {
    let online: heapless::Vec<usize, CPUS> = cpu::online().iter().collect();
    let complaint = |error| format!("{error}");
    let [a, b] = [LINES[0], LINES[1]].map(trial::intid);
    let one = intr::establish(cx, a, "trial one", one, 0).map_err(complaint)?;
    let other = match intr::establish(cx, b, "trial other", other, 1) {
        Ok(other) => other,
        Err(error) => {
            intr::disestablish(cx, one).map_err(complaint)?;
            return Err(complaint(error));
        }
    };
    MEETING.patience_ns.store(patience_ns, Ordering::Relaxed);
    let mut together = Ok(0);
    for round in 0..rounds {
        MEETING.met.store(false, Ordering::Relaxed);
        MEETING.ended.store(0, Ordering::Relaxed);
        let cpus = [0, 1].map(|n| online[(round as usize + n) % online.len()]);
        let moved = intr::move_to(cx, a.into(), cpus[0]);
        let moved = moved.and(intr::move_to(cx, b.into(), cpus[1]));
        let daif = irq_save(); // one may come here, on top of what is to send the other
        intr::set_pending(a);
        intr::set_pending(b);
        irq_restore(daif);
        let ended = || MEETING.ended.load(Ordering::Acquire);
        let _counted_below = trial::sleep_until(cx, 2 * PATIENCE_NS, || ended() >= 2);
        let ended = ended();
        let met = MEETING.met.load(Ordering::Relaxed);
        together = match moved {
            Ok(()) if ended == 2 => together.map(|n| n + u32::from(met)),
            Ok(()) => Err(format!("{ended} of 2 handlers ended")),
            Err(error) => Err(complaint(error)),
        };
    }
    intr::disestablish(cx, one)
        .and(intr::disestablish(cx, other))
        .map_err(complaint)?;
    together
}

pub fn legacy(cx: &mut ThreadCx) -> Verdict {
    const ROUNDS: u32 = 12;
    /// How long one is inside at least: the other CPU is interrupted meanwhile, and waits.
    const LONG_NS: u64 = 10_000_000;
    if cpu::online().iter().count() < 2 {
        return Ok(()); // there is nobody to meet
    }
    fn old<D: DeviceDomain>() -> Handler<D> {
        Handler::Legacy(|_, side| meet(side))
    }
    fn new<D: DeviceDomain>() -> Handler<D> {
        Handler::Threaded(|_, side| meet(side))
    }
    let one_domain = meetings(cx, (old::<Bio>(), old::<Bio>()), ROUNDS, LONG_NS)?;
    let two_domains = meetings(cx, (old::<Bio>(), old::<Net>()), ROUNDS, PATIENCE_NS)?;
    // What would be seen if they were not kept apart.
    let not_legacy = meetings(cx, (new::<Bio>(), new::<Bio>()), ROUNDS, PATIENCE_NS)?;
    let met = [one_domain, two_domains, not_legacy];
    require(met == [0, ROUNDS, ROUNDS], || {
        format!(
            "of {ROUNDS} times two were inside: legacy bio and bio {one_domain}, \
             bio and net {two_domains}; threaded bio and bio {not_legacy}"
        )
    })
}
