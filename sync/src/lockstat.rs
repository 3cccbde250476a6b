// SPDX-License-Identifier: MIT OR Apache-2.0
//! lockstat: what each lock cost. A table of all locks that were ever entered, in fixed memory.
//!
//! # Theory
//! A lock is born with the slow flag in its word, so its first visitor comes the slow way, and the [`Probe`] there enters
//! the lock into the table and, if nobody watches, takes the flag off: from then on the fast path is as short as without
//! any of this. [Watching](set_watching) puts the flag into the words of all locks in the table, and every visit comes by
//! and is counted; when it ends, the flags go as they came, with each lock's next visitor, who knows whether the lock has
//! another reason to keep its own. Contention is met only on the slow path, so it is counted always.
//!
//! # Contexts
//! Any up to Sched.
//!
//! # Lock order
//! The table's word is a leaf.
//!
//! # Memory ordering
//! (1) `WATCHED` is set before any word gets its flag (Release). Who takes a flag off (Acquire) looks at it again after: if
//! the flag had been put on, it sees that, and puts it back; if not yet, the flag comes. Figures are Relaxed: each is a number of its own.
//!
//! # Rejected
//! Counting in the fast path behind a test of a global: a load and a branch for everybody, always. Patching the code, as
//! illumos does: text is not writable here.
use crate::lockdebug;
use crate::machine::Machine;
use crate::probe::{Kind, NO_PLACE};
use crate::spinword::SpinWord;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Most locks in the table at a time.
pub const MAX_LOCKS: usize = 256;

/// Who wants to see every visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Watcher {
    /// lockstat: counts acquisitions and measures holds.
    Lockstat = 1,
    /// lockdebug: checks order and contexts.
    Lockdebug = 2,
}

struct Record {
    /// Null: the place is free.
    kind: AtomicPtr<Kind>,
    /// The lock's word, and its slow flag there.
    word: AtomicPtr<AtomicUsize>,
    slow: AtomicUsize,
    acquisitions: AtomicU64,
    contentions: AtomicU64,
    spin_ns: AtomicU64,
    block_ns: AtomicU64,
    longest_hold_ns: AtomicU64,
}

static TABLE: [Record; MAX_LOCKS] = [const {
    Record {
        kind: AtomicPtr::new(null_mut()),
        word: AtomicPtr::new(null_mut()),
        slow: AtomicUsize::new(0),
        acquisitions: AtomicU64::new(0),
        contentions: AtomicU64::new(0),
        spin_ns: AtomicU64::new(0),
        block_ns: AtomicU64::new(0),
        longest_hold_ns: AtomicU64::new(0),
    }
}; MAX_LOCKS];
/// Guards who is in the table; the figures are each on their own.
static TABLE_WORD: SpinWord = SpinWord::new();
static WATCHED: AtomicU8 = AtomicU8::new(0);
static OVERFLOWS: AtomicU32 = AtomicU32::new(0);

/// A lock's figures.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Its class.
    pub class: &'static str,
    /// Its domain.
    pub domain: &'static str,
    /// `adaptive`, `spin` or `rwlock`.
    pub lock: &'static str,
    /// Where its word is: tells locks of one class apart.
    pub address: usize,
    /// Times entered while lockstat was on.
    pub acquisitions: u64,
    /// Times that someone had to wait, since the last [`clear`].
    pub contentions: u64,
    /// Time spent spinning, ns.
    pub spin_ns: u64,
    /// Time spent blocked, ns.
    pub block_ns: u64,
    /// Longest time that it was held while lockstat was on, ns.
    pub longest_hold_ns: u64,
}

/// The figures of all locks that were ever entered and still exist.
pub fn lines() -> impl Iterator<Item = Line> {
    TABLE.iter().filter_map(|record| {
        // SAFETY: set from a constant, or null.
        let kind = unsafe { record.kind.load(Ordering::Acquire).as_ref() }?;
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Some(Line {
            class: kind.class,
            domain: kind.domain,
            lock: kind.lock,
            address: record.word.load(Ordering::Relaxed).addr(),
            acquisitions: get(&record.acquisitions),
            contentions: get(&record.contentions),
            spin_ns: get(&record.spin_ns),
            block_ns: get(&record.block_ns),
            longest_hold_ns: get(&record.longest_hold_ns),
        })
    })
}

/// What each lock in the table is, with its place and its word, which stays as long as nobody takes the lock out.
pub(crate) fn words() -> impl Iterator<Item = (usize, &'static Kind, &'static AtomicUsize)> {
    TABLE.iter().enumerate().filter_map(|(index, record)| {
        let kind = kind(index)?;
        // SAFETY: a lock leaves the table before its memory goes; the callers have seen to it that none does.
        let word = unsafe { record.word.load(Ordering::Relaxed).as_ref() }?;
        Some((index, kind, word))
    })
}

