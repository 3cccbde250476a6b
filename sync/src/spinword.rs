// SPDX-License-Identifier: MIT OR Apache-2.0
//! The smallest spin lock, at Sched level: what the blocking locks guard their own queues with.
//!
//! It is this crate's only lock under which others are built, so it has no class and no token; the order is: a
//! turnstile's or a condition variable's word, then whatever the machine takes to unpark a thread.
//!
//! # Memory ordering
//! (1) Acquire in `lock` pairs with (2) Release in `unlock`: who takes the word sees all that was written under it
//! before. Model checks: `spinword_excludes`; the order of spl and word: `spinword_against_two_interrupts`.
//!
//! # Rejected
//! A ticket lock: fair, but under an emulator the CPU whose turn it is may have been taken away by the host, and all
//! others wait for it; four CPUs and short sections leave little to be unfair about.
use crate::atomic::{AtomicBool, Ordering, const_fn};
use crate::domain::Sched;
use crate::machine::{KThread, Machine};
use core::marker::PhantomData;

/// A word to spin on.
pub struct SpinWord {
    taken: AtomicBool,
}

/// Holds a [`SpinWord`].
pub struct Held<'a, M: Machine> {
    word: &'a SpinWord,
    thread: &'static KThread,
    _machine: PhantomData<M>,
}

impl SpinWord {
    const_fn! {
    /// Free.
    pub const fn new() -> Self {
        Self { taken: AtomicBool::new(false) }
    }
    }

    /// Raises to Sched, then spins.
    #[inline]
    pub fn lock<M: Machine>(&self) -> Held<'_, M> {
        let thread = M::current();
        thread.raise::<Sched, M>();
        // ORDERING: (1) Acquire.
        while self
            .taken
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            M::relax();
        }
        Held {
            word: self,
            thread,
            _machine: PhantomData,
        }
    }
}

impl<M: Machine> Drop for Held<'_, M> {
    #[inline]
    fn drop(&mut self) {
        // ORDERING: (2) Release.
        self.word.taken.store(false, Ordering::Release);
        self.thread.lower::<Sched, M>();
    }
}
