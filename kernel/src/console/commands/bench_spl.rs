// SPDX-License-Identifier: MIT OR Apache-2.0
//! `bench spl`: what a policy costs: with nothing coming, and for each interrupt that is held off.
use super::Outcome;
use crate::console::shell::{Refusal, check_interrupt};
use crate::cpu::{self, CpuSet};
use crate::intr::{self, Handler};
use crate::thread::{self, Kernel, ThreadCx};
use crate::trial::{self, Line, spin_until};
use alloc::format;
use alloc::string::String;
use bsp::timer::Spin;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use embedded_hal::delay::DelayNs;
use sync::delivery::Policy;
use sync::domain::{Cx, Interrupt, Net};
use sync::spl::{splnet, splx};

/// Raises and releases with nothing coming.
const PAIRS: u64 = 1_000_000;
/// Interrupts that come with nothing held off, and as many that are held off.
const INTERRUPTS: u64 = 1000;
/// Time for one to come through the GIC, if it is let.
const SETTLE_US: u32 = 20;

const PATIENCE_NS: u64 = 1_000_000_000;

/// What the handler has counted.
static HANDLED: AtomicU32 = AtomicU32::new(0);

fn handler(_: &mut Cx<Interrupt<Net>>, _: usize) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

pub fn run(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let cpu = cpu::online().iter().last().unwrap_or(0);
    let handler = Handler::<Net>::Direct(handler);
    trial::with_line(cx, Line::Net, "bench spl", handler, cpu, |cx| {
        let before = intr::policy();
        thread::set_affinity(cx, thread::current(), CpuSet::only(cpu));
        let result = table(cx, out, cpu);
        thread::set_affinity(cx, thread::current(), CpuSet::ALL);
        intr::set_policy(cx, before);
        result
    })?
}

fn table(cx: &mut ThreadCx, out: &mut dyn Write, cpu: usize) -> Outcome {
    writeln!(
        out,
        "CPU {cpu}: {PAIRS} pairs of splnet and splx with nothing coming; then {INTERRUPTS}\n\
         network interrupts with nothing held off, and {INTERRUPTS} that each come under splnet\n\n\
         policy   PMR writes,  instructions,  GIC accesses an interrupt:   of them PMR,\n\
         \x20         all pairs         a pair   not held off    held off      held off"
    )?;
    for policy in Policy::ALL {
        check_interrupt(cx)?;
        intr::set_policy(cx, policy);
        let (writes, pair) = pairs();
        let open = accesses(false)?;
        let held = accesses(true)?;
        let pair = pair.map_or("-".into(), |count| format!("{count}"));
        writeln!(
            out,
            "{policy:<7} {writes:>12} {pair:>14} {:>14} {:>11} {:>13}",
            each(open.accesses),
            each(held.accesses),
            each(held.writes),
        )?;
    }
    Ok(())
}

/// A count for all [`INTERRUPTS`] as one for each, with a place behind the point.
fn each(count: u64) -> String {
    let tenths = (count * 10 + INTERRUPTS / 2) / INTERRUPTS;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// PMR writes for all pairs, and instructions of one.
fn pairs() -> (u64, Option<u64>) {
    loop {
        let before = Accesses::so_far();
        let began = bsp::cpu::instructions();
        for _ in 0..PAIRS {
            splx::<Net, Kernel>(splnet::<Kernel>());
        }
        let began = began.zip(bsp::cpu::instructions());
        let took = began.map(|(began, now)| u64::from(now.wrapping_sub(began)) / PAIRS);
        let cost = Accesses::so_far().since(before);
        // Again, if an interrupt did come.
        if cost.accesses == cost.writes {
            return (cost.writes, took);
        }
    }
}

/// What this CPU has done to its GIC interface.
#[derive(Clone, Copy)]
struct Accesses {
    accesses: u64,
    /// Of these, writes of the PMR.
    writes: u64,
}

impl Accesses {
    fn so_far() -> Self {
        let figures = intr::figures_here();
        Self {
            accesses: figures.delivery.accesses + figures.deactivated,
            writes: figures.delivery.mask_writes,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            accesses: self.accesses - before.accesses,
            writes: self.writes - before.writes,
        }
    }
}

/// What [`INTERRUPTS`] cost, each under a splnet of its own or under none.
fn accesses(held: bool) -> Result<Accesses, Refusal> {
    let before = Accesses::so_far();
    for _ in 0..INTERRUPTS {
        let handled = HANDLED.load(Ordering::Relaxed);
        let net = held.then(splnet::<Kernel>);
        trial::set_pending(Line::Net);
        Spin.delay_us(SETTLE_US);
        let early = HANDLED.load(Ordering::Relaxed) != handled;
        if let Some(net) = net {
            splx::<Net, Kernel>(net);
        }
        if !spin_until(PATIENCE_NS, || HANDLED.load(Ordering::Relaxed) != handled) {
            return Err(Refusal("an interrupt was lost".into()));
        }
        if held && early {
            return Err(Refusal("an interrupt came that was held off".into()));
        }
    }
    Ok(Accesses::so_far().since(before))
}
