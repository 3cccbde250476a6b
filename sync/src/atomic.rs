// SPDX-License-Identifier: MIT OR Apache-2.0
//! Atomics and guarded memory: the machine's own, or a model checker's, which sees every access.
//!
//! `--cfg loom` explores every interleaving and every value that the orderings allow; `--cfg shuttle` samples
//! schedules of what is too large for that.
#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::*;
#[cfg(any(loom, shuttle))]
pub use model::*;

/// Keeps the compiler from moving accesses across a change of spl; a model has no such compiler.
#[inline]
pub fn compiler_barrier() {
    #[cfg(not(any(loom, shuttle)))]
    compiler_fence(Ordering::SeqCst);
}

/// Declares a function `const`, which statics need and the model checkers' atomics cannot be.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis const fn $($rest:tt)*) => {
        #[cfg(not(any(loom, shuttle)))]
        $(#[$meta])* $vis const fn $($rest)*
        #[cfg(any(loom, shuttle))]
        $(#[$meta])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;

/// The checkers' atomics, with a place for an interrupt before each access.
#[cfg(any(loom, shuttle))]
mod model {
    use core::cell::Cell;
    use core::ops::Deref;
    #[cfg(loom)]
    use loom::sync::atomic;
    #[cfg(shuttle)]
    use shuttle::sync::atomic;

    pub use atomic::Ordering;

    std::thread_local! {
        static BEFORE: Cell<Option<fn()>> = const { Cell::new(None) };
        static FAILS: Cell<Option<fn() -> bool>> = const { Cell::new(None) };
    }

    /// From now on `hook` runs before each access of an atomic of this crate, in the models of this host thread.
    pub fn before_access(hook: Option<fn()>) {
        BEFORE.set(hook);
    }

    /// From now on `hook` says whether a weak swap fails for no reason, which the checkers' own never do.
    pub fn weak_swap_fails(hook: Option<fn() -> bool>) {
        FAILS.set(hook);
    }

    /// An atomic, which can be got at only after the hook ran.
    pub struct Hooked<A>(A);

    impl<A> Deref for Hooked<A> {
        type Target = A;
        fn deref(&self) -> &A {
            if let Some(hook) = BEFORE.get() {
                hook();
            }
            &self.0
        }
    }

    /// A pointer.
    pub type AtomicPtr<T> = Hooked<atomic::AtomicPtr<T>>;

    impl<T> AtomicPtr<T> {
        /// It holds `value`.
        pub fn new(value: *mut T) -> Self {
            Hooked(atomic::AtomicPtr::new(value))
        }
    }

    macro_rules! hooked {
        ($($name:ident: $value:ty;)*) => {$(
            /// A plain value.
            pub type $name = Hooked<atomic::$name>;

            impl $name {
                /// It holds `value`.
                pub fn new(value: $value) -> Self {
                    Hooked(atomic::$name::new(value))
                }
            }
        )*};
    }
    hooked! {
        AtomicBool: bool;
        AtomicU8: u8;
        AtomicU32: u32;
        AtomicU64: u64;
        AtomicUsize: usize;
    }

    impl AtomicUsize {
        /// Swaps if it holds `current` and the hook lets it.
        pub fn compare_exchange_weak(
            &self,
            current: usize,
            new: usize,
            success: Ordering,
            failure: Ordering,
        ) -> Result<usize, usize> {
            if FAILS.get().is_some_and(|fails| fails()) {
                return Err(self.load(failure));
            }
            self.compare_exchange(current, new, success, failure)
        }
    }
}

/// Memory that a lock of this crate guards; a model checker reports who reaches it without.
pub struct Guarded<T> {
    #[cfg(not(loom))]
    cell: core::cell::UnsafeCell<T>,
    #[cfg(loom)]
    cell: loom::cell::UnsafeCell<T>,
}

// SAFETY: reached only through `with`, whose callers hold the lock that guards it.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    const_fn! {
    /// Guarded `value`.
    pub const fn new(value: T) -> Self {
        #[cfg(not(loom))]
        let cell = core::cell::UnsafeCell::new(value);
        #[cfg(loom)]
        let cell = loom::cell::UnsafeCell::new(value);
        Self { cell }
    }
    }

    /// Lets `f` at the value.
    ///
    /// # Safety
    /// The caller holds the lock that guards it, and `f` does not reach the same cell again.
    #[inline]
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the caller's promise: nobody else is here.
        #[cfg(not(loom))]
        return f(unsafe { &mut *self.cell.get() });
        // SAFETY: as above, and loom checks it.
        #[cfg(loom)]
        return self.cell.with_mut(|p| f(unsafe { &mut *p }));
    }
}
