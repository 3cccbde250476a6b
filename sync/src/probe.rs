// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the locks' slow paths meet lockstat and lockdebug; under a model checker, nowhere.
use crate::atomic::{AtomicUsize, const_fn};
use crate::domain::{Domain, LockClass};
use crate::machine::{LockWait, Machine};
use crate::spl::Mask;
#[cfg(not(any(loom, shuttle)))]
use crate::{lockdebug, lockstat};
use core::marker::PhantomData;
#[cfg(not(any(loom, shuttle)))]
use core::sync::atomic::{AtomicU32, Ordering};

/// What a lock is, as far as its class and type say.
#[cfg_attr(
    any(loom, shuttle),
    expect(dead_code, reason = "nobody watches in a model")
)]
pub(crate) struct Kind {
    /// Its class.
    pub class: &'static str,
    /// The class's domain.
    pub domain: &'static str,
    /// `adaptive`, `spin` or `rwlock`.
    pub lock: &'static str,
    /// It spins.
    pub spins: bool,
    /// What holding it masks.
    pub masks: Mask,
}

impl Kind {
    /// A mutex of class `C`.
    pub const fn mutex<C: LockClass>() -> Self {
        let sleeps = C::Domain::SLEEPS;
        Self {
            class: C::NAME,
            domain: C::Domain::NAME,
            lock: if sleeps { "adaptive" } else { "spin" },
            spins: !sleeps,
            masks: Mask::of::<C::Domain>(),
        }
    }

    /// A reader-writer lock of class `C`.
    pub const fn rwlock<C: LockClass>() -> Self {
        Self {
            class: C::NAME,
            domain: C::Domain::NAME,
            lock: "rwlock",
            spins: false,
            masks: Mask::OPEN,
        }
    }
}

/// A lock's link to its place in the table.
pub(crate) struct Probe {
    /// 0: none yet; [`NO_PLACE`]: there was none; else the place plus 1.
    #[cfg(not(any(loom, shuttle)))]
    place: AtomicU32,
}

#[cfg(not(any(loom, shuttle)))]
pub(crate) const NO_PLACE: u32 = u32::MAX;

/// That a thread is in the slow path into a lock, for who looks at a machine that is stopped: noted in the thread as long as
/// this lives. An interrupt's handler on the same thread, which wants another, puts back what it found.
pub(crate) struct Wants {
    #[cfg(not(any(loom, shuttle)))]
    thread: &'static crate::machine::KThread,
    #[cfg(not(any(loom, shuttle)))]
    before: usize,
}

#[cfg(not(any(loom, shuttle)))]
impl Wants {
    pub fn note(thread: &'static crate::machine::KThread, word: &AtomicUsize) -> Self {
        // ORDERING: Relaxed: only this thread writes it.
        let before = thread.wants.load(Ordering::Relaxed);
        let word = (&raw const *word).addr();
        thread.wants.store(word, Ordering::Relaxed);
        Self { thread, before }
    }
}

#[cfg(not(any(loom, shuttle)))]
impl Drop for Wants {
    fn drop(&mut self) {
        self.thread.wants.store(self.before, Ordering::Relaxed);
    }
}

#[cfg(any(loom, shuttle))]
impl Wants {
    pub fn note(_: &'static crate::machine::KThread, _: &AtomicUsize) -> Self {
        Self {}
    }
}

/// How long a thread has waited for a lock.
pub(crate) struct Wait<M: Machine> {
    kind: &'static Kind,
    spins_since_ns: Option<u64>,
    blocks_since_ns: Option<u64>,
    _machine: PhantomData<M>,
}

impl<M: Machine> Wait<M> {
    /// For a lock of `kind`: not at all yet.
    pub const fn new(kind: &'static Kind) -> Self {
        Self {
            kind,
            spins_since_ns: None,
            blocks_since_ns: None,
            _machine: PhantomData,
        }
    }

    /// One more turn of a spin loop.
    pub fn spin(&mut self) {
        if self.spins_since_ns.is_none() {
            self.spins_since_ns = Some(now_ns::<M>());
            M::lock_wait(self.kind.class, LockWait::Spins);
        }
        M::relax();
    }

    /// From now on it blocks.
    pub fn block(&mut self) {
        self.blocks_since_ns = Some(now_ns::<M>());
        M::lock_wait(self.kind.class, LockWait::Blocks);
    }

    /// Has it begun?
    fn has_begun(&self) -> bool {
        self.spins_since_ns.or(self.blocks_since_ns).is_some()
    }
}

