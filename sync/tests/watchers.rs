// SPDX-License-Identifier: MIT OR Apache-2.0
//! lockstat counts what was done, and lockdebug finds each mistake, once for each kind of it.
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard};
use sync::domain::{Cx, Thread};
use sync::host::Host;
use sync::ipl::Ipl;
use sync::kmutex::KMutex;
use sync::krwlock::KRwLock;
use sync::lockdebug::{self, Finding, Report};
use sync::lockstat::{self, Watcher};
use sync::machine::{KThread, Machine};
use sync::turnstile::Turnstiles;

/// The host, where a thread can say that it is in an interrupt.
pub struct Pretender;

std::thread_local! {
    static INTERRUPT: Cell<Option<Ipl>> = const { Cell::new(None) };
    static REPORTED: Cell<usize> = const { Cell::new(0) };
}

impl Machine for Pretender {
    fn current() -> &'static KThread {
        Host::current()
    }
    fn park(deadline_ns: Option<u64>) {
        Host::park(deadline_ns);
    }
    fn unpark(thread: &'static KThread) {
        Host::unpark(thread);
    }
    fn is_running(thread: &KThread) -> bool {
        Host::is_running(thread)
    }
    fn priority_changed(_: &'static KThread) {}
    fn for_each_thread(visit: &mut dyn FnMut(&'static KThread)) {
        Host::for_each_thread(visit);
    }
    fn turnstiles() -> &'static Turnstiles {
        Host::turnstiles()
    }
    fn now_ns() -> u64 {
        Host::now_ns()
    }
    fn relax() {
        Host::relax();
    }
    fn run_pending() {}
    fn interrupt() -> Option<Ipl> {
        INTERRUPT.get()
    }
    fn report(_: &Report) {
        REPORTED.set(REPORTED.get() + 1);
    }
}

use order::*;

/// The classes.
mod order {
    sync::lock_order! {
        machine super::Pretender;
        thread { A, B, C, D }
        bio { Disk }
        net { Card }
        tty {}
        vm {}
        sched {}
        high {}
    }
}

/// The table and the findings are the program's: one test at a time.
fn watch(watcher: Watcher) -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    for other in [Watcher::Lockstat, Watcher::Lockdebug] {
        lockstat::set_watching::<Pretender>(other, other == watcher);
    }
    lockstat::clear();
    lockdebug::clear::<Pretender>();
    lockdebug::set_hold_limit_ns(u64::MAX);
    REPORTED.set(0);
    one
}

/// A token that is not asked what it knows: the mistakes that the types would not let by are what is tested here.
fn cx() -> &'static mut Cx<'static, Thread> {
    // SAFETY: for the mistakes none; else the thread holds nothing, or earlier locks of the order.
    Box::leak(Box::new(unsafe { Cx::assume() }))
}

fn findings() -> Vec<Finding> {
    let reports = lockdebug::reports::<Pretender>();
    reports
        .iter()
        .flatten()
        .map(|report| report.finding)
        .collect()
}

fn line<T>(lock: &T) -> lockstat::Line {
    let range = (&raw const *lock).addr()..(&raw const *lock).addr() + size_of::<T>();
    lockstat::lines()
        .find(|line| range.contains(&line.address))
        .expect("a line of this lock")
}

#[test]
fn lockstat_counts_every_visit_of_every_kind() {
    let _one = watch(Watcher::Lockstat);
    let (adaptive, spin) = (KMutex::<u32, A>::new(0), KMutex::<u32, Disk>::new(0));
    let rwlock = KRwLock::<u32, B>::new(0);
    for _ in 0..5 {
        *adaptive.enter(cx()).0 += 1;
    }
    for _ in 0..7 {
        *spin.enter(cx()).0 += 1;
    }
    for n in 0..9 {
        match n % 3 {
            0 => *rwlock.write(cx()).0 += 1,
            _ => assert_ne!(*rwlock.read(cx()).0, 0),
        }
    }
    let held = adaptive.try_enter(cx()).map(|(guard, _)| guard);
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(adaptive.try_enter(cx()).is_none()));
    });
    drop(held);
    let counted =
        [line(&adaptive), line(&spin), line(&rwlock)].map(|l| (l.class, l.lock, l.acquisitions));
    assert_eq!(
        counted,
        [
            ("A", "adaptive", 6),
            ("Disk", "spin", 7),
            ("B", "rwlock", 9)
        ]
    );
}

