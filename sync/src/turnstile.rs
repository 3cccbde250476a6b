// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turnstiles: where threads block on a lock, and how their priority reaches whoever holds it.
//!
//! # Theory
//! A client's duties come first. A lock that blocks embeds a [`Turnstile`]; a thread that finds it held locks the
//! turnstiles of the machine, says so in the lock's word (so that the holder cannot leave unnoticed), and blocks here.
//! A holder that finds the word so marked locks the turnstiles too, chooses who is next, makes the lock that
//! thread's, and [grants](Locked::grant) it. The lock is handed over, never thrown to the crowd: who was granted owns it.
//!
//! What follows: a thread's effective priority is the maximum of its own and of those that wait for a lock it holds,
//! directly or through others that wait. Each change (someone blocks, gives up, is granted; a base priority
//! changes) puts the threads it may concern on a list of things to do; [`Locked::settle`] recomputes each from its
//! definition, and a thread whose value changed puts the holders of what it waits for on the list. Nothing is
//! remembered that would have to be undone, so undoing is exact.
//!
//! A mutex has one owner, in whose list of contested locks it stands while someone waits. A reader-writer lock has many, who
//! entered without telling anyone: they are found by the note that each makes in its own thread (`held`) before it
//! enters. A reader that is just leaving may still have its note; it then keeps what it inherited until the waiter
//! goes that it inherited from, which is harmless and ends.
//!
//! # Contexts
//! Blocking: threads that hold no interrupt-safe lock. Everything else runs at Sched, under one lock for all turnstiles.
//!
//! # Lock order
//! The turnstiles' word, then the machine's run queues.
//!
//! # Memory ordering
//! (1) `granted` is set with Release after the lock's word names its new owner, and read with Acquire by that owner: it
//! sees all that was done under the lock. Model check: `mutex_block_and_hand_over`. All else is under the word. What is
//! lent and given back: `turnstile_boost`, `turnstile_unboost`, `turnstile_chain`, `turnstile_chain_ends`,
//! `turnstile_chain_breaks`, `turnstile_chain_of_eight`, `turnstile_queue_follows_priority`, `rwlock_unboost`.
//!
//! # Rejected
//! - A lock for each turnstile, or hashed chains of them: the walk along a chain of owners then holds two at a time
//!   and must back off and retry, and while it walks the graph changes under it. Whoever gets here has lost more time than
//!   the short section costs, and four CPUs seldom meet in it.
//! - Turnstiles lent by the threads that block: they keep a lock one word long; here a lock has room for two pointers,
//!   and the lending and its proof are gone.
//! - Waking all waiters to compete: no bound on how long one waits, and the exact priority of an owner is unknown
//!   while nobody is one.
//!
//! References: illumos turnstile.c; Sha, Rajkumar, Lehoczky, Priority Inheritance Protocols, 1990.
use crate::atomic::{Guarded, Ordering, const_fn};
use crate::domain::{Cx, MayWake};
use crate::ipl::Ipl;
use crate::machine::{KThread, Machine};
use crate::spinword::{Held, SpinWord};

/// What a blocked thread waits to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Share the lock with other readers.
    Read,
    /// Have it alone.
    Write,
}

/// A thread's place in the graph of who waits for whom.
pub(crate) struct Blocked {
    /// Its own priority.
    base: u8,
    /// What it waits to do there.
    want: Want,
    /// The turnstile that it waits at.
    on: *const Turnstile,
    /// The next waiter there.
    next: Option<&'static KThread>,
    /// First of the mutexes' turnstiles that it owns and others wait at.
    contested: *const Turnstile,
    /// It inherits through a reader-writer lock.
    inherits_rw: bool,
    /// It stands in the list of things to do, before this one.
    todo: Option<Option<&'static KThread>>,
}

// SAFETY: the pointers lead to turnstiles with waiters, which borrow the lock; all reached under one word.
unsafe impl Send for Blocked {}

