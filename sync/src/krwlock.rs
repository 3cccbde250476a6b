// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reader-writer lock: many readers or one writer, fair by rule, for threads, which block.
//!
//! # Theory
//! The word counts readers above three flags: `WRITER` (held for writing), `WAITERS` (someone is blocked), `SLOW`
//! (the slow way, as in [`crate::kmutex`], and for a thread that holds a second such lock). A reader announces itself in
//! its own thread (`held`) and adds one; if a flag was set it takes the one back the slow way. So a count may
//! be one too high for a moment, and never too low; whoever brings it to zero with `WAITERS` set looks, with the
//! turnstiles locked, whether the lock is free for someone ([`settle`](KRwLock::settle)).
//!
//! # Fairness
//! 1. Nobody passes a waiter: while someone is blocked, whoever comes blocks too, readers also. So a writer waits only for the
//!    readers that were in before it, and those that rule 3 lets go first.
//! 2. When the lock comes free, the most urgent waiter is next; among equals a reader after a writer, and a writer after
//!    readers, so that neither kind starves the other; among equals of a kind who came first.
//! 3. When a reader is next, all readers that wait and are no less urgent than the most urgent waiting writer enter with it.
//! 4. Whoever blocks lends its priority to the writer, or to every reader.
//!
//! # Contexts
//! Threads that hold no interrupt-safe lock.
//!
//! # Memory ordering
//! (1) Acquire entering, for reading or writing, pairs with (2) Release leaving. (3) a reader's announcement comes before its
//! count: entering is Release too, and whoever sets `WAITERS` acquires; so a waiter finds every reader that is in. Model
//! checks: `rwlock_excludes`, `rwlock_readers_share`, `rwlock_hand_over`, `rwlock_second_lock`, `rwlock_weak_swap_fails`,
//! `rwlock_waiter_finds_readers`, `rwlock_waiter_finds_both_readers`, `rwlock_waiter_finds_another_reader`.
//!
//! # Rejected
//! - Upgrading: two readers that upgrade wait for each other for ever.
//! - Readers in a list of the lock: two cache lines more for each, and not in ten instructions.
//!
//! References: illumos rwlock.c; NetBSD rwlock(9).
mod slow;

use self::slow::Core;
use crate::atomic::const_fn;
use crate::domain::{Before, Cx, LockClass, MaySleep, Stays, Thread};
use crate::probe::Kind;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// A value that many may read or one may write.
pub struct KRwLock<T: ?Sized, C: LockClass<Domain = Thread>> {
    core: Core,
    _class: PhantomData<fn() -> C>,
    value: UnsafeCell<T>,
}

// SAFETY: the word lets one writer or many readers exist at a time.
unsafe impl<T: ?Sized + Send + Sync, C: LockClass<Domain = Thread>> Sync for KRwLock<T, C> {}
// SAFETY: the value goes along.
unsafe impl<T: ?Sized + Send, C: LockClass<Domain = Thread>> Send for KRwLock<T, C> {}

/// Holds a [`KRwLock`] for reading; dropping it leaves. It stays with its thread.
#[must_use = "dropping it leaves the lock"]
pub struct ReadGuard<'a, T: ?Sized, C: LockClass<Domain = Thread>> {
    lock: &'a KRwLock<T, C>,
    _borrows: PhantomData<&'a mut ()>,
    _stays: Stays,
}

/// Holds a [`KRwLock`] for writing; dropping it leaves. It stays with its thread.
#[must_use = "dropping it leaves the lock"]
pub struct WriteGuard<'a, T: ?Sized, C: LockClass<Domain = Thread>> {
    lock: &'a KRwLock<T, C>,
    _borrows: PhantomData<&'a mut ()>,
    _stays: Stays,
}

// SAFETY: sharing a guard shares no more than the value.
unsafe impl<T: ?Sized + Sync, C: LockClass<Domain = Thread>> Sync for ReadGuard<'_, T, C> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync, C: LockClass<Domain = Thread>> Sync for WriteGuard<'_, T, C> {}

impl<T, C: LockClass<Domain = Thread>> KRwLock<T, C> {
    const_fn! {
    /// An open lock.
    pub const fn new(value: T) -> Self {
        Self {
            core: Core::new(),
            _class: PhantomData,
            value: UnsafeCell::new(value),
        }
    }
    }
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> KRwLock<T, C> {
    /// Waits until the lock may be read, and enters.
    #[inline(always)]
    pub fn read<'a, K: Before<C> + MaySleep>(
        &'a self,
        _cx: &'a mut Cx<'_, K>,
    ) -> (ReadGuard<'a, T, C>, Cx<'a, C>) {
        self.core.enter_read::<C::Machine>(Self::KIND);
        let guard = ReadGuard {
            lock: self,
            _borrows: PhantomData,
            _stays: PhantomData,
        };
        // SAFETY: the lock is held, and the caller's token is borrowed for as long.
        (guard, unsafe { Cx::assume() })
    }

    /// Waits until the lock may be written, and enters.
    #[inline(always)]
    pub fn write<'a, K: Before<C> + MaySleep>(
        &'a self,
        _cx: &'a mut Cx<'_, K>,
    ) -> (WriteGuard<'a, T, C>, Cx<'a, C>) {
        self.core.enter_write::<C::Machine>(Self::KIND);
        let guard = WriteGuard {
            lock: self,
            _borrows: PhantomData,
            _stays: PhantomData,
        };
        // SAFETY: as in `read`.
        (guard, unsafe { Cx::assume() })
    }

    const KIND: &'static Kind = &Kind::rwlock::<C>();
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> Deref for ReadGuard<'_, T, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: no writer is in while this guard lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> Deref for WriteGuard<'_, T, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> DerefMut for WriteGuard<'_, T, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> Drop for ReadGuard<'_, T, C> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.core.exit_read::<C::Machine>();
    }
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> Drop for WriteGuard<'_, T, C> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.core.exit_write::<C::Machine>();
    }
}

impl<T: ?Sized, C: LockClass<Domain = Thread>> Drop for KRwLock<T, C> {
    fn drop(&mut self) {
        self.core.dropped::<C::Machine>(Self::KIND);
    }
}