#[test]
fn lockstat_off_counts_nothing_and_keeps_the_fast_path() {
    let _one = watch(Watcher::Lockdebug);
    let lock = KMutex::<u32, A>::new(0);
    drop(lock.enter(cx()));
    lockstat::set_watching::<Pretender>(Watcher::Lockdebug, false);
    lockstat::clear();
    (0..10).for_each(|_| drop(lock.enter(cx())));
    assert_eq!(line(&lock).acquisitions, 0);
    // On again, it is seen again.
    lockstat::set_watching::<Pretender>(Watcher::Lockstat, true);
    (0..10).for_each(|_| drop(lock.enter(cx())));
    assert_eq!(line(&lock).acquisitions, 10);
}

#[test]
fn lockstat_counts_contention_and_holds() {
    const HOLD_NS: u64 = 5_000_000;
    let _one = watch(Watcher::Lockstat);
    let lock = KMutex::<u32, A>::new(0);
    let start_ns = Host::now_ns();
    // The other thread may come too late to meet the holder: then again.
    let rounds = (1..100).find(|_| {
        let held = lock.enter(cx()).0;
        std::thread::scope(|scope| {
            scope.spawn(|| drop(lock.enter(cx())));
            std::thread::sleep(std::time::Duration::from_nanos(HOLD_NS));
            drop(held);
        });
        line(&lock).contentions > 0
    });
    let (line, elapsed_ns) = (line(&lock), Host::now_ns() - start_ns);
    assert_eq!(line.acquisitions, 2 * rounds.expect("a wait in 100 rounds"));
    assert_eq!(line.contentions, 1);
    assert!(
        (HOLD_NS..=elapsed_ns).contains(&line.longest_hold_ns),
        "{line:?}"
    );
    assert!(
        (1..=elapsed_ns).contains(&(line.spin_ns + line.block_ns)),
        "{line:?}"
    );
}

#[test]
fn a_lock_that_goes_gives_its_place_back() {
    let _one = watch(Watcher::Lockstat);
    for _ in 0..if cfg!(miri) {
        4
    } else {
        3 * lockstat::MAX_LOCKS
    } {
        let lock = KMutex::<u32, A>::new(0);
        drop(lock.enter(cx()));
    }
    assert_eq!(lockstat::overflows(), 0);
    assert!(lockstat::lines().count() < lockstat::MAX_LOCKS);
}

#[test]
fn order_cycle_of_two_and_of_three() {
    let _one = watch(Watcher::Lockdebug);
    let (a, b, c) = (
        KMutex::<_, A>::new(0),
        KMutex::<_, B>::new(0),
        KRwLock::<_, C>::new(0),
    );
    {
        let _a = a.enter(cx()).0;
        let _b = b.enter(cx()).0;
    }
    {
        let _b = b.enter(cx()).0;
        let _c = c.read(cx()).0;
    }
    assert_eq!(findings(), []);
    for _ in 0..3 {
        let _b = b.enter(cx()).0;
        let _a = a.enter(cx()).0;
    }
    {
        let _c = c.write(cx()).0;
        let _a = a.enter(cx()).0;
    }
    let cycle = |held, wanted| Finding::OrderCycle { held, wanted };
    assert_eq!(findings(), [cycle("B", "A"), cycle("C", "A")]);
    let counts = lockdebug::reports::<Pretender>().map(|r| r.map_or(0, |r| r.count));
    assert_eq!(counts[..3], [3, 1, 0]);
    assert_eq!(REPORTED.get(), 2, "each kind is reported once");
}

/// Enters two locks one after the other, and the other way round.
fn inverted_order_is_found() {
    let pair = [KMutex::<_, A>::new(0), KMutex::<_, A>::new(0)];
    for (first, second) in [(0, 1), (1, 0)] {
        let _first = pair[first].enter(cx()).0;
        let _second = pair[second].enter(cx()).0;
    }
    assert_eq!(
        findings(),
        [Finding::OrderCycle {
            held: "A",
            wanted: "A"
        }]
    );
}

#[test]
fn order_of_two_locks_of_one_class() {
    let _one = watch(Watcher::Lockdebug);
    inverted_order_is_found();
}

