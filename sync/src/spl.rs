// SPDX-License-Identifier: MIT OR Apache-2.0
//! spl: which interrupt classes the running code holds off, as a set that is exact in any order of release.
//!
//! # Theory
//! The state is one word of counts, a byte for each domain that can be held: a raise adds one hold, a release takes it
//! away again, and a class is masked while any count that covers it is not zero. So the mask is always the union of
//! what is still held, whichever goes first. (Saving the old level in the guard restores the wrong one when guards are
//! dropped in another order than taken.)
//!
//! The word belongs to the thread, and interrupt handlers borrow that of the thread that they interrupt. A thread with
//! a hold is neither preempted nor moved, so the word is as good as the CPU's own; and because a handler leaves the
//! word as it found it, a raise needs no atomic read-modify-write: load, add, store, wherever an interrupt falls.
//! A masked interrupt that arrives sets a bit in [`pending`](KThread::pending), and the release that unmasks it runs it:
//! it stores the new counts first (1) and looks at `pending` after (2). An interrupt between the two is no longer
//! masked and runs at once; one before is seen.
//!
//! # Contexts
//! Any.
//!
//! # Memory ordering
//! Only this CPU looks, in program order; the compiler barriers keep the order. So every access is Relaxed. Model check, with
//! interrupts before each access: `spin_mutex_against_two_interrupts`.
//!
//! # Rejected
//! A level per CPU reached through a CPU pointer: the thread may move between reading the pointer and using it.
//!
//! References: Thorpe, tech-kern, December 2003; NetBSD spl(9).
use crate::atomic::{Ordering, compiler_barrier};
use crate::domain::{Bio, Domain, High, Net, Sched, Tty, Vm};
use crate::ipl::Ipl;
use crate::machine::{KThread, Machine};
use core::marker::PhantomData;

/// A set of masked interrupt classes, as counts of holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u64);

/// Bit of [`KThread::pending`]: an interrupt was deferred.
pub const PENDING_INTERRUPT: u32 = 1;
/// Bit of [`KThread::pending`]: another thread should run.
pub const PENDING_RESCHED: u32 = 2;

impl Mask {
    /// Nothing masked.
    pub const OPEN: Mask = Mask(0);

    /// What one hold of domain `D` masks.
    pub const fn of<D: Domain>() -> Mask {
        Mask(D::HOLD)
    }

    /// True if interrupts of `class` are held off.
    pub const fn masks(self, class: Ipl) -> bool {
        // A domain's own count, or any above that covers it.
        let covers = match class {
            Ipl::Bio | Ipl::SoftBio => 0xFF | 0xFFFF << 24,
            Ipl::Net | Ipl::SoftNet => 0xFF << 8 | 0xFFFF << 24,
            Ipl::Tty | Ipl::SoftSerial => 0xFF << 16 | 0xFFFF << 24,
            Ipl::Sched | Ipl::SoftClock => 0xFFFF << 24,
            Ipl::High => 0xFF << 32,
        };
        self.0 & covers != 0
    }

    /// True if nothing is masked.
    pub const fn is_open(self) -> bool {
        self.0 == 0
    }
}

impl KThread {
    /// What this thread, and the handlers that run on it, hold off.
    #[inline]
    pub fn mask(&self) -> Mask {
        Mask(self.spl.load(Ordering::Relaxed))
    }

    /// Adds a hold of domain `D`. The current thread's only.
    #[inline(always)]
    pub(crate) fn raise<D: Domain>(&self) {
        if D::HOLD != 0 {
            let word = self.spl.load(Ordering::Relaxed);
            debug_assert!(
                (word >> D::HOLD.trailing_zeros()) as u8 != u8::MAX,
                "255 holds of {}",
                D::NAME
            );
            self.spl
                .store(word.wrapping_add(D::HOLD), Ordering::Relaxed);
            compiler_barrier();
        }
    }

    /// Takes a hold of domain `D` away, and runs what it held off. The current thread's only.
    #[inline(always)]
    pub(crate) fn lower<D: Domain, M: Machine>(&self) {
        if D::HOLD != 0 {
            compiler_barrier();
            let word = self.spl.load(Ordering::Relaxed);
            self.spl
                .store(word.wrapping_sub(D::HOLD), Ordering::Relaxed); // (1)
            compiler_barrier();
            if self.pending.load(Ordering::Relaxed) != 0 {
                M::run_pending(); // (2)
            }
        }
    }
}

/// What [`splraise`] held off, for [`splx`]. Dropping it is not giving it back: that is said, as it always was.
#[must_use = "splx gives it back"]
pub struct Spl<D> {
    _domain: PhantomData<(D, *mut ())>,
}

