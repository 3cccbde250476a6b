// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the threads, the interrupts and the callouts of the torture do: one turn of each.
use super::place::*;
use super::{RUN, Rng};
use crate::cpu::CpuSet;
use crate::thread::{self, Kernel, ThreadCx};
use crate::trial::Line;
use crate::{callout, lock_order, trial};
use alloc::sync::Arc;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicU8, Ordering};
use sync::domain::{Before, Cx, Interrupt, LockClass, MayWake, Sched};
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;

/// Threads that hand a turn around.
pub const RING_THREADS: usize = 4;
/// Callouts that wait at a time, at most.
const MAX_CALLOUTS: u32 = 8;

/// What a thread does in one turn; the number tells threads of a kind apart.
pub type Work = fn(&mut ThreadCx, &mut Rng, usize);

/// All threads: name, how many, and what they do.
pub const WORK: &[(&str, usize, Work)] = &[
    ("plain", 3, plain),
    ("nest", 2, nest),
    ("until", 2, until),
    ("read", 3, read),
    ("write", 2, write),
    ("ring", RING_THREADS, ring),
    ("listen", 2, listen),
    ("bell", 1, bell),
    ("cancel", 1, cancel),
    ("spin", 3, spin),
    ("drive", 1, drive),
];

static BELL_RINGS: KCondvar<Kernel> = KCondvar::new();
static YOUR_TURN: [KCondvar<Kernel>; RING_THREADS] = [const { KCondvar::new() }; RING_THREADS];
static NOTHING: KCondvar<Kernel> = KCondvar::new();

/// In and out, and in again before others have noticed.
fn plain(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    for _ in 0..8 {
        if RUN.broken.load(Ordering::Relaxed) {
            BROKEN.visit(cx, rng);
        } else {
            PLAIN.visit(cx, rng);
        }
    }
}

/// From a lock of a device domain up to the highest.
fn climb<K: Before<lock_order::TortureVm>>(cx: &mut Cx<K>) {
    let (_vm, mut cx) = VM.enter(cx);
    let (_sched, mut cx) = SCHED.enter(&mut cx);
    let _high = HIGH.enter(&mut cx);
}

/// Everything at once, in order.
fn nest(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let (_outer, mut cx) = OUTER.enter(cx);
    let (_inner, mut cx) = INNER.enter(&mut cx);
    let (_shared, mut cx) = SHARED.read(&mut cx, rng);
    match rng.below(3) {
        0 => climb(&mut BIO.enter(&mut cx).1),
        1 => climb(&mut NET.enter(&mut cx).1),
        _ => climb(&mut TTY.enter(&mut cx).1),
    }
}

/// Locks that are waited for so long and no longer, or not at all.
fn until(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let soon = |rng: &mut Rng| now_ns() + rng.below(50_000);
    if let Some((_outer, mut cx)) = OUTER.enter_until(cx, soon(rng)) {
        drop(INNER.enter_until(&mut cx, 0));
        if rng.below(4) == 0 {
            thread::sleep_until(&mut cx, now_ns() + 50_000); // others' time passes
        }
    }
    drop(BIO.enter_until(cx, soon(rng)));
}

fn read(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let (_shared, mut cx) = SHARED.read(cx, rng);
    if rng.below(4) == 0 {
        drop(SHARED_TOO.read(&mut cx, rng));
    }
}

fn write(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let (_shared, mut cx) = SHARED.write(cx, rng);
    if rng.below(4) == 0 {
        drop(SHARED_TOO.write(&mut cx, rng));
    }
}

/// Waits for its turn and passes it on: one signal lost, and all of the ring stand still.
fn ring(cx: &mut ThreadCx, _: &mut Rng, me: usize) {
    let (mut guard, mut cx) = RING.enter(cx);
    // ORDERING: under the lock.
    while RUN.turn.load(Ordering::Relaxed) as usize != me && !RUN.stopping() {
        YOUR_TURN[me].wait(&mut guard, &mut cx);
        RING.came_back(&guard);
    }
    let next = (me + 1) % RING_THREADS;
    RUN.turn.store(next as u32, Ordering::Relaxed);
    YOUR_TURN[next].signal(&mut cx);
}

