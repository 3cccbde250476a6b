// SPDX-License-Identifier: MIT OR Apache-2.0
//! lockdebug: what types cannot see, seen while it runs.
//!
//! # Theory
//! Types order classes. What is decided at run time they cannot order: which of two locks of one class comes first, and
//! locks taken across a boundary that has no room for a token. So the checker keeps, for each thread, what it holds, and for
//! all locks a graph: an edge from each lock held to each one entered. An entry that would close a circle is reported
//! before it waits, whether or not anybody deadlocks this time, and leaves the graph as it was. It also looks at the context: no
//! adaptive lock in an interrupt or with something masked, no spin lock in an interrupt of another domain, no lock of a
//! device's domain holding one of another's; at how long interrupt-safe locks are held; and at memory that goes while its lock is held.
//!
//! Memory is fixed: [`MAX_LOCKS`] locks, [`MAX_HELD`] held by a thread, [`MAX_FINDINGS`] different findings, each with a
//! count. What finds no room is counted. A finding ends nothing: the checker goes on, and so does the kernel, but for
//! a thread that enters a mutex that it owns already, which can only panic.
//!
//! # Contexts
//! Any. What a thread holds is written by itself and by the interrupts on its stack, which leave it as they found it: an
//! entry is one word, and a free place is taken by writing it, so an interrupt between looking and writing does no harm.
//!
//! # Lock order
//! The findings' word is a leaf. The graph needs none: an edge is a bit that is set atomically.
//!
//! # Rejected
//! Switching off after the first report, as most do: the second bug hides behind the first.
//!
//! References: NetBSD lockdebug(9); FreeBSD witness(4).
use crate::ipl::Ipl;
use core::fmt;

/// Most locks held by a thread that are checked.
pub const MAX_HELD: usize = 16;
/// Most different findings kept.
pub const MAX_FINDINGS: usize = 32;

/// What is wrong. Names are those of lock classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// `wanted` was entered with `held` held, and earlier the other way round, perhaps through others.
    OrderCycle {
        /// Class of the lock that is held.
        held: &'static str,
        /// Class of the lock that was entered.
        wanted: &'static str,
    },
    /// `wanted` was entered with `held` held, and their domains have no order.
    Unordered {
        /// Class of the lock that is held.
        held: &'static str,
        /// Class of the lock that was entered.
        wanted: &'static str,
    },
    /// A thread entered what it holds.
    Recursion {
        /// Class.
        class: &'static str,
    },
    /// A lock that may sleep was entered in an interrupt, or with something masked.
    SleepsWhileMasked {
        /// Class.
        class: &'static str,
        /// The interrupt, if it is one.
        interrupt: Option<Ipl>,
    },
    /// An interrupt entered a lock that does not hold it off elsewhere.
    WrongClass {
        /// Class.
        class: &'static str,
        /// The interrupt.
        interrupt: Ipl,
    },
    /// The lock's memory was given back while the lock was held.
    FreedWhileHeld {
        /// Class.
        class: &'static str,
    },
    /// An interrupt-safe lock was held longer than the limit.
    HeldTooLong {
        /// Class.
        class: &'static str,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Finding::OrderCycle { held, wanted } => {
                write!(
                    f,
                    "order: {wanted} entered holding {held}, and before the other way round"
                )
            }
            Finding::Unordered { held, wanted } => write!(
                f,
                "domains: {wanted} entered holding {held}: they have no order"
            ),
            Finding::Recursion { class } => write!(f, "recursion: {class} entered by its holder"),
            Finding::SleepsWhileMasked {
                class,
                interrupt: Some(ipl),
            } => {
                write!(
                    f,
                    "context: {class} may sleep, entered in a {ipl} interrupt"
                )
            }
            Finding::SleepsWhileMasked {
                class,
                interrupt: None,
            } => {
                write!(
                    f,
                    "context: {class} may sleep, entered with interrupts masked"
                )
            }
            Finding::WrongClass { class, interrupt } => {
                write!(
                    f,
                    "class: {class} does not hold off {interrupt} interrupts, entered in one"
                )
            }
            Finding::FreedWhileHeld { class } => write!(f, "freed: {class} while it was held"),
            Finding::HeldTooLong { class } => write!(f, "held: {class} longer than the limit"),
        }
    }
}

