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
//! Whether the word alone holds interrupts off, or the interrupt controller with it, is the policy's matter
//! ([`delivery`](crate::delivery)). Under `Eager` the bit [`PENDING_EAGER`] stays set, so that every release goes to the
//! machine, and a raise does too: it stores the counts first (3) and looks at `pending` after (4). The word is what
//! masks, and the controller follows it, so each point between is safe:
//! - an interrupt before (3) is not masked, and runs;
//! - one between (3) and the controller's change is masked by the word, and its arrival changes the controller;
//! - the bit set before (4) is seen. Set after, the raise is one of the policy before, whose arrivals do what the raise
//!   has left out, and the new policy begins with the mask that (3) has stored;
//! - the bit cleared before (4): the same. Cleared between (4) and the controller's change: that change finds another
//!   policy, and does nothing;
//! - in a release, the bit set or cleared before (2) is seen; after it, the policy begins with the mask that (1) stored.
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
use core::ops::Add;

/// A set of masked interrupt classes, as counts of holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u64);

/// What a running handler of class Net or Tty adds beside what it holds off: a handler that keeps a lower class waiting is
/// not a hold that does.
const NET_HANDLER: u64 = 1 << 48;
const TTY_HANDLER: u64 = 1 << 56;

/// What keeps an interrupt waiting: of several, the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A hold of its own domain, or of one that covers it, or a handler of its class.
    Own,
    /// A handler of a more urgent class has the CPU.
    Handler,
    /// A hold of another domain, which has nothing to do with it.
    Other,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 3] = [Cause::Own, Cause::Handler, Cause::Other];
}

/// Bit of [`KThread::pending`]: an interrupt was deferred.
pub const PENDING_INTERRUPT: u32 = 1;
/// Bit of [`KThread::pending`]: another thread should run.
pub const PENDING_RESCHED: u32 = 2;
/// Bit of [`KThread::pending`]: soft interrupts are waiting.
pub const PENDING_SOFT: u32 = 4;
/// Bit of [`KThread::pending`]: nothing waits, but each change of spl goes to the machine. Stays until
/// [`KThread::set_eager`] takes it away.
pub const PENDING_EAGER: u32 = 8;

impl Mask {
    /// Nothing masked.
    pub const OPEN: Mask = Mask(0);

    /// Held by a thread that runs on another's CPU: it masks nothing, but is not open, so its bearer keeps the CPU.
    pub const BORROWED: Mask = Mask(1 << 40);

    /// What one hold of domain `D` masks.
    pub const fn of<D: Domain>() -> Mask {
        Mask(D::HOLD)
    }

