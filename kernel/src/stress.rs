// SPDX-License-Identifier: MIT OR Apache-2.0
//! Load that checks itself: threads on all CPUs that compute, sleep, contend for a lock, and wake each other.
//!
//! Nothing may be lost: each pair passes a token to and fro by park and unpark, so one lost wake-up stops it for good;
//! the counter behind the lock must equal what its users counted; every thread must end when told.
use crate::cpu::CpuSet;
use crate::lock::SpinLock;
use crate::thread::wait::{SleepLock, WaitQueue};
use crate::thread::{self, JoinHandle, TooManyThreads};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Threads of each kind (pairs: two threads each).
const EACH: usize = 4;
/// How long all may take to end.
const PATIENCE_NS: u64 = 10_000_000_000;
/// Below the shell's, so that the console answers.
const PRIORITY: u8 = thread::PRIORITY_NORMAL - 2;

#[derive(Default)]
struct Counters {
    stop: AtomicBool,
    computed: AtomicU64,
    slept: AtomicU64,
    passed: AtomicU64,
    locked: AtomicU64,
}

struct Load {
    counters: Arc<Counters>,
    shared: Arc<SpinLock<u64>>,
    threads: Vec<JoinHandle>,
}

static LOAD: SleepLock<Option<Load>> = SleepLock::new(None);

impl Counters {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn compute(c: &Counters) {
    while !c.stopping() {
        for i in 0..2000u32 {
            core::hint::black_box(i);
        }
        c.computed.fetch_add(1, Ordering::Relaxed);
        thread::yield_now();
    }
}

fn sleep(c: &Counters, n: usize) {
    while !c.stopping() {
        thread::sleep_until(now_ns() + 300_000 * (n as u64 + 1));
        c.slept.fetch_add(1, Ordering::Relaxed);
    }
}

fn contend(c: &Counters, shared: &SpinLock<u64>) {
    while !c.stopping() {
        *shared.lock() += 1;
        c.locked.fetch_add(1, Ordering::Relaxed);
        thread::yield_now();
    }
}

/// A token that belongs to one side of a pair at a time.
struct Pair {
    mine: [AtomicBool; 2],
    queues: [WaitQueue; 2],
}

fn pass(c: &Counters, pair: &Pair, side: usize) {
    loop {
        // ORDERING: the swap's Acquire pairs with the other side's Release store.
        pair.queues[side].wait_until(None, || {
            c.stopping() || pair.mine[side].swap(false, Ordering::Acquire)
        });
        if c.stopping() {
            break;
        }
        c.passed.fetch_add(1, Ordering::Relaxed);
        pair.mine[1 - side].store(true, Ordering::Release);
        pair.queues[1 - side].wake_all();
    }
    pair.queues[1 - side].wake_all();
}

/// Starts the load.
pub fn start() -> Result<(), String> {
    let mut slot = LOAD.lock();
    if slot.is_some() {
        return Err("stress runs already; stress stop ends it".into());
    }
    let load = slot.insert(Load {
        counters: Arc::default(),
        shared: Arc::new(SpinLock::new(0)),
        threads: Vec::new(),
    });
    fill(load).map_err(|error| format!("{error}; stress stop ends what was started"))
}

fn fill(load: &mut Load) -> Result<(), TooManyThreads> {
    let mut run = |name: String, work: alloc::boxed::Box<dyn FnOnce() + Send>| {
        thread::spawn(&name, PRIORITY, CpuSet::ALL, work).map(|handle| load.threads.push(handle))
    };
    for n in 0..EACH {
        let c = load.counters.clone();
        run(
            format!("compute/{n}"),
            alloc::boxed::Box::new(move || compute(&c)),
        )?;
        let c = load.counters.clone();
        run(
            format!("sleep/{n}"),
            alloc::boxed::Box::new(move || sleep(&c, n)),
        )?;
        let (c, shared) = (load.counters.clone(), load.shared.clone());
        run(
            format!("contend/{n}"),
            alloc::boxed::Box::new(move || contend(&c, &shared)),
        )?;
        let pair = Arc::new(Pair {
            mine: [AtomicBool::new(true), AtomicBool::new(false)],
            queues: [const { WaitQueue::new() }; 2],
        });
        for side in 0..2 {
            let (c, pair) = (load.counters.clone(), pair.clone());
            run(
                format!("pass/{n}.{side}"),
                alloc::boxed::Box::new(move || pass(&c, &pair, side)),
            )?;
        }
    }
    Ok(())
}

fn print(out: &mut dyn Write, load: &Load) -> fmt::Result {
    let c = &load.counters;
    let [computed, slept, passed, locked] = [&c.computed, &c.slept, &c.passed, &c.locked]
        .map(|counter| counter.load(Ordering::Relaxed));
    writeln!(
        out,
        "{} threads: computed {computed}, slept {slept}, passed {passed}, locked {locked}",
        load.threads.len()
    )
}

/// Prints how far the load has come, and whether every kind of thread moved since a moment ago.
pub fn show(out: &mut dyn Write) -> Result<(), String> {
    let slot = LOAD.lock();
    let load = slot
        .as_ref()
        .ok_or("stress does not run; stress start starts it")?;
    let c = &load.counters;
    let kinds = [
        ("computed", &c.computed),
        ("slept", &c.slept),
        ("passed", &c.passed),
        ("locked", &c.locked),
    ];
    let before = kinds.map(|(_, counter)| counter.load(Ordering::Relaxed));
    thread::sleep_until(now_ns() + 100_000_000);
    print(out, load).map_err(|error| format!("{error}"))?;
    for ((name, counter), before) in kinds.iter().zip(before) {
        if counter.load(Ordering::Relaxed) == before {
            return Err(format!("{name}: no progress in 100 ms"));
        }
    }
    Ok(())
}

/// Ends the load and checks it.
pub fn stop(out: &mut dyn Write) -> Result<(), String> {
    let load = LOAD
        .lock()
        .take()
        .ok_or("stress does not run; stress start starts it")?;
    load.counters.stop.store(true, Ordering::Relaxed);
    print(out, &load).map_err(|error| format!("{error}"))?;
    let end = now_ns() + PATIENCE_NS;
    let (mut lost, total) = (String::new(), load.threads.len());
    for handle in load.threads {
        let name = handle.thread.name();
        if !handle.join_until(end) {
            lost.push_str(&format!(" {name}"));
        }
    }
    let (shared, counted) = (
        *load.shared.lock(),
        load.counters.locked.load(Ordering::Relaxed),
    );
    if !lost.is_empty() {
        return Err(format!("LOST: did not end:{lost}"));
    }
    if shared != counted {
        return Err(format!(
            "LOST: {counted} increments under the lock made {shared}"
        ));
    }
    writeln!(out, "all {total} threads ended, nothing lost").map_err(|error| format!("{error}"))
}
