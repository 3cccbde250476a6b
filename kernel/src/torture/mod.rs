// SPDX-License-Identifier: MIT OR Apache-2.0
//! The torture of the locks: every kind, from threads, interrupts and callouts, while CPUs go and come and priorities
//! change.
//!
//! # Theory
//! What must hold is checked in three ways. Exclusion: each lock guards two words that are equal whenever nobody is
//! inside, and counts in them what counters outside say, too ([`place`]). Progress: every thread must come to
//! [`MIN_TURNS`] turns and then end; a wake-up that is lost leaves its thread, or a ring of them, standing. Accounts:
//! lockstat watches, and must have seen as many entries of each lock as the torture made. As a lock that is
//! watched takes its slow path only, the first half of the time is without. A check that cannot
//! fail is none: `torture broken` puts a lock among the others that lets two in ([`broken`]).
//!
//! # Contexts
//! The console's thread, which also does what happens to the machine meanwhile.
mod broken;
mod place;
mod work;

pub use place::{BIO, NET, TTY};
pub use work::in_interrupt;

use crate::console::shell::{Refusal, interrupted};
use crate::cpu::{self, CPUS, CpuSet};
use crate::thread::{self, JoinHandle, Kernel, ThreadCx};
use crate::{board, smp, trial};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use place::Line;
use sync::lockstat::{self, Watcher};

/// Turns that every thread must come to.
pub const MIN_TURNS: u64 = 50;
/// How long they may take for that beyond the time asked for, and then to end.
const PATIENCE_NS: u64 = 30_000_000_000;
/// Most threads.
const MAX_WORKERS: usize = 32;
/// Where the threads' priorities begin; all are below the console's.
const PRIORITY: u8 = 4;
const PRIORITIES: u64 = 4;
/// How often the machine changes under them, and how often the console hears of it.
const CHANGE_NS: u64 = 20_000_000;
const NEWS_NS: u64 = 10_000_000_000;

/// One run. ORDERING: counters, and flags that are looked at again and again.
struct Run {
    /// Interrupts take part.
    running: AtomicBool,
    stop: AtomicBool,
    broken: AtomicBool,
    turns: [AtomicU64; MAX_WORKERS],
    /// Whose turn it is in the ring.
    turn: AtomicU32,
    /// Callouts that have not run yet.
    callouts: AtomicU32,
    rung: AtomicU64,
    heard: AtomicU64,
    cancelled: AtomicU64,
    not_cancelled: AtomicU64,
}

const _: () = {
    let (mut kind, mut workers) = (0, 0);
    while kind < work::WORK.len() {
        workers += work::WORK[kind].1;
        kind += 1;
    }
    assert!(workers <= MAX_WORKERS);
};

static RUN: Run = Run {
    running: AtomicBool::new(false),
    stop: AtomicBool::new(false),
    broken: AtomicBool::new(false),
    turns: [const { AtomicU64::new(0) }; MAX_WORKERS],
    turn: AtomicU32::new(0),
    callouts: AtomicU32::new(0),
    rung: AtomicU64::new(0),
    heard: AtomicU64::new(0),
    cancelled: AtomicU64::new(0),
    not_cancelled: AtomicU64::new(0),
};

