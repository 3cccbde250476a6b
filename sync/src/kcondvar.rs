// SPDX-License-Identifier: MIT OR Apache-2.0
//! Condition variables: leave a mutex and wait, as one step; a signal, a deadline or a cancellation ends it.
//!
//! # Theory
//! A waiter enters the queue while it still holds the mutex, then leaves the mutex and parks until it is out of the queue again.
//! Whoever changes the condition does so holding the mutex and signals then or later: if the waiter looked at the
//! condition before the change, it was in the queue before the mutex was free, and the signal finds it. Whoever takes a
//! waiter out of the queue decides why it wakes: a signal that took it is never lost to a deadline that passes at the
//! same time, and the other way round a signal never goes to one that has given up.
//!
//! [`signal`](KCondvar::signal) wakes the most urgent waiter, first come first served among equals. It does not hand
//! the condition over: a waiter looks again, as ever.
//!
//! # Contexts
//! Waiting: threads whose only interrupt-safe lock is the one that they wait with. Signalling: any that holds no lock of domain
//! Sched or High.
//!
//! # Lock order
//! The mutex that is waited with, the queue's word, the machine's run queues. So a mutex of domain Sched or High that is
//! waited with must not be entered by what holds a run queue, which the types do not see: [`broadcast`](KCondvar::broadcast)
//! wakes with the word held.
//!
//! # Memory ordering
//! (1) Release when a waiter's `queued` is cleared pairs with (2) Acquire when the waiter reads it: the waiter may
//! leave and its entry be queued elsewhere, after the signaller is done with it. Model checks: `condvar_signal`,
//! `condvar_broadcast`, `condvar_timeout_or_signal`, `condvar_cancel_or_signal`, `condvar_signal_with_spin_mutex`,
//! `condvar_signal_from_interrupt`, `condvar_things_are_taken_once`. The look at an empty queue without its lock, (3),
//! needs no more than the mutex gives.
//!
//! # Rejected
//! Moving signalled waiters to the mutex's turnstile: saves a switch only if the signaller holds the mutex, and
//! then a waiter cannot look at its deadline.
//!
//! References: Birrell, An Introduction to Programming with Threads, 1989; NetBSD condvar(9).
use crate::atomic::{AtomicPtr, Ordering, const_fn};
use crate::domain::{Cx, LockClass, MaySleep, MayWake};
use crate::kmutex::KMutexGuard;
use crate::machine::{KThread, Machine};
use crate::spinword::SpinWord;
use core::marker::PhantomData;
use core::ptr::null_mut;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wakeup {
    /// A signal.
    Signalled,
    /// The deadline passed, and no signal came before.
    TimedOut,
    /// The thread was cancelled, and no signal came before.
    Cancelled,
}

/// Threads that wait for a condition.
pub struct KCondvar<M: Machine> {
    word: SpinWord,
    /// The waiter that came last; each knows who came before it.
    last: AtomicPtr<KThread>,
    _machine: PhantomData<fn() -> M>,
}

