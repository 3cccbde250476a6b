// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes on purpose that a person finds at the console: a deadlock, and a lock that one thread hogs.
//!
//! # Theory
//! **Deadlock**: two threads each hold one of two adaptive mutexes and want the other's. The types would not let the second
//! one's order by, so its token is assumed, as in a driver that calls back where it should not. What they want they want
//! until they have it; to be ended they look every [`LOOK_NS`] whether they shall. So each is blocked but for those
//! moments, and lockstat, which counts the wait of who is let in, does not see them. They share a CPU: on two, each would spin
//! for the other, which runs, until something else wants one of the CPUs.
//!
//! **Hog**: three threads of one name do the same short work under one mutex, but one of them stays inside for
//! [`HOG_NS`]. The others spin for it, as its owner runs.
//!
//! All are less urgent than the shell, and leave it a CPU.
//!
//! # Contexts
//! The console's thread.
use crate::cpu::{self, CpuSet};
use crate::lock_order::{Provoke, ProvokeBusy, ProvokeLeft, ProvokeRight};
use crate::thread::{self, JoinHandle, Kernel, ThreadCx, TooManyThreads};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::timer::{Spin, now_ns};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use embedded_hal::delay::DelayNs;
use sync::domain::{Cx, LockClass};
use sync::kmutex::KMutex;

/// How often one that is stuck looks whether it shall end.
const LOOK_NS: u64 = 250_000_000;
/// How long the hog stays inside, and others.
const HOG_NS: u32 = 20_000_000;
const SHORT_NS: u32 = 20_000;
/// Between two visits of a thread.
const PAUSE_NS: u64 = 2_000_000;
/// Which of the workers is the hog.
const HOG: usize = 1;
const WORKERS: usize = 3;
/// How long all may take to end.
const PATIENCE_NS: u64 = 10_000_000_000;
const PRIORITY: u8 = thread::PRIORITY_NORMAL - 2;

static RUNNING: KMutex<Vec<JoinHandle>, Provoke> = KMutex::new(Vec::new());
static LEFT: KMutex<(), ProvokeLeft> = KMutex::new(());
static RIGHT: KMutex<(), ProvokeRight> = KMutex::new(());
static BUSY: KMutex<u64, ProvokeBusy> = KMutex::new(0);
/// ORDERING: Relaxed, both: looked at again and again, and nothing else is read by them.
static STOP: AtomicBool = AtomicBool::new(false);
static HOLDING: AtomicU32 = AtomicU32::new(0);

fn stopping() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Holds `first`, and wants `second`.
#[inline(never)]
fn embrace<A, B>(cx: &mut ThreadCx, first: &KMutex<(), A>, second: &KMutex<(), B>)
where
    A: LockClass<Machine = Kernel>,
    B: LockClass<Machine = Kernel>,
{
    let (_held, _) = first.enter(cx);
    // SAFETY: that nothing is held is the mistake. The locks are this file's, and whoever is stuck between them gives up.
    let mut claimed = unsafe { ThreadCx::assume() };
    HOLDING.fetch_add(1, Ordering::Relaxed);
    while HOLDING.load(Ordering::Relaxed) < 2 && !stopping() {
        thread::sleep_until(&mut claimed, now_ns() + PAUSE_NS);
    }
    while !stopping() {
        if second
            .enter_until(&mut claimed, now_ns() + LOOK_NS)
            .is_some()
        {
            return; // the other one was ended first
        }
    }
}

/// A visit as it should be.
#[inline(never)]
fn short_visit(done: &mut u64) {
    Spin.delay_ns(SHORT_NS);
    *done += 1;
}

/// The hog's.
#[inline(never)]
fn long_visit(done: &mut u64) {
    Spin.delay_ns(HOG_NS);
    *done += 1;
}

fn work(cx: &mut ThreadCx, number: usize) {
    while !stopping() {
        {
            let (mut done, _) = BUSY.enter(cx);
            if number == HOG {
                long_visit(&mut done);
            } else {
                short_visit(&mut done);
            }
        }
        thread::sleep_until(cx, now_ns() + PAUSE_NS);
    }
}

/// What can be provoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Two threads, two mutexes, two orders.
    Deadlock,
    /// A mutex that one thread keeps.
    Hog,
}

/// Has threads make the mistake, until [`stop`].
///
/// # Errors
/// One is being made already, or there are no threads left.
pub fn start(cx: &mut ThreadCx, mistake: Mistake) -> Result<(), String> {
    let (mut running, mut cx) = RUNNING.enter(cx);
    if !running.is_empty() {
        return Err("a mistake is being made already; provoke stop ends it".into());
    }
    STOP.store(false, Ordering::Relaxed);
    HOLDING.store(0, Ordering::Relaxed);
    let made = match mistake {
        Mistake::Deadlock => deadlock(&mut cx, &mut running),
        Mistake::Hog => hog(&mut cx, &mut running),
    };
    made.map_err(|error| format!("{error}; provoke stop ends what was started"))
}

fn deadlock(cx: &mut Cx<Provoke>, running: &mut Vec<JoinHandle>) -> Result<(), TooManyThreads> {
    let one = CpuSet::only(cpu::online().iter().last().unwrap_or(0));
    running.push(thread::spawn(cx, "left", PRIORITY, one, |cx| {
        embrace(cx, &LEFT, &RIGHT);
    })?);
    running.push(thread::spawn(cx, "right", PRIORITY, one, |cx| {
        embrace(cx, &RIGHT, &LEFT);
    })?);
    Ok(())
}

fn hog(cx: &mut Cx<Provoke>, running: &mut Vec<JoinHandle>) -> Result<(), TooManyThreads> {
    for number in 0..WORKERS {
        let name = format!("worker/{number}");
        running.push(thread::spawn(
            cx,
            &name,
            PRIORITY,
            CpuSet::ALL,
            move |cx| {
                work(cx, number);
            },
        )?);
    }
    Ok(())
}

/// Ends it; how many threads made the mistake.
///
/// # Errors
/// None is being made, or a thread did not end.
pub fn stop(cx: &mut ThreadCx) -> Result<usize, String> {
    let (mut running, mut cx) = RUNNING.enter(cx);
    if running.is_empty() {
        return Err("no mistake is being made".into());
    }
    STOP.store(true, Ordering::Relaxed);
    let (end, count) = (now_ns() + PATIENCE_NS, running.len());
    for handle in running.drain(..) {
        let (id, name) = (handle.id, handle.thread.name());
        if !handle.join_until(&mut cx, end) {
            return Err(format!("thread {id} \"{name}\" did not end"));
        }
    }
    Ok(count)
}
