// SPDX-License-Identifier: MIT OR Apache-2.0
//! The count: each interrupt that is sent is handled, once, under each policy, whatever is held, and while the policy
//! changes.
//!
//! # Theory
//! Each line has a thread that sends it, holding this or that or nothing, and sends the next when this one was handled:
//! the GIC keeps one bit for a line, so two at a time would be one. Most go to the thread's own CPU, one line at a time,
//! which is quick in an emulator, where CPUs wait for each other at the GIC's registers; one in [`ABROAD`] goes to the CPU
//! of another thread, all lines at a time, and comes in the middle of whatever is done there. The class Sched has no line: its interrupts are the cross-calls that the
//! console makes meanwhile.
//!
//! A lost interrupt is one that is not handled in 10 s. A doubled one is noticed by its handler: more handled than sent.
use super::{Hold, PATIENCE_NS, check_counts, counts, handled, send, with_lines};
use crate::console::shell::{Refusal, check_interrupt};
use crate::cpu::{self, CPUS, CpuSet};
use crate::thread::{self, JoinHandle, ThreadCx};
use crate::trial::{self, LINES, spin_until};
use crate::{intr, xcall};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::delivery::Policy;

/// Interrupts unless told otherwise, and most.
pub const INTERRUPTS: u64 = 100_000;
pub const MAX_INTERRUPTS: u64 = 1_000_000_000;
/// One in so many comes from another CPU.
const ABROAD: u64 = 64;
/// Below the console's.
const PRIORITY: u8 = thread::PRIORITY_NORMAL - 2;
/// How often the console looks, and how often it says how far it has come.
const LOOK_NS: u64 = 5_000_000;
const NEWS_NS: u64 = 2_000_000_000;

static STOP: AtomicBool = AtomicBool::new(false);
static LOST: AtomicBool = AtomicBool::new(false);
static CALLS_RUN: AtomicU64 = AtomicU64::new(0);

/// What the CPUs have done so far: interrupts that waited in memory, and times that some waited behind the PMR.
fn held_off(cx: &mut ThreadCx) -> [u64; 2] {
    let figures = intr::figures(cx);
    let figures = figures.iter().flatten();
    figures.fold([0, 0], |[deferred, held], figures| {
        let of = figures.delivery;
        [deferred + of.deferred, held + of.held]
    })
}

/// Sends `line` so many times, under each hold in turn.
fn send_again(line: usize, times: u64) {
    for n in 0..times {
        if STOP.load(Ordering::Relaxed) {
            return;
        }
        let hold = Hold::ALL[n as usize % Hold::ALL.len()];
        hold.around(|| send(line));
        if !spin_until(PATIENCE_NS, || handled(line)) {
            LOST.store(true, Ordering::Relaxed);
            return;
        }
    }
}

/// The count as it goes on.
struct Count<'a> {
    out: &'a mut dyn Write,
    /// Where the threads are, by line.
    cpus: [usize; LINES.len()],
    all: u64,
    news_ns: u64,
    calls: u64,
}

