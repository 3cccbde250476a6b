// SPDX-License-Identifier: MIT OR Apache-2.0
//! A share of each CPU, used up: what another load would take, and nothing else of it.
//!
//! With it the time that two loads take from each other is told from the time that they wait for each other: `make
//! bench-domains` puts it in the place of one of them.
use crate::console::shell::Refusal;
use crate::cpu::{self, CpuSet};
use crate::thread::{self, ThreadCx};
use bsp::timer::now_ns;

/// The most seconds.
pub const MAX_SECONDS: u64 = 600;
/// As soon as interrupts' threads, as far as a thread can: it comes before all that are not interrupts'.
const PRIORITY: u8 = thread::PRIORITY_SYSTEM + 1;
/// How long it sleeps at a time.
const SLEEP_NS: u64 = 1_000_000;

/// Spins on each CPU for that share of the next seconds, in the background.
pub fn run(cx: &mut ThreadCx, percent: &[u64], seconds: u64) -> Result<(), Refusal> {
    for (cpu, percent) in percent.iter().copied().enumerate() {
        if percent == 0 || !cpu::online().contains(cpu) {
            continue;
        }
        let work = move |cx: &mut ThreadCx| spin(cx, percent, seconds * 1_000_000_000);
        thread::spawn(cx, "share", PRIORITY, CpuSet::only(cpu), work)?;
    }
    Ok(())
}

fn spin(cx: &mut ThreadCx, percent: u64, time_ns: u64) {
    let began_ns = now_ns();
    let mut spun_ns = 0;
    loop {
        let from_ns = now_ns();
        let elapsed_ns = from_ns - began_ns;
        if elapsed_ns >= time_ns {
            return;
        }
        // What was missed, for sleeps take longer than they should, is made up for.
        let due_ns = (elapsed_ns + SLEEP_NS) * percent / 100;
        while spun_ns + (now_ns() - from_ns) < due_ns && now_ns() - began_ns < time_ns {
            bsp::cpu::relax();
        }
        spun_ns += now_ns() - from_ns;
        thread::sleep_until(cx, now_ns() + SLEEP_NS);
    }
}