impl<M: Machine> Drop for Wait<M> {
    fn drop(&mut self) {
        if self.has_begun() {
            M::lock_wait(self.kind.class, LockWait::Ended);
        }
    }
}

/// The time; a model has none, where nobody asks for a deadline.
fn now_ns<M: Machine>() -> u64 {
    if cfg!(any(loom, shuttle)) {
        0
    } else {
        M::now_ns()
    }
}

impl Probe {
    const_fn! {
    /// Not in the table.
    pub const fn new() -> Self {
        Self {
            #[cfg(not(any(loom, shuttle)))]
            place: AtomicU32::new(0),
        }
    }
    }

    /// The flags of a new lock: the slow one, so that its first visit is seen; not in a model.
    pub const fn first_flag(slow: usize) -> usize {
        if cfg!(any(loom, shuttle)) { 0 } else { slow }
    }
}

#[cfg(any(loom, shuttle))]
impl Probe {
    pub fn arrive<M: Machine>(&self, _: &'static Kind, _: &AtomicUsize, _: usize) {}
    pub fn keeps_slow(&self) -> bool {
        false
    }
    pub fn look_again(&self, _: &AtomicUsize, _: usize) {}
    pub fn entered<M: Machine>(&self, _: Wait<M>) {}
    pub fn left<M: Machine>(&self) {}
    pub fn recursion<M: Machine>(&self, _: &'static Kind) {}
    pub fn dropped<M: Machine>(&self, _: &'static Kind, _held: bool) {}
}

#[cfg(not(any(loom, shuttle)))]
impl Probe {
    fn index(&self) -> Option<usize> {
        match self.place.load(Ordering::Relaxed) {
            0 | NO_PLACE => None,
            place => Some(place as usize - 1),
        }
    }

    /// Someone wants the lock, whose slow flag is `slow`, and has not waited yet: enters a new lock into the table, and
    /// has lockdebug look.
    pub fn arrive<M: Machine>(&self, kind: &'static Kind, word: &AtomicUsize, slow: usize) {
        // ORDERING: Relaxed: written once, with the table locked, where it is looked at again.
        if self.place.load(Ordering::Relaxed) == 0 {
            lockstat::register::<M>(kind, word, slow, &self.place);
        }
        if let Some(index) = self.index()
            && lockstat::is_watching(lockstat::Watcher::Lockdebug)
        {
            lockdebug::check_entry::<M>(kind, index);
        }
    }

    /// True if the lock keeps its slow flag: someone watches.
    pub fn keeps_slow(&self) -> bool {
        lockstat::watched() && self.index().is_some()
    }

    /// The slow flag was taken off `word`, with Acquire: puts it back if watching has begun since it was decided.
    pub fn look_again(&self, word: &AtomicUsize, slow: usize) {
        if self.keeps_slow() {
            word.fetch_or(slow, Ordering::Relaxed);
        }
    }

    /// The current thread holds the lock, after `wait`.
    pub fn entered<M: Machine>(&self, wait: Wait<M>) {
        let Some(index) = self.index() else { return };
        let watched = lockstat::watched();
        let waited = wait.has_begun();
        if !waited && !watched {
            return;
        }
        let now_ns = M::now_ns();
        if waited {
            let blocked = wait.blocks_since_ns.unwrap_or(now_ns);
            let spun = wait.spins_since_ns.map_or(0, |since| blocked - since);
            lockstat::count_contention(index, spun, now_ns - blocked);
        }
        if watched {
            lockstat::count_acquisition(index);
            lockdebug::note_held(M::current(), index, now_ns);
        }
    }

    /// The current thread leaves the lock, or has just left it.
    pub fn left<M: Machine>(&self) {
        if let Some(index) = self.index()
            && let Some(since_ns) = lockdebug::note_left(M::current(), index)
        {
            let hold_ns = M::now_ns() - since_ns;
            lockstat::note_hold(index, hold_ns);
            lockdebug::check_hold::<M>(index, hold_ns);
        }
    }

    /// The current thread wants the lock again: for ever, if nobody tells.
    pub fn recursion<M: Machine>(&self, kind: &'static Kind) {
        lockdebug::report_recursion::<M>(kind);
    }

    /// The lock's memory goes.
    pub fn dropped<M: Machine>(&self, kind: &'static Kind, held: bool) {
        if held {
            lockdebug::report_freed::<M>(kind);
        }
        if let Some(index) = self.index() {
            lockstat::unregister::<M>(index);
        }
    }
}
