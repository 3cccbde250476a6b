// SPDX-License-Identifier: MIT OR Apache-2.0
//! A list that is open while its keeper is busy: who comes meanwhile leaves things there, and does not wait.
//!
//! # Theory
//! What a lock guards may be slow: a device's registers are. Its holder opens the inbox before it turns to them and closes
//! it before it leaves the lock, which hands over all that was left. Who wants the lock only to add something leaves that
//! here instead, if it is open; if it is not, the lock is free soon.
//!
//! Nothing is forgotten: leaving, opening and closing are each one change of one word. So what is left either comes
//! before the closing, which hands it over, or finds the inbox closed. What one thread leaves is handed over in the order
//! in which it left it, and before anything that the same thread adds with the lock held.
//!
//! # Contexts
//! Any.
//!
//! # Memory ordering
//! (1) Release, when a thing is left, pairs with (2) Acquire, when the inbox is closed: what was written to it before is
//! seen. All changes in between are swaps too, so the pair holds for each of them. Model checks: `inbox_hands_over`,
//! `inbox_against_its_lock`.
//!
//! # Rejected
//! Trying the lock, then leaving the thing and trying once more: the holder would have to look after it has left, and each
//! side needs a full barrier.
//!
//! References: Hendler, Incze, Shavit, Tzafrir, Flat Combining and the Synchronization-Parallelism Tradeoff, 2010.
use crate::atomic::{AtomicPtr, Ordering, const_fn};
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut, without_provenance_mut};

/// What a thing keeps for the inbox that it is in.
pub struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    const_fn! {
    /// In no inbox.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A thing that can be left in an [`Inbox`].
pub trait Linked: Sized {
    /// Its link, always the same.
    fn link(&self) -> &Link<Self>;
}

/// A list of things, open or closed.
pub struct Inbox<T> {
    /// What was left last; each links what was left before it. [`closed`] while nothing may be left.
    last: AtomicPtr<T>,
}

/// No thing's address: a thing is aligned, as its link is.
fn closed<T>() -> *mut T {
    without_provenance_mut(1)
}

impl<T: Linked> Inbox<T> {
    const_fn! {
    /// A closed one.
    pub const fn new() -> Self {
        Self {
            last: AtomicPtr::new(without_provenance_mut(1)),
        }
    }
    }

    /// Is it open? A hint.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.last.load(Ordering::Relaxed) != closed()
    }

    /// Opens it, which is closed. The keeper.
    #[inline]
    pub fn open(&self) {
        // ORDERING: Relaxed: there is nothing to be seen yet.
        self.last.store(null_mut(), Ordering::Relaxed);
    }

    /// Leaves `thing`, if it is open. False: the caller keeps it.
    ///
    /// # Safety
    /// `thing` is in no inbox, and is there until [`close`](Self::close) hands it over.
    #[inline]
    #[must_use]
    pub unsafe fn leave(&self, thing: NonNull<T>) -> bool {
        let mut last = self.last.load(Ordering::Relaxed);
        while last != closed() {
            // SAFETY: the caller's promise.
            let link = unsafe { &thing.as_ref().link().0 };
            // ORDERING: Relaxed: handed over with the thing.
            link.store(last, Ordering::Relaxed);
            // ORDERING: (1) Release.
            match (self.last).compare_exchange_weak(
                last,
                thing.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => last = now,
            }
        }
        false
    }

    /// Closes it, if it is open: what was left, the oldest first. The keeper.
    #[inline]
    pub fn close(&self) -> Left<T> {
        // ORDERING: (2) Acquire.
        let mut last = self.last.swap(closed(), Ordering::Acquire);
        let mut first = null_mut();
        if last == closed() {
            last = null_mut();
        }
        // SAFETY: left, and not handed over yet: it is there.
        while let Some(thing) = unsafe { last.as_ref() } {
            let before = thing.link().0.load(Ordering::Relaxed);
            thing.link().0.store(first, Ordering::Relaxed);
            first = last;
            last = before;
        }
        Left {
            first,
            _things: PhantomData,
        }
    }
}

impl<T: Linked> Default for Inbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What was left in an inbox.
pub struct Left<T> {
    first: *mut T,
    _things: PhantomData<T>,
}

impl<T: Linked> Iterator for Left<T> {
    type Item = NonNull<T>;

    fn next(&mut self) -> Option<NonNull<T>> {
        let thing = NonNull::new(self.first)?;
        // SAFETY: left, and not handed over yet: it is there.
        self.first = unsafe { thing.as_ref() }.link().0.load(Ordering::Relaxed);
        Some(thing)
    }
}
