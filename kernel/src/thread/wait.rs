// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for conditions, on top of park and unpark: wait queues, completions, a lock to sleep on.
//!
//! # Theory
//! A waiter enters the queue *before* it looks at the condition, and parks after; whoever changes the condition wakes
//! the queue *after* the change. Whichever comes second sees the other, so no wake-up is lost; an unpark that comes
//! before the park leaves a permit.
use super::table::MAX_THREADS;
use super::{Thread, current, park, unpark};
use crate::lock::SpinLock;
use bsp::timer::now_ns;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Threads that wait for something.
pub struct WaitQueue {
    waiters: SpinLock<heapless::Deque<&'static Thread, MAX_THREADS>>,
}

impl WaitQueue {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            waiters: SpinLock::new(heapless::Deque::new()),
        }
    }

    /// Waits until `condition` is true or `deadline_ns` has passed; says which (true: the condition). Threads only.
    pub fn wait_until(
        &self,
        deadline_ns: Option<u64>,
        mut condition: impl FnMut() -> bool,
    ) -> bool {
        loop {
            let _ = self.waiters.lock().push_back(current()); // as many places as threads: never full
            let done = condition();
            let late = deadline_ns.is_some_and(|at| now_ns() >= at);
            if !done && !late {
                park(deadline_ns);
            }
            self.waiters
                .lock()
                .retain(|t| !core::ptr::eq(*t, current()));
            if done || late {
                return done;
            }
        }
    }

    /// Wakes all waiters, which look at their condition again. Any context.
    pub fn wake_all(&self) {
        // Those that wait now, and not those that wait again because they woke.
        let waiting = self.waiters.lock().len();
        for _ in 0..waiting {
            self.wake_one();
        }
    }

    /// Wakes the one that waits longest. Any context.
    pub fn wake_one(&self) {
        let first = self.waiters.lock().pop_front();
        if let Some(t) = first {
            unpark(t);
        }
    }
}

/// Something that happens once.
pub struct Completion {
    done: AtomicBool,
    queue: WaitQueue,
}

impl Completion {
    /// It has not happened.
    pub const fn new() -> Self {
        Self {
            done: AtomicBool::new(false),
            queue: WaitQueue::new(),
        }
    }

    /// It happens now. Any context.
    pub fn complete(&self) {
        // ORDERING: pairs with the Acquire in `wait_until`.
        self.done.store(true, Ordering::Release);
        self.queue.wake_all();
    }

    /// Waits until it has happened (true) or `deadline_ns` has passed. Threads only.
    pub fn wait_until(&self, deadline_ns: Option<u64>) -> bool {
        self.queue
            .wait_until(deadline_ns, || self.done.load(Ordering::Acquire))
    }
}

/// Mutual exclusion among threads, which sleep while they wait: for what takes long, as a card does.
pub struct SleepLock<T> {
    taken: AtomicBool,
    queue: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: `taken` lets one guard exist at a time.
unsafe impl<T: Send> Sync for SleepLock<T> {}

/// Holds a [`SleepLock`].
pub struct SleepGuard<'a, T> {
    lock: &'a SleepLock<T>,
}

impl<T> SleepLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            queue: WaitQueue::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock. Threads only.
    pub fn lock(&self) -> SleepGuard<'_, T> {
        // ORDERING: Acquire pairs with the Release in `drop`.
        let take = || {
            self.taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        if !take() {
            self.queue.wait_until(None, take);
        }
        SleepGuard { lock: self }
    }
}

impl<T> Deref for SleepGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SleepGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SleepGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.taken.store(false, Ordering::Release);
        self.lock.queue.wake_one();
    }
}
