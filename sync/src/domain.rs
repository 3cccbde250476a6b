// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lock domains, and tokens that say in which context code runs.
//!
//! # Theory
//! A domain is the set of interrupt classes that may touch a lock's data, so it is what must be masked while the lock
//! is held. `Bio`, `Net` and `Tty` are unordered between themselves: no thread and no handler holds locks of two of them.
//! `Vm` stands above the three, then come `Sched` and `High`; `Thread`, below all, masks nothing, and its locks sleep.
//!
//! Interrupts would make an order between the three after all: a disk handler that comes on top of a thread with a
//! network lock, and waits for a disk lock, waits with the network lock held; a network handler on another CPU may do the
//! same the other way round, and each holder lies under a handler that waits for the other. So a *direct* handler,
//! which runs on top of whom it interrupted and cannot give the CPU back, enters only locks of the domains above its
//! device's: whoever holds one of those has all device handlers held off, and what may still come on top of it is
//! ordered, Sched below High. A handler that needs its device's lock is *threaded*: its context is [`Thread`],
//! and while it waits, whom it interrupted goes on.
//!
//! A [`Cx<K>`](Cx) says what the code that holds it may do: `K` is the innermost lock's class, or [`Thread`] or
//! [`Interrupt`] where none is held. Acquiring a lock borrows the token for as long as the guard lives and gives another
//! for the inside, so what may follow is decided by [`Before`], at compile time, whatever the order of release. A
//! token has no size: the machine code is the same without.
//!
//! # Rejected
//! Tokens that return to the outer context when the guard is dropped last-in first-out only: classical code releases
//! in any order, and the borrow already says all that is needed: while any inner token lives the outer one is out of reach.
//!
//! References: Fuchsia netstack3 `lock-order` (order as a relation of types); Asterinas `ostd` (context in the guard).
use crate::ipl::Ipl;
use crate::machine::Machine;
use core::marker::PhantomData;

mod sealed {
    pub trait Sealed {}
}

/// A lock domain. Sealed: the list is the design's.
pub trait Domain: sealed::Sealed + 'static {
    /// Its name, as lockstat prints it.
    const NAME: &'static str;
    /// What a hold adds to the spl word ([`crate::spl`]).
    const HOLD: u64;
    /// Locks of this domain sleep rather than spin.
    const SLEEPS: bool;
}

/// A domain that an interrupt source may belong to.
pub trait InterruptDomain: Domain {
    /// The class of its device interrupts.
    const IPL: Ipl;
}

macro_rules! domains {
    ($($(#[$meta:meta])* $name:ident = $text:literal, $hold:expr, $sleeps:literal, $($ipl:ident)?;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl Domain for $name {
            const NAME: &'static str = $text;
            const HOLD: u64 = $hold;
            const SLEEPS: bool = $sleeps;
        }
        $(impl InterruptDomain for $name {
            const IPL: Ipl = Ipl::$ipl;
        })?
    )*};
}

domains! {
    /// No interrupt touches it: its locks are adaptive, and threads holding them may sleep.
    Thread = "thread", 0, true, ;
    /// Disks.
    Bio = "bio", 1, false, Bio;
    /// Networks.
    Net = "net", 1 << 8, false, Net;
    /// Terminals.
    Tty = "tty", 1 << 16, false, Tty;
    /// All devices.
    Vm = "vm", 1 | 1 << 8 | 1 << 16, false, ;
    /// The scheduler: clock and inter-processor interrupts too.
    Sched = "sched", 1 << 24, false, Sched;
    /// Everything.
    High = "high", 1 << 32, false, High;
}

/// What one lock protects, or many alike: the lock's place in the order. [`lock_order!`](crate::lock_order) declares them.
pub trait LockClass: 'static {
    /// What must be masked while it is held.
    type Domain: Domain;
    /// Where the lock lives.
    type Machine: Machine;
    /// Its name, as lockstat prints it.
    const NAME: &'static str;
}

/// A lock of class `C` may be acquired where `Self` says what is held.
///
/// # Safety
/// The order of all classes has no cycle, and no class of domain `Thread` stands above another domain's. What
/// [`lock_order!`](crate::lock_order) writes fulfils it; an implementation by hand would be an order outside the table.
#[diagnostic::on_unimplemented(
    message = "a lock of class `{C}` may not be acquired in the context `{Self}`",
    note = "the order of lock classes is the `lock_order!` table; Bio, Net and Tty are unordered"
)]
pub unsafe trait Before<C: LockClass> {}