impl Blocked {
    pub(crate) const fn new(base: u8) -> Self {
        Self {
            base,
            want: Want::Write,
            on: core::ptr::null(),
            next: None,
            contested: core::ptr::null(),
            inherits_rw: false,
            todo: None,
        }
    }
}

struct Inner {
    /// Waiters, most urgent first, first come first served among equals.
    first: Option<&'static KThread>,
    /// Whose list of contested locks it stands in; for a reader-writer lock nobody's.
    owner: Option<&'static KThread>,
    /// The next in that list, or in that of all contested reader-writer locks.
    next: *const Turnstile,
}

// SAFETY: as for `Blocked`.
unsafe impl Send for Inner {}

/// Where threads wait for one lock.
pub struct Turnstile {
    inner: Guarded<Inner>,
}

impl Turnstile {
    const_fn! {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            inner: Guarded::new(Inner { first: None, owner: None, next: core::ptr::null() }),
        }
    }
    }
}

struct Graph {
    /// First of the reader-writer locks' turnstiles that have waiters.
    contested_rw: *const Turnstile,
    /// First of the threads whose priority is to be recomputed.
    todo: Option<&'static KThread>,
    /// Priorities are inherited: always, but for showing what happens without.
    inherit: bool,
}

// SAFETY: as for `Blocked`.
unsafe impl Send for Graph {}

/// All turnstiles of a machine: one lock.
pub struct Turnstiles {
    word: SpinWord,
    graph: Guarded<Graph>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The lock is the caller's.
    Granted,
    /// The deadline passed first.
    TimedOut,
}

impl Turnstiles {
    const_fn! {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            word: SpinWord::new(),
            graph: Guarded::new(Graph { contested_rw: core::ptr::null(), todo: None, inherit: true }),
        }
    }
    }

    /// Panics where the types do not see it: an adaptive lock's guard is dropped while one of Sched or High lives.
    pub(crate) fn lock<M: Machine>(&self) -> Locked<'_, M> {
        assert!(
            !M::current().mask().masks(Ipl::Sched),
            "a turnstile is used, or a lock left that is waited for, with a Sched or High mutex held"
        );
        Locked {
            _held: self.word.lock(),
            graph: &self.graph,
        }
    }

    /// Gives `thread` another priority of its own; what it inherits and passes on follows.
    pub fn set_base<M: Machine, K: MayWake>(
        &self,
        _: &mut Cx<K>,
        thread: &'static KThread,
        base: u8,
    ) {
        let mut locked = self.lock::<M>();
        locked.blocked(thread, |b| b.base = base);
        locked.reconsider(thread);
        locked.settle();
    }

    /// The thread's own priority, whatever it inherits.
    pub fn base<M: Machine>(&self, thread: &'static KThread) -> u8 {
        self.lock::<M>().blocked(thread, |b| b.base)
    }

    /// Switches priority inheritance off, to show what happens without, or on again; from the next wait on.
    pub fn set_inheritance<M: Machine>(&self, inherit: bool) {
        self.lock::<M>().graph(|g| g.inherit = inherit);
    }
}

/// The turnstiles, locked.
pub(crate) struct Locked<'a, M: Machine> {
    graph: &'a Guarded<Graph>,
    _held: Held<'a, M>,
}