/// Locks that found no place in the table, and are neither counted nor checked.
pub fn overflows() -> u32 {
    OVERFLOWS.load(Ordering::Relaxed)
}

/// Sets all figures to zero.
pub fn clear() {
    TABLE.iter().for_each(Record::clear);
}

/// True if `watcher` sees every visit.
pub fn is_watching(watcher: Watcher) -> bool {
    WATCHED.load(Ordering::Relaxed) & watcher as u8 != 0
}

/// Lets `watcher` see every visit of every lock, or no longer.
pub fn set_watching<M: Machine>(watcher: Watcher, on: bool) {
    let _held = TABLE_WORD.lock::<M>();
    let before = WATCHED.load(Ordering::Relaxed);
    let after = if on {
        before | watcher as u8
    } else {
        before & !(watcher as u8)
    };
    if (before == 0) == (after == 0) {
        WATCHED.store(after, Ordering::Relaxed);
        return;
    }
    lockdebug::forget_held();
    WATCHED.store(after, Ordering::Relaxed);
    if on {
        TABLE.iter().for_each(Record::set_slow);
    }
}

impl Record {
    fn clear(&self) {
        let figures = [
            &self.acquisitions,
            &self.contentions,
            &self.spin_ns,
            &self.block_ns,
        ];
        for figure in figures.into_iter().chain([&self.longest_hold_ns]) {
            figure.store(0, Ordering::Relaxed);
        }
    }

    /// Puts the slow flag into the lock's word. With the table locked, so the lock still exists.
    fn set_slow(&self) {
        let slow = self.slow.load(Ordering::Relaxed);
        // SAFETY: a lock leaves the table before its memory goes.
        if let Some(word) = unsafe { self.word.load(Ordering::Relaxed).as_ref() } {
            // ORDERING: (1) Release.
            word.fetch_or(slow, Ordering::Release);
        }
    }
}

/// True if anybody watches.
pub(crate) fn watched() -> bool {
    WATCHED.load(Ordering::Relaxed) != 0
}

/// Enters a lock into the table, if nobody did so meanwhile, and tells it its place there, or that all are taken.
pub(crate) fn register<M: Machine>(
    kind: &'static Kind,
    word: &AtomicUsize,
    slow: usize,
    place: &AtomicU32,
) {
    let _held = TABLE_WORD.lock::<M>();
    if place.load(Ordering::Relaxed) != 0 {
        return;
    }
    let is_free = |record: &Record| record.kind.load(Ordering::Relaxed).is_null();
    let Some(index) = TABLE.iter().position(is_free) else {
        OVERFLOWS.fetch_add(1, Ordering::Relaxed);
        place.store(NO_PLACE, Ordering::Relaxed);
        return;
    };
    let record = &TABLE[index];
    record.clear();
    record.slow.store(slow, Ordering::Relaxed);
    record
        .word
        .store((&raw const *word).cast_mut(), Ordering::Relaxed);
    // ORDERING: Release pairs with the Acquire of who looks: the rest of the record is there.
    record
        .kind
        .store((&raw const *kind).cast_mut(), Ordering::Release);
    place.store(index as u32 + 1, Ordering::Relaxed);
}

/// Takes a lock out of the table: its memory goes.
pub(crate) fn unregister<M: Machine>(index: usize) {
    let _held = TABLE_WORD.lock::<M>();
    lockdebug::forget_lock(index);
    TABLE[index].word.store(null_mut(), Ordering::Relaxed);
    TABLE[index].kind.store(null_mut(), Ordering::Release);
}

/// What the lock at `index` is.
pub(crate) fn kind(index: usize) -> Option<&'static Kind> {
    // SAFETY: set from a constant, or null.
    unsafe { TABLE[index].kind.load(Ordering::Acquire).as_ref() }
}

/// Someone waited for the lock.
pub(crate) fn count_contention(index: usize, spin_ns: u64, block_ns: u64) {
    TABLE[index].contentions.fetch_add(1, Ordering::Relaxed);
    TABLE[index].spin_ns.fetch_add(spin_ns, Ordering::Relaxed);
    TABLE[index].block_ns.fetch_add(block_ns, Ordering::Relaxed);
}

/// Someone entered the lock.
pub(crate) fn count_acquisition(index: usize) {
    TABLE[index].acquisitions.fetch_add(1, Ordering::Relaxed);
}

/// Someone left the lock, after `hold_ns`.
pub(crate) fn note_hold(index: usize, hold_ns: u64) {
    TABLE[index]
        .longest_hold_ns
        .fetch_max(hold_ns, Ordering::Relaxed);
}
