// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which interrupts are held off, and how: the three policies.
//!
//! # Theory
//! A GIC masks by one threshold, the priority mask register (PMR): a class and all below it. What spl holds off is a
//! set ([`Mask`]). The policies join the two in different ways:
//! - *Eager*: the ladder as the books have it. The PMR follows each raise and each release, at the highest class of the set.
//! - *Lazy*: the same ladder, but a raise writes memory only. If something arrives while something is masked, the
//!   PMR goes up then, before it is acknowledged; so what the ladder holds off stays pending in the GIC.
//! - *Domain*: exactly the set. A masked interrupt is acknowledged, its running priority dropped, so that any other can
//!   come, and it is left active, so that itself cannot. It waits in a list, and the PMR stays open.
//!
//! The word of the thread is what masks: whatever is acknowledged is looked up in it, under each policy alike. So the PMR
//! may be too low at any time, after a raise that has not reached it or a change of policy: the next arrival raises it, or
//! is put aside. And it may be too high only where something says that it has to be looked at: `PENDING_INTERRUPT`, or
//! `PENDING_EAGER` ([`crate::spl`]).
//!
//! Nothing is lost, under whichever policy it came: an interrupt is pending in the GIC, or active and in the list,
//! which [`released`](Delivery::released) reads by the mask and policy of that moment; and a change of policy opens the
//! PMR, after which the GIC delivers again whatever it has. Nothing runs twice: active interrupts do not come, and an
//! interrupt leaves the list as it is returned. Where the list has no room left, the ladder takes over until it has.
//!
//! # Contexts
//! Everything on the CPU that it is about, IRQ masked.
//!
//! # Rejected
//! - Raising the PMR only for the interrupt that turns out to be masked: the GIC says which it is by acknowledging it, and
//!   then it is no longer pending there.
//! - *Domain*: the PMR where the set happens to be a rung with all below it (splvm, splsched), one write for many
//!   interrupts. Such holds are short: mostly one comes, which costs two writes and a second exception, not a place in the list.
//!
//! References: ARM IHI 0048B.b, 3.2 (states), 3.3 (priority, preemption), 4.4.2 (GICC_PMR), 4.4.5 (EOImode).
use crate::atomic::Ordering;
use crate::ipl::Ipl;
use crate::machine::KThread;
use crate::spl::{Mask, PENDING_INTERRUPT};
use core::fmt;
use core::str::FromStr;

/// What spl holds off on this CPU, and by which means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Policy {
    /// A ladder; each change of spl writes the PMR.
    Eager,
    /// A ladder; the PMR is written when something arrives that is held off.
    Lazy,
    /// The domains; what is held off waits in memory.
    #[default]
    Domain,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 3] = [Policy::Eager, Policy::Lazy, Policy::Domain];

    /// Its name, as the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Eager => "eager",
            Policy::Lazy => "lazy",
            Policy::Domain => "domain",
        }
    }

    /// True if interrupts of `class` are held off under `mask`.
    pub fn holds_off(self, mask: Mask, class: Ipl) -> bool {
        match self {
            Policy::Eager | Policy::Lazy => Some(class) <= mask.level(),
            Policy::Domain => mask.masks(class),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No policy has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicy;

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the policies are eager, lazy and domain")
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let mut all = Self::ALL.into_iter();
        all.find(|policy| policy.name() == name)
            .ok_or(UnknownPolicy)
    }
}

/// One CPU's interrupt interface.
pub trait Pic {
    /// An interrupt that was acknowledged.
    type Interrupt: Copy;

    /// Takes the most urgent interrupt, which is then active; `None` if nothing is pending above the mask.
    fn acknowledge(&self) -> Option<Self::Interrupt>;

    /// Drops the running priority to what it was. The interrupt stays active.
    fn end(&self, interrupt: Self::Interrupt);

    /// From now on interrupts of class `up_to` and all below stay pending. `None`: all come.
    fn set_mask(&self, up_to: Option<Ipl>);

