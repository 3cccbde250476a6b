// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the reader-writer lock.
use crate::check::{Data, explore};
use crate::machine::checker::sync::atomic::{AtomicBool, Ordering};
use crate::machine::{Inner, Model, Outer, World, join, on, token, turn, world};
use std::sync::Arc;
use sync::krwlock::KRwLock;
use sync::machine::Machine;

type Lock = KRwLock<Data, Outer>;

fn write(lock: &Lock) {
    let mut cx = token();
    lock.write(&mut cx).0.bump();
}

fn read(lock: &Lock) {
    let mut cx = token();
    assert!(lock.read(&mut cx).0.get() <= 2);
}

/// The lock is free, and was written twice.
fn assert_two_writes(lock: &Lock) {
    let mut cx = token();
    assert_eq!(lock.write(&mut cx).0.get(), 2);
}

#[test]
fn rwlock_excludes() {
    for other in [read, write] {
        explore("rwlock_excludes", 2, None, move || {
            World::start(&[1; 2], false);
            let lock = Arc::new(Lock::new(Data::new()));
            let other = on(&lock, other);
            write(&lock);
            join([other]);
        });
    }
    explore("rwlock_excludes", 3, Some(3), || {
        World::start(&[1; 3], false);
        let lock = Arc::new(Lock::new(Data::new()));
        let others = [on(&lock, write), on(&lock, read)];
        write(&lock);
        join(others);
        assert_two_writes(&lock);
    });
}

/// Two readers each stay until the other is in too, though one of them had to wait before and a writer comes after.
#[test]
fn rwlock_readers_share() {
    let explored = explore("rwlock_readers_share", 3, Some(3), || {
        World::start(&[1; 3], false);
        let inside = [AtomicBool::new(false), AtomicBool::new(false)];
        let shared = Arc::new((Lock::new(Data::new()), inside));
        let stay = |me: usize| {
            move |(lock, inside): &(Lock, [AtomicBool; 2])| {
                let mut cx = token();
                let (data, _cx) = lock.read(&mut cx);
                inside[me].store(true, Ordering::Relaxed);
                while !inside[1 - me].load(Ordering::Relaxed) {
                    turn();
                }
                data.get();
            }
        };
        let mut cx = token();
        let held = shared.0.write(&mut cx).0;
        let reader = on(&shared, stay(1));
        turn();
        held.bump();
        drop(held);
        stay(0)(&shared);
        let writer = on(&shared, |(lock, _)| write(lock));
        join([reader, writer]);
        let mut cx = token();
        assert_eq!(shared.0.read(&mut cx).0.get(), 2);
    });
    assert!(explored.parks > 0);
}

/// Others come while it is held for writing: each is let in, in some order.
#[test]
fn rwlock_hand_over() {
    for second in [read, write] {
        let explored = explore("rwlock_hand_over", 3, Some(3), move || {
            World::start(&[1; 3], false);
            let lock = Arc::new(Lock::new(Data::new()));
            let mut cx = token();
            let held = lock.write(&mut cx).0;
            let others = [on(&lock, read), on(&lock, second)];
            held.bump();
            drop(held);
            join(others);
            read(&lock);
        });
        assert!(explored.parks > 0);
    }
}

/// Enters, stays until a more urgent thread that waits has lent its priority, and leaves.
fn stay_until_lent(lock: &Lock, inside: &AtomicBool, write: bool) {
    let mut cx = token();
    let held = if write {
        (None, Some(lock.write(&mut cx)))
    } else {
        (Some(lock.read(&mut cx)), None)
    };
    inside.store(true, Ordering::Relaxed);
    while Model::current().priority() != 5 {
        turn();
    }
    drop(held);
    assert_eq!(Model::current().priority(), 1);
}

