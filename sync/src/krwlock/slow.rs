// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a reader-writer lock is but for its value and its class: the word and its paths, the slow ones once for all
//! classes, and the policy.
//!
//! Theory, fairness, contexts and memory ordering are those of [`crate::krwlock`].
use crate::atomic::{AtomicBool, AtomicUsize, Ordering, const_fn};
use crate::machine::{KThread, Machine};
use crate::probe::{Kind, Probe, Wait, Wants};
use crate::turnstile::{Locked, Turnstile, Want};
use core::mem::offset_of;

const WRITER: usize = 1;
const WAITERS: usize = 2;
const SLOW: usize = 4;
const FLAGS: usize = WRITER | WAITERS | SLOW;
const READER: usize = 8;

/// The word, and what goes with it. The turnstile stands where [`note`] looks for it.
#[repr(C)]
pub(super) struct Core {
    word: AtomicUsize,
    turnstile: Turnstile,
    /// Who left last, with others waiting, was a writer. With the turnstiles locked.
    after_writer: AtomicBool,
    probe: Probe,
}

const TURNSTILE_OFFSET: usize = offset_of!(Core, turnstile);

/// How a thread notes that it holds the lock of `ts`: by the lock's own address, which entering has at hand.
#[inline(always)]
fn note(ts: &Turnstile) -> usize {
    (&raw const *ts).addr() - TURNSTILE_OFFSET
}

impl KThread {
    /// True if this thread holds the reader-writer lock of `ts`, or is about to enter or has just left it.
    pub(crate) fn holds(&self, ts: &Turnstile) -> bool {
        self.held
            .iter()
            .any(|place| place.load(Ordering::Relaxed) == note(ts))
    }

    /// True if its note is not in the first place, where the fast way looks.
    fn holds_deep(&self, ts: &Turnstile) -> bool {
        self.held[1..]
            .iter()
            .any(|place| place.load(Ordering::Relaxed) == note(ts))
    }

    /// Notes that this thread holds the lock of `ts`.
    fn note_held(&self, ts: &Turnstile) {
        let place = self
            .held
            .iter()
            .position(|p| p.load(Ordering::Relaxed) == 0);
        let place = place.expect("a thread holds at most 8 reader-writer locks");
        self.held[place].store(note(ts), Ordering::Relaxed);
    }

    fn note_left(&self, ts: &Turnstile) {
        let mut places = self.held.iter();
        let place = places.position(|p| p.load(Ordering::Relaxed) == note(ts));
        let place = place.expect("a lock that is left was noted when it was entered");
        self.held[place].store(0, Ordering::Relaxed);
    }
}

impl Core {
    const_fn! {
    /// Open.
    pub const fn new() -> Self {
        Self {
            word: AtomicUsize::new(Probe::first_flag(SLOW)),
            turnstile: Turnstile::new(),
            after_writer: AtomicBool::new(false),
            probe: Probe::new(),
        }
    }
    }

    #[inline(always)]
    pub fn enter_read<M: Machine>(&self, kind: &'static Kind) {
        let me = M::current();
        let place = &me.held[0];
        let free = place.load(Ordering::Relaxed) == 0;
        if free {
            place.store(note(&self.turnstile), Ordering::Relaxed);
            // ORDERING: (1) Acquire and (3) Release.
            if self.word.fetch_add(READER, Ordering::AcqRel) & FLAGS == 0 {
                return;
            }
        }
        self.enter_slow::<M>(kind, Want::Read, free);
    }

    #[inline(always)]
    pub fn enter_write<M: Machine>(&self, kind: &'static Kind) {
        let me = M::current();
        let place = &me.held[0];
        let free = place.load(Ordering::Relaxed) == 0;
        if free {
            place.store(note(&self.turnstile), Ordering::Relaxed);
            // ORDERING: (1) Acquire and (3) Release.
            let swap =
                self.word
                    .compare_exchange_weak(0, WRITER, Ordering::AcqRel, Ordering::Relaxed);
            if swap.is_ok() {
                return;
            }
        }
        self.enter_slow::<M>(kind, Want::Write, free);
    }