impl Run {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.stop.store(false, Ordering::Relaxed);
        self.turn.store(0, Ordering::Relaxed);
        self.turns
            .iter()
            .for_each(|n| n.store(0, Ordering::Relaxed));
    }

    fn reset(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
        let counters = [
            &self.rung,
            &self.heard,
            &self.cancelled,
            &self.not_cancelled,
        ];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// Numbers without much order (xorshift).
pub struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Worker {
    name: String,
    handle: JoinHandle,
}

fn live(cx: &mut ThreadCx, number: usize, of_its_kind: usize, work: work::Work) {
    let mut rng = Rng(number as u64 + 1);
    while !RUN.stopping() {
        work(cx, &mut rng, of_its_kind);
        RUN.turns[number].fetch_add(1, Ordering::Relaxed);
        match rng.below(8) {
            0 => thread::sleep_until(cx, now_ns() + rng.below(100_000)),
            1 => thread::yield_now(cx),
            _ => {}
        }
    }
}

/// Starts all threads; those that could be, if one could not.
fn start(cx: &mut ThreadCx, workers: &mut Vec<Worker>) -> Result<(), Refusal> {
    for (name, threads, work) in work::WORK {
        for n in 0..*threads {
            let (name, number) = (format!("{name}/{n}"), workers.len());
            let priority = PRIORITY + (number as u64 % PRIORITIES) as u8;
            // The first of a kind goes where there is room, the others each have a CPU, so that they meet.
            let affinity = match n % CPUS {
                0 => CpuSet::ALL,
                cpu => CpuSet::only(cpu),
            };
            let handle = thread::spawn(cx, &name, priority, affinity, move |cx| {
                live(cx, number, n, *work);
            })?;
            workers.push(Worker { name, handle });
        }
    }
    Ok(())
}

/// What happened to the machine meanwhile.
#[derive(Default)]
struct Changes {
    cpus: u32,
    priorities: u32,
}

impl Changes {
    /// A CPU goes or comes, a priority changes.
    fn next(
        &mut self,
        cx: &mut ThreadCx,
        workers: &[Worker],
        rng: &mut Rng,
    ) -> Result<(), Refusal> {
        let worker = &workers[rng.below(workers.len() as u64) as usize];
        let priority = PRIORITY + rng.below(PRIORITIES) as u8;
        thread::set_priority(cx, worker.handle.thread, priority);
        self.priorities += 1;
        if self.priorities.is_multiple_of(4) && board::get().method.is_some() {
            let n = 1 + rng.below(CPUS as u64 - 1) as usize;
            if cpu::online().contains(n) {
                smp::stop(cx, n)?;
            } else {
                smp::start(cx, n)?;
            }
            self.cpus += 1;
        }
        Ok(())
    }

    fn undo(cx: &mut ThreadCx) -> Result<(), Refusal> {
        for n in 1..CPUS {
            if board::get().method.is_some() && !cpu::online().contains(n) {
                smp::start(cx, n)?;
            }
        }
        Ok(())
    }
}

/// The thread that took fewest turns, and how many.
fn least_turns(workers: &[Worker]) -> (&str, u64) {
    let turns = RUN.turns.iter().map(|n| n.load(Ordering::Relaxed));
    let least = workers.iter().zip(turns).min_by_key(|(_, n)| *n);
    least.map_or(("", 0), |(worker, n)| (&worker.name, n))
}

/// What half of the torture came to.
struct Half {
    lines: [Line; place::PLACES],
    /// What every thread came to, and who to least.
    turns: u64,
    slowest: String,
}

/// Tortures the locks for `seconds`, and reports.
pub fn run(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    seconds: u64,
    broken: bool,
) -> Result<(), Refusal> {
    // Each line on a CPU of its own, so that handlers meet holders everywhere.
    let lines = trial::establish(cx, [0, 1, 2].map(spread))?;
    let verdict = tortured(cx, out, seconds, broken);
    trial::disestablish(cx, lines)?;
    verdict
}

/// The `n`th CPU that is online, round and round.
fn spread(n: usize) -> usize {
    let online: Vec<usize> = cpu::online().iter().collect();
    online[n % online.len()]
}

fn tortured(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    seconds: u64,
    broken: bool,
) -> Result<(), Refusal> {
    writeln!(
        out,
        "{seconds} s, half of it watched by lockstat; Ctrl-C ends a half"
    )?;
    RUN.reset(broken);
    let (watched, mut changes) = (lockstat::is_watching(Watcher::Lockstat), Changes::default());
    let half_ns = seconds * 500_000_000;
    let halves = torture(cx, out, half_ns, false, &mut changes)
        .and_then(|fast| Ok((fast, torture(cx, out, half_ns, true, &mut changes)?)));
    lockstat::set_watching::<Kernel>(Watcher::Lockstat, watched);
    let (fast, slow) = halves?;

    let wrong = report(out, &fast, &slow)?;
    let [rung, heard, cancelled, not_cancelled] =
        [&RUN.rung, &RUN.heard, &RUN.cancelled, &RUN.not_cancelled]
            .map(|n| n.load(Ordering::Relaxed));
    let Changes { cpus, priorities } = changes;
    for Half { turns, slowest, .. } in [&fast, &slow] {
        writeln!(
            out,
            "every thread {turns} turns or more (fewest: {slowest})"
        )?;
    }
    writeln!(
        out,
        "bell rung {rung} times, heard {heard}; {cancelled} waits cancelled"
    )?;
    writeln!(
        out,
        "meanwhile {cpus} CPUs went or came, {priorities} priorities changed"
    )?;
    for (bad, what) in [
        (wrong > 0, "a lock does not hold: see the table"),
        (
            fast.turns.min(slow.turns) < MIN_TURNS,
            "a thread did not get on",
        ),
        (heard > rung, "a signal woke more than one"),
        (not_cancelled > 0, "a cancelled thread was not told so"),
    ] {
        if bad {
            return Err(Refusal(format!("torture: FAILED: {what}")));
        }
    }
    Ok(writeln!(out, "torture: passed")?)
}

/// Tortures the locks for `time_ns`, watched by lockstat or not.
fn torture(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    time_ns: u64,
    watch: bool,
    changes: &mut Changes,
) -> Result<Half, Refusal> {
    /// Threads of an earlier run did not end.
    static LOST: AtomicBool = AtomicBool::new(false);
    if LOST.load(Ordering::Relaxed) {
        let why = "threads of an earlier torture never ended; reboot";
        return Err(Refusal(why.into()));
    }
    lockstat::set_watching::<Kernel>(Watcher::Lockstat, false);
    let _earlier = place::take(cx);
    RUN.begin();
    lockstat::clear();
    lockstat::set_watching::<Kernel>(Watcher::Lockstat, watch);
    RUN.running.store(true, Ordering::Relaxed);

    let mut workers = Vec::new();
    let went = start(cx, &mut workers)
        .and_then(|()| change_meanwhile(cx, out, time_ns, &workers, changes));
    let patience = now_ns() + PATIENCE_NS;
    while went.is_ok() && least_turns(&workers).1 < MIN_TURNS && now_ns() < patience {
        thread::sleep_until(cx, now_ns() + CHANGE_NS);
    }
    let (slowest, turns) = least_turns(&workers);
    let slowest = slowest.into();
    work::let_go(cx);
    let patience = now_ns() + PATIENCE_NS;
    let mut lost = String::new();
    for Worker { name, handle } in workers {
        if !handle.join_until(cx, patience) {
            lost.push_str(&format!(" {name}"));
        }
    }
    quiesce(cx, patience);
    lockstat::set_watching::<Kernel>(Watcher::Lockstat, false);
    if !lost.is_empty() {
        LOST.store(true, Ordering::Relaxed);
        return Err(Refusal(format!(
            "torture: FAILED: these never ended:{lost}"
        )));
    }
    let lines = place::take(cx);
    went.map(|()| Half {
        lines,
        turns,
        slowest,
    })
}

/// Changes the machine under the threads until the time is over; then all CPUs are back.
fn change_meanwhile(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    time_ns: u64,
    workers: &[Worker],
    changes: &mut Changes,
) -> Result<(), Refusal> {
    let begin = now_ns();
    let (end, mut news) = (begin + time_ns, begin + NEWS_NS);
    let mut rng = Rng(begin | 1);
    while now_ns() < end && !interrupted(cx) {
        changes.next(cx, workers, &mut rng)?;
        thread::sleep_until(cx, now_ns() + CHANGE_NS);
        if now_ns() > news {
            let (slowest, turns) = least_turns(workers);
            let s = (now_ns() - begin) / 1_000_000_000;
            writeln!(
                out,
                "{s} s: every thread {turns} turns or more (fewest: {slowest})"
            )?;
            news += NEWS_NS;
        }
    }
    Changes::undo(cx)
}

/// Waits until no interrupt and no callout is at a lock any more.
fn quiesce(cx: &mut ThreadCx, patience_ns: u64) {
    RUN.running.store(false, Ordering::Relaxed);
    // The lines interrupt CPU 0: whoever runs there as a thread knows that no handler does.
    thread::set_affinity(cx, thread::current(), CpuSet::only(0));
    // ORDERING: pairs with the Release in `in_callout`.
    while RUN.callouts.load(Ordering::Acquire) != 0 && now_ns() < patience_ns {
        thread::sleep_until(cx, now_ns() + 1_000_000);
    }
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
}

/// Prints the table; how many lines of it are wrong.
fn report(out: &mut dyn Write, fast: &Half, slow: &Half) -> Result<usize, Refusal> {
    writeln!(
        out,
        "lock       kind       entries   watched  lockstat  interrupts  gave up  caught"
    )?;
    let mut wrong = 0;
    for (fast, slow) in fast.lines.iter().zip(&slow.lines) {
        if fast.entries + slow.entries == 0 {
            continue;
        }
        let class = fast.class.trim_start_matches("Torture");
        write!(
            out,
            "{class:<9}  {:<8} {:>9} {:>9}",
            fast.kind, fast.entries, slow.entries
        )?;
        match slow.lockstat {
            Some(entries) => write!(out, " {entries:>9}")?,
            None => write!(out, " {:>9}", "-")?,
        }
        writeln!(
            out,
            "  {:>10}  {:>7}  {:>6}",
            fast.interrupts + slow.interrupts,
            fast.timeouts + slow.timeouts,
            fast.violations + slow.violations
        )?;
        if fast.two_were_inside() || slow.two_were_inside() {
            wrong += 1;
            writeln!(out, "  WRONG: two were inside")?;
        } else if slow.lockstat.is_some_and(|entries| entries != slow.entries) {
            wrong += 1;
            writeln!(out, "  WRONG: lockstat counted otherwise")?;
        }
    }
    Ok(wrong)
}