impl Count<'_> {
    /// Sends each line so many times. At home: one after the other, each from the CPU where it goes. Abroad: all at a
    /// time, each from the CPU where another goes. `changing`: while the policy does.
    fn send(
        &mut self,
        cx: &mut ThreadCx,
        times: u64,
        abroad: bool,
        changing: bool,
    ) -> Result<(), Refusal> {
        let line_of = |place: usize| (place + usize::from(abroad)) % LINES.len();
        for (place, cpu) in self.cpus.into_iter().enumerate() {
            intr::move_to(cx, trial::intid(LINES[line_of(place)]).into(), cpu)?;
        }
        STOP.store(false, Ordering::Relaxed);
        let at_a_time = if abroad { LINES.len() } else { 1 };
        for lines in [0, 1, 2].chunks(at_a_time) {
            let mut threads = Vec::new();
            let started = lines.iter().try_for_each(|line| {
                let work = {
                    let line = *line;
                    move |_: &mut ThreadCx| send_again(line, times)
                };
                let on = CpuSet::only(self.cpus[*line]);
                let handle = thread::spawn(cx, "sender", PRIORITY, on, work)?;
                threads.push(handle);
                Ok(())
            });
            let went = started.and_then(|()| self.attend(cx, &threads, changing));
            STOP.store(went.is_err(), Ordering::Relaxed);
            for handle in threads {
                // A thread gives up by itself when its interrupt is lost.
                if !handle.join_until(cx, now_ns() + 2 * PATIENCE_NS) {
                    return Err(Refusal("demo: FAILED: a sender does not end".into()));
                }
            }
            if LOST.load(Ordering::Relaxed) {
                check_counts()?;
                return Err(Refusal("demo: FAILED: an interrupt took over 10 s".into()));
            }
            went?;
        }
        Ok(())
    }

    /// Makes cross-calls and says how far it is, until the threads have ended.
    fn attend(
        &mut self,
        cx: &mut ThreadCx,
        threads: &[JoinHandle],
        changing: bool,
    ) -> Result<(), Refusal> {
        while threads.iter().any(|handle| handle.thread.id() == handle.id) {
            check_interrupt(cx)?;
            self.calls += cpu::online().iter().count() as u64;
            let count: xcall::Function = |_, _| {
                CALLS_RUN.fetch_add(1, Ordering::Relaxed);
            };
            xcall::call(cx, CpuSet::ALL, count, 0);
            if changing {
                let next = self.calls as usize / CPUS % Policy::ALL.len();
                intr::set_policy(cx, Policy::ALL[next]);
            }
            thread::sleep_until(cx, now_ns() + LOOK_NS);
            if now_ns() > self.news_ns {
                let sent: u64 = (0..LINES.len()).map(|line| counts(line)[0]).sum();
                writeln!(self.out, "  {sent} of {} sent", self.all)?;
                self.news_ns = now_ns() + NEWS_NS;
            }
        }
        Ok(())
    }
}

/// Sends `all` interrupts or a few more, and prints what came of them.
pub fn run(cx: &mut ThreadCx, out: &mut dyn Write, all: u64) -> Result<(), Refusal> {
    let online: heapless::Vec<usize, CPUS> = cpu::online().iter().collect();
    let cpus = [1, 2, 3].map(|n| online[n % online.len()]);
    LOST.store(false, Ordering::Relaxed);
    CALLS_RUN.store(0, Ordering::Relaxed);
    with_lines(cx, cpus, |cx| {
        let mut count = Count {
            out,
            cpus,
            all,
            news_ns: now_ns() + NEWS_NS,
            calls: 0,
        };
        let each = all.div_ceil(4 * LINES.len() as u64);
        let mut table = String::from(
            "sent, handled      bio            net            tty  deferred   at gic\n",
        );
        let ways = Policy::ALL.into_iter().map(Some).chain([None]);
        for policy in ways {
            let before = [0, 1, 2].map(counts);
            let [deferred, held] = held_off(cx);
            if let Some(policy) = policy {
                intr::set_policy(cx, policy);
            }
            let abroad = each.div_ceil(ABROAD);
            count.send(cx, each - abroad, false, policy.is_none())?;
            count.send(cx, abroad, true, policy.is_none())?;
            write!(table, "{:<8}", policy.map_or("changing", Policy::name))?;
            for (line, before) in before.iter().enumerate() {
                let [sent, handled, _] = counts(line);
                let (sent, handled) = (sent - before[0], handled - before[1]);
                write!(table, " {:>14}", format!("{sent}, {handled}"))?;
            }
            let [deferred_now, held_now] = held_off(cx);
            let (deferred, held) = (deferred_now - deferred, held_now - held);
            writeln!(table, " {deferred:>8} {held:>8}")?;
        }
        let Count { out, calls, .. } = count;
        write!(out, "{table}")?;
        let ran = CALLS_RUN.load(Ordering::Relaxed);
        writeln!(out, "cross-calls: {calls} made, {ran} run")?;
        let sent = check_counts()?;
        if ran != calls {
            return Err(Refusal(
                "demo: FAILED: cross-calls were lost or ran twice".into(),
            ));
        }
        Ok(writeln!(
            out,
            "{sent} interrupts sent, {sent} handled: none lost, none twice"
        )?)
    })
}
