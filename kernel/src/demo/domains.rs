// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domains: how long disk interrupts wait for who holds off the network, and the other way round.
//!
//! # Theory
//! A thread on one CPU holds something for [`HOLD_NS`], again and again. Into each hold another CPU sends one interrupt of
//! the disk line and one of the network line, and notes how long each waits. The handler itself sees whether it runs in
//! the hold or after it, and the hold goes on until an interrupt that may come has come: so the counts are exact, and
//! the same on every host.
//!
//! Times are not: in an emulator a CPU may stand still for milliseconds in the middle of it. Like is compared with like:
//! with nothing held, the same thread spins as long, and the same interrupts are sent at the same moments. The worst of all is
//! shown; what is compared is the worst of the quietest batch of [`BATCH`] holds, for the host disturbs some batches,
//! and what a hold costs is in each of them.
use super::{HOLDS, Hold, check_counts, counts, handled, pause, send, two_cpus, wait_ns};
use super::{PATIENCE_NS, with_lines};
use crate::console::shell::{Refusal, check_interrupt};
use crate::cpu::CpuSet;
use crate::intr;
use crate::thread::{self, ThreadCx};
use crate::trial::sleep_until;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::delivery::Policy;

/// How long something is held.
const HOLD_NS: u64 = 10_000_000;
/// How much longer, after the last interrupt was sent: more than one takes through the GIC, if it is let.
const SETTLE_NS: u64 = 300_000;
/// How often what may sleep looks.
const STEP_NS: u64 = 100_000;
/// Holds in a batch.
const BATCH: usize = 5;
/// Holds unless told otherwise, and most.
pub const HOLDS_EACH: u64 = 25;
pub const MAX_HOLDS: u64 = 100;
/// Above all that is no interrupt.
const PRIORITY: u8 = thread::PRIORITY_SYSTEM + 1;

/// What is held, in turn. The first is what the others are compared with.
const HELD: [Hold; 5] = [Hold::Nothing, Hold::Net, Hold::Bio, Hold::Vm, Hold::Sched];
const DISK: usize = 0;
const NETWORK: usize = 1;

/// What the holder and the sender tell each other: hold number n is wanted, is on, has its interrupts.
/// ORDERING: each is stored with Release, after what the other looks at, which loads it with Acquire.
struct Turns {
    wanted: AtomicU64,
    on: AtomicU64,
    sent: AtomicU64,
    stop: AtomicBool,
}

static TURNS: Turns = Turns {
    wanted: AtomicU64::new(0),
    on: AtomicU64::new(0),
    sent: AtomicU64::new(0),
    stop: AtomicBool::new(false),
};

impl Turns {
    fn reached(&self, turn: &AtomicU64, n: u64) -> bool {
        turn.load(Ordering::Acquire) >= n || self.stop.load(Ordering::Relaxed)
    }
}

/// The thread that holds.
fn hold_again(cx: &mut ThreadCx, hold: Hold, holds: u64) {
    for n in 1..=holds {
        while !TURNS.reached(&TURNS.wanted, n) {
            thread::sleep_until(cx, now_ns() + STEP_NS);
        }
        if TURNS.stop.load(Ordering::Relaxed) {
            return;
        }
        hold.around(|| {
            HOLDS.store(true, Ordering::Relaxed);
            let end = now_ns() + HOLD_NS;
            TURNS.on.store(n, Ordering::Release);
            while !TURNS.reached(&TURNS.sent, n) {
                bsp::cpu::relax();
            }
            pause(end.saturating_sub(now_ns()).max(SETTLE_NS));
            HOLDS.store(false, Ordering::Relaxed);
        });
    }
}

/// What one line had to wait, under one policy, with one thing held.
#[derive(Default)]
struct Cell {
    handled: u64,
    in_hold: u64,
    waits_ns: Vec<u64>,
}

impl Cell {
    fn median_ns(&self) -> u64 {
        let mut waits = self.waits_ns.clone();
        waits.sort_unstable();
        waits.get(waits.len() / 2).copied().unwrap_or(0)
    }

    fn worst_ns(&self) -> u64 {
        self.waits_ns.iter().copied().max().unwrap_or(0)
    }

    /// The worst of the batch whose worst is least.
    fn quiet_ns(&self) -> u64 {
        let worst = |batch: &[u64]| batch.iter().copied().max();
        let batches = self.waits_ns.chunks_exact(BATCH).filter_map(worst);
        batches.min().unwrap_or_else(|| self.worst_ns())
    }
}

/// Both lines, with one thing held.
type Row = [Cell; 2];

