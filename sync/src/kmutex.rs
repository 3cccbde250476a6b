// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutual exclusion: one type, adaptive or interrupt-safe by the class it is made with.
//!
//! # Theory
//! The word is the owner's address, or null. With nobody waiting, entering is one compare-and-swap from null to the thread,
//! leaving one back. Two flags in the low bits make those fail, and so send whoever comes the slow way: `WAITERS`
//! (someone blocks at the turnstile) and `SLOW` (lockstat or lockdebug wants to see every visit; a new lock
//! starts so, which is how it gets into their table). So neither costs the fast path anything while off.
//!
//! A lock of domain `Thread` is adaptive: while its owner runs on another CPU and nobody blocks, waiting is spinning, for
//! the owner will be done sooner than a switch takes; else the thread blocks, and its priority reaches the owner
//! ([`crate::turnstile`]). A lock of any other domain holds off that domain's interrupts on this CPU first, so that none
//! of them can want it here, and then spins: for a CPU that is about to let go, since holders never sleep.
//!
//! Why no wake-up is lost: a thread blocks only after it changed the word from "owner" to "owner, WAITERS" with the
//! turnstiles locked. If the owner left before, the swap fails; if it leaves after, its own swap fails, and the
//! turnstiles' lock makes it wait until the thread stands in the queue.
//!
//! # Contexts
//! Adaptive: threads that hold no interrupt-safe lock. Others: threads, and interrupts of the domain or below.
//! [`Before`] has the compiler check it.
//!
//! # Memory ordering
//! (1) Acquire, when the word goes from null to the thread, pairs with (2) Release, when it goes back: what was done
//! inside is seen inside. Handed over, the pair is the turnstile's (1). Model checks: `mutex_excludes`,
//! `mutex_block_and_hand_over`, `mutex_no_lost_wakeup`, `mutex_unmarked_after_giving_up`, `mutex_weak_swap_fails`,
//! `spin_mutex_against_its_interrupt`, `spin_mutex_tried`, `mutex_left_to_another`.
//!
//! # Rejected
//! - A plain store to leave a spin mutex: two instructions fewer, but a flag set meanwhile by another CPU is lost.
//! - Saving the old spl in the guard: wrong when guards go in another order than they came ([`crate::spl`]).
//! - Deciding adaptive or spin at run time, as `mutex_init(9)` does: the class is in the type, the branch is gone.
//!
//! References: illumos mutex.c; NetBSD mutex(9).
mod slow;

use self::slow::Core;
use crate::atomic::const_fn;
use crate::domain::{Before, Cx, Exactly, High, InterruptDomain, LockClass, Stays};
use crate::machine::{KThread, Machine};
use crate::probe::Kind;
use crate::turnstile::Outcome;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// The proof that a device's interrupt is established, and at which domain: what a driver's mutex is made from.
pub struct IntrCookie<D: InterruptDomain> {
    source: u32,
    _domain: PhantomData<D>,
}

impl<D: InterruptDomain> IntrCookie<D> {
    /// The cookie of interrupt `source`.
    ///
    /// # Safety
    /// Its handler runs as an interrupt of domain `D`.
    pub const unsafe fn new(source: u32) -> Self {
        Self {
            source,
            _domain: PhantomData,
        }
    }

    /// The interrupt's identifier.
    pub fn source(&self) -> u32 {
        self.source
    }
}

/// A value of which one at a time has hold.
pub struct KMutex<T: ?Sized, C: LockClass> {
    core: Core,
    _class: PhantomData<fn() -> C>,
    value: UnsafeCell<T>,
}

// SAFETY: the word lets one guard exist at a time.
unsafe impl<T: ?Sized + Send, C: LockClass> Sync for KMutex<T, C> {}
// SAFETY: the value goes along.
unsafe impl<T: ?Sized + Send, C: LockClass> Send for KMutex<T, C> {}

/// Holds a [`KMutex`], entered in context `K`; dropping it leaves. It stays with its thread.
#[must_use = "dropping it leaves the mutex"]
pub struct KMutexGuard<'a, T: ?Sized, C: LockClass, K> {
    mutex: &'a KMutex<T, C>,
    _borrows: PhantomData<&'a mut ()>,
    _context: Exactly<K>,
    _stays: Stays,
}

// SAFETY: sharing a guard shares no more than the value.
unsafe impl<T: ?Sized + Sync, C: LockClass, K> Sync for KMutexGuard<'_, T, C, K> {}

/// The context "whatever it was", of a lock that was [entered as a leaf](KMutex::enter_leaf).
pub struct Leaf;

impl<T, C: LockClass> KMutex<T, C> {
    const_fn! {
    /// An open mutex.
    pub const fn new(value: T) -> Self {
        Self {
            core: Core::new(),
            _class: PhantomData,
            value: UnsafeCell::new(value),
        }
    }
    }

    /// An open mutex for what the handler of an interrupt shares with threads.
    pub fn for_interrupt(value: T, _: &IntrCookie<C::Domain>) -> Self
    where
        C::Domain: InterruptDomain,
    {
        Self::new(value)
    }
}