/// A finding, and how often it was made.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What is wrong.
    pub finding: Finding,
    /// Times found.
    pub count: u32,
    /// Longest hold, ns, where that is what is wrong.
    pub longest_ns: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.finding)?;
        if self.longest_ns != 0 {
            write!(f, " ({} us)", self.longest_ns / 1000)?;
        }
        Ok(())
    }
}

#[cfg(not(any(loom, shuttle)))]
pub(crate) use checker::{
    HeldLocks, check_entry, check_hold, forget_held, forget_lock, held_since_ns, note_held,
    note_left, report_freed, report_recursion,
};
#[cfg(not(any(loom, shuttle)))]
pub use checker::{clear, order, overflows, reports, set_hold_limit_ns};

#[cfg(not(any(loom, shuttle)))]
mod checker {
    use super::{Finding, MAX_FINDINGS, MAX_HELD, Report};
    use crate::domain::{Bio, Domain, Net, Tty};
    use crate::lockstat::{self, MAX_LOCKS, Watcher};
    use crate::machine::{KThread, Machine};
    use crate::probe::Kind;
    use crate::spinword::SpinWord;
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    const WORDS: usize = MAX_LOCKS / 64;

    /// What a thread holds: for each place, the lock's and when it was entered.
    pub struct HeldLocks {
        /// 0: free; else the number of the watch in the upper half, and the lock's place plus 1.
        entries: [AtomicU32; MAX_HELD],
        since_ns: [AtomicU64; MAX_HELD],
    }

    impl HeldLocks {
        /// Nothing.
        pub const fn new() -> Self {
            Self {
                entries: [const { AtomicU32::new(0) }; MAX_HELD],
                since_ns: [const { AtomicU64::new(0) }; MAX_HELD],
            }
        }

        /// The places of all locks held.
        fn iter(&self) -> impl Iterator<Item = usize> {
            let watch = WATCH.load(Ordering::Relaxed);
            self.entries.iter().filter_map(move |entry| {
                let entry = entry.load(Ordering::Relaxed);
                (entry != 0 && entry >> 16 == watch).then(|| (entry as u16 - 1) as usize)
            })
        }
    }

    /// Locks entered with each lock held.
    static AFTER: [[AtomicU64; WORDS]; MAX_LOCKS] =
        [const { [const { AtomicU64::new(0) }; WORDS] }; MAX_LOCKS];
    /// Number of this watch, 16 bits: what was held before it began is forgotten.
    static WATCH: AtomicU32 = AtomicU32::new(0);
    static TOO_MANY_HELD: AtomicU32 = AtomicU32::new(0);
    static TOO_MANY_FINDINGS: AtomicU32 = AtomicU32::new(0);
    static HOLD_LIMIT_NS: AtomicU64 = AtomicU64::new(1_000_000);

    struct Findings(UnsafeCell<[Option<Report>; MAX_FINDINGS]>);
    // SAFETY: reached only with the word held.
    unsafe impl Sync for Findings {}
    static FINDINGS: Findings = Findings(UnsafeCell::new([None; MAX_FINDINGS]));
    static FINDINGS_WORD: SpinWord = SpinWord::new();

    fn with_findings<M: Machine, R>(
        look: impl FnOnce(&mut [Option<Report>; MAX_FINDINGS]) -> R,
    ) -> R {
        let _held = FINDINGS_WORD.lock::<M>();
        // SAFETY: the word is held, and no `look` of this file comes here again.
        look(unsafe { &mut *FINDINGS.0.get() })
    }

    /// What was found so far.
    pub fn reports<M: Machine>() -> [Option<Report>; MAX_FINDINGS] {
        with_findings::<M, _>(|findings| *findings)
    }

    /// Locks held and findings that found no room, in this order.
    pub fn overflows() -> (u32, u32) {
        (
            TOO_MANY_HELD.load(Ordering::Relaxed),
            TOO_MANY_FINDINGS.load(Ordering::Relaxed),
        )
    }