/// The order of a lock that is gone says nothing about the one that has its place now.
#[test]
fn order_is_forgotten_with_the_lock() {
    let _one = watch(Watcher::Lockdebug);
    let a = KMutex::<_, A>::new(0);
    for round in 0..4 {
        let b = KMutex::<_, B>::new(0);
        let (first, second): (&dyn Fn(), &dyn Fn()) = (
            &|| {
                let _a = a.enter(cx()).0;
                drop(b.enter(cx()));
            },
            &|| {
                let _b = b.enter(cx()).0;
                drop(a.enter(cx()));
            },
        );
        if round % 2 == 0 { first() } else { second() }
    }
    assert_eq!(findings(), []);
}

#[test]
fn sleeping_locks_in_the_wrong_place() {
    let _one = watch(Watcher::Lockdebug);
    let (a, disk) = (KMutex::<_, A>::new(0), KMutex::<_, Disk>::new(0));
    let rw = KRwLock::<_, B>::new(0);
    {
        let _disk = disk.enter(cx()).0;
        drop(a.enter(cx()));
    }
    INTERRUPT.set(Some(Ipl::Net));
    drop(rw.read(cx()));
    INTERRUPT.set(None);
    let expected = [
        Finding::SleepsWhileMasked {
            class: "A",
            interrupt: None,
        },
        Finding::SleepsWhileMasked {
            class: "B",
            interrupt: Some(Ipl::Net),
        },
    ];
    assert_eq!(findings(), expected);
}

#[test]
fn spin_lock_of_another_domain_in_an_interrupt() {
    let _one = watch(Watcher::Lockdebug);
    let (disk, card) = (KMutex::<_, Disk>::new(0), KMutex::<_, Card>::new(0));
    INTERRUPT.set(Some(Ipl::Net));
    drop(card.enter(cx()));
    assert_eq!(findings(), []);
    drop(disk.enter(cx()));
    INTERRUPT.set(None);
    assert_eq!(
        findings(),
        [Finding::WrongClass {
            class: "Disk",
            interrupt: Ipl::Net
        }]
    );
}

#[test]
fn held_too_long() {
    let _one = watch(Watcher::Lockdebug);
    let (disk, a) = (KMutex::<_, Disk>::new(0), KMutex::<_, A>::new(0));
    lockdebug::set_hold_limit_ns(2_000_000);
    let hold = || std::thread::sleep(std::time::Duration::from_millis(4));
    {
        let _a = a.enter(cx()).0; // may be held as long as one likes
        hold();
    }
    assert_eq!(findings(), []);
    {
        let _disk = disk.enter(cx()).0;
        hold();
    }
    assert_eq!(findings(), [Finding::HeldTooLong { class: "Disk" }]);
    assert!(lockdebug::reports::<Pretender>()[0].is_some_and(|r| r.longest_ns > 2_000_000));
}

#[test]
fn freed_while_held() {
    let _one = watch(Watcher::Lockdebug);
    let (a, b) = (KMutex::<_, A>::new(0), KRwLock::<_, B>::new(0));
    std::thread::scope(|scope| {
        // Threads of their own: what they hold, they hold for ever.
        scope.spawn(|| std::mem::forget(a.enter(cx())));
        scope.spawn(|| std::mem::forget(b.read(cx())));
    });
    drop((a, b));
    let mut found = findings();
    found.sort_by_key(|finding| format!("{finding}"));
    let freed = |class| Finding::FreedWhileHeld { class };
    assert_eq!(found, [freed("A"), freed("B")]);
}

#[test]
fn recursion() {
    let _one = watch(Watcher::Lockdebug);
    let d = KMutex::<_, D>::new(0);
    std::thread::scope(|scope| {
        let twice = || {
            let _once = d.enter(cx()).0;
            let _twice = d.enter(cx()).0;
        };
        assert!(scope.spawn(twice).join().is_err());
    });
    assert_eq!(findings(), [Finding::Recursion { class: "D" }]);
}

#[test]
fn what_finds_no_room_is_counted() {
    let _one = watch(Watcher::Lockdebug);
    let locks: Vec<_> = (0..lockdebug::MAX_HELD + 3)
        .map(|_| KMutex::<_, A>::new(0))
        .collect();
    let guards: Vec<_> = locks
        .iter()
        .map(|lock| std::mem::ManuallyDrop::new(lock.enter(cx()).0))
        .collect();
    assert_eq!(lockdebug::overflows(), (3, 0));
    guards
        .into_iter()
        .for_each(|guard| drop(std::mem::ManuallyDrop::into_inner(guard)));
    // It goes on working.
    inverted_order_is_found();
}