/// Code may sleep where `Self` says what is held: nothing, or adaptive locks.
///
/// # Safety
/// It masks nothing.
#[diagnostic::on_unimplemented(
    message = "the context `{Self}` may not sleep",
    note = "sleeping is for threads that hold no interrupt-safe lock"
)]
pub unsafe trait MaySleep {}

/// Code may wake threads where `Self` says what is held: whatever is below the scheduler's own locks.
///
/// # Safety
/// No lock of domain Sched or High is held.
#[diagnostic::on_unimplemented(
    message = "the context `{Self}` may not wake threads",
    note = "waking takes the scheduler's locks, and one of domain Sched or High may be held here"
)]
pub unsafe trait MayWake {}

// SAFETY: nothing is held.
unsafe impl MaySleep for Thread {}
// SAFETY: nothing is held.
unsafe impl MayWake for Thread {}
// SAFETY: nothing is held, and the scheduler's locks hold these interrupts off.
unsafe impl<D: InterruptDomain + DirectEnters<Sched>> MayWake for Interrupt<D> {}
// SAFETY: nothing is held, and no class is Thread.
unsafe impl<C: LockClass> Before<C> for Thread {}

/// The context of a direct interrupt handler of domain `D`, with no lock held. (That of a threaded one is [`Thread`].)
pub struct Interrupt<D>(PhantomData<D>);

// SAFETY: nothing is held, and no class is an Interrupt; `DirectEnters` leaves domain Thread out.
unsafe impl<D: InterruptDomain, C: LockClass> Before<C> for Interrupt<D> where
    D: DirectEnters<C::Domain>
{
}

/// A direct handler of domain `Self` may enter locks of `D`: of those that hold all device interrupts off.
#[diagnostic::on_unimplemented(
    message = "a direct interrupt handler of domain `{Self}` may not enter locks of domain `{D}`",
    note = "it cannot give the CPU back to whom it interrupted; a handler that needs its device's lock is a threaded one"
)]
pub trait DirectEnters<D: Domain> {}

macro_rules! direct_enters {
    ($($low:ident: $($high:ident)*;)*) => {$($(impl DirectEnters<$high> for $low {})*)*};
}
direct_enters! {
    Bio: Vm Sched High;
    Net: Vm Sched High;
    Tty: Vm Sched High;
    Sched: Sched High;
    High: High;
}

/// Says that the code which holds it runs in context `K`. No size, no copies, and it stays with its thread.
pub struct Cx<'a, K> {
    _borrowed: PhantomData<&'a mut ()>,
    _context: Exactly<K>,
    _stays: Stays,
}

/// Of this type and no other, neither shorter-lived nor longer.
pub(crate) type Exactly<K> = PhantomData<fn(K) -> K>;
/// Neither sent to another thread nor shared with it.
pub(crate) type Stays = PhantomData<*mut ()>;

impl<'a, K> Cx<'a, K> {
    /// Claims to run in context `K`.
    ///
    /// # Safety
    /// It must be true: no other token of this thread or handler is in use, and what is held is what `K` says. For the
    /// first instruction of a thread or handler, and where somebody else's trait has no room for a token.
    #[inline]
    pub unsafe fn assume() -> Self {
        Cx {
            _borrowed: PhantomData,
            _context: PhantomData,
            _stays: PhantomData,
        }
    }
}

impl<K> Cx<'_, K> {
    /// The token narrowed to what is legal with a lock of class `C` held, for a callee that is written for that.
    #[inline]
    pub fn narrow<C: LockClass>(&mut self) -> Cx<'_, C>
    where
        K: Before<C>,
    {
        // SAFETY: it allows less than this one, which it borrows.
        unsafe { Cx::assume() }
    }
}

