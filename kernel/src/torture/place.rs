// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is tortured: a lock of each kind, over two words that show whether anybody was let in who should not be.
use super::Rng;
use super::broken::BrokenLock;
use crate::lock_order;
use crate::thread::{self, ThreadCx};
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::domain::{Before, Cx, Domain, LockClass, MaySleep, Thread};
use sync::kmutex::{KMutex, KMutexGuard};
use sync::krwlock::{KRwLock, ReadGuard, WriteGuard};
use sync::lockstat;

/// Turns of a loop inside a lock, so that another CPU may come by: most times few, for there to be many times.
const LINGER: u32 = 20;
const LINGER_LONG: u32 = 2000;

fn linger(visit: u64) {
    let turns = if visit.is_multiple_of(8) {
        LINGER_LONG
    } else {
        LINGER
    };
    for _ in 0..turns {
        core::hint::spin_loop();
    }
}

/// Time inside a lock that sleeps. Others come by for certain, be there as few CPUs as there may: also in an emulator
/// that has lost its own.
pub fn dawdle<K: MaySleep>(cx: &mut Cx<K>, rng: &mut Rng) {
    match rng.below(64) {
        0 => thread::sleep_until(cx, now_ns() + 50_000),
        1..4 => thread::yield_now(cx),
        n => linger(n),
    }
}

/// Two words that are equal whenever nobody changes them. Atomic, for a lock that is broken lets two at them; but not
/// in one step: that is the lock's task.
pub struct Pair(AtomicU64, AtomicU64);

impl Pair {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0), AtomicU64::new(0))
    }

    /// Adds one to both, with `between` in between; false if somebody else was at them.
    fn change(&self, between: impl FnOnce()) -> bool {
        let before = [&self.0, &self.1].map(|word| word.load(Ordering::Relaxed));
        self.0.store(before[0] + 1, Ordering::Relaxed);
        between();
        let alone = self.0.load(Ordering::Relaxed) == before[0] + 1;
        self.1.store(before[1] + 1, Ordering::Relaxed);
        alone && before[0] == before[1]
    }

    /// Looks twice; false if somebody was changing them.
    fn look(&self, between: impl FnOnce()) -> bool {
        let first = self.0.load(Ordering::Relaxed);
        between();
        first == self.1.load(Ordering::Relaxed) && first == self.0.load(Ordering::Relaxed)
    }
}

/// What happened at a place. Atomic additions: exact, whatever the lock does.
pub struct Counts {
    /// Times the lock was entered, in whatever way.
    pub entries: AtomicU64,
    /// Those that changed the pair.
    pub changes: AtomicU64,
    /// Those from an interrupt or a callout.
    pub interrupts: AtomicU64,
    /// Times that waiting for it was given up.
    pub timeouts: AtomicU64,
    /// Times that the pair was seen in between.
    pub violations: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    const fn new() -> Self {
        Self {
            entries: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            interrupts: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            violations: AtomicU64::new(0),
        }
    }

    fn all(&self) -> [&AtomicU64; 5] {
        [
            &self.entries,
            &self.changes,
            &self.interrupts,
            &self.timeouts,
            &self.violations,
        ]
    }

    fn entered(&self) {
        count(&self.entries);
        let me = thread::current();
        if me.in_interrupt() || me.serves().is_some() {
            count(&self.interrupts);
        }
    }

    fn change(&self, pair: &Pair, between: impl FnOnce()) {
        count(&self.changes);
        if !pair.change(between) {
            count(&self.violations);
        }
    }

    fn change_at_once(&self, pair: &Pair) {
        self.change(pair, || linger(self.changes.load(Ordering::Relaxed)));
    }

    fn look(&self, pair: &Pair, between: impl FnOnce()) {
        if !pair.look(between) {
            count(&self.violations);
        }
    }
}

/// A lock with what happened at it.
pub struct Place<L> {
    pub lock: L,
    pub counts: Counts,
}