impl<T: ?Sized, C: LockClass> KMutex<T, C> {
    /// Waits until the mutex is free, and enters. The token says that it may, and is borrowed until the guard goes;
    /// the other one is for what happens inside.
    #[inline(always)]
    pub fn enter<'a, K: Before<C>>(
        &'a self,
        _cx: &'a mut Cx<'_, K>,
    ) -> (KMutexGuard<'a, T, C, K>, Cx<'a, C>) {
        self.enter_bare();
        self.inside()
    }

    /// Enters if the mutex is free now.
    #[inline]
    pub fn try_enter<'a, K: Before<C>>(
        &'a self,
        cx: &'a mut Cx<'_, K>,
    ) -> Option<(KMutexGuard<'a, T, C, K>, Cx<'a, C>)> {
        self.enter_until(cx, 0)
    }

    /// Enters, unless the mutex is not free until `deadline_ns`.
    pub fn enter_until<'a, K: Before<C>>(
        &'a self,
        _cx: &'a mut Cx<'_, K>,
        deadline_ns: u64,
    ) -> Option<(KMutexGuard<'a, T, C, K>, Cx<'a, C>)> {
        let me = C::Machine::current();
        me.raise::<C::Domain, C::Machine>();
        let slow = || (self.core).enter_slow::<C::Machine>(Self::KIND, Some(deadline_ns));
        if !self.core.try_enter(me) && slow() == Outcome::TimedOut {
            me.lower::<C::Domain, C::Machine>();
            return None;
        }
        Some(self.inside())
    }

    /// Enters a lock of domain High without a token, for what has no room for one: the allocator, the log. It gives none for
    /// the inside, where nothing else may be entered. Any context.
    #[inline(always)]
    pub fn enter_leaf(&self) -> KMutexGuard<'_, T, C, Leaf>
    where
        C: LockClass<Domain = High>,
    {
        self.enter_bare();
        self.guard()
    }

    const KIND: &'static Kind = &Kind::mutex::<C>();

    /// Enters, for who makes the guard or has it already.
    #[inline(always)]
    pub(crate) fn enter_bare(&self) {
        let me = C::Machine::current();
        me.raise::<C::Domain, C::Machine>();
        if !self.core.try_enter(me) {
            let _granted = self.core.enter_slow::<C::Machine>(Self::KIND, None);
        }
    }

    /// Leaves, for who has no guard or keeps it.
    #[inline(always)]
    pub(crate) fn exit_bare(&self) {
        let me = C::Machine::current();
        if !self.core.try_exit(me) {
            self.core.exit_slow::<C::Machine>(Self::KIND);
        }
        me.lower::<C::Domain, C::Machine>();
    }

    #[inline(always)]
    fn inside<'a, K>(&'a self) -> (KMutexGuard<'a, T, C, K>, Cx<'a, C>) {
        // SAFETY: the mutex is held, and the caller's token is borrowed for as long.
        (self.guard(), unsafe { Cx::assume() })
    }

    #[inline(always)]
    fn guard<'a, K>(&'a self) -> KMutexGuard<'a, T, C, K> {
        KMutexGuard {
            mutex: self,
            _borrows: PhantomData,
            _context: PhantomData,
            _stays: PhantomData,
        }
    }

    /// The thread that holds it, for display.
    pub fn owner(&self) -> Option<&'static KThread> {
        self.core.owner()
    }

    /// True if the current thread, or what it was interrupted by, holds it.
    pub fn is_mine(&self) -> bool {
        self.owner()
            .is_some_and(|owner| core::ptr::eq(owner, C::Machine::current()))
    }

    /// What a lock guards that is held without a guard: [left to another thread](KMutexGuard::leave_to).
    ///
    /// # Safety
    /// The current thread holds it, and lets go of the reference before it [leaves](KMutex::exit_left).
    #[allow(clippy::mut_from_ref)] // the lock, held, is what makes it unique
    pub unsafe fn assume_held(&self) -> &mut T {
        debug_assert!(self.is_mine());
        // SAFETY: the caller's promise makes this the only reference.
        unsafe { &mut *self.value.get() }
    }

    /// What it guards, past the lock: for who looks at a machine that is stopped.
    pub fn as_ptr(&self) -> *mut T {
        self.value.get()
    }

    /// Leaves a lock that was [left to](KMutexGuard::leave_to) the current thread.
    ///
    /// # Safety
    /// It was, and the thread has a spl hold of the domain.
    pub unsafe fn exit_left(&self) {
        self.exit_bare();
    }

    /// Opens the lock, whoever holds it: the machine panics.
    ///
    /// # Safety
    /// The holder never goes on.
    pub unsafe fn break_open(&self) {
        self.core.break_open();
    }
}

impl<'a, T: ?Sized, C: LockClass, K> KMutexGuard<'a, T, C, K> {
    pub(crate) fn mutex(&self) -> &'a KMutex<T, C> {
        self.mutex
    }

    /// Keeps the lock held beyond the guard, for `next` to [leave](KMutex::exit_left): across a context switch. The
    /// spl hold stays with this thread, as `next` has its own.
    ///
    /// # Safety
    /// The lock spins, so nobody waits at its turnstile, and `next` is the thread that this CPU runs next.
    pub unsafe fn leave_to(self, next: &'static KThread) {
        self.mutex.core.leave_to::<C::Machine>(next);
        core::mem::forget(self);
    }
}

impl<T: ?Sized, C: LockClass, K> Deref for KMutexGuard<'_, T, C, K> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized, C: LockClass, K> DerefMut for KMutexGuard<'_, T, C, K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized, C: LockClass, K> Drop for KMutexGuard<'_, T, C, K> {
    #[inline(always)]
    fn drop(&mut self) {
        self.mutex.exit_bare();
    }
}

impl<T: ?Sized, C: LockClass> Drop for KMutex<T, C> {
    fn drop(&mut self) {
        self.core.dropped::<C::Machine>(Self::KIND);
    }
}
