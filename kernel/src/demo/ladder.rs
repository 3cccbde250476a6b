// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ladder: each level raised in turn, and what comes through.
//!
//! One thread does it all on one CPU: it raises spl, has each line interrupt its own CPU, and waits long enough that a
//! handler that may run has run. So the table is the same each time.
use super::{HOLDS, Hold, PATIENCE_NS, check_counts, counts, handled, pause, send, with_lines};
use crate::callout;
use crate::console::shell::{Refusal, check_interrupt};
use crate::cpu::{self, CpuSet};
use crate::intr;
use crate::thread::{self, ThreadCx};
use crate::trial::{LINES, spin_until};
use bsp::timer::now_ns;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};
use sync::delivery::Policy;

/// More than an interrupt takes through the GIC, if it is let.
const SETTLE_NS: u64 = 300_000;
/// More than the timer takes to interrupt, if it is let: an emulator's needs the host.
const TIMER_NS: u64 = 50_000_000;

/// What happened while something was held.
struct Rung {
    raised: u8,
    after: u8,
    /// What came through: each line, and the timer.
    came: [bool; LINES.len() + 1],
}

/// Prints the table.
pub fn run(cx: &mut ThreadCx, out: &mut dyn Write) -> Result<(), Refusal> {
    let cpu = cpu::online().iter().last().unwrap_or(0);
    with_lines(cx, [cpu; 3], |cx| {
        thread::set_affinity(cx, thread::current(), CpuSet::only(cpu));
        writeln!(
            out,
            "Under each policy: the priority mask register (PMR) once spl is raised, and when\n\
             an interrupt of each class was sent; and which of them came through.\n\
             policy  held      raised  after   bio  net  tty  sched"
        )?;
        for policy in Policy::ALL {
            intr::set_policy(cx, policy);
            for hold in Hold::ALL {
                check_interrupt(cx)?;
                let rung = climb(cx, hold)?;
                let came = rung.came.map(|came| if came { "yes" } else { "-" });
                let [bio, net, tty, sched] = came;
                writeln!(
                    out,
                    "{policy:<6}  {:<8}  {:#04x}    {:#04x}    {bio:<3}  {net:<3}  {tty:<3}  {sched}",
                    hold.name(),
                    rung.raised,
                    rung.after,
                )?;
            }
        }
        let all = check_counts()?;
        Ok(writeln!(
            out,
            "{all} interrupts of the lines sent, {all} handled: what was held off came later"
        )?)
    })
}

/// Raises to `hold`, and sees what comes through.
fn climb(cx: &mut ThreadCx, hold: Hold) -> Result<Rung, Refusal> {
    static TIMER_CAME: AtomicBool = AtomicBool::new(false);
    TIMER_CAME.store(false, Ordering::Relaxed);
    let before = [0, 1, 2].map(|line| counts(line)[2]);
    let rung = hold.around(|| {
        HOLDS.store(true, Ordering::Relaxed);
        let raised = intr::mask();
        for line in 0..LINES.len() {
            send(line);
            pause(SETTLE_NS);
        }
        let after = intr::mask();
        callout::schedule(
            cx,
            now_ns(),
            |_, _| TIMER_CAME.store(HOLDS.load(Ordering::Relaxed), Ordering::Relaxed),
            0,
        );
        let end = now_ns() + TIMER_NS;
        while !TIMER_CAME.load(Ordering::Relaxed) && now_ns() < end {
            bsp::cpu::relax();
        }
        HOLDS.store(false, Ordering::Relaxed);
        let [bio, net, tty] = [0, 1, 2].map(|line| counts(line)[2] > before[line]);
        let came = [bio, net, tty, TIMER_CAME.load(Ordering::Relaxed)];
        Rung {
            raised,
            after,
            came,
        }
    });
    if spin_until(PATIENCE_NS, || (0..LINES.len()).all(handled)) {
        Ok(rung)
    } else {
        Err(Refusal("demo: FAILED: an interrupt was lost".into()))
    }
}
