// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the condition variable: no wake-up is lost, whatever else ends a wait.
use crate::check::{Data, explore};
use crate::machine::{
    DEADLINE_NS, Line, Model, Outer, World, deadlines_pass, join, on, token, world,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use sync::domain::{Before, LockClass, MayWake, Thread};
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;

/// A count of things, and who waits for some.
struct Things<C: LockClass> {
    count: KMutex<Data, C>,
    more: KCondvar<Model>,
    /// Why a wait was cancelled; guarded by nothing but that.
    reason: Data,
}

impl<C: LockClass<Machine = Model>> Things<C>
where
    Thread: Before<C>,
{
    fn new() -> Arc<Self> {
        Arc::new(Things {
            count: KMutex::new(Data::new()),
            more: KCondvar::new(),
            reason: Data::new(),
        })
    }

    fn await_one(&self) {
        let mut cx = token();
        let (mut count, mut cx) = self.count.enter(&mut cx);
        while count.get() == 0 {
            self.more.wait(&mut count, &mut cx);
            assert!(self.count.is_mine());
        }
    }

    fn add(&self) {
        let mut cx = token();
        self.count.enter(&mut cx).0.bump();
    }
}

/// One waits; the signal comes at any time after the mutex was left, or while it is still held.
fn one_waits<C: LockClass<Machine = Model> + MayWake>(name: &str)
where
    Thread: Before<C>,
{
    for inside in [false, true] {
        let explored = explore(name, 2, None, move || {
            World::start(&[1; 2], false);
            let things = Things::<C>::new();
            let waiter = on(&things, Things::await_one);
            {
                let mut cx = token();
                let (count, mut cx) = things.count.enter(&mut cx);
                count.bump();
                if inside {
                    things.more.signal(&mut cx);
                }
            }
            if !inside {
                things.more.signal(&mut token());
            }
            join([waiter]);
        });
        assert!(explored.parks > 0);
    }
}

#[test]
fn condvar_signal() {
    one_waits::<Outer>("condvar_signal");
}

/// With a spin mutex, which the waiter must not park with.
#[test]
fn condvar_signal_with_spin_mutex() {
    one_waits::<Line>("condvar_signal_with_spin_mutex");
}

#[test]
fn condvar_broadcast() {
    let explored = explore("condvar_broadcast", 3, Some(2), || {
        World::start(&[1; 3], false);
        let things = Things::<Line>::new();
        let waiters = [(); 2].map(|()| on(&things, Things::await_one));
        things.add();
        things.more.broadcast(&mut token());
        join(waiters);
    });
    assert!(explored.parks > 0);
}

/// How the hurried waiter's waits ended, over all executions.
#[derive(Default)]
struct Ends {
    signalled: AtomicU32,
    otherwise: AtomicU32,
}

/// Two wait, one of them until `end` at most. One signal wakes one of them; then the other gets its own.
fn ends_or_signal(
    name: &str,
    expected: Wakeup,
    wait: fn(&Things<Line>) -> Wakeup,
    end: fn(&Things<Line>),
) {
    let ends = Arc::new(Ends::default());
    for ends_first in [false, true] {
        let seen = ends.clone();
        explore(name, 3, Some(2), move || {
            // The hurried one is the more urgent: a signal is for it while it waits.
            World::start(&[1, 5, 1], false);
            let things = Things::<Line>::new();
            let ends = seen.clone();
            let hurried = on(&things, move |things| {
                match wait(things) {
                    // It was the first signal's: the other waiter needs one of its own.
                    Wakeup::Signalled => {
                        ends.signalled.fetch_add(1, Relaxed);
                        things.more.signal(&mut token());
                    }
                    other => {
                        ends.otherwise.fetch_add(1, Relaxed);
                        assert_eq!(other, expected);
                    }
                }
            });
            let patient = on(&things, Things::await_one);
            if ends_first {
                end(&things);
            }
            things.add();
            things.more.signal(&mut token());
            if !ends_first {
                end(&things);
            }
            join([hurried, patient]);
        });
    }
    assert!(ends.signalled.load(Relaxed) > 0 && ends.otherwise.load(Relaxed) > 0);
}

#[test]
fn condvar_timeout_or_signal() {
    ends_or_signal(
        "condvar_timeout_or_signal",
        Wakeup::TimedOut,
        |things| {
            let mut cx = token();
            let (mut count, mut cx) = things.count.enter(&mut cx);
            things.more.timed_wait(&mut count, &mut cx, DEADLINE_NS)
        },
        |_| deadlines_pass(&[world().thread(1)]),
    );
}

/// Who is cancelled sees what was done before.
#[test]
fn condvar_cancel_or_signal() {
    ends_or_signal(
        "condvar_cancel_or_signal",
        Wakeup::Cancelled,
        |things| {
            let mut cx = token();
            let (mut count, mut cx) = things.count.enter(&mut cx);
            let wakeup = things.more.wait_sig(&mut count, &mut cx);
            if wakeup == Wakeup::Cancelled {
                assert_eq!(things.reason.get(), 1);
            }
            wakeup
        },
        |things| {
            things.reason.bump();
            world().thread(1).cancel::<Model, _>(&mut token());
        },
    );
}