/// Declares the lock classes of a machine and their order, all in one table: a class may be acquired where earlier
/// ones of its domain are held, or ones of a lower domain. That no class of Bio, Net or Tty may be acquired where one of
/// another of these is held, the compiler checks of each pair.
///
/// ```ignore
/// sync::lock_order! {
///     machine Kernel;
///     thread { /** CPUs come and go */ Change, /** mounted volumes */ Mounts }
///     bio { CardQueue }
///     net { }
///     tty { Line }
///     vm { }
///     sched { RunQueue }
///     high { Log, Heap }
/// }
/// ```
#[macro_export]
macro_rules! lock_order {
    (
        machine $machine:ty;
        thread { $($(#[$tm:meta])* $t:ident),* $(,)? }
        bio { $($(#[$bm:meta])* $b:ident),* $(,)? }
        net { $($(#[$nm:meta])* $n:ident),* $(,)? }
        tty { $($(#[$ym:meta])* $y:ident),* $(,)? }
        vm { $($(#[$vm:meta])* $v:ident),* $(,)? }
        sched { $($(#[$sm:meta])* $s:ident),* $(,)? }
        high { $($(#[$hm:meta])* $h:ident),* $(,)? }
    ) => {
        $(
            $crate::lock_order!(@class $machine, Thread, $(#[$tm])* $t);
            // SAFETY: domain Thread masks nothing.
            unsafe impl $crate::domain::MaySleep for $t {}
        )*
        // SAFETY: domains below Sched.
        $(unsafe impl $crate::domain::MayWake for $t {})*
        $(unsafe impl $crate::domain::MayWake for $b {})*
        $(unsafe impl $crate::domain::MayWake for $n {})*
        $(unsafe impl $crate::domain::MayWake for $y {})*
        $(unsafe impl $crate::domain::MayWake for $v {})*
        $($crate::lock_order!(@class $machine, Bio, $(#[$bm])* $b);)*
        $($crate::lock_order!(@class $machine, Net, $(#[$nm])* $n);)*
        $($crate::lock_order!(@class $machine, Tty, $(#[$ym])* $y);)*
        $($crate::lock_order!(@class $machine, Vm, $(#[$vm])* $v);)*
        $($crate::lock_order!(@class $machine, Sched, $(#[$sm])* $s);)*
        $($crate::lock_order!(@class $machine, High, $(#[$hm])* $h);)*
        $crate::lock_order!(@chain [$($t)*] [$($b)* $($n)* $($y)* $($v)* $($s)* $($h)*]);
        $crate::lock_order!(@chain [$($b)*] [$($v)* $($s)* $($h)*]);
        $crate::lock_order!(@chain [$($n)*] [$($v)* $($s)* $($h)*]);
        $crate::lock_order!(@chain [$($y)*] [$($v)* $($s)* $($h)*]);
        $crate::lock_order!(@chain [$($v)*] [$($s)* $($h)*]);
        $crate::lock_order!(@chain [$($s)*] [$($h)*]);
        $crate::lock_order!(@chain [$($h)*] []);
        $crate::lock_order!(@apart [$($b)*] [$($n)* $($y)*]);
        $crate::lock_order!(@apart [$($n)*] [$($b)* $($y)*]);
        $crate::lock_order!(@apart [$($y)*] [$($b)* $($n)*]);
    };
    (@apart [$($one:ident)*] $others:tt) => {
        $($crate::lock_order!(@each_apart $one $others);)*
    };
    (@each_apart $one:ident [$($other:ident)*]) => {
        // Compiles only where there is one implementation to choose: not if the one may be held as the other is acquired.
        $(const _: fn() = || {
            trait Apart<How> {
                fn apart() {}
            }
            struct Ordered;
            impl<T> Apart<()> for T {}
            impl<T: $crate::domain::Before<$other>> Apart<Ordered> for T {}
            let _ = <$one as Apart<_>>::apart;
        };)*
    };
    (@class $machine:ty, $domain:ident, $(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        pub struct $name;
        impl $crate::domain::LockClass for $name {
            type Domain = $crate::domain::$domain;
            type Machine = $machine;
            const NAME: &'static str = stringify!($name);
        }
    };
    (@chain [] [$($above:ident)*]) => {};
    (@chain [$first:ident $($rest:ident)*] [$($above:ident)*]) => {
        // SAFETY: later in the table, or in a domain above.
        $(unsafe impl $crate::domain::Before<$rest> for $first {})*
        // SAFETY: as above.
        $(unsafe impl $crate::domain::Before<$above> for $first {})*
        $crate::lock_order!(@chain [$($rest)*] [$($above)*]);
    };
}