/// A writer that waits finds who is in, be it a reader or a writer.
#[test]
fn rwlock_waiter_finds_readers() {
    for holder_writes in [false, true] {
        let explored = explore("rwlock_waiter_finds_readers", 2, None, move || {
            World::start(&[5, 1], false);
            let shared = Arc::new((Lock::new(Data::new()), AtomicBool::new(false)));
            let holder = on(&shared, move |(lock, inside)| {
                stay_until_lent(lock, inside, holder_writes);
            });
            while !shared.1.load(Ordering::Relaxed) {
                turn();
            }
            write(&shared.0);
            join([holder]);
        });
        assert!(explored.parks > 0);
    }
}

/// Of two readers, the first that leaves gives back at once what the writer lent it, while the other stays.
#[test]
fn rwlock_waiter_finds_both_readers() {
    explore("rwlock_waiter_finds_both_readers", 3, Some(2), || {
        World::start(&[5, 1, 1], false);
        let inside = [AtomicBool::new(false), AtomicBool::new(false)];
        let shared = Arc::new((Lock::new(Data::new()), inside));
        let readers = [0, 1].map(|n| {
            on(&shared, move |(lock, inside)| {
                stay_until_lent(lock, &inside[n], false);
            })
        });
        while !shared.1.iter().all(|i| i.load(Ordering::Relaxed)) {
            turn();
        }
        write(&shared.0);
        join(readers);
    });
}

/// While a writer finds the lock busy, the reader that it saw leaves and another enters: it finds that one.
#[test]
fn rwlock_waiter_finds_another_reader() {
    explore("rwlock_waiter_finds_another_reader", 3, Some(2), || {
        World::start(&[1, 5, 1], false);
        let lock = Arc::new(Lock::new(Data::new()));
        let writer = on(&lock, write);
        let stays = on(&lock, |lock| {
            let mut cx = token();
            let (data, _cx) = lock.read(&mut cx);
            while data.get() == 0 && Model::current().priority() != 5 {
                turn();
            }
        });
        read(&lock);
        join([writer, stays]);
    });
}

/// A reader that leaves the fast way, while a waiter looks for whom to lend to, ends with its own priority.
#[test]
fn rwlock_unboost() {
    explore("rwlock_unboost", 3, Some(3), || {
        World::start(&[1, 1, 5], false);
        let lock = Arc::new(Lock::new(Data::new()));
        let others = [on(&lock, write), on(&lock, write)];
        read(&lock);
        join(others);
        for (number, own) in [1, 1, 5].into_iter().enumerate() {
            assert_eq!(world().thread(number).priority(), own);
        }
    });
}

type Pair = (KRwLock<Data, Outer>, KRwLock<Data, Inner>);

/// A thread's second lock is left the slow way, in whatever order, while others come and go the fast way.
fn second_lock<const N: usize>(
    own_writes: bool,
    preemptions: Option<usize>,
    others: [fn(&Pair); N],
) {
    explore("rwlock_second_lock", N + 1, preemptions, move || {
        World::start(&[1; 3], false);
        let locks: Arc<Pair> = Arc::new((KRwLock::new(Data::new()), KRwLock::new(Data::new())));
        let others = others.map(|other| on(&locks, other));
        let (mut cx, mut cx2) = (token(), token());
        let first = locks.0.read(&mut cx).0;
        if own_writes {
            let second = locks.1.write(&mut cx2).0;
            drop(first);
            second.bump();
        } else {
            let second = locks.1.read(&mut cx2).0;
            drop(first);
            second.get();
        }
        // Were a note left behind, this would find that the thread holds the lock already.
        let (mut cx, mut cx2) = (token(), token());
        let first = locks.0.write(&mut cx).0;
        locks.1.write(&mut cx2).0.bump();
        drop(first);
        join(others);
    });
}

#[test]
fn rwlock_second_lock() {
    let read = |(_, second): &Pair| _ = second.read(&mut token()).0.get();
    let write = |(_, second): &Pair| second.write(&mut token()).0.bump();
    for own_writes in [false, true] {
        second_lock(own_writes, Some(3), [read]);
        second_lock(own_writes, Some(3), [write]);
        second_lock(own_writes, Some(1), [read, write]);
    }
}
