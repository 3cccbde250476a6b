// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of soft interrupts: that nothing that was scheduled stays behind.
use super::{PRIORITY, Verdict, join, require, spawn};
use crate::cpu::{self, CpuSet};
use crate::intr::Handler;
use crate::softint::{self, Softint};
use crate::thread::{Kernel, ThreadCx};
use crate::trial::{self, Line};
use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::Once;
use sync::domain::{Bio, Cx, Interrupt};
use sync::ipl::Ipl;
use sync::spl::{splbio, splx};

static SOFT: Once<Softint> = Once::new();
/// Times that the device's handler ran, and the soft interrupt; as seen when splx returned. All on one CPU, then joined.
static HANDLED: AtomicU32 = AtomicU32::new(0);
static RAN: AtomicU32 = AtomicU32::new(0);
static AT_ONCE: AtomicU32 = AtomicU32::new(0);

fn schedules(_: &mut Cx<Interrupt<Bio>>, _: usize) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    if let Some(softint) = SOFT.get() {
        softint::schedule(softint);
    }
}

/// A device's handler that was held off schedules a soft interrupt: both have run when splx returns.
pub fn softints(cx: &mut ThreadCx) -> Verdict {
    const TIMES: u32 = 100;
    if SOFT.get().is_none() {
        let ran = |_: &mut ThreadCx, _: usize| {
            RAN.fetch_add(1, Ordering::Relaxed);
        };
        let softint = softint::establish(cx, Ipl::SoftSerial, ran, 0);
        let softint = softint.map_err(|error| format!("{error}"))?;
        SOFT.call_once(|| softint);
    }
    for counter in [&HANDLED, &RAN, &AT_ONCE] {
        counter.store(0, Ordering::Relaxed);
    }
    let cpu = cpu::online().iter().last().unwrap_or(0);
    let handler = Handler::<Bio>::Direct(schedules);
    let checked = trial::with_line(cx, Line::Bio, "softints", handler, cpu, |cx| {
        let held = spawn(cx, "held", PRIORITY, CpuSet::only(cpu), |_| {
            for _ in 0..TIMES {
                let handled = HANDLED.load(Ordering::Relaxed);
                let spl = splbio::<Kernel>();
                trial::set_pending(Line::Bio);
                splx::<Bio, Kernel>(spl);
                while HANDLED.load(Ordering::Relaxed) == handled {
                    bsp::cpu::relax();
                }
                // No lock, no interrupt since: who would look now?
                let at_once = RAN.load(Ordering::Relaxed) == handled + 1;
                AT_ONCE.fetch_add(at_once.into(), Ordering::Relaxed);
            }
        })?;
        join(cx, alloc::vec![held])
    });
    checked.map_err(|error| format!("{error}"))??;
    let [handled, at_once] = [&HANDLED, &AT_ONCE].map(|n| n.load(Ordering::Relaxed));
    require((handled, at_once) == (TIMES, TIMES), || {
        format!("{handled} of {TIMES} handled, {at_once} times the soft interrupt ran at once")
    })
}
