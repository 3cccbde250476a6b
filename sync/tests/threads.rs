// SPDX-License-Identifier: MIT OR Apache-2.0
//! The locks on threads of the host, which really run at the same time; also under Miri.
use std::sync::atomic::{AtomicUsize, Ordering};
use sync::domain::{Cx, Thread};
use sync::host::Host;
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;
use sync::krwlock::KRwLock;
use sync::machine::{KThread, Machine};

use order::*;

/// The classes.
mod order {
    sync::lock_order! {
        machine sync::host::Host;
        thread { Outer, Table, Inner }
        bio { Queue }
        net {}
        tty {}
        vm {}
        sched {}
        high { Log }
    }
}

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };

/// Runs `act` on several threads at once.
fn on_threads(act: impl Fn(usize, &mut Cx<Thread>) + Sync) {
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let act = &act;
            // SAFETY: the first thing that this thread does.
            scope.spawn(move || act(n, &mut unsafe { Cx::assume() }));
        }
    });
}

/// The token of the test's own thread, and, where the lock must notice a mistake, one too many of them.
fn main_cx() -> &'static mut Cx<'static, Thread> {
    // SAFETY: but for the mistakes, the thread holds nothing.
    Box::leak(Box::new(unsafe { Cx::assume() }))
}

/// Two numbers that are equal whenever nobody is inside.
type Pair = (usize, usize);

fn bump(pair: &mut Pair) {
    assert_eq!(pair.0, pair.1);
    pair.0 += 1;
    std::hint::black_box(&pair);
    pair.1 += 1;
}

#[test]
fn adaptive_mutex_excludes() {
    let mutex = KMutex::<Pair, Outer>::new((0, 0));
    on_threads(|_, cx| (0..ROUNDS).for_each(|_| bump(&mut mutex.enter(cx).0)));
    assert_eq!(
        *mutex.enter(main_cx()).0,
        (THREADS * ROUNDS, THREADS * ROUNDS)
    );
    assert!(mutex.owner().is_none());
}

#[test]
fn spin_mutex_excludes() {
    let mutex = KMutex::<Pair, Queue>::new((0, 0));
    on_threads(|_, cx| (0..ROUNDS).for_each(|_| bump(&mut mutex.enter(cx).0)));
    assert_eq!(mutex.enter(main_cx()).0.0, THREADS * ROUNDS);
    assert!(Host::current().mask().is_open());
}

#[test]
fn leaf_mutex_excludes_without_a_token() {
    let mutex = KMutex::<Pair, Log>::new((0, 0));
    on_threads(|_, _| (0..ROUNDS).for_each(|_| bump(&mut mutex.enter_leaf())));
    assert_eq!(mutex.enter_leaf().0, THREADS * ROUNDS);
}

#[test]
fn deadlines_end_the_wait_and_leave_nothing() {
    let mutex = KMutex::<Pair, Outer>::new((0, 0));
    let late = AtomicUsize::new(0);
    on_threads(|n, cx| {
        for round in 0..ROUNDS / 4 {
            let deadline_ns = Host::now_ns() + (round as u64 * 7919 + n as u64 * 31) % 20_000;
            match mutex.enter_until(cx, deadline_ns) {
                Some((mut pair, _)) => bump(&mut pair),
                None => drop(late.fetch_add(1, Ordering::Relaxed)),
            }
        }
    });
    let entered = mutex.enter(main_cx()).0.0;
    assert_eq!(
        entered + late.load(Ordering::Relaxed),
        THREADS * (ROUNDS / 4)
    );
}

#[test]
fn try_enter_never_waits() {
    let mutex = KMutex::<Pair, Outer>::new((0, 0));
    let cx = main_cx();
    let (held, _) = mutex.enter(cx);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(mutex.try_enter(main_cx()).is_none()));
    });
    drop(held);
    assert!(mutex.try_enter(cx).is_some());
}