    /// What a handler of `class` holds off while it runs: its class and all below. Nothing, for a software class.
    pub const fn of_class(class: Ipl) -> Mask {
        match class {
            Ipl::Bio => Mask(Bio::HOLD),
            Ipl::Net => Mask(Bio::HOLD | Net::HOLD | NET_HANDLER),
            Ipl::Tty => Mask(Vm::HOLD | TTY_HANDLER),
            Ipl::Sched => Mask(Sched::HOLD),
            Ipl::High => Mask(High::HOLD),
            Ipl::SoftClock | Ipl::SoftBio | Ipl::SoftNet | Ipl::SoftSerial => Mask::OPEN,
        }
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

    /// The highest hardware class that is masked: the rung of a ladder that this set stands on.
    pub const fn level(self) -> Option<Ipl> {
        let counts = self.0 & (Self::BORROWED.0 - 1);
        match counts.checked_ilog2() {
            Some(bit) => Some(Ipl::HARDWARE[bit as usize / 8]),
            None => None,
        }
    }

    /// Why an interrupt of `class`, a device's, waits that was held off under this mask.
    pub const fn cause(self, class: Ipl) -> Cause {
        let [bio, net, tty, sched, high, _, net_handlers, tty_handlers] = self.0.to_le_bytes();
        let above = sched > 0 || high > 0;
        let handlers = net_handlers + tty_handlers;
        // What of each count is no lower class's waiting for a handler.
        let (own, more_urgent) = match class {
            Ipl::Bio => (bio > handlers, handlers > 0),
            Ipl::Net => (net > tty_handlers, tty_handlers > 0),
            _ => (tty > 0, false),
        };
        if above || own {
            Cause::Own
        } else if more_urgent {
            Cause::Handler
        } else {
            Cause::Other
        }
    }

    /// True if nothing is masked, nor the CPU [borrowed](Mask::BORROWED).
    pub const fn is_open(self) -> bool {
        self.0 == 0
    }

    /// The counts, domain by domain.
    fn counts(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

/// The holds of both together.
impl Add for Mask {
    type Output = Mask;

    #[inline]
    fn add(self, other: Mask) -> Mask {
        let mut both = self.counts().into_iter().zip(other.counts());
        debug_assert!(
            both.all(|(a, b)| a.checked_add(b).is_some()),
            "over 255 holds: {self:x?} and {other:x?}"
        );
        Mask(self.0.wrapping_add(other.0))
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
    pub(crate) fn raise<D: Domain, M: Machine>(&self) {
        if D::HOLD != 0 {
            let word = self.spl.load(Ordering::Relaxed);
            debug_assert!(
                (word >> D::HOLD.trailing_zeros()) as u8 != u8::MAX,
                "255 holds of {}",
                D::NAME
            );
            self.spl
                .store(word.wrapping_add(D::HOLD), Ordering::Relaxed); // (3)
            compiler_barrier();
            if self.pending.load(Ordering::Relaxed) & PENDING_EAGER != 0 {
                M::spl_raised(); // (4)
            }
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

    /// Adds holds beside those that there are: a handler's, as it begins. The current thread's only, IRQ masked.
    #[inline]
    pub fn add_holds(&self, mask: Mask) {
        self.set_holds(self.mask() + mask);
    }

    /// Takes holds away that [`add_holds`](KThread::add_holds) has added. What they held off is for the caller to look
    /// at. The current thread's only, IRQ masked.
    #[inline]
    pub fn drop_holds(&self, mask: Mask) {
        let held = self.mask();
        let mut both = held.counts().into_iter().zip(mask.counts());
        debug_assert!(both.all(|(a, b)| a >= b), "{held:x?} has not {mask:x?}");
        self.set_holds(Mask(held.0.wrapping_sub(mask.0)));
    }

    /// Makes `mask` all that is held: of a thread that is about to run here. The current thread's only, or that of one
    /// that does not run; IRQ masked.
    #[inline]
    pub fn set_holds(&self, mask: Mask) {
        compiler_barrier();
        self.spl.store(mask.0, Ordering::Relaxed);
        compiler_barrier();
    }

    /// Borrows the CPU of `lender` for an interrupt of `class`: beside its own, this thread has the lender's holds, those of
    /// the interrupt, and [`BORROWED`](Mask::BORROWED). It does not run, and is about to; IRQ masked.
    pub fn borrow(&self, lender: Mask, class: Ipl) {
        let lent = lender + Mask::of_class(class) + Mask::BORROWED;
        self.lent.store(lent.0, Ordering::Relaxed);
        self.add_holds(lent);
    }

    /// Has nothing of its lender's any more; whatever it holds itself it keeps. The current thread's only, IRQ masked.
    pub fn give_back(&self) {
        self.drop_holds(Mask(self.lent.swap(0, Ordering::Relaxed)));
    }

    /// True if this thread holds nothing off itself, whatever came with a CPU that it borrowed. The current thread's only.
    pub fn may_sleep(&self) -> bool {
        self.spl.load(Ordering::Relaxed) == self.lent.load(Ordering::Relaxed)
    }

    /// From now on each change of this thread's spl goes to the machine, or no longer. Any context, any thread's.
    ///
    /// While the policy of a CPU is `Eager`, every thread that runs there must have this; so it is set before that policy
    /// begins on any CPU, and taken away after it has ended on all.
    pub fn set_eager(&self, eager: bool) {
        // ORDERING: what makes a CPU change its policy makes it see this.
        if eager {
            self.pending.fetch_or(PENDING_EAGER, Ordering::Relaxed);
        } else {
            self.pending.fetch_and(!PENDING_EAGER, Ordering::Relaxed);
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
    M::current().raise::<D, M>();
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
    use crate::domain::{Cx, Thread};
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
                    thread.raise::<$d, Host>()
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
    fn each_wait_has_its_cause() {
        let (bio, net, vm) = (Mask::of::<Bio>(), Mask::of::<Net>(), Mask::of::<Vm>());
        let [in_bio, in_net, in_tty] = [Ipl::Bio, Ipl::Net, Ipl::Tty].map(Mask::of_class);
        for (mask, of_bio, of_net) in [
            (bio, Cause::Own, Cause::Other),
            (net, Cause::Other, Cause::Own),
            (bio + net, Cause::Own, Cause::Own),
            (Mask::of::<Tty>(), Cause::Other, Cause::Other),
            (vm, Cause::Own, Cause::Own),
            (Mask::of::<Sched>(), Cause::Own, Cause::Own),
            (Mask::of::<High>() + net, Cause::Own, Cause::Own),
            (in_bio, Cause::Own, Cause::Other),
            (in_net, Cause::Handler, Cause::Own),
            (in_tty, Cause::Handler, Cause::Handler),
            // A handler on top of a hold, and one that holds its own lock.
            (in_net + bio, Cause::Own, Cause::Own),
            (in_net + net + Mask::BORROWED, Cause::Handler, Cause::Own),
            (in_tty + in_net, Cause::Handler, Cause::Own),
            (in_tty + bio, Cause::Own, Cause::Handler),
        ] {
            let causes = [Ipl::Bio, Ipl::Net].map(|class| mask.cause(class));
            assert_eq!(causes, [of_bio, of_net], "{mask:x?}");
        }
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
    #[test]
    fn a_borrowed_cpu_masks_nothing_and_is_not_open() {
        let thread = KThread::new(0);
        thread.add_holds(Mask::BORROWED);
        assert_eq!(thread.mask().level(), None);
        check(&thread, &[]);
        assert!(!thread.mask().is_open());
        change(&thread, 1, true);
        assert_eq!(thread.mask().level(), Some(Ipl::Net));
        check(&thread, &[1]);
        thread.drop_holds(Mask::BORROWED + Mask::of::<Net>());
        assert!(thread.mask().is_open());
    }

    #[test]
    fn the_level_is_the_highest_class_of_the_set() {
        let set = |classes: u32| {
            let of = |(n, class)| match classes >> n & 1 {
                0 => Mask::OPEN,
                _ => Mask::of_class(class),
            };
            let masks = Ipl::HARDWARE.into_iter().enumerate().map(of);
            masks.fold(Mask::OPEN, |all, one| all + one)
        };
        for classes in 0..1 << Ipl::HARDWARE.len() {
            let mut down = (0..Ipl::HARDWARE.len()).rev();
            let highest = down.find(|n| classes >> n & 1 != 0);
            assert_eq!(set(classes).level(), highest.map(|n| Ipl::HARDWARE[n]));
        }
    }

    #[test]
    fn that_changes_go_to_the_machine_stays_until_it_is_taken_away() {
        static THREAD: KThread = KThread::new(0);
        let thread = &THREAD;
        (thread.pending).fetch_or(PENDING_SOFT | PENDING_INTERRUPT, Ordering::Relaxed);
        thread.set_eager(true);
        let pending = || thread.pending.load(Ordering::Relaxed);
        assert_eq!(pending(), PENDING_EAGER | PENDING_SOFT | PENDING_INTERRUPT);
        // SAFETY: a thread that holds nothing.
        let mut cx = unsafe { Cx::<Thread>::assume() };
        thread.reset::<Sched, Host, _>(&mut cx, 0);
        assert_eq!(
            (pending(), thread.mask()),
            (PENDING_EAGER, Mask::of::<Sched>())
        );
        (thread.pending).fetch_or(PENDING_SOFT, Ordering::Relaxed);
        thread.set_eager(false);
        assert_eq!(pending(), PENDING_SOFT);
    }
}
