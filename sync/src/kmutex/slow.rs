// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a mutex is but for its value and its class: the word, and the slow paths, which exist once for all classes.
//!
//! Theory, contexts and memory ordering are those of [`crate::kmutex`].
use crate::atomic::{AtomicUsize, Ordering, const_fn};
use crate::machine::{KThread, Machine};
use crate::probe::{Kind, Probe, Wait, Wants};
use crate::turnstile::{Locked, Outcome, Turnstile, Want};

const WAITERS: usize = 1;
const SLOW: usize = 2;
const FLAGS: usize = WAITERS | SLOW;
const _: () = assert!(align_of::<KThread>() > FLAGS);

/// The word, and what goes with it.
pub(super) struct Core {
    word: AtomicUsize,
    turnstile: Turnstile,
    probe: Probe,
}

impl Core {
    const_fn! {
    /// Open.
    pub const fn new() -> Self {
        Self {
            word: AtomicUsize::new(Probe::first_flag(SLOW)),
            turnstile: Turnstile::new(),
            probe: Probe::new(),
        }
    }
    }

    /// The fast path in: false if it is to be the slow one.
    #[inline(always)]
    pub fn try_enter(&self, me: &'static KThread) -> bool {
        // Weak: where it fails for no reason, the slow way tries again.
        // ORDERING: (1) Acquire.
        self.word
            .compare_exchange_weak(0, address(me), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// The fast path out: false if it is to be the slow one.
    #[inline(always)]
    pub fn try_exit(&self, me: &'static KThread) -> bool {
        // Weak, as above.
        // ORDERING: (2) Release.
        self.word
            .compare_exchange_weak(address(me), 0, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Waits until the mutex is the current thread's, or the deadline has passed.
    #[cold]
    #[inline(never)]
    pub fn enter_slow<M: Machine>(&self, kind: &'static Kind, deadline_ns: Option<u64>) -> Outcome {
        let me = M::current();
        let mut wait = Wait::<M>::new(kind);
        let _wants = Wants::note(me, &self.word);
        self.probe.arrive::<M>(kind, &self.word, SLOW);
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let Some(owner) = owner(word) else {
                let slow = if self.probe.keeps_slow() { SLOW } else { 0 };
                let mine = address(me) | slow;
                // ORDERING: (1) Acquire.
                if self
                    .word
                    .compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
                {
                    if slow == 0 {
                        self.probe.look_again(&self.word, SLOW);
                    }
                    self.probe.entered::<M>(wait);
                    return Outcome::Granted;
                }
                continue;
            };
            if core::ptr::eq(owner, me) {
                self.probe.recursion::<M>(kind);
                panic!("mutex {} entered again by its owner", kind.class);
            }
            let late = || deadline_ns.is_some_and(|at| M::now_ns() >= at);
            let unmarked = word & WAITERS == 0;
            let spins = kind.spins || (unmarked && M::is_running(owner));
            if spins || deadline_ns == Some(0) {
                if late() {
                    return Outcome::TimedOut;
                }
                wait.spin();
                continue;
            }
            let turnstiles = M::turnstiles().lock::<M>();
            let marked = word | WAITERS;
            // ORDERING: Relaxed: nothing of the lock's is read before it is granted.
            if self
                .word
                .compare_exchange(word, marked, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
            {
                continue; // the owner left, or another changed the flags: look again
            }
            wait.block();
            let ts = &self.turnstile;
            let gave_up = |locked: &mut Locked<M>| {
                if locked.first(ts).is_none() {
                    self.word.fetch_and(!WAITERS, Ordering::Relaxed);
                }
            };
            let outcome =
                turnstiles.block(ts, Want::Write, Some(owner), deadline_ns, |_| {}, gave_up);
            if outcome == Outcome::Granted {
                self.probe.entered::<M>(wait);
            }
            return outcome;
        }
    }

    #[cold]
    #[inline(never)]
    pub fn exit_slow<M: Machine>(&self, kind: &'static Kind) {
        let me = M::current();
        let word = self.word.load(Ordering::Relaxed);
        if word & !FLAGS != address(me) {
            panic!("mutex {} left by {me:p}, its word is {word:#x}", kind.class);
        }
        if word & SLOW != 0 {
            self.probe.left::<M>();
        }
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & WAITERS != 0 {
                return self.hand_over::<M>(me);
            }
            // ORDERING: (2) Release.
            if self
                .word
                .compare_exchange(word, word & SLOW, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }

    /// Makes the most urgent waiter the owner.
    fn hand_over<M: Machine>(&self, me: &'static KThread) {
        let ts = &self.turnstile;
        let mut turnstiles = M::turnstiles().lock::<M>();
        let Some(next) = turnstiles.first(ts) else {
            // The last waiter gave up since.
            // ORDERING: (2) Release.
            self.word.fetch_and(SLOW, Ordering::Release);
            return;
        };
        turnstiles.remove(ts, next);
        turnstiles.change_owner(ts, next);
        let more = if turnstiles.first(ts).is_some() {
            WAITERS
        } else {
            0
        };
        let owned = address(next) | more;
        // ORDERING: Relaxed: `grant` is what orders.
        let _always = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(owned | word & SLOW)
            });
        // First `next` can run, then this thread's priority may drop.
        turnstiles.grant(next);
        turnstiles.reconsider(me);
        turnstiles.settle();
    }

    /// Makes `next` the owner instead of the current thread, of a mutex that spins.
    pub fn leave_to<M: Machine>(&self, next: &'static KThread) {
        if self.word.load(Ordering::Relaxed) & SLOW != 0 {
            self.probe.left::<M>();
        }
        // The owner alone changes, whatever flag another CPU sets meanwhile.
        // ORDERING: Relaxed: both run on this CPU.
        self.word
            .fetch_xor(address(M::current()) ^ address(next), Ordering::Relaxed);
    }

    /// The thread that holds it.
    pub fn owner(&self) -> Option<&'static KThread> {
        owner(self.word.load(Ordering::Relaxed))
    }

    /// Opens it, whoever holds it.
    pub fn break_open(&self) {
        // ORDERING: (2) Release.
        self.word.store(0, Ordering::Release);
    }

    /// Its memory goes.
    pub fn dropped<M: Machine>(&self, kind: &'static Kind) {
        self.probe.dropped::<M>(kind, self.owner().is_some());
    }
}

/// A thread as the word names it. (A word of pointer type would do, but LLVM 22 makes two instructions more of its swap.)
#[inline(always)]
fn address(thread: &'static KThread) -> usize {
    (&raw const *thread).expose_provenance()
}

/// The thread that a word names.
fn owner(word: usize) -> Option<&'static KThread> {
    let owner: *const KThread = core::ptr::with_exposed_provenance(word & !FLAGS);
    // SAFETY: null, or what `address` made of a thread, whose entry stays.
    unsafe { owner.as_ref() }
}
