// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has which lock, and who wants it: for a debugger, on a machine that is stopped.
//!
//! # Theory
//! All is read from what the locks keep anyway: the table of all locks (lockstat), each lock's word, the notes that readers
//! and writers of a reader-writer lock make in their threads, and which lock a thread is entering by the slow path. Nothing is
//! locked, nothing changed; what was stopped in the middle of a change shows so.
//!
//! # Contexts
//! Any, while no other CPU runs.
use crate::domain::High;
use crate::lockdebug;
use crate::lockstat;
use crate::machine::{KThread, Machine};
use crate::probe::Kind;
use crate::spl::splraise;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How a lock is held.
#[derive(Clone, Copy)]
pub enum Held {
    /// Not at all.
    Free,
    /// A mutex: by this thread.
    By(&'static KThread),
    /// A reader-writer lock: by so many readers.
    Readers(usize),
    /// A reader-writer lock: by a writer.
    Writer,
}

/// One lock.
pub struct View {
    /// Its class.
    pub class: &'static str,
    /// Its domain.
    pub domain: &'static str,
    /// `adaptive`, `spin` or `rwlock`.
    pub lock: &'static str,
    /// Where its word is: tells locks of one class apart.
    pub address: usize,
    /// How it is held.
    pub held: Held,
    index: usize,
}

const MUTEX_FLAGS: usize = 3;
const RW_WRITER: usize = 1;
const RW_READER: usize = 8;

fn is_rwlock(kind: &Kind) -> bool {
    kind.lock == "rwlock"
}

/// All locks that were ever entered and still exist.
///
/// # Safety
/// No other CPU runs, or none gives a lock's memory back.
pub unsafe fn locks() -> impl Iterator<Item = View> {
    lockstat::words().map(|(index, kind, word)| {
        let address = (&raw const *word).addr();
        let word = word.load(Ordering::Relaxed);
        let held = if !is_rwlock(kind) {
            let owner: *const KThread = core::ptr::with_exposed_provenance(word & !MUTEX_FLAGS);
            // SAFETY: null, or a thread's address, whose entry stays (kmutex/slow.rs).
            unsafe { owner.as_ref() }.map_or(Held::Free, Held::By)
        } else if word & RW_WRITER != 0 {
            Held::Writer
        } else {
            match word / RW_READER {
                0 => Held::Free,
                readers => Held::Readers(readers),
            }
        };
        View {
            class: kind.class,
            domain: kind.domain,
            lock: kind.lock,
            address,
            held,
            index,
        }
    })
}

impl View {
    /// True if `thread` holds it, as far as lock and thread say.
    pub fn is_held_by(&self, thread: &KThread) -> bool {
        match self.held {
            Held::Free => false,
            Held::By(owner) => core::ptr::eq(owner, thread),
            // The note is the lock's address, where its word is.
            Held::Readers(_) | Held::Writer => {
                let notes = || {
                    thread
                        .held
                        .iter()
                        .map(|place| place.load(Ordering::Relaxed))
                };
                notes().any(|note| note == self.address) && !self.is_wanted_by(thread)
            }
        }
    }

    /// True if `thread` waits for it, or is about to enter it.
    pub fn is_wanted_by(&self, thread: &KThread) -> bool {
        thread.wants.load(Ordering::Relaxed) == self.address
    }

    /// Since when `thread` has held it, ns; known while lockstat or lockdebug is on.
    pub fn since_ns(&self, thread: &KThread) -> Option<u64> {
        lockdebug::held_since_ns(thread, self.index)
    }
}

/// Takes every lock that comes free within `patience_ns`, and keeps it for ever, with everything held off on this CPU:
/// to show that a debugger needs none. Returns how many it has, of how many.
///
/// # Safety
/// The machine is lost: nobody who wants a lock goes on. What the locks guard is not touched.
pub unsafe fn seize_all<M: Machine>(patience_ns: u64) -> (usize, usize) {
    let me = M::current();
    // What has no place in the table: the turnstiles' word, under which all blocking is.
    core::mem::forget(M::turnstiles().lock::<M>());
    let _never_dropped = splraise::<High, M>();
    let end = M::now_ns() + patience_ns;
    let all = lockstat::words().count();
    let mut taken = 0;
    // Round after round: who holds one may wait for another that was taken already, and never let go.
    while taken < all && M::now_ns() < end {
        taken = lockstat::words()
            .filter(|(_, kind, word)| is_mine(me, kind, word) || seize(me, kind, word))
            .count();
        M::relax();
    }
    (taken, all)
}

fn is_mine(me: &'static KThread, kind: &Kind, word: &AtomicUsize) -> bool {
    let word = word.load(Ordering::Relaxed);
    match is_rwlock(kind) {
        true => word & RW_WRITER != 0,
        false => word & !MUTEX_FLAGS == (&raw const *me).addr(),
    }
}

fn seize(me: &'static KThread, kind: &Kind, word: &AtomicUsize) -> bool {
    let slow = match is_rwlock(kind) {
        true => 4,
        false => 2,
    };
    let taken = match is_rwlock(kind) {
        true => RW_WRITER,
        false => (&raw const *me).expose_provenance(),
    };
    let flags = word.load(Ordering::Relaxed) & slow;
    // ORDERING: Relaxed: nothing that the lock guards is read.
    word.compare_exchange(flags, taken | flags, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::domain::{Cx, Thread};
    use crate::host::Host;
    use crate::kmutex::KMutex;
    use crate::krwlock::KRwLock;

    crate::lock_order! {
        machine Host;
        thread { Viewed, ViewedToo }
        bio {}
        net {}
        tty {}
        vm {}
        sched {}
        high {}
    }

    fn find(class: &str) -> View {
        // SAFETY: the locks of this test live until its end; others' words are read only as numbers.
        unsafe { locks() }
            .find(|view| view.class == class)
            .expect("it was entered")
    }

    #[test]
    fn holders_are_seen_and_those_who_left_are_not() {
        static MUTEX: KMutex<(), Viewed> = KMutex::new(());
        static RWLOCK: KRwLock<(), ViewedToo> = KRwLock::new(());
        // SAFETY: the first code of this thread, which holds nothing.
        let mut cx = unsafe { Cx::<Thread>::assume() };
        let me = Host::current();
        {
            let (_held, mut cx) = MUTEX.enter(&mut cx);
            let view = find("Viewed");
            assert!(matches!(view.held, Held::By(owner) if core::ptr::eq(owner, me)));
            assert!(view.is_held_by(me) && !view.is_wanted_by(me));
            let (_read, _) = RWLOCK.read(&mut cx);
            let view = find("ViewedToo");
            assert!(matches!(view.held, Held::Readers(1)));
            assert!(view.is_held_by(me));
        }
        {
            let (_write, _) = RWLOCK.write(&mut cx);
            assert!(matches!(find("ViewedToo").held, Held::Writer));
        }
        for class in ["Viewed", "ViewedToo"] {
            let view = find(class);
            assert!(matches!(view.held, Held::Free) && !view.is_held_by(me));
        }
    }
}
