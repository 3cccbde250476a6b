// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watching begins and ends while locks are in use.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use sync::domain::{Cx, Thread};
use sync::host::Host;
use sync::kmutex::KMutex;
use sync::krwlock::KRwLock;
use sync::lockstat::{self, Watcher};

use order::*;

/// The classes.
mod order {
    sync::lock_order! {
        machine sync::host::Host;
        thread { A, B }
        bio {}
        net {}
        tty {}
        vm {}
        sched {}
        high {}
    }
}

const ROUNDS: usize = if cfg!(miri) { 20 } else { 1_500 };

/// Who watches is the program's: one test at a time.
fn nobody_watches() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    lockstat::set_watching::<Host>(Watcher::Lockstat, false);
    lockstat::set_watching::<Host>(Watcher::Lockdebug, false);
    one
}

fn cx() -> &'static mut Cx<'static, Thread> {
    // SAFETY: the threads here hold nothing, or earlier locks of the order.
    Box::leak(Box::new(unsafe { Cx::assume() }))
}

/// Where `threads` threads wait for each other, to go on at once.
struct Line {
    arrived: AtomicUsize,
    threads: usize,
}

impl Line {
    const fn of(threads: usize) -> Self {
        let arrived = AtomicUsize::new(0);
        Self { arrived, threads }
    }

    fn meet(&self) {
        let place = self.arrived.fetch_add(1, Ordering::SeqCst);
        let all = (place / self.threads + 1) * self.threads;
        while self.arrived.load(Ordering::SeqCst) < all {
            thread::yield_now();
        }
    }
}

#[test]
fn a_second_lock_is_left_after_the_watch_ended() {
    let _one = nobody_watches();
    let (first, second) = (KRwLock::<u32, A>::new(0), KRwLock::<u32, B>::new(0));
    lockstat::set_watching::<Host>(Watcher::Lockstat, true);
    let outer = first.read(cx()).0;
    let inner = second.read(cx()).0;
    lockstat::set_watching::<Host>(Watcher::Lockstat, false);
    drop(inner);
    drop(outer);
    *first.write(cx()).0 += 1;
    *second.write(cx()).0 += 1;
    assert_eq!((*first.read(cx()).0, *second.read(cx()).0), (1, 1));
}

#[test]
fn no_writer_is_forgotten_as_the_watch_begins_and_ends() {
    let _one = nobody_watches();
    let (lock, line, over) = (
        KRwLock::<usize, A>::new(0),
        Line::of(2),
        AtomicBool::new(false),
    );
    let write = || {
        for _ in 0..ROUNDS {
            line.meet();
            let mut held = lock.write(cx()).0;
            *held += 1;
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let toggler = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                lockstat::set_watching::<Host>(Watcher::Lockstat, true);
                lockstat::set_watching::<Host>(Watcher::Lockstat, false);
            }
        });
        let writers = [scope.spawn(write), scope.spawn(write)];
        for writer in writers {
            writer.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        toggler.join().unwrap();
    });
    assert_eq!(*lock.read(cx()).0, 2 * ROUNDS);
}

#[test]
fn first_visits_at_once_are_all_counted() {
    let _one = nobody_watches();
    lockstat::set_watching::<Host>(Watcher::Lockstat, true);
    let line = Line::of(2);
    for round in 0..ROUNDS {
        let lock = KMutex::<u64, A>::new(0);
        let visit = || {
            line.meet();
            *lock.enter(cx()).0 += 1;
        };
        thread::scope(|scope| {
            scope.spawn(visit);
            visit();
        });
        let counted: u64 = lockstat::lines().map(|line| line.acquisitions).sum();
        assert_eq!(counted, 2, "round {round}");
    }
}