impl<M: Machine> KCondvar<M> {
    const_fn! {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            word: SpinWord::new(),
            last: AtomicPtr::new(null_mut()),
            _machine: PhantomData,
        }
    }
    }

    /// Leaves the mutex and waits for a signal, then enters the mutex again. The condition is to be looked at again.
    pub fn wait<T: ?Sized, C: LockClass<Machine = M>, K: MaySleep>(
        &self,
        guard: &mut KMutexGuard<T, C, K>,
        cx: &mut Cx<C>,
    ) {
        let _signalled = self.sleep(guard, cx, None, false);
    }

    /// Waits for a signal until `deadline_ns`.
    pub fn timed_wait<T: ?Sized, C: LockClass<Machine = M>, K: MaySleep>(
        &self,
        guard: &mut KMutexGuard<T, C, K>,
        cx: &mut Cx<C>,
        deadline_ns: u64,
    ) -> Wakeup {
        self.sleep(guard, cx, Some(deadline_ns), false)
    }

    /// Waits for a signal or until the thread is cancelled.
    pub fn wait_sig<T: ?Sized, C: LockClass<Machine = M>, K: MaySleep>(
        &self,
        guard: &mut KMutexGuard<T, C, K>,
        cx: &mut Cx<C>,
    ) -> Wakeup {
        self.sleep(guard, cx, None, true)
    }

    /// Waits for a signal until `deadline_ns` or until the thread is cancelled.
    pub fn timed_wait_sig<T: ?Sized, C: LockClass<Machine = M>, K: MaySleep>(
        &self,
        guard: &mut KMutexGuard<T, C, K>,
        cx: &mut Cx<C>,
        deadline_ns: u64,
    ) -> Wakeup {
        self.sleep(guard, cx, Some(deadline_ns), true)
    }

    fn sleep<T: ?Sized, C: LockClass<Machine = M>, K: MaySleep>(
        &self,
        guard: &mut KMutexGuard<T, C, K>,
        _: &mut Cx<C>,
        deadline_ns: Option<u64>,
        until_cancelled: bool,
    ) -> Wakeup {
        let me = M::current();
        {
            let _held = self.word.lock::<M>();
            me.queued.store(true, Ordering::Relaxed);
            // ORDERING: Relaxed: read under the word, or by (3).
            let before = self.last.load(Ordering::Relaxed);
            me.next_waiter.store(before, Ordering::Relaxed);
            self.last
                .store(&raw const *me as *mut KThread, Ordering::Relaxed);
        }
        guard.mutex().exit_bare();
        assert!(
            me.may_sleep(),
            "a thread waits for a condition with interrupts masked"
        );
        let wakeup = loop {
            // ORDERING: (2) Acquire.
            if !me.queued.load(Ordering::Acquire) {
                break Wakeup::Signalled;
            }
            let ended = if until_cancelled && me.is_cancelled() {
                Wakeup::Cancelled
            } else if deadline_ns.is_some_and(|at| M::now_ns() >= at) {
                Wakeup::TimedOut
            } else {
                M::park(deadline_ns);
                continue;
            };
            let _held = self.word.lock::<M>();
            if me.queued.load(Ordering::Relaxed) {
                self.take_out(me);
                break ended;
            }
        };
        guard.mutex().enter_bare();
        wakeup
    }

    /// Wakes the most urgent waiter, if there is one.
    pub fn signal<K: MayWake>(&self, _: &mut Cx<K>) {
        // ORDERING: (3) Relaxed: a waiter that this signal is for entered the queue before it left the mutex, and the
        // signaller has held the mutex since.
        if self.last.load(Ordering::Relaxed).is_null() {
            return;
        }
        let woken = {
            let _held = self.word.lock::<M>();
            let woken = self.most_urgent();
            if let Some(thread) = woken {
                self.take_out(thread);
            }
            woken
        };
        if let Some(thread) = woken {
            M::unpark(thread);
        }
    }

    /// Wakes all that wait now.
    pub fn broadcast<K: MayWake>(&self, _: &mut Cx<K>) {
        if self.last.load(Ordering::Relaxed).is_null() {
            return; // ORDERING: (3)
        }
        let _held = self.word.lock::<M>();
        while let Some(thread) = self.most_urgent() {
            self.take_out(thread);
            M::unpark(thread);
        }
    }

    /// The waiter with the highest priority; of equals the one that came first. With the word held.
    fn most_urgent(&self) -> Option<&'static KThread> {
        let mut best: Option<&'static KThread> = None;
        let mut at = self.last.load(Ordering::Relaxed);
        // SAFETY: in the queue are threads, whose entries outlive their waits.
        while let Some(thread) = unsafe { at.as_ref() } {
            if best.is_none_or(|best| thread.priority() >= best.priority()) {
                best = Some(thread);
            }
            at = thread.next_waiter.load(Ordering::Relaxed);
        }
        best
    }

    /// Takes a waiter out of the queue: who does decides why it wakes. With the word held.
    fn take_out(&self, thread: &'static KThread) {
        let mut link = &self.last;
        let pointer = &raw const *thread as *mut KThread;
        while link.load(Ordering::Relaxed) != pointer {
            // SAFETY: as above; `thread` is in the queue, so the end is not reached.
            link = unsafe { &(*link.load(Ordering::Relaxed)).next_waiter };
        }
        link.store(
            thread.next_waiter.load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
        // ORDERING: (1) Release.
        thread.queued.store(false, Ordering::Release);
    }
}