impl<M: Machine> Locked<'_, M> {
    fn graph<R>(&mut self, f: impl FnOnce(&mut Graph) -> R) -> R {
        // SAFETY: the word is held, and `f` is one of this file's that look at this alone.
        unsafe { self.graph.with(f) }
    }

    fn blocked<R>(&mut self, thread: &KThread, f: impl FnOnce(&mut Blocked) -> R) -> R {
        // SAFETY: as above.
        unsafe { thread.blocked.with(f) }
    }

    fn inner<R>(&mut self, ts: &Turnstile, f: impl FnOnce(&mut Inner) -> R) -> R {
        // SAFETY: as above.
        unsafe { ts.inner.with(f) }
    }

    /// Most urgent waiter.
    pub fn first(&mut self, ts: &Turnstile) -> Option<&'static KThread> {
        self.inner(ts, |i| i.first)
    }

    /// The waiter behind `thread`, and what `thread` wants.
    pub fn next(&mut self, thread: &'static KThread) -> (Option<&'static KThread>, Want) {
        self.blocked(thread, |b| (b.next, b.want))
    }

    /// Puts `thread` behind its equals.
    fn insert(&mut self, ts: &Turnstile, thread: &'static KThread) {
        let (mut before, mut at) = (None, self.first(ts));
        while let Some(other) = at
            && other.priority() >= thread.priority()
        {
            (before, at) = (at, self.next(other).0);
        }
        self.blocked(thread, |b| b.next = at);
        self.link(ts, before, Some(thread));
    }

    fn unlink(&mut self, ts: &Turnstile, thread: &'static KThread) {
        let (mut before, mut at) = (None, self.first(ts));
        while let Some(other) = at
            && !core::ptr::eq(other, thread)
        {
            (before, at) = (at, self.next(other).0);
        }
        let after = self.blocked(thread, |b| b.next.take());
        self.link(ts, before, after);
    }

    fn link(
        &mut self,
        ts: &Turnstile,
        before: Option<&'static KThread>,
        after: Option<&'static KThread>,
    ) {
        match before {
            None => self.inner(ts, |i| i.first = after),
            Some(t) => self.blocked(t, |b| b.next = after),
        }
    }

    /// Enters a turnstile that got its first waiter into the list of its owner, or of the reader-writer locks.
    fn attach(&mut self, ts: &Turnstile, owner: Option<&'static KThread>) {
        let next = match owner {
            Some(t) => self.blocked(t, |b| core::mem::replace(&mut b.contested, ts)),
            None => self.graph(|g| core::mem::replace(&mut g.contested_rw, ts)),
        };
        self.inner(ts, |i| (i.owner, i.next) = (owner, next));
    }

    fn detach(&mut self, ts: &Turnstile) {
        let (owner, after) = self.inner(ts, |i| (i.owner.take(), i.next));
        let first = match owner {
            Some(t) => self.blocked(t, |b| b.contested),
            None => self.graph(|g| g.contested_rw),
        };
        if core::ptr::eq(first, ts) {
            match owner {
                Some(t) => self.blocked(t, |b| b.contested = after),
                None => self.graph(|g| g.contested_rw = after),
            }
            return;
        }
        let mut at = first;
        // SAFETY: a turnstile in a list has waiters, who keep its lock alive. `ts` is in this list.
        while let Some(other) = unsafe { at.as_ref() } {
            at = self.inner(other, |i| i.next);
            if core::ptr::eq(at, ts) {
                self.inner(other, |i| i.next = after);
            }
        }
    }

    /// Has the priority of `thread` recomputed by [`settle`](Locked::settle).
    pub fn reconsider(&mut self, thread: &'static KThread) {
        let rest = self.graph(|g| g.todo);
        if self.blocked(thread, |b| {
            b.todo.is_none() && {
                b.todo = Some(rest);
                true
            }
        }) {
            self.graph(|g| g.todo = Some(thread));
        }
    }

    /// Has the holders of `ts` recomputed.
    fn reconsider_holders(&mut self, ts: &Turnstile) {
        match self.inner(ts, |i| i.owner) {
            Some(owner) => self.reconsider(owner),
            None => M::for_each_thread(&mut |t| {
                if t.holds(ts) || self.blocked(t, |b| b.inherits_rw) {
                    self.reconsider(t);
                }
            }),
        }
    }

    /// A thread's priority by its definition, and whether part of it comes through a reader-writer lock.
    fn effective(&mut self, thread: &'static KThread) -> (u8, bool) {
        let (mut priority, mut at) = self.blocked(thread, |b| (b.base, b.contested));
        let (inherit, mut rw) = self.graph(|g| (g.inherit, g.contested_rw));
        if !inherit {
            return (priority, false);
        }
        // SAFETY: as in `detach`, here and below.
        while let Some(ts) = unsafe { at.as_ref() } {
            priority = priority.max(self.first(ts).map_or(0, KThread::priority));
            at = self.inner(ts, |i| i.next);
        }
        let mut inherits_rw = false;
        // SAFETY: as above.
        while let Some(ts) = unsafe { rw.as_ref() } {
            if thread.holds(ts) {
                inherits_rw = true;
                priority = priority.max(self.first(ts).map_or(0, KThread::priority));
            }
            rw = self.inner(ts, |i| i.next);
        }
        (priority, inherits_rw)
    }

    /// Recomputes what is to be recomputed, along all chains.
    pub fn settle(&mut self) {
        while let Some(thread) = self.graph(|g| g.todo) {
            let rest = self.blocked(thread, |b| b.todo.take()).flatten();
            self.graph(|g| g.todo = rest);
            let (priority, inherits_rw) = self.effective(thread);
            self.blocked(thread, |b| b.inherits_rw = inherits_rw);
            if priority == thread.priority() {
                continue;
            }
            thread.set_effective(priority);
            M::priority_changed(thread);
            let on = self.blocked(thread, |b| b.on);
            // SAFETY: a turnstile that a thread waits at is kept alive by that thread.
            if let Some(ts) = unsafe { on.as_ref() } {
                self.unlink(ts, thread);
                self.insert(ts, thread);
                self.reconsider_holders(ts);
            }
        }
    }

    /// Takes a waiter out of its turnstile. The holders are to be reconsidered.
    pub fn remove(&mut self, ts: &Turnstile, thread: &'static KThread) {
        self.reconsider_holders(ts);
        self.unlink(ts, thread);
        self.blocked(thread, |b| b.on = core::ptr::null());
        if self.first(ts).is_none() {
            self.detach(ts);
        }
    }

    /// A mutex changes hands: those who still wait at `ts` wait for `owner` from now on.
    pub fn change_owner(&mut self, ts: &Turnstile, owner: &'static KThread) {
        if self.first(ts).is_some() {
            self.detach(ts);
            // No priority changes: the most urgent is the owner now, and whoever comes later is looked at then.
            self.attach(ts, Some(owner));
        }
    }

    /// Tells `thread`, [removed](Locked::remove) from its turnstile, that the lock is its own.
    pub fn grant(&mut self, thread: &'static KThread) {
        // ORDERING: (1) Release.
        thread.granted.store(true, Ordering::Release);
        M::unpark(thread);
    }

    /// Blocks the current thread at `ts`, whose lock is marked as waited for and owned by `owner` (a reader-writer
    /// lock: `None`), until it is granted or the deadline passes. With the turnstiles locked, `queued` runs when it stands
    /// in the queue, and `gave_up` when it has left that without a grant.
    pub fn block(
        mut self,
        ts: &Turnstile,
        want: Want,
        owner: Option<&'static KThread>,
        deadline_ns: Option<u64>,
        queued: impl FnOnce(&mut Self),
        gave_up: impl FnOnce(&mut Self),
    ) -> Outcome {
        let me = M::current();
        me.granted.store(false, Ordering::Relaxed);
        if self.first(ts).is_none() {
            self.attach(ts, owner);
        }
        self.blocked(me, |b| (b.on, b.want) = (ts, want));
        self.insert(ts, me);
        self.reconsider_holders(ts);
        queued(&mut self);
        self.settle();
        drop(self);
        assert!(
            me.may_sleep(),
            "a thread blocks on a lock with interrupts masked"
        );
        loop {
            // ORDERING: (1) Acquire.
            if me.granted.load(Ordering::Acquire) {
                return Outcome::Granted;
            }
            if deadline_ns.is_some_and(|at| M::now_ns() >= at) {
                break;
            }
            M::park(deadline_ns);
        }
        let mut locked = M::turnstiles().lock::<M>();
        if me.granted.load(Ordering::Acquire) {
            return Outcome::Granted; // just in time
        }
        locked.remove(ts, me);
        gave_up(&mut locked);
        locked.settle();
        Outcome::TimedOut
    }
}
