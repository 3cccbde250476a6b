// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the fast paths whose weak swaps fail for no reason, as they may where they are made of load-exclusive and
//! store-exclusive: each swap of an execution in turn.
use crate::check::{Data, explore_while};
use crate::machine::{Outer, World, join, on, token};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use sync::kmutex::KMutex;
use sync::krwlock::KRwLock;

std::thread_local! {
    static SWAPS: Cell<usize> = const { Cell::new(0) };
    /// The number of the one that fails.
    static FAILING: Cell<usize> = const { Cell::new(0) };
}

fn fails() -> bool {
    SWAPS.set(SWAPS.get() + 1);
    SWAPS.get() == FAILING.get()
}

/// Two threads do `visit`, which ends in a lock that nobody holds and that was written `writes` times.
fn each_fails_once<L: Send + Sync + 'static>(
    name: &str,
    new: fn() -> L,
    visit: fn(&L),
    value: fn(&L) -> u32,
) {
    let failed = Arc::new(AtomicBool::new(true));
    let (more, seen) = (failed.clone(), failed);
    let more = move || more.swap(false, Relaxed);
    explore_while(name, 2, None, more, move |round| {
        World::start(&[1; 2], false);
        let lock = Arc::new(new());
        SWAPS.set(0);
        FAILING.set(round + 1);
        sync::weak_swap_fails(Some(fails));
        let other = on(&lock, visit);
        visit(&lock);
        join([other]);
        sync::weak_swap_fails(None);
        seen.fetch_or(SWAPS.get() > round, Relaxed);
        assert_eq!(value(&lock), 2);
    });
}

#[test]
fn mutex_weak_swap_fails() {
    each_fails_once(
        "mutex_weak_swap_fails",
        || KMutex::<Data, Outer>::new(Data::new()),
        |mutex| mutex.enter(&mut token()).0.bump(),
        |mutex| {
            mutex
                .try_enter(&mut token())
                .expect("all have left")
                .0
                .get()
        },
    );
}

#[test]
fn rwlock_weak_swap_fails() {
    each_fails_once(
        "rwlock_weak_swap_fails",
        || KRwLock::<Data, Outer>::new(Data::new()),
        |lock| lock.write(&mut token()).0.bump(),
        |lock| lock.read(&mut token()).0.get(),
    );
}