    /// Forgets all findings, and the order of locks seen so far.
    pub fn clear<M: Machine>() {
        with_findings::<M, _>(|findings| *findings = [None; MAX_FINDINGS]);
        AFTER
            .iter()
            .flatten()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        TOO_MANY_HELD.store(0, Ordering::Relaxed);
        TOO_MANY_FINDINGS.store(0, Ordering::Relaxed);
    }

    /// Sets how long an interrupt-safe lock may be held, ns.
    pub fn set_hold_limit_ns(limit_ns: u64) {
        HOLD_LIMIT_NS.store(limit_ns, Ordering::Relaxed);
    }

    fn report<M: Machine>(finding: Finding, hold_ns: u64) {
        let new = with_findings::<M, _>(|findings| {
            let same = |f: &&mut Option<Report>| f.as_ref().is_some_and(|r| r.finding == finding);
            if let Some(Some(report)) = findings.iter_mut().find(same) {
                report.count += 1;
                report.longest_ns = report.longest_ns.max(hold_ns);
                return None;
            }
            let report = Report {
                finding,
                count: 1,
                longest_ns: hold_ns,
            };
            let Some(free) = findings.iter_mut().find(|f| f.is_none()) else {
                TOO_MANY_FINDINGS.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            *free = Some(report);
            Some(report)
        });
        if let Some(report) = new {
            M::report(&report);
        }
    }

    fn class_of(index: usize) -> &'static str {
        lockstat::kind(index).map_or("a lock that is gone", |kind| kind.class)
    }

    /// The current thread wants the lock at `index`, and has not waited yet.
    pub fn check_entry<M: Machine>(kind: &'static Kind, index: usize) {
        let me = M::current();
        let interrupt = M::interrupt();
        if !kind.spins {
            if interrupt.is_some() || !me.may_sleep() {
                let class = kind.class;
                report::<M>(Finding::SleepsWhileMasked { class, interrupt }, 0);
            }
        } else if let Some(interrupt) = interrupt
            && !kind.masks.masks(interrupt)
        {
            let class = kind.class;
            report::<M>(Finding::WrongClass { class, interrupt }, 0);
        }
        for held in me.held_locks.iter() {
            if held == index || has_edge(held, index) {
                continue;
            }
            if lockstat::kind(held).is_some_and(|held| are_apart(held.domain, kind.domain)) {
                let (held, wanted) = (class_of(held), kind.class);
                report::<M>(Finding::Unordered { held, wanted }, 0);
            }
            // First the edge, then the look: of two threads that close a circle at once, one sees the other's.
            let (after, bit) = (&AFTER[held][index / 64], 1 << (index % 64));
            after.fetch_or(bit, Ordering::SeqCst);
            if leads_to(index, held) {
                after.fetch_and(!bit, Ordering::SeqCst);
                let (held, wanted) = (class_of(held), kind.class);
                report::<M>(Finding::OrderCycle { held, wanted }, 0);
            }
        }
    }

    /// True of two domains of devices. A direct handler, which shares the list of whom it interrupts, enters none of these.
    fn are_apart(one: &str, other: &str) -> bool {
        let devices = [Bio::NAME, Net::NAME, Tty::NAME];
        one != other && [one, other].iter().all(|name| devices.contains(name))
    }

    /// The order seen so far: of each edge, class and domain of the lock that was held and of the one that was entered.
    pub fn order() -> impl Iterator<Item = [(&'static str, &'static str); 2]> {
        let pairs =
            (0..MAX_LOCKS).flat_map(|held| (0..MAX_LOCKS).map(move |wanted| [held, wanted]));
        let edges = pairs.filter(|[held, wanted]| has_edge(*held, *wanted));
        edges.filter_map(|[held, wanted]| {
            let name = |lock| lockstat::kind(lock).map(|kind| (kind.class, kind.domain));
            Some([name(held)?, name(wanted)?])
        })
    }

    fn has_edge(from: usize, to: usize) -> bool {
        AFTER[from][to / 64].load(Ordering::Relaxed) & 1 << (to % 64) != 0
    }

