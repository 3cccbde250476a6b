// SPDX-License-Identifier: MIT OR Apache-2.0
//! Priority inheritance: who has which effective priority, at every step.
use crate::sim::{
    Role, Sim, Trace, forever, now, role, scenario, sleep_until, thread, watch, work,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;
use sync::krwlock::KRwLock;
use sync::machine::Machine;

sync::lock_order! {
    machine Sim;
    thread { Table, M8, M7, M6, M5, M4, M3, M2, M1 }
    bio {}
    net {}
    tty {}
    vm {}
    sched {}
    high {}
}

type Priorities = [(&'static str, u8)];

/// Plays the roles, and compares all changes of effective priorities, in order and at their times, with `expected`.
fn play(mut roles: Vec<Role>, end: u64, expected: &[(u64, &Priorities)]) {
    let (trace, watcher) = watch(end);
    roles.push(watcher);
    scenario(roles);
    compare(&trace, expected);
}

/// Steps are seen at the tick after they happened: the watcher has each tick first.
fn compare(trace: &Trace, expected: &[(u64, &Priorities)]) {
    let mut all = BTreeMap::new();
    let expected: Vec<_> = expected
        .iter()
        .map(|(at, changes)| {
            all.extend(changes.iter().copied());
            all.retain(|_, priority| *priority != ENDED);
            (*at, all.clone())
        })
        .collect();
    assert_eq!(*trace.lock().unwrap(), expected);
}

/// In a table of priorities: the thread has ended.
const ENDED: u8 = 0;

/// The bus manager of Mars Pathfinder: a high thread needs, by its deadline, the mutex that a low one holds, while one in
/// between has a lot to do. Gives when the high one was done.
fn pathfinder(inherit: bool, expected: &[(u64, &Priorities)]) -> u64 {
    let bus: &'static KMutex<u32, M1> = forever(KMutex::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let at = done.clone();
    let roles = vec![
        role("meteo", 1, move |cx| {
            Sim::turnstiles().set_inheritance::<Sim>(inherit);
            let (held, _) = bus.enter(cx);
            work(5);
            drop(held);
            work(1);
        }),
        role("comm", 5, |_| {
            sleep_until(3);
            work(50);
        }),
        role("bus", 9, move |cx| {
            sleep_until(2);
            let (_bus, _) = bus.enter(cx);
            work(1);
            at.store(now(), Ordering::Relaxed);
        }),
    ];
    play(roles, 80, expected);
    done.load(Ordering::Relaxed)
}

const DEADLINE: u64 = 10;

#[test]
fn pathfinder_meets_its_deadline() {
    let done = pathfinder(
        true,
        &[
            (1, &[("meteo", 1), ("comm", 5), ("bus", 9)]),
            (3, &[("meteo", 9)]),
            (6, &[("meteo", 1)]),
            (7, &[("bus", ENDED)]),
            (57, &[("comm", ENDED)]),
            (58, &[("meteo", ENDED)]),
        ],
    );
    assert!(done <= DEADLINE, "done at {done}");
}

#[test]
fn pathfinder_misses_its_deadline_without_inheritance() {
    let done = pathfinder(
        false,
        &[
            (1, &[("meteo", 1), ("comm", 5), ("bus", 9)]),
            (54, &[("comm", ENDED)]),
            (57, &[("bus", ENDED)]),
            (58, &[("meteo", ENDED)]),
        ],
    );
    assert!(done > DEADLINE, "done at {done}");
}

type M<C> = &'static KMutex<(), C>;

fn mutex<C: sync::domain::LockClass>() -> M<C> {
    forever(KMutex::new(()))
}

/// Holds `own` from `at` on, then wants `wanted`, holds both for a tick, and leaves in that order: a link of a chain.
macro_rules! link {
    ($name:literal, $priority:literal, $at:literal, $own:ident, $wanted:ident) => {
        role($name, $priority, move |cx| {
            sleep_until($at);
            let (own, mut cx) = $own.enter(cx);
            sleep_until(20);
            let (wanted, _) = $wanted.enter(&mut cx);
            work(1);
            drop(wanted);
            work(1);
            drop(own);
            work(1);
        })
    };
}

/// Eight owners in a row, each waiting for the next, and at the far end one of priority 20.
#[test]
fn chain_of_eight() {
    let (m1, m2, m3, m4) = (mutex::<M1>(), mutex::<M2>(), mutex::<M3>(), mutex::<M4>());
    let (m5, m6, m7, m8) = (mutex::<M5>(), mutex::<M6>(), mutex::<M7>(), mutex::<M8>());
    let roles = vec![
        role("1", 1, move |cx| {
            let (held, _) = m1.enter(cx);
            work(40);
            drop(held);
            work(1);
        }),
        link!("2", 2, 1, m2, m1),
        link!("3", 3, 2, m3, m2),
        link!("4", 4, 3, m4, m3),
        link!("5", 5, 4, m5, m4),
        link!("6", 6, 5, m6, m5),
        link!("7", 7, 6, m7, m6),
        link!("8", 8, 7, m8, m7),
        role("high", 20, move |cx| {
            sleep_until(30);
            let (held, _) = m8.enter(cx);
            work(1);
            drop(held);
        }),
    ];
    play(
        roles,
        100,
        &[
            (
                1,
                &[
                    ("1", 1),
                    ("2", 2),
                    ("3", 3),
                    ("4", 4),
                    ("5", 5),
                    ("6", 6),
                    ("7", 7),
                    ("8", 8),
                    ("high", 20),
                ],
            ),
            // All wait, each for the one before: the most urgent of them is 8.
            (
                21,
                &[
                    ("1", 8),
                    ("2", 8),
                    ("3", 8),
                    ("4", 8),
                    ("5", 8),
                    ("6", 8),
                    ("7", 8),
                ],
            ),
            // The far end joins.
            (
                31,
                &[
                    ("1", 20),
                    ("2", 20),
                    ("3", 20),
                    ("4", 20),
                    ("5", 20),
                    ("6", 20),
                    ("7", 20),
                    ("8", 20),
                ],
            ),
            // One after the other has done its two ticks of work.
            (41, &[("1", 1)]),
            (43, &[("2", 2)]),
            (45, &[("3", 3)]),
            (47, &[("4", 4)]),
            (49, &[("5", 5)]),
            (51, &[("6", 6)]),
            (53, &[("7", 7)]),
            (55, &[("8", 8)]),
            (56, &[("high", ENDED)]),
            (57, &[("8", ENDED)]),
            (58, &[("7", ENDED)]),
            (59, &[("6", ENDED)]),
            (60, &[("5", ENDED)]),
            (61, &[("4", ENDED)]),
            (62, &[("3", ENDED)]),
            (63, &[("2", ENDED)]),
            (64, &[("1", ENDED)]),
        ],
    );
}

/// A writer waits for two readers: both inherit, each until it leaves; and through a reader that waits for a mutex, its owner.
#[test]
fn writer_lends_to_all_readers() {
    let table: &'static KRwLock<u32, Table> = forever(KRwLock::new(0));
    let m = mutex::<M1>();
    let roles = vec![
        role("owner", 1, move |cx| {
            let (held, _) = m.enter(cx);
            work(6);
            drop(held);
            work(1);
        }),
        role("reader a", 2, move |cx| {
            sleep_until(1);
            let (read, mut cx) = table.read(cx);
            sleep_until(3);
            let (held, _) = m.enter(&mut cx);
            work(2);
            drop(held);
            work(1);
            drop(read);
            work(1);
        }),
        role("reader b", 3, move |cx| {
            sleep_until(2);
            let (read, _) = table.read(cx);
            sleep_until(5);
            work(3);
            drop(read);
            work(1);
        }),
        role("writer", 9, move |cx| {
            sleep_until(4);
            let (mut value, _) = table.write(cx);
            work(2);
            *value += 1;
        }),
    ];
    play(
        roles,
        40,
        &[
            (
                1,
                &[
                    ("owner", 1),
                    ("reader a", 2),
                    ("reader b", 3),
                    ("writer", 9),
                ],
            ),
            (4, &[("owner", 2)]),
            (5, &[("owner", 9), ("reader a", 9), ("reader b", 9)]),
            (7, &[("owner", 1)]),
            (10, &[("reader a", 2)]),
            (13, &[("reader b", 3)]),
            (15, &[("writer", ENDED)]),
            (16, &[("reader b", ENDED)]),
            (17, &[("reader a", ENDED)]),
            (18, &[("owner", ENDED)]),
        ],
    );
}

/// Readers that wait lend to the writer that is in.
#[test]
fn readers_lend_to_the_writer() {
    let table: &'static KRwLock<u32, Table> = forever(KRwLock::new(0));
    let reader = |name, priority, at| {
        role(name, priority, move |cx| {
            sleep_until(at);
            let (_read, _) = table.read(cx);
            work(1);
        })
    };
    let roles = vec![
        role("writer", 1, move |cx| {
            let (held, _) = table.write(cx);
            work(6);
            drop(held);
            work(1);
        }),
        reader("reader a", 4, 2),
        reader("reader b", 7, 4),
    ];
    play(
        roles,
        30,
        &[
            (1, &[("writer", 1), ("reader a", 4), ("reader b", 7)]),
            (3, &[("writer", 4)]),
            (5, &[("writer", 7)]),
            (7, &[("writer", 1)]),
            (8, &[("reader b", ENDED)]),
            (9, &[("reader a", ENDED)]),
            (10, &[("writer", ENDED)]),
        ],
    );
}

/// The middle of a chain stops waiting: what it passed on is undone, what it inherits itself is not.
#[test]
fn timeout_in_the_middle_of_a_chain() {
    let (m1, m2) = (mutex::<M1>(), mutex::<M2>());
    let roles = vec![
        role("low", 1, move |cx| {
            let (held, _) = m1.enter(cx);
            sleep_until(30);
            drop(held);
            work(1);
        }),
        role("middle", 2, move |cx| {
            sleep_until(1);
            let (held, mut cx) = m2.enter(cx);
            sleep_until(2);
            assert!(m1.enter_until(&mut cx, 10).is_none());
            assert_eq!(now(), 10);
            work(5);
            drop(held);
            work(1);
        }),
        role("high", 9, move |cx| {
            sleep_until(4);
            let (_held, _) = m2.enter(cx);
            work(1);
        }),
    ];
    play(
        roles,
        60,
        &[
            (1, &[("low", 1), ("middle", 2), ("high", 9)]),
            (3, &[("low", 2)]),
            (5, &[("low", 9), ("middle", 9)]),
            (11, &[("low", 1)]),
            (16, &[("middle", 2)]),
            (17, &[("high", ENDED)]),
            (18, &[("middle", ENDED)]),
            (32, &[("low", ENDED)]),
        ],
    );
}

/// Whoever is granted the mutex inherits from those who still wait, and from those who come later.
#[test]
fn the_next_owner_inherits_too() {
    let m = mutex::<M1>();
    let holder = |name, priority, at, ticks| {
        role(name, priority, move |cx| {
            sleep_until(at);
            let (held, _) = m.enter(cx);
            work(ticks);
            drop(held);
            work(1);
        })
    };
    let roles = vec![
        holder("first", 1, 0, 5),
        holder("second", 4, 2, 5),
        holder("third", 3, 1, 1),
        holder("late", 9, 7, 1),
    ];
    play(
        roles,
        40,
        &[
            (1, &[("first", 1), ("second", 4), ("third", 3), ("late", 9)]),
            (2, &[("first", 3)]),
            (3, &[("first", 4)]),
            (6, &[("first", 1)]),
            (8, &[("second", 9)]),
            (11, &[("second", 4)]),
            (13, &[("late", ENDED)]),
            (14, &[("second", ENDED)]),
            (16, &[("third", ENDED)]),
            (17, &[("first", ENDED)]),
        ],
    );
}

/// A thread that waits gets another priority of its own: the owner's follows, up and down.
#[test]
fn a_change_of_base_priority_is_passed_on() {
    let m = mutex::<M1>();
    let roles = vec![
        role("owner", 1, move |cx| {
            let (held, _) = m.enter(cx);
            work(20);
            drop(held);
        }),
        role("waiter", 4, move |cx| {
            sleep_until(1);
            let (_held, _) = m.enter(cx);
        }),
        role("manager", 30, |cx| {
            let mut set =
                |priority| Sim::turnstiles().set_base::<Sim, _>(cx, thread("waiter"), priority);
            sleep_until(5);
            set(12);
            sleep_until(10);
            set(2);
            sleep_until(15);
            Sim::turnstiles().set_base::<Sim, _>(cx, thread("owner"), 6);
        }),
    ];
    play(
        roles,
        40,
        &[
            (1, &[("owner", 1), ("waiter", 4), ("manager", 30)]),
            (2, &[("owner", 4)]),
            (6, &[("owner", 12), ("waiter", 12)]),
            (11, &[("owner", 2), ("waiter", 2)]),
            (16, &[("owner", 6), ("manager", ENDED)]),
            (21, &[("owner", ENDED), ("waiter", ENDED)]),
        ],
    );
}

/// A waiter that becomes more urgent overtakes those that were before it.
#[test]
fn the_most_urgent_waiter_is_next() {
    let m: &'static KMutex<Vec<&str>, M1> = forever(KMutex::new(vec![]));
    let waiter = |name, priority, at| {
        role(name, priority, move |cx| {
            sleep_until(at);
            m.enter(cx).0.push(name);
        })
    };
    let roles = vec![
        role("owner", 1, move |cx| {
            let (mut held, _) = m.enter(cx);
            work(10);
            held.push("owner");
        }),
        waiter("a", 3, 1),
        waiter("b", 3, 2),
        waiter("c", 5, 3),
        waiter("d", 2, 4),
        role("manager", 30, |cx| {
            sleep_until(6);
            Sim::turnstiles().set_base::<Sim, _>(cx, thread("d"), 9);
        }),
        role("judge", 1, move |cx| {
            sleep_until(20);
            assert_eq!(*m.enter(cx).0, ["owner", "d", "c", "a", "b"]);
        }),
    ];
    scenario(roles);
}

/// Waiting for a condition lends nothing, and wakes the most urgent first.
#[test]
fn a_condition_wakes_the_most_urgent() {
    static CONDITION: KCondvar<Sim> = KCondvar::new();
    let m: &'static KMutex<Vec<&str>, M1> = forever(KMutex::new(vec![]));
    let waiter = |name, priority| {
        role(name, priority, move |cx| {
            let (mut woken, mut cx) = m.enter(cx);
            assert_eq!(
                CONDITION.timed_wait(&mut woken, &mut cx, 50),
                Wakeup::Signalled
            );
            woken.push(name);
        })
    };
    scenario(vec![
        waiter("a", 3),
        waiter("b", 7),
        waiter("c", 3),
        role("signaller", 1, move |cx| {
            work(5);
            assert_eq!(thread("signaller").priority(), 1);
            for expected in [&["b"][..], &["b", "a"], &["b", "a", "c"]] {
                CONDITION.signal(cx);
                work(2);
                assert_eq!(*m.enter(cx).0, expected);
            }
        }),
    ]);
}