    /// An interrupt's class, one of [`Ipl::HARDWARE`].
    fn class(&self, interrupt: Self::Interrupt) -> Ipl;

    /// For who counts what waits, and why: an interrupt is put aside under `mask`.
    fn puts_aside(&self, _interrupt: Self::Interrupt, _mask: Mask) {}

    /// As above: the PMR, which has stood for `from`, is about to open as far as `to` allows. What it has held off so long
    /// is pending now.
    fn opens(&self, _from: Mask, _to: Mask) {}
}

/// What a CPU's [`Delivery`] has done since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Interrupts put aside in memory.
    pub deferred: u64,
    /// Times that nothing was left to take once the PMR was raised for what had arrived.
    pub held: u64,
    /// Writes of the PMR.
    pub mask_writes: u64,
    /// Accesses to the interface: acknowledging, ending, and writes of the PMR.
    pub accesses: u64,
}

/// What one CPU holds off. `N`: most interrupts that wait in memory; the GIC holds the others.
#[derive(Debug)]
pub struct Delivery<I, const N: usize> {
    policy: Policy,
    /// Where the PMR is.
    up_to: Option<Ipl>,
    /// The mask for which it is there, if it holds anything off.
    stands_for: Mask,
    /// What waits, as it came: the first `waiting` places.
    list: [Option<(I, Ipl)>; N],
    waiting: usize,
    statistics: Statistics,
}