    /// True if `to` was ever entered with `from` held, or with one that was entered so.
    fn leads_to(from: usize, to: usize) -> bool {
        let mut seen = [0u64; WORDS];
        let mut todo = [0u64; WORDS];
        todo[from / 64] |= 1 << (from % 64);
        while let Some(word) = todo.iter().position(|bits| *bits != 0) {
            let at = word * 64 + todo[word].trailing_zeros() as usize;
            if at == to {
                return true;
            }
            todo[word] &= todo[word] - 1;
            seen[word] |= 1 << (at % 64);
            for (word, after) in AFTER[at].iter().enumerate() {
                todo[word] |= after.load(Ordering::SeqCst) & !seen[word];
            }
        }
        false
    }

    /// `thread`, the current one, holds the lock at `index` from `now_ns` on.
    pub fn note_held(thread: &KThread, index: usize, now_ns: u64) {
        let held = &thread.held_locks;
        let watch = WATCH.load(Ordering::Relaxed);
        let is_free = |entry: &AtomicU32| {
            let entry = entry.load(Ordering::Relaxed);
            entry == 0 || entry >> 16 != watch
        };
        let Some(place) = held.entries.iter().position(is_free) else {
            TOO_MANY_HELD.fetch_add(1, Ordering::Relaxed);
            return;
        };
        held.entries[place].store(watch << 16 | (index as u32 + 1), Ordering::Relaxed);
        held.since_ns[place].store(now_ns, Ordering::Relaxed);
    }

    /// `thread`, the current one, no longer holds the lock at `index`; since when it did, ns, if that is known.
    pub fn note_left(thread: &KThread, index: usize) -> Option<u64> {
        let held = &thread.held_locks;
        let entry = WATCH.load(Ordering::Relaxed) << 16 | (index as u32 + 1);
        let mut entries = held.entries.iter();
        let place = entries.position(|e| e.load(Ordering::Relaxed) == entry)?;
        let since_ns = held.since_ns[place].load(Ordering::Relaxed);
        held.entries[place].store(0, Ordering::Relaxed);
        Some(since_ns)
    }

    /// Since when `thread` has held the lock at `index`, ns, if that is known: somebody watches.
    pub fn held_since_ns(thread: &KThread, index: usize) -> Option<u64> {
        let held = &thread.held_locks;
        let entry = WATCH.load(Ordering::Relaxed) << 16 | (index as u32 + 1);
        let place = held
            .entries
            .iter()
            .position(|e| e.load(Ordering::Relaxed) == entry)?;
        Some(held.since_ns[place].load(Ordering::Relaxed))
    }

    /// The lock at `index` was held for `hold_ns`.
    pub fn check_hold<M: Machine>(index: usize, hold_ns: u64) {
        let spins = lockstat::kind(index).is_some_and(|kind| kind.spins);
        if !spins || hold_ns <= HOLD_LIMIT_NS.load(Ordering::Relaxed) {
            return;
        }
        let class = class_of(index);
        M::held_long(class, hold_ns);
        if lockstat::is_watching(Watcher::Lockdebug) {
            report::<M>(Finding::HeldTooLong { class }, hold_ns);
        }
    }

    /// The current thread entered what it holds.
    pub fn report_recursion<M: Machine>(kind: &'static Kind) {
        report::<M>(Finding::Recursion { class: kind.class }, 0);
    }

    /// A held lock's memory goes.
    pub fn report_freed<M: Machine>(kind: &'static Kind) {
        report::<M>(Finding::FreedWhileHeld { class: kind.class }, 0);
    }

    /// Another watch begins: what is held now was not seen being entered.
    pub fn forget_held() {
        let _before = WATCH.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |watch| {
            Some((watch + 1) & 0xFFFF)
        });
    }

    /// The lock at `index` is gone: another may get its place.
    pub fn forget_lock(index: usize) {
        for word in &AFTER[index] {
            word.store(0, Ordering::Relaxed);
        }
        let (word, bit) = (index / 64, 1 << (index % 64));
        for after in &AFTER {
            if after[word].load(Ordering::Relaxed) & bit != 0 {
                after[word].fetch_and(!bit, Ordering::Relaxed);
            }
        }
    }
}
