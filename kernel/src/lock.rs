// SPDX-License-Identifier: MIT OR Apache-2.0
//! Spin lock that masks interrupts on this CPU while held, so that an interrupt handler can take it too.
use bsp::cpu::{irq_restore, irq_save};
use core::ops::{Deref, DerefMut};

/// Mutual exclusion among threads and interrupt handlers of all CPUs. Never sleep while holding one; the order is
/// by level: heap and log innermost, then run queues and callouts, then everything else.
pub struct SpinLock<T> {
    inner: spin::mutex::SpinMutex<T>,
}

/// Holds the lock; dropping it unlocks and restores the interrupt mask. Guards must be dropped in reverse order.
pub struct SpinGuard<'a, T> {
    inner: Option<spin::mutex::SpinMutexGuard<'a, T>>,
    daif: u64,
}

impl<T> SpinLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            inner: spin::mutex::SpinMutex::new(value),
        }
    }

    /// Masks interrupts, then spins until the lock is free. Any context.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let daif = irq_save();
        SpinGuard {
            inner: Some(self.inner.lock()),
            daif,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let daif = irq_save();
        match self.inner.try_lock() {
            Some(guard) => Some(SpinGuard {
                inner: Some(guard),
                daif,
            }),
            None => {
                irq_restore(daif);
                None
            }
        }
    }

    /// What a lock guards that this CPU holds through a [leaked](SpinGuard::leak) guard.
    ///
    /// # Safety
    /// The caller is the holder, and lets go of the reference before it unlocks.
    #[allow(clippy::mut_from_ref)] // the lock, held, is what makes it unique
    pub unsafe fn assume_held(&self) -> &mut T {
        // SAFETY: the caller's promise makes this the only reference.
        unsafe { &mut *self.inner.as_mut_ptr() }
    }

    /// Frees the lock without a guard; the interrupt mask stays.
    ///
    /// # Safety
    /// The caller holds it through a [leaked](SpinGuard::leak) guard, or no other CPU runs any more and the holder
    /// never goes on.
    pub unsafe fn force_unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.inner.force_unlock() };
    }
}

impl<T> SpinGuard<'_, T> {
    /// Keeps the lock, and interrupts masked, beyond the guard's life: across a context switch.
    pub fn leak(mut self) {
        core::mem::forget(self.inner.take());
        core::mem::forget(self);
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("guard not leaked")
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("guard not leaked")
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.inner.take());
        irq_restore(self.daif);
    }
}