#[test]
fn readers_share_and_writers_do_not() {
    let lock = KRwLock::<Pair, Table>::new((0, 0));
    let together = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    on_threads(|n, cx| {
        for round in 0..ROUNDS {
            if (round + n) % 4 == 0 {
                let (mut pair, _) = lock.write(cx);
                assert_eq!(together.load(Ordering::Relaxed), 0);
                bump(&mut pair);
            } else {
                let (pair, _) = lock.read(cx);
                let inside = together.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(inside, Ordering::Relaxed);
                assert_eq!(pair.0, pair.1);
                together.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(lock.read(main_cx()).0.0, THREADS * ROUNDS / 4);
}

#[test]
fn two_readers_are_in_at_once() {
    let lock = KRwLock::<Pair, Table>::new((0, 0));
    let barrier = std::sync::Barrier::new(THREADS);
    on_threads(|_, cx| {
        let (_held, _) = lock.read(cx);
        barrier.wait(); // for ever, if one keeps another out
    });
}

#[test]
fn nested_locks_of_all_kinds() {
    let (outer, table) = (
        KMutex::<Pair, Outer>::new((0, 0)),
        KRwLock::<Pair, Table>::new((0, 0)),
    );
    let (inner, queue) = (
        KRwLock::<Pair, Inner>::new((0, 0)),
        KMutex::<Pair, Queue>::new((0, 0)),
    );
    on_threads(|n, cx| {
        for round in 0..ROUNDS / 4 {
            let (mut a, mut cx) = outer.enter(cx);
            bump(&mut a);
            if (round + n) % 2 == 0 {
                drop(a); // out of order: the others are entered and left without it
            }
            let (b, mut cx) = table.read(&mut cx);
            assert_eq!(b.0, b.1);
            let (mut c, mut cx) = inner.write(&mut cx);
            bump(&mut c);
            drop(b);
            let (mut d, _) = queue.enter(&mut cx);
            bump(&mut d);
            drop(c);
        }
    });
    let cx = main_cx();
    assert_eq!(outer.enter(cx).0.0, THREADS * (ROUNDS / 4));
    assert_eq!(inner.read(cx).0.0, THREADS * (ROUNDS / 4));
    assert_eq!(queue.enter(cx).0.0, THREADS * (ROUNDS / 4));
}

/// A token goes round; each waits for its turn. One lost wake-up, and all stand still.
#[test]
fn conditions_lose_no_signal() {
    static TURN: [KCondvar<Host>; THREADS] = [const { KCondvar::new() }; THREADS];
    let turn = KMutex::<usize, Outer>::new(0);
    on_threads(|n, cx| {
        for _ in 0..ROUNDS / 10 {
            let (mut whose, mut cx) = turn.enter(cx);
            while *whose != n {
                TURN[n].wait(&mut whose, &mut cx);
            }
            *whose = (n + 1) % THREADS;
            TURN[*whose].signal(&mut cx);
        }
    });
}

#[test]
fn broadcast_wakes_all_with_a_spin_mutex() {
    static GO: KCondvar<Host> = KCondvar::new();
    let state = KMutex::<(usize, bool), Queue>::new((0, false));
    on_threads(|_, cx| {
        let (mut state, mut cx) = state.enter(cx);
        state.0 += 1;
        if state.0 == THREADS {
            state.1 = true;
            GO.broadcast(&mut cx);
        }
        while !state.1 {
            GO.wait(&mut state, &mut cx);
        }
    });
    assert!(Host::current().mask().is_open());
}

#[test]
fn waits_end_by_deadline_and_by_cancellation() {
    static NEVER: KCondvar<Host> = KCondvar::new();
    let mutex = KMutex::<Option<&'static KThread>, Outer>::new(None);
    let cx = main_cx();
    let (mut held, mut inside) = mutex.enter(cx);
    let woken = NEVER.timed_wait(&mut held, &mut inside, Host::now_ns() + 1_000_000);
    assert_eq!(woken, Wakeup::TimedOut);
    drop(held);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let cx = main_cx();
            let (mut held, mut cx) = mutex.enter(cx);
            *held = Some(Host::current());
            assert_eq!(NEVER.wait_sig(&mut held, &mut cx), Wakeup::Cancelled);
            // It stays cancelled, and a wait that does not look is not ended.
            let far_ns = Host::now_ns() + 60_000_000_000;
            assert_eq!(
                NEVER.timed_wait_sig(&mut held, &mut cx, far_ns),
                Wakeup::Cancelled
            );
            let near_ns = Host::now_ns() + 1_000_000;
            assert_eq!(
                NEVER.timed_wait(&mut held, &mut cx, near_ns),
                Wakeup::TimedOut
            );
        });
        let waiter = loop {
            if let Some(thread) = *mutex.enter(cx).0 {
                break thread;
            }
            std::thread::yield_now();
        };
        waiter.cancel::<Host, _>(cx);
    });
}

#[test]
#[should_panic(expected = "mutex Outer entered again by its owner")]
fn recursion_is_an_error() {
    let mutex = KMutex::<Pair, Outer>::new((0, 0));
    let _held = mutex.enter(main_cx()).0;
    let _again = mutex.enter(main_cx()).0;
}

#[test]
#[should_panic(expected = "reader-writer lock Table entered again by its holder")]
fn recursive_reading_is_an_error() {
    let lock = KRwLock::<Pair, Table>::new((0, 0));
    let _held = lock.read(main_cx()).0;
    let _again = lock.read(main_cx()).0;
}

#[test]
#[should_panic(expected = "with a Sched or High mutex held")]
fn a_lock_that_blocks_is_not_left_under_one_of_the_schedulers() {
    let (table, inner) = (KRwLock::<(), Table>::new(()), KRwLock::<(), Inner>::new(()));
    let log = KMutex::<(), Log>::new(());
    let (_table, mut cx) = table.read(main_cx());
    // A thread's second: it leaves the slow way, as one does that others wait for.
    let (second, mut cx) = inner.read(&mut cx);
    let (_log, _) = log.enter(&mut cx);
    drop(second);
}