/// Holds off the interrupts of domain `D` on this CPU, beside what is held off already.
#[inline(always)]
pub fn splraise<D: Domain, M: Machine>() -> Spl<D> {
    M::current().raise::<D>();
    Spl {
        _domain: PhantomData,
    }
}

/// Gives back what one raise held off; what arrived meanwhile and is held off by nothing else runs now.
#[inline(always)]
pub fn splx<D: Domain, M: Machine>(_: Spl<D>) {
    M::current().lower::<D, M>();
}

/// Holds off disk interrupts.
#[inline(always)]
pub fn splbio<M: Machine>() -> Spl<Bio> {
    splraise::<Bio, M>()
}

/// Holds off network interrupts.
#[inline(always)]
pub fn splnet<M: Machine>() -> Spl<Net> {
    splraise::<Net, M>()
}

/// Holds off terminal interrupts.
#[inline(always)]
pub fn spltty<M: Machine>() -> Spl<Tty> {
    splraise::<Tty, M>()
}

/// Holds off all devices.
#[inline(always)]
pub fn splvm<M: Machine>() -> Spl<Vm> {
    splraise::<Vm, M>()
}

/// Holds off devices, clock and inter-processor interrupts.
#[inline(always)]
pub fn splsched<M: Machine>() -> Spl<Sched> {
    splraise::<Sched, M>()
}

/// Holds off everything.
#[inline(always)]
pub fn splhigh<M: Machine>() -> Spl<High> {
    splraise::<High, M>()
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::host::Host;
    use std::vec::Vec;

    const DOMAINS: [&str; 6] = [
        Bio::NAME,
        Net::NAME,
        Tty::NAME,
        Vm::NAME,
        Sched::NAME,
        High::NAME,
    ];
    const DEPTH: usize = 5;

    /// Adds or takes away a hold of the domain with that number.
    fn change(thread: &KThread, domain: usize, add: bool) {
        macro_rules! one {
            ($d:ty) => {
                if add {
                    thread.raise::<$d>()
                } else {
                    thread.lower::<$d, Host>()
                }
            };
        }
        match domain {
            0 => one!(Bio),
            1 => one!(Net),
            2 => one!(Tty),
            3 => one!(Vm),
            4 => one!(Sched),
            _ => one!(High),
        }
    }

    /// What a hold masks, from the design's words and not from the counts.
    fn covers(domain: &str, class: Ipl) -> bool {
        match domain {
            "bio" => class == Ipl::Bio,
            "net" => class == Ipl::Net,
            "tty" => class == Ipl::Tty,
            "vm" => class <= Ipl::Tty,
            "sched" => class <= Ipl::Sched,
            _ => true,
        }
    }

    fn check(thread: &KThread, held: &[usize]) {
        for class in Ipl::HARDWARE {
            let expected = held.iter().any(|domain| covers(DOMAINS[*domain], class));
            assert_eq!(
                thread.mask().masks(class),
                expected,
                "{class} under {held:?}"
            );
        }
    }

    /// Every sequence of raises and releases, in any order, up to the depth.
    fn explore(thread: &KThread, held: &mut Vec<usize>, left: usize, sequences: &mut u32) {
        check(thread, held);
        if left == 0 {
            *sequences += 1;
            return;
        }
        for domain in 0..DOMAINS.len() {
            change(thread, domain, true);
            held.push(domain);
            explore(thread, held, left - 1, sequences);
            held.pop();
            change(thread, domain, false);
            check(thread, held);
        }
        for place in 0..held.len() {
            let domain = held.remove(place);
            change(thread, domain, false);
            explore(thread, held, left - 1, sequences);
            change(thread, domain, true);
            held.insert(place, domain);
        }
    }

    #[test]
    fn the_mask_is_the_union_of_what_is_held() {
        let (thread, mut sequences) = (KThread::new(0), 0);
        let depth = if cfg!(miri) { 3 } else { DEPTH };
        explore(&thread, &mut Vec::new(), depth, &mut sequences);
        assert!(sequences >= 6u32.pow(depth as u32), "{sequences}");
        assert_eq!(thread.mask(), Mask::OPEN);
    }

    #[test]
    fn many_holds_of_one_domain_do_not_spill() {
        let thread = KThread::new(0);
        for domain in 0..DOMAINS.len() {
            (0..u8::MAX).for_each(|_| change(&thread, domain, true));
            check(&thread, &[domain]);
            (0..u8::MAX).for_each(|_| change(&thread, domain, false));
            assert_eq!(thread.mask(), Mask::OPEN);
        }
    }
}
