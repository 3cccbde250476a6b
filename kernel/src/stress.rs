// SPDX-License-Identifier: MIT OR Apache-2.0
//! Load that checks itself: threads on all CPUs that compute, sleep, contend for a lock, and wake each other.
//!
//! Nothing may be lost: each pair passes a token to and fro by condition variables, so one lost wake-up stops it for good;
//! the counter behind the lock must equal what its users counted; every thread must end when told.
use crate::cpu::CpuSet;
use crate::lock_order;
use crate::thread::{self, JoinHandle, Kernel, ThreadCx, TooManyThreads};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::domain::Cx;
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

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
    shared: Arc<KMutex<u64, lock_order::Trial>>,
    threads: Vec<JoinHandle>,
}

static LOAD: KMutex<Option<Load>, lock_order::Stress> = KMutex::new(None);

impl Counters {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn compute(cx: &mut ThreadCx, c: &Counters) {
    while !c.stopping() {
        for i in 0..2000u32 {
            core::hint::black_box(i);
        }
        c.computed.fetch_add(1, Ordering::Relaxed);
        thread::yield_now(cx);
    }
}

fn sleep(cx: &mut ThreadCx, c: &Counters, n: usize) {
    while !c.stopping() {
        thread::sleep_until(cx, now_ns() + 300_000 * (n as u64 + 1));
        c.slept.fetch_add(1, Ordering::Relaxed);
    }
}

fn contend(cx: &mut ThreadCx, c: &Counters, shared: &KMutex<u64, lock_order::Trial>) {
    while !c.stopping() {
        *shared.enter(cx).0 += 1;
        c.locked.fetch_add(1, Ordering::Relaxed);
        thread::yield_now(cx);
    }
}

/// A token that belongs to one side of a pair at a time.
struct Pair {
    holder: KMutex<usize, lock_order::Trial>,
    /// The holder is another, by side that waits for it.
    passed: [KCondvar<Kernel>; 2],
}

fn pass(cx: &mut ThreadCx, c: &Counters, pair: &Pair, side: usize) {
    let (mut holder, mut cx) = pair.holder.enter(cx);
    while !c.stopping() {
        if *holder == side {
            *holder = 1 - side;
            c.passed.fetch_add(1, Ordering::Relaxed);
            pair.passed[1 - side].signal(&mut cx);
        } else {
            pair.passed[side].wait(&mut holder, &mut cx);
        }
    }
    // The other may wait for what does not come any more.
    pair.passed[1 - side].signal(&mut cx);
}

/// Starts the load.
pub fn start(cx: &mut ThreadCx) -> Result<(), String> {
    let (mut slot, mut cx) = LOAD.enter(cx);
    if slot.is_some() {
        return Err("stress runs already; stress stop ends it".into());
    }
    let load = slot.insert(Load {
        counters: Arc::default(),
        shared: Arc::new(KMutex::new(0)),
        threads: Vec::new(),
    });
    fill(&mut cx, load).map_err(|error| format!("{error}; stress stop ends what was started"))
}

fn fill(cx: &mut Cx<lock_order::Stress>, load: &mut Load) -> Result<(), TooManyThreads> {
    type Work = Box<dyn FnOnce(&mut ThreadCx) + Send>;
    let mut run = |name: String, work: Work| {
        thread::spawn(cx, &name, PRIORITY, CpuSet::ALL, work)
            .map(|handle| load.threads.push(handle))
    };
    for n in 0..EACH {
        let c = load.counters.clone();
        run(format!("compute/{n}"), Box::new(move |cx| compute(cx, &c)))?;
        let c = load.counters.clone();
        run(format!("sleep/{n}"), Box::new(move |cx| sleep(cx, &c, n)))?;
        let (c, shared) = (load.counters.clone(), load.shared.clone());
        run(
            format!("contend/{n}"),
            Box::new(move |cx| contend(cx, &c, &shared)),
        )?;
        let pair = Arc::new(Pair {
            holder: KMutex::new(0),
            passed: [const { KCondvar::new() }; 2],
        });
        for side in 0..2 {
            let (c, pair) = (load.counters.clone(), pair.clone());
            run(
                format!("pass/{n}.{side}"),
                Box::new(move |cx| pass(cx, &c, &pair, side)),
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
pub fn show(cx: &mut ThreadCx, out: &mut dyn Write) -> Result<(), String> {
    let (slot, mut cx) = LOAD.enter(cx);
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
    thread::sleep_until(&mut cx, now_ns() + 100_000_000);
    print(out, load).map_err(|error| format!("{error}"))?;
    for ((name, counter), before) in kinds.iter().zip(before) {
        if counter.load(Ordering::Relaxed) == before {
            return Err(format!("{name}: no progress in 100 ms"));
        }
    }
    Ok(())
}

/// Ends the load and checks it.
pub fn stop(cx: &mut ThreadCx, out: &mut dyn Write) -> Result<(), String> {
    let load = LOAD
        .enter(cx)
        .0
        .take()
        .ok_or("stress does not run; stress start starts it")?;
    load.counters.stop.store(true, Ordering::Relaxed);
    print(out, &load).map_err(|error| format!("{error}"))?;
    let end = now_ns() + PATIENCE_NS;
    let (mut lost, total) = (String::new(), load.threads.len());
    for handle in load.threads {
        let name = handle.thread.name();
        if !handle.join_until(cx, end) {
            lost.push_str(&format!(" {name}"));
        }
    }
    let (shared, counted) = (
        *load.shared.enter(cx).0,
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