/// Has `holds` holds of `hold` interrupted. The caller runs on the CPU that sends.
fn measure(cx: &mut ThreadCx, hold: Hold, holds: u64, cpu: usize) -> Result<Row, Refusal> {
    for turn in [&TURNS.wanted, &TURNS.on, &TURNS.sent] {
        turn.store(0, Ordering::Relaxed);
    }
    TURNS.stop.store(false, Ordering::Relaxed);
    let only = CpuSet::only(cpu);
    let work = move |cx: &mut ThreadCx| hold_again(cx, hold, holds);
    let holder = thread::spawn(cx, "holder", PRIORITY, only, work)?;
    let before = [DISK, NETWORK].map(counts);
    let mut row = Row::default();
    let mut went = Ok(());
    for n in 1..=holds {
        went = check_interrupt(cx).and_then(|()| send_both(cx, n, &mut row));
        if went.is_err() {
            break;
        }
    }
    TURNS.stop.store(true, Ordering::Relaxed);
    if !holder.join_until(cx, now_ns() + PATIENCE_NS) {
        return Err(Refusal("demo: FAILED: the holder does not end".into()));
    }
    went?;
    for (line, cell) in row.iter_mut().enumerate() {
        let [_, handled, in_hold] = counts(line);
        cell.handled = handled - before[line][1];
        cell.in_hold = in_hold - before[line][2];
    }
    Ok(row)
}

/// Sends an interrupt of each line into hold `n`, sooner or later in it, and notes how long they wait. Sleeps meanwhile:
/// what spins here is in an emulator's way.
fn send_both(cx: &mut ThreadCx, n: u64, row: &mut Row) -> Result<(), Refusal> {
    TURNS.wanted.store(n, Ordering::Release);
    let mut came = sleep_until(cx, PATIENCE_NS, || TURNS.reached(&TURNS.on, n));
    thread::sleep_until(cx, now_ns() + HOLD_NS / 16 * (n % 8));
    for line in [DISK, NETWORK] {
        send(line);
        // The other one is not to come on top of it, if it may run.
        sleep_until(cx, SETTLE_NS, || handled(line));
    }
    TURNS.sent.store(n, Ordering::Release);
    for line in [DISK, NETWORK] {
        came &= sleep_until(cx, PATIENCE_NS, || handled(line));
        row[line].waits_ns.push(wait_ns(line));
    }
    if came {
        Ok(())
    } else {
        Err(Refusal("demo: FAILED: an interrupt was lost".into()))
    }
}

/// Measures and prints all of it.
pub fn run(cx: &mut ThreadCx, out: &mut dyn Write, holds: u64) -> Result<(), Refusal> {
    let [holder, sender] = two_cpus()?;
    with_lines(cx, [holder; 3], |cx| {
        thread::set_affinity(cx, thread::current(), CpuSet::only(sender));
        writeln!(
            out,
            "CPU {holder} holds something for 10 ms, {holds} times; CPU {sender} sends it a disk and a\n\
             network interrupt each time. in hold: handled before the hold ended. Times: us.\n\
             \x20                -------- disk (bio) --------  ------- network (net) -------\n\
             policy  held      handled in hold median  worst  handled in hold median  worst"
        )?;
        let mut told = alloc::string::String::new();
        for policy in Policy::ALL {
            intr::set_policy(cx, policy);
            let mut rows = Vec::new();
            for hold in HELD {
                let row = measure(cx, hold, holds, holder)?;
                write!(out, "{policy:<6}  {:<8}", hold.name())?;
                for cell in &row {
                    write_cell(out, cell)?;
                }
                writeln!(out)?;
                rows.push(row);
            }
            conclude(&mut told, policy, holds, &rows)?;
        }
        write!(out, "{told}")?;
        let sent = check_counts()?;
        Ok(writeln!(out, "{sent} interrupts sent, {sent} handled")?)
    })
}

fn write_cell(out: &mut dyn Write, cell: &Cell) -> fmt::Result {
    let us = |ns: u64| ns.div_ceil(1000);
    let (median, worst) = (us(cell.median_ns()), us(cell.worst_ns()));
    write!(
        out,
        "  {:>7} {:>7} {median:>6} {worst:>6}",
        cell.handled, cell.in_hold
    )
}

/// Says what the figures say. `rows` as in [`HELD`].
fn conclude(out: &mut dyn Write, policy: Policy, holds: u64, rows: &[Row]) -> fmt::Result {
    let [nothing, net, bio, vm, sched] = rows else {
        return Ok(());
    };
    let mut policy = policy.name();
    for (who, line, held, row) in [
        ("disk", DISK, Hold::Net, net),
        ("network", NETWORK, Hold::Bio, bio),
    ] {
        let (free, held_off) = (&nothing[line], &row[line]);
        let verdict = match held_off.in_hold {
            0 => "waits for its end",
            n if n == holds => "does not wait",
            _ => "waits sometimes",
        };
        let tenths = held_off.quiet_ns() * 10 / free.quiet_ns().max(1);
        writeln!(
            out,
            "{policy:<6}  {} held: the {who} {verdict}: {}.{} times as long",
            held.name(),
            tenths / 10,
            tenths % 10,
        )?;
        policy = "";
    }
    let through = |row: &Row| row.iter().map(|cell| cell.in_hold).sum::<u64>();
    match (through(vm), through(sched)) {
        (0, 0) => writeln!(out, "{:<6}  splvm or splsched held: both wait", ""),
        (vm, sched) => writeln!(
            out,
            "{:<6}  handled in splvm {vm} times, in splsched {sched} times",
            ""
        ),
    }
}
