// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the locks ask of the machine that they run on, and what they keep in each of its threads.
//!
//! Three machines exist: the kernel (kernel/src/thread/machine.rs), threads of the host (sync/src/host.rs), and the
//! model checkers' (sync/tests).
use crate::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Guarded, Ordering, const_fn,
};
use crate::domain::{Cx, Domain, MayWake};
use crate::ipl::Ipl;
use crate::lockdebug::Report;
use crate::spl::PENDING_EAGER;
use crate::turnstile::{Blocked, Turnstiles};

/// How a thread waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// It begins to spin.
    Spins,
    /// It begins to wait off the CPU.
    Blocks,
    /// It has the lock, or has given up.
    Ended,
}

/// The machine under the locks: threads that can be parked, a clock, and deferred interrupts.
pub trait Machine: Sized + 'static {
    /// The thread that executes this, or that the executing interrupt handler interrupted. The same until it ends.
    fn current() -> &'static KThread;

    /// Waits until [`unpark`](Machine::unpark) was called since the last return, or `deadline_ns` has passed; may
    /// also return for no reason. Thread context with nothing masked.
    fn park(deadline_ns: Option<u64>);

    /// Ends a [`park`](Machine::park), or the next one at once. Any context up to Sched.
    fn unpark(thread: &'static KThread);

    /// True while a CPU executes `thread`: waiting for it by spinning is worth it. A hint.
    fn is_running(thread: &KThread) -> bool;

    /// [`KThread::priority`] has changed: the scheduler acts on it. Called at Sched, with the turnstiles locked.
    fn priority_changed(thread: &'static KThread);

    /// Every thread that may hold a lock, in any order.
    fn for_each_thread(visit: &mut dyn FnMut(&'static KThread));

    /// The turnstiles of this machine.
    fn turnstiles() -> &'static Turnstiles;

    /// Nanoseconds since some start.
    fn now_ns() -> u64;

    /// Once in each turn of a spin loop; may let another thread have the CPU for a while.
    fn relax();

    /// Runs what is [pending](KThread::pending) and no longer masked. Any context; called as spl drops.
    fn run_pending();

    /// spl of the current thread was raised, and [`PENDING_EAGER`] is set. Any context.
    fn spl_raised() {}

    /// The class of the interrupt whose handler executes this.
    fn interrupt() -> Option<Ipl>;

    /// The current thread begins or ceases to wait for a lock of `class`. Any context, in the middle of entering it: it must not
    /// enter one.
    fn lock_wait(_class: &'static str, _wait: LockWait) {}

    /// The current thread leaves a lock of `class` that spins, and that it held for longer than the limit. As above; while
    /// somebody watches.
    fn held_long(_class: &'static str, _hold_ns: u64) {}

    /// The run-time checker found something new. Any context, in the middle of entering or leaving a lock: it must not
    /// enter one.
    fn report(report: &Report);
}

/// Most reader-writer locks that a thread may hold at a time.
pub const MAX_HELD: usize = 8;

/// What the locks keep in each thread of a machine.
pub struct KThread {
    /// Counts of spl holds; see [`crate::spl`]. Written by this thread and its interrupts only.
    pub(crate) spl: AtomicU64,
    /// The part of `spl` that came with a borrowed CPU; see [`KThread::borrow`].
    pub(crate) lent: AtomicU64,
    /// What waits for spl to drop: `PENDING_` bits of [`crate::spl`]. Set on the CPU that runs this thread, except for
    /// `PENDING_EAGER`; so all but loads are read-modify-writes.
    pub pending: AtomicU32,
    /// Reader-writer locks that this thread holds, as `krwlock` notes them; the first place is the fast path's. 0: free.
    pub(crate) held: [AtomicUsize; MAX_HELD],
    /// The lock that it blocked on is now its own.
    pub(crate) granted: AtomicBool,
    /// Someone wants it to end its waits that can be ended.
    cancelled: AtomicBool,
    /// Effective priority: its own, or what it inherits if that is higher. Written with the turnstiles locked.
    priority: AtomicU8,
    /// It stands in a condition variable's queue. Cleared by who takes it out.
    pub(crate) queued: AtomicBool,
    /// The next in that queue; guarded by the condition variable's lock.
    pub(crate) next_waiter: AtomicPtr<KThread>,
    /// Where it blocks and what it inherits; guarded by the turnstiles' lock.
    pub(crate) blocked: Guarded<Blocked>,
    /// The word of the lock that it is about to enter by the slow path; 0: none.
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) wants: core::sync::atomic::AtomicUsize,
    /// What lockstat and lockdebug know that it holds.
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) held_locks: crate::lockdebug::HeldLocks,
}

impl KThread {
    const_fn! {
    /// A thread of priority `base`, higher is more urgent, with nothing held. To be in place before any lock can name it.
    pub const fn new(base: u8) -> Self {
        Self {
            spl: AtomicU64::new(0),
            lent: AtomicU64::new(0),
            pending: AtomicU32::new(0),
            held: [
                AtomicUsize::new(0), AtomicUsize::new(0),
                AtomicUsize::new(0), AtomicUsize::new(0),
                AtomicUsize::new(0), AtomicUsize::new(0),
                AtomicUsize::new(0), AtomicUsize::new(0),
            ],
            granted: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            priority: AtomicU8::new(base),
            queued: AtomicBool::new(false),
            next_waiter: AtomicPtr::new(core::ptr::null_mut()),
            blocked: Guarded::new(Blocked::new(base)),
            #[cfg(not(any(loom, shuttle)))]
            wants: core::sync::atomic::AtomicUsize::new(0),
            #[cfg(not(any(loom, shuttle)))]
            held_locks: crate::lockdebug::HeldLocks::new(),
        }
    }
    }

    /// Effective priority: what the scheduler goes by.
    pub fn priority(&self) -> u8 {
        // ORDERING: a number of its own; the scheduler's lock orders what depends on it.
        self.priority.load(Ordering::Relaxed)
    }

    pub(crate) fn set_effective(&self, priority: u8) {
        self.priority.store(priority, Ordering::Relaxed);
    }

    /// Makes this thread's waits that can be ended return `Cancelled`, now and from now on.
    pub fn cancel<M: Machine, K: MayWake>(&'static self, _: &mut Cx<K>) {
        // ORDERING: pairs with the load in `is_cancelled`: after the unpark, the thread sees it.
        self.cancelled.store(true, Ordering::Release);
        M::unpark(self);
    }

    /// True once [`cancel`](KThread::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Makes the thread as new, at priority `base`, with one hold of domain `D`: that of the lock which its predecessor
    /// on the CPU [leaves to it](crate::kmutex::KMutexGuard::leave_to). It does not run, and nobody else knows it.
    pub fn reset<D: Domain, M: Machine, K: MayWake>(&'static self, cx: &mut Cx<K>, base: u8) {
        self.cancelled.store(false, Ordering::Relaxed);
        self.granted.store(false, Ordering::Relaxed);
        self.spl.store(D::HOLD, Ordering::Relaxed);
        self.lent.store(0, Ordering::Relaxed);
        self.pending.fetch_and(PENDING_EAGER, Ordering::Relaxed);
        M::turnstiles().set_base::<M, K>(cx, self, base);
    }
}