type Mutex<C> = Place<KMutex<Pair, C>>;
type RwLock<C> = Place<KRwLock<Pair, C>>;

const fn mutex<C: LockClass>() -> Mutex<C> {
    Place {
        lock: KMutex::new(Pair::new()),
        counts: Counts::new(),
    }
}

const fn rwlock<C: LockClass<Domain = Thread>>() -> RwLock<C> {
    Place {
        lock: KRwLock::new(Pair::new()),
        counts: Counts::new(),
    }
}

pub static PLAIN: Mutex<lock_order::TorturePlain> = mutex();
pub static OUTER: Mutex<lock_order::TortureOuter> = mutex();
pub static INNER: Mutex<lock_order::TortureInner> = mutex();
pub static SHARED: RwLock<lock_order::TortureShared> = rwlock();
pub static SHARED_TOO: RwLock<lock_order::TortureSharedToo> = rwlock();
/// Entered to wait: for one's turn, for a bell, for nothing.
pub static RING: Mutex<lock_order::TortureRing> = mutex();
pub static BELL: Mutex<lock_order::TortureBell> = mutex();
pub static NEVER: Mutex<lock_order::TortureNever> = mutex();
pub static BIO: Mutex<lock_order::TortureBio> = mutex();
pub static NET: Mutex<lock_order::TortureNet> = mutex();
pub static TTY: Mutex<lock_order::TortureTty> = mutex();
pub static VM: Mutex<lock_order::TortureVm> = mutex();
pub static SCHED: Mutex<lock_order::TortureSched> = mutex();
pub static HIGH: Mutex<lock_order::TortureHigh> = mutex();
/// Takes the place of `PLAIN` where the torture must fail.
pub static BROKEN: Place<BrokenLock> = Place {
    lock: BrokenLock::new(),
    counts: Counts::new(),
};

impl<C: LockClass> Mutex<C> {
    /// Enters and changes the pair.
    pub fn enter<'a, K: Before<C>>(
        &'a self,
        cx: &'a mut Cx<'_, K>,
    ) -> (KMutexGuard<'a, Pair, C, K>, Cx<'a, C>) {
        let (guard, cx) = self.lock.enter(cx);
        self.counts.entered();
        self.counts.change_at_once(&guard);
        (guard, cx)
    }

    /// The same, unless it takes beyond `deadline_ns`.
    pub fn enter_until<'a, K: Before<C>>(
        &'a self,
        cx: &'a mut Cx<'_, K>,
        deadline_ns: u64,
    ) -> Option<(KMutexGuard<'a, Pair, C, K>, Cx<'a, C>)> {
        let Some((guard, cx)) = self.lock.enter_until(cx, deadline_ns) else {
            count(&self.counts.timeouts);
            return None;
        };
        self.counts.entered();
        self.counts.change_at_once(&guard);
        Some((guard, cx))
    }

    /// A wait with the lock came back: that is an entry, too.
    pub fn came_back(&self, pair: &Pair) {
        self.counts.entered();
        self.counts.change_at_once(pair);
    }
}

impl<C: LockClass<Domain = Thread> + MaySleep> Mutex<C> {
    /// Enters, takes its time, and leaves.
    pub fn visit<K: Before<C>>(&self, cx: &mut Cx<K>, rng: &mut Rng) {
        let (guard, mut cx) = self.lock.enter(cx);
        self.counts.entered();
        self.counts.change(&guard, || dawdle(&mut cx, rng));
    }
}

impl<C: LockClass<Domain = Thread> + MaySleep> RwLock<C> {
    /// Enters for reading, and looks at the pair for a while.
    pub fn read<'a, K: Before<C> + MaySleep>(
        &'a self,
        cx: &'a mut Cx<'_, K>,
        rng: &mut Rng,
    ) -> (ReadGuard<'a, Pair, C>, Cx<'a, C>) {
        let (guard, mut cx) = self.lock.read(cx);
        self.counts.entered();
        self.counts.look(&guard, || dawdle(&mut cx, rng));
        (guard, cx)
    }

    /// Enters for writing, and takes its time to change the pair.
    pub fn write<'a, K: Before<C> + MaySleep>(
        &'a self,
        cx: &'a mut Cx<'_, K>,
        rng: &mut Rng,
    ) -> (WriteGuard<'a, Pair, C>, Cx<'a, C>) {
        let (guard, mut cx) = self.lock.write(cx);
        self.counts.entered();
        self.counts.change(&guard, || dawdle(&mut cx, rng));
        (guard, cx)
    }
}