/// Lets those end that wait without a deadline.
pub fn let_go(cx: &mut ThreadCx) {
    let (_ring, mut cx) = RING.enter(cx);
    RUN.stop.store(true, Ordering::Relaxed);
    YOUR_TURN.iter().for_each(|turn| turn.signal(&mut cx));
}

/// Waits for the bell, so long and no longer. No more may hear it than rang it.
fn listen(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let deadline_ns = now_ns() + rng.below(200_000);
    let (mut guard, mut cx) = BELL.enter(cx);
    if BELL_RINGS.timed_wait(&mut guard, &mut cx, deadline_ns) == Wakeup::Signalled {
        RUN.heard.fetch_add(1, Ordering::Relaxed);
    }
    BELL.came_back(&guard);
}

fn ring_the_bell<K: MayWake>(cx: &mut Cx<K>) {
    RUN.rung.fetch_add(1, Ordering::Relaxed);
    BELL_RINGS.signal(cx);
}

fn bell(cx: &mut ThreadCx, _: &mut Rng, _: usize) {
    let (_guard, mut cx) = BELL.enter(cx);
    ring_the_bell(&mut cx);
}

/// A thread waits for what never comes, and is cancelled.
fn cancel(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let why = Arc::new(AtomicU8::new(0));
    let said = why.clone();
    let victim = thread::spawn(cx, "victim", super::PRIORITY, CpuSet::ALL, move |cx| {
        let (mut guard, mut cx) = NEVER.enter(cx);
        let wakeup = NOTHING.wait_sig(&mut guard, &mut cx);
        NEVER.came_back(&guard);
        said.store(1 + u8::from(wakeup == Wakeup::Cancelled), Ordering::Relaxed);
    });
    let Ok(victim) = victim else { return };
    thread::sleep_until(cx, now_ns() + rng.below(100_000));
    thread::cancel(cx, victim.thread);
    victim.join(cx);
    RUN.cancelled.fetch_add(1, Ordering::Relaxed);
    if why.load(Ordering::Relaxed) != 2 {
        RUN.not_cancelled.fetch_add(1, Ordering::Relaxed);
    }
}

fn spin(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    match rng.below(6) {
        0 => drop(BIO.enter(cx)),
        1 => drop(NET.enter(cx)),
        2 => drop(TTY.enter(cx)),
        3 => drop(VM.enter(cx)),
        4 => drop(SCHED.enter(cx)),
        _ => drop(HIGH.enter(cx)),
    }
}

/// Interrupts of each domain, and callouts.
fn drive(cx: &mut ThreadCx, rng: &mut Rng, _: usize) {
    let line = [Line::Bio, Line::Net, Line::Tty][rng.below(3) as usize];
    trial::set_pending(line);
    if RUN.callouts.load(Ordering::Relaxed) < MAX_CALLOUTS {
        RUN.callouts.fetch_add(1, Ordering::Relaxed);
        callout::schedule(cx, now_ns() + rng.below(100_000), in_callout, 0);
    }
}

fn in_callout(cx: &mut Cx<Interrupt<Sched>>, _: usize) {
    drop(HIGH.enter(&mut SCHED.enter(cx).1));
    ring_the_bell(cx);
    // ORDERING: Release pairs with the Acquire of who waits for all to be through.
    RUN.callouts.fetch_sub(1, Ordering::Release);
}

/// A trial line's interrupt, which shares `place` with threads.
pub fn in_interrupt<K, C>(cx: &mut Cx<K>, place: &'static Place<KMutex<Pair, C>>)
where
    K: Before<C> + MayWake,
    C: LockClass + Before<lock_order::TortureVm>,
{
    if !RUN.running.load(Ordering::Relaxed) {
        return;
    }
    climb(&mut place.enter(cx).1);
    ring_the_bell(cx);
}
