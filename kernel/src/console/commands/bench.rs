// SPDX-License-Identifier: MIT OR Apache-2.0
//! `bench`: what operations cost.
//!
//! Instructions and not time: they are the same in each run, and an emulator's time is the host's.
use super::{Command, Outcome, bench_spl, requires_instructions};
use crate::console::shell::{Call, Refusal};
use crate::cpu::{self, CpuSet};
use crate::thread::{self, Kernel, ThreadCx};
use crate::{board, lock_order};
use alloc::format;
use alloc::sync::Arc;
use bsp::timer::now_ns;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

pub const BENCH: Command = Command {
    name: "bench",
    arguments: "cv|spl",
    summary: "measure what operations cost, in instructions",
    details: "spl: what each policy costs: writes of the GIC's priority mask (PMR), and its\n\
              accesses for an interrupt that is held off.\n\
              cv: a round trip by condition variable: A signals B and waits, B signals A and\n\
              waits; on one CPU, then across two (both CPUs' instructions together).\n\
              Instructions are counted on a board, and in QEMU with -icount:\n\
              make run ARGS=--icount. Example: bench cv",
    takes_paths: false,
    run: bench,
};

/// Round trips that are measured, and those before.
const ROUND_TRIPS: usize = 1000;
const WARM_UP: usize = 10;
/// Above the shell's.
const PRIORITY: u8 = thread::PRIORITY_NORMAL + 4;
const PATIENCE_NS: u64 = 60_000_000_000;

fn bench(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    match call.word(0)? {
        "cv" => {}
        "spl" => return bench_spl::run(cx, out),
        _ => return Err(call.usage()),
    }
    requires_instructions()?;
    writeln!(out, "condition variable, {ROUND_TRIPS} round trips")?;
    writeln!(out, "CPUs    instructions a round trip (median)")?;
    let online: heapless::Vec<usize, { cpu::CPUS }> = cpu::online().iter().collect();
    let first = online[0];
    let here = round_trips(cx, [first, first])?;
    writeln!(out, "{first:<4}    {here:>34}")?;
    if let Some(second) = online.get(1) {
        let across = round_trips(cx, [first, *second])?;
        writeln!(out, "{first}, {second}    {across:>34}")?;
    }
    Ok(())
}

struct Pair {
    turn: KMutex<usize, lock_order::Trial>,
    /// It is this side's turn.
    changed: [KCondvar<Kernel>; 2],
    /// Instructions that each side's CPU retired in a round trip: the median.
    instructions: [AtomicU32; 2],
}

/// Instructions for a round trip between two threads on `cpus`: the median, since every now and then the host, or in
/// QEMU the end of a CPU's turn, takes away the CPU of one that the other spins for.
fn round_trips(cx: &mut ThreadCx, cpus: [usize; 2]) -> Result<u32, Refusal> {
    let pair = Arc::new(Pair {
        turn: KMutex::new(0),
        changed: [const { KCondvar::new() }; 2],
        instructions: Default::default(),
    });
    let mut handles = heapless::Vec::<_, 2>::new();
    for (side, cpu) in cpus.into_iter().enumerate() {
        let pair = pair.clone();
        let handle = thread::spawn(
            cx,
            &format!("bench/{side}"),
            PRIORITY,
            CpuSet::only(cpu),
            move |cx| play(cx, &pair, side),
        )?;
        let _two = handles.push(handle);
    }
    let end = now_ns() + PATIENCE_NS;
    for handle in handles {
        if !handle.join_until(cx, end) {
            return Err(Refusal("the threads do not end: a signal was lost".into()));
        }
    }
    let counted = pair
        .instructions
        .each_ref()
        .map(|n| n.load(Ordering::Relaxed));
    // QEMU has one counter, of the instructions of all CPUs, and shows it on each.
    Ok(if cpus[0] == cpus[1] || board::is_emulated() {
        counted[0]
    } else {
        counted[0] + counted[1]
    })
}

fn play(cx: &mut ThreadCx, pair: &Pair, side: usize) {
    // Written down after each round and worked out in the end, so as to add little to what is measured.
    let mut counts = [0; WARM_UP + ROUND_TRIPS + 1];
    for count in &mut counts {
        let (mut turn, mut cx) = pair.turn.enter(cx);
        while *turn != side {
            pair.changed[side].wait(&mut turn, &mut cx);
        }
        *turn = 1 - side;
        pair.changed[1 - side].signal(&mut cx);
        *count = bsp::cpu::instructions().unwrap_or(0);
    }
    let mut trips = [0; ROUND_TRIPS];
    for (trip, ends) in trips.iter_mut().zip(counts[WARM_UP..].windows(2)) {
        *trip = ends[1].wrapping_sub(ends[0]);
    }
    trips.sort_unstable();
    pair.instructions[side].store(trips[ROUND_TRIPS / 2], Ordering::Relaxed);
}