impl Place<BrokenLock> {
    /// Enters, takes its time, and leaves.
    pub fn visit<K: MaySleep>(&self, cx: &mut Cx<K>, rng: &mut Rng) {
        self.lock.enter(cx, rng);
        self.counts.entered();
        self.counts.change(&self.lock.pair, || dawdle(cx, rng));
        self.lock.exit();
    }
}

/// What the report says of a place.
pub struct Line {
    pub class: &'static str,
    pub kind: &'static str,
    /// As in [`Counts`].
    pub entries: u64,
    pub changes: u64,
    pub interrupts: u64,
    pub timeouts: u64,
    pub violations: u64,
    /// What the pair says: how often it was changed.
    pub changed: u64,
    /// Entries that lockstat counted; nothing where the lock is none of its.
    pub lockstat: Option<u64>,
}

impl Line {
    /// A pair was seen in between, or says less than was added to it.
    pub fn two_were_inside(&self) -> bool {
        self.violations != 0 || self.changed != self.changes
    }
}

impl Counts {
    /// Takes what happened, and begins anew.
    fn take(
        &self,
        seen: &[lockstat::Line],
        class: &'static str,
        kind: &'static str,
        pair: &Pair,
    ) -> Line {
        let mine = seen.iter().filter(|line| line.class == class);
        let lockstat = || mine.map(|line| line.acquisitions).sum();
        let [entries, changes, interrupts, timeouts, violations] =
            self.all().map(|counter| counter.swap(0, Ordering::Relaxed));
        let line = Line {
            class,
            kind,
            entries,
            changes,
            interrupts,
            timeouts,
            violations,
            changed: pair.0.swap(0, Ordering::Relaxed),
            lockstat: (kind != "broken").then(lockstat),
        };
        pair.1.store(0, Ordering::Relaxed);
        line
    }
}

impl<C: LockClass> Mutex<C> {
    fn take(&self, cx: &mut ThreadCx, seen: &[lockstat::Line]) -> Line {
        let kind = if C::Domain::SLEEPS {
            "adaptive"
        } else {
            "spin"
        };
        self.counts
            .take(seen, C::NAME, kind, &self.lock.enter(cx).0)
    }
}

impl<C: LockClass<Domain = Thread>> RwLock<C> {
    fn take(&self, cx: &mut ThreadCx, seen: &[lockstat::Line]) -> Line {
        self.counts
            .take(seen, C::NAME, "rwlock", &self.lock.write(cx).0)
    }
}

/// Number of places.
pub const PLACES: usize = 15;

/// Takes what happened at all places, and begins anew. Nobody is at any.
pub fn take(cx: &mut ThreadCx) -> [Line; PLACES] {
    // First, for what follows enters, too.
    let seen: &Vec<lockstat::Line> = &lockstat::lines().collect();
    [
        PLAIN.take(cx, seen),
        OUTER.take(cx, seen),
        INNER.take(cx, seen),
        SHARED.take(cx, seen),
        SHARED_TOO.take(cx, seen),
        RING.take(cx, seen),
        BELL.take(cx, seen),
        NEVER.take(cx, seen),
        BIO.take(cx, seen),
        NET.take(cx, seen),
        TTY.take(cx, seen),
        VM.take(cx, seen),
        SCHED.take(cx, seen),
        HIGH.take(cx, seen),
        BROKEN
            .counts
            .take(seen, "Broken", "broken", &BROKEN.lock.pair),
    ]
}