    #[inline(always)]
    pub fn exit_read<M: Machine>(&self) {
        // ORDERING: (2) Release.
        if self.word.fetch_sub(READER, Ordering::Release) & FLAGS == 0 {
            let me = M::current();
            me.held[0].store(0, Ordering::Relaxed);
        } else {
            self.exit_read_slow::<M>();
        }
    }

    #[inline(always)]
    pub fn exit_write<M: Machine>(&self) {
        // ORDERING: (2) Release.
        let swap = self
            .word
            .compare_exchange_weak(WRITER, 0, Ordering::Release, Ordering::Relaxed);
        if swap.is_ok() {
            let me = M::current();
            me.held[0].store(0, Ordering::Relaxed);
        } else {
            self.exit_write_slow::<M>();
        }
    }

    /// `announced`: the fast way left its note, and a reader its count, behind.
    #[cold]
    #[inline(never)]
    fn enter_slow<M: Machine>(&self, kind: &'static Kind, want: Want, announced: bool) {
        let _wants = Wants::note(M::current(), &self.word);
        self.probe.arrive::<M>(kind, &self.word, SLOW);
        let turnstiles = M::turnstiles().lock::<M>();
        let (me, ts) = (M::current(), &self.turnstile);
        if announced {
            me.held[0].store(0, Ordering::Relaxed);
            if want == Want::Read {
                // ORDERING: Relaxed: nothing was read or written in between.
                self.word.fetch_sub(READER, Ordering::Relaxed);
            }
        }
        let mut wait = Wait::<M>::new(kind);
        if me.holds(ts) {
            self.probe.recursion::<M>(kind);
            panic!(
                "reader-writer lock {} entered again by its holder",
                kind.class
            );
        }
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let busy = match want {
                Want::Read => word & (WRITER | WAITERS),
                Want::Write => word & !SLOW,
            };
            if busy == 0 {
                let keep = self.probe.keeps_slow();
                me.note_held(ts);
                let slow = if keep || self.has_deep_holder::<M>() {
                    SLOW
                } else {
                    0
                };
                let entered = match want {
                    Want::Read => (word & !SLOW | slow) + READER,
                    Want::Write => WRITER | slow,
                };
                // ORDERING: (1) Acquire and (3) Release.
                let swap =
                    self.word
                        .compare_exchange(word, entered, Ordering::AcqRel, Ordering::Relaxed);
                if swap.is_ok() {
                    if slow == 0 {
                        self.probe.look_again(&self.word, SLOW);
                    }
                    drop(turnstiles);
                    self.probe.entered::<M>(wait);
                    return;
                }
                me.note_left(ts);
                continue;
            }
            // ORDERING: (3) Acquire: from now on every holder is found by its note.
            let marked = word | WAITERS;
            let swap =
                self.word
                    .compare_exchange(word, marked, Ordering::Acquire, Ordering::Relaxed);
            if swap.is_ok() {
                break;
            }
        }
        wait.block();
        // A reader that took its count back may have kept the lock from coming free for others.
        let queued = |locked: &mut Locked<M>| self.settle(locked);
        let _granted = turnstiles.block(ts, want, None, None, queued, |_| {});
        self.probe.entered::<M>(wait);
    }

    /// Some thread holds this lock as its second or later: its leaving must come the slow way.
    fn has_deep_holder<M: Machine>(&self) -> bool {
        let mut found = false;
        M::for_each_thread(&mut |t| found |= t.holds_deep(&self.turnstile));
        found
    }

    #[cold]
    #[inline(never)]
    fn exit_read_slow<M: Machine>(&self) {
        let mut turnstiles = M::turnstiles().lock::<M>();
        self.exit_locked(&mut turnstiles, false);
    }

    #[cold]
    #[inline(never)]
    fn exit_write_slow<M: Machine>(&self) {
        let mut turnstiles = M::turnstiles().lock::<M>();
        // ORDERING: (2) Release.
        self.word.fetch_and(!WRITER, Ordering::Release);
        self.exit_locked(&mut turnstiles, true);
    }

    /// The rest of leaving: the word says so already.
    fn exit_locked<M: Machine>(&self, turnstiles: &mut Locked<M>, writer: bool) {
        let me = M::current();
        me.note_left(&self.turnstile);
        if self.word.load(Ordering::Relaxed) & SLOW != 0 {
            self.probe.left::<M>();
            if !self.probe.keeps_slow() && !self.has_deep_holder::<M>() {
                // ORDERING: Acquire: pairs with lockstat's (1).
                self.word.fetch_and(!SLOW, Ordering::Acquire);
                self.probe.look_again(&self.word, SLOW);
            }
        }
        self.after_writer.store(writer, Ordering::Relaxed);
        self.settle(turnstiles);
        turnstiles.reconsider(me);
        turnstiles.settle();
    }

    /// Lets in who is next, if the lock is free. With the turnstiles locked.
    fn settle<M: Machine>(&self, turnstiles: &mut Locked<M>) {
        let ts = &self.turnstile;
        let word = self.word.load(Ordering::Relaxed);
        if word & WRITER != 0 || word >= READER {
            return; // held, or a reader is about to take its count back: then it comes here
        }
        match next(turnstiles, ts, self.after_writer.load(Ordering::Relaxed)) {
            Next::Nobody => {}
            Next::Writer(thread) => {
                thread.note_held(ts);
                let slow = if thread.holds_deep(ts) { SLOW } else { 0 };
                // A reader that is about to take its count back does no harm: it finds the lock waited for.
                // ORDERING: (1) Acquire and (3) Release.
                self.word.fetch_or(WRITER | slow, Ordering::AcqRel);
                turnstiles.remove(ts, thread);
                turnstiles.grant(thread);
            }
            Next::Readers(least) => {
                let mut at = turnstiles.first(ts);
                while let Some(thread) = at {
                    let (after, want) = turnstiles.next(thread);
                    if want == Want::Read && thread.priority() >= least {
                        thread.note_held(ts);
                        if thread.holds_deep(ts) {
                            self.word.fetch_or(SLOW, Ordering::Relaxed);
                        }
                        // ORDERING: (1) Acquire and (3) Release.
                        self.word.fetch_add(READER, Ordering::AcqRel);
                        turnstiles.remove(ts, thread);
                        turnstiles.grant(thread);
                    }
                    at = after;
                }
            }
        }
        if turnstiles.first(ts).is_none() {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }

    /// Its memory goes.
    pub fn dropped<M: Machine>(&self, kind: &'static Kind) {
        let held = self.word.load(Ordering::Relaxed) & !SLOW != 0;
        self.probe.dropped::<M>(kind, held);
    }
}

/// Who enters a free lock.
enum Next {
    Nobody,
    Writer(&'static KThread),
    /// All waiting readers of this priority or above.
    Readers(u8),
}

/// Rules 2 and 3 of the header.
fn next<M: Machine>(turnstiles: &mut Locked<M>, ts: &Turnstile, after_writer: bool) -> Next {
    let Some(first) = turnstiles.first(ts) else {
        return Next::Nobody;
    };
    let (mut writer, mut reader, mut at) = (None, None, Some(first));
    while let Some(thread) = at {
        let (after, want) = turnstiles.next(thread);
        let best = match want {
            Want::Read => &mut reader,
            Want::Write => &mut writer,
        };
        *best = best.or(Some(thread));
        at = after;
    }
    match (writer, reader) {
        (None, _) => Next::Readers(0),
        (Some(writer), None) => Next::Writer(writer),
        (Some(writer), Some(reader)) => {
            let (w, r) = (writer.priority(), reader.priority());
            if r > w || r == w && after_writer {
                Next::Readers(w)
            } else {
                Next::Writer(writer)
            }
        }
    }
}