impl<I: Copy, const N: usize> Delivery<I, N> {
    /// By domains, nothing masked.
    #[allow(clippy::new_without_default)] // it is for statics
    pub const fn new() -> Self {
        Self {
            policy: Policy::Domain,
            up_to: None,
            stands_for: Mask::OPEN,
            list: [const { None }; N],
            waiting: 0,
            statistics: Statistics {
                deferred: 0,
                held: 0,
                mask_writes: 0,
                accesses: 0,
            },
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// From now on `policy`, with `mask` in force: at any time, whatever waits. The caller goes on to
    /// [`released`](Delivery::released), since more may be let through. For `Eager`, see also [`KThread::set_eager`].
    pub fn set_policy(&mut self, policy: Policy, mask: Mask, pic: &impl Pic<Interrupt = I>) {
        self.policy = policy;
        let up_to = match policy {
            Policy::Eager => mask.level(),
            // What the GIC has comes again, and is then held off as this policy does.
            Policy::Lazy | Policy::Domain => None,
        };
        self.move_mask(up_to, pic);
    }

    /// An interrupt came: the next one whose handler is to run now. What `thread` holds off is put aside. To be called
    /// until there is none.
    #[inline]
    pub fn arrived(&mut self, thread: &KThread, pic: &impl Pic<Interrupt = I>) -> Option<I> {
        let mask = thread.mask();
        let next = loop {
            let up_to = self.as_ladder(mask);
            let raised = up_to > self.up_to;
            if up_to != self.up_to {
                self.stand_for(mask, up_to, pic);
            }
            self.statistics.accesses += 1;
            let Some(interrupt) = pic.acknowledge() else {
                self.statistics.held += u64::from(raised);
                break None;
            };
            self.statistics.accesses += 1;
            pic.end(interrupt);
            let class = pic.class(interrupt);
            if !self.policy.holds_off(mask, class) {
                break Some(interrupt);
            }
            self.put_aside(interrupt, class, mask, pic);
        };
        self.note(thread);
        next
    }

    /// spl of `thread` has dropped, or an interrupt ends: the next that was put aside and may run now, the highest
    /// class first. The PMR opens as far as the mask allows. To be called until there is none; it need not be called where
    /// `thread` has neither `PENDING_INTERRUPT` nor `PENDING_EAGER`.
    #[inline]
    pub fn released(&mut self, thread: &KThread, pic: &impl Pic<Interrupt = I>) -> Option<I> {
        let mask = thread.mask();
        let next = self.take_highest(mask);
        let up_to = self.as_ladder(mask).min(self.up_to);
        if up_to != self.up_to {
            pic.opens(self.stands_for, mask);
            self.stand_for(mask, up_to, pic);
        }
        self.note(thread);
        next
    }

    /// spl of `thread` was raised: under `Eager`, the PMR follows.
    #[inline]
    pub fn raised(&mut self, thread: &KThread, pic: &impl Pic<Interrupt = I>) {
        if self.policy == Policy::Eager {
            self.stands_for = thread.mask();
            let up_to = self.stands_for.level().max(self.up_to);
            self.move_mask(up_to, pic);
        }
    }

    /// The CPU starts, or starts again: nothing waits, and all come. The policy stays.
    pub fn reset(&mut self, pic: &impl Pic<Interrupt = I>) {
        self.waiting = 0;
        self.write_mask(None, pic); // whatever the register holds
    }

    /// What was done so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// How many interrupts wait in memory.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Out of the way of what is not held off.
    #[cold]
    fn put_aside(&mut self, interrupt: I, class: Ipl, mask: Mask, pic: &impl Pic<Interrupt = I>) {
        pic.puts_aside(interrupt, mask);
        self.list[self.waiting] = Some((interrupt, class));
        self.waiting += 1;
        self.statistics.deferred += 1;
    }

    /// As above: moves the PMR for what `mask` holds off.
    #[cold]
    fn stand_for(&mut self, mask: Mask, up_to: Option<Ipl>, pic: &impl Pic<Interrupt = I>) {
        self.stands_for = mask;
        self.write_mask(up_to, pic);
    }

    /// Where the PMR has to hold off what `mask` does: `None`, if that is for the list.
    fn as_ladder(&self, mask: Mask) -> Option<Ipl> {
        let ladder = self.policy != Policy::Domain || self.waiting == N;
        mask.level().filter(|_| ladder)
    }

    /// Takes out of the list the interrupt of the highest class that is not held off; among equals the first.
    fn take_highest(&mut self, mask: Mask) -> Option<I> {
        let mut best: Option<(usize, I, Ipl)> = None;
        for (place, entry) in self.list[..self.waiting].iter().enumerate() {
            let (interrupt, class) = (*entry)?;
            let better = best.is_none_or(|(_, _, best)| class > best);
            if better && !self.policy.holds_off(mask, class) {
                best = Some((place, interrupt, class));
            }
        }
        let (place, interrupt, _) = best?;
        self.list.copy_within(place + 1..self.waiting, place);
        self.waiting -= 1;
        Some(interrupt)
    }

    /// Has the thread look, as its spl drops, for as long as something waits here or behind the PMR.
    fn note(&self, thread: &KThread) {
        let waits = self.waiting != 0 || self.up_to.is_some();
        // ORDERING: only this CPU looks at this bit.
        let noted = thread.pending.load(Ordering::Relaxed) & PENDING_INTERRUPT != 0;
        if waits && !noted {
            (thread.pending).fetch_or(PENDING_INTERRUPT, Ordering::Relaxed);
        } else if noted && !waits {
            (thread.pending).fetch_and(!PENDING_INTERRUPT, Ordering::Relaxed);
        }
    }

    /// Moves the PMR, if it is elsewhere.
    fn move_mask(&mut self, up_to: Option<Ipl>, pic: &impl Pic<Interrupt = I>) {
        if up_to != self.up_to {
            self.write_mask(up_to, pic);
        }
    }

    fn write_mask(&mut self, up_to: Option<Ipl>, pic: &impl Pic<Interrupt = I>) {
        self.statistics.mask_writes += 1;
        self.statistics.accesses += 1;
        self.up_to = up_to;
        pic.set_mask(up_to);
    }
}

#[cfg(all(test, feature = "host"))]
mod tests;
