// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sources come and go: what handles an interrupt, connected and disconnected.
//!
//! # Contexts
//! Threads, one at a time ([`SOURCES`]).
use super::gic::{self, DISTRIBUTOR};
use super::route::{least_loaded, send_to};
use super::source::{Flavour, SOURCES, Source, get, publish, remember, retract};
use crate::cpu::irq_save;
use crate::cpu::{self, CpuSet};
use crate::thread::{self, Kernel, ThreadCx, TooManyThreads};
use crate::{lock_order, xcall};
use alloc::boxed::Box;
use arm_gic::IntId;
use bsp::cpu::irq_restore;
use bsp::timer::now_ns;
use core::fmt;
use core::sync::atomic::Ordering;
use sync::domain::{Before, Bio, Cx, Interrupt, InterruptDomain, LockClass, MaySleep, Net, Tty};
use sync::kmutex::{IntrCookie, KMutex};

/// A domain of devices, with the lock under which its legacy handlers run, one at a time.
pub trait DeviceDomain: InterruptDomain {
    /// That lock's class.
    type Legacy: LockClass<Domain = Self, Machine = Kernel>;

    /// That lock. Code that shares data with a legacy handler enters it, where it once raised spl.
    fn legacy() -> &'static KMutex<(), Self::Legacy>;
}

macro_rules! device_domains {
    ($($domain:ident: $legacy:ident;)*) => {$(
        impl DeviceDomain for $domain {
            type Legacy = lock_order::$legacy;

            fn legacy() -> &'static KMutex<(), Self::Legacy> {
                static LEGACY: KMutex<(), lock_order::$legacy> = KMutex::new(());
                &LEGACY
            }
        }
    )*};
}
device_domains! {
    Bio: LegacyBio;
    Net: LegacyNet;
    Tty: LegacyTty;
}

/// What handles an interrupt of domain `D`, and so its flavour.
pub enum Handler<D: DeviceDomain> {
    /// Runs at its class on the stack of whom it interrupts. It takes locks from Vm up only: its own domain's holder may lie
    /// under a handler that waits for this one's victim.
    Direct(fn(&mut Cx<Interrupt<D>>, usize)),
    /// Runs on a thread of its own, which borrows the interrupted thread's CPU: takes locks of all kinds, and may wait.
    Threaded(fn(&mut ThreadCx, usize)),
    /// Not written for several CPUs: runs like a threaded one, under its domain's lock.
    Legacy(fn(&mut Cx<D::Legacy>, usize)),
}

/// What went wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// Caller: the identifier is not that of a shared interrupt of this GIC.
    NotShared(u32),
    /// Caller: it has a handler.
    Taken(u32, &'static str),
    /// Caller: it has none.
    NotEstablished(u32),
    /// Caller: no such CPU, or it is off.
    NoCpu(usize),
    /// Kernel: no thread is left for the handler.
    Threads(TooManyThreads),
    /// Driver: the handler does not end.
    Busy(u32, usize),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SourceError::NotShared(n) => write!(f, "interrupt {n} is not a device's (32 and up)"),
            SourceError::Taken(n, by) => write!(f, "interrupt {n} is taken by {by}"),
            SourceError::NotEstablished(n) => write!(f, "interrupt {n} has no handler"),
            SourceError::NoCpu(n) => write!(f, "CPU {n} is not online"),
            SourceError::Threads(error) => error.fmt(f),
            SourceError::Busy(n, cpu) => {
                write!(f, "interrupt {n}: its handler on CPU {cpu} does not end")
            }
        }
    }
}

/// How long a handler may take to end.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Installs a handler of the kernel's own, of class Sched, for a private interrupt of every CPU. At boot.
pub fn establish_private<D: InterruptDomain>(
    intid: u32,
    name: &'static str,
    handler: fn(&mut Cx<Interrupt<D>>, usize),
) {
    publish(intid, Box::leak(Box::new(Source::direct(name, handler, 0))));
}

/// Connects shared interrupt `intid` to `handler`, at the class of `D`, on the CPU that has the fewest, and enables it. The
/// cookie is for making the mutexes that the handler takes, and for undoing this.
pub fn establish<D: DeviceDomain, K: Before<lock_order::Sources> + MaySleep>(
    cx: &mut Cx<K>,
    intid: IntId,
    name: &'static str,
    handler: Handler<D>,
    argument: usize,
) -> Result<IntrCookie<D>, SourceError> {
    let number = u32::from(intid);
    if !intid.is_spi() || number >= gic::summary().lines {
        return Err(SourceError::NotShared(number));
    }
    let (_one, mut cx) = SOURCES.enter(cx);
    if let Some(source) = get(number) {
        return Err(SourceError::Taken(number, source.name()));
    }
    let cpu = least_loaded(cpu::online());
    let source: &'static Source = match handler {
        Handler::Direct(handler) => Box::leak(Box::new(Source::direct(name, handler, argument))),
        Handler::Threaded(handler) => {
            let source = Source::new(name, D::IPL, Flavour::Threaded, argument);
            start(&mut cx, source, number, cpu, handler)?
        }
        Handler::Legacy(handler) => {
            let source = Source::new(name, D::IPL, Flavour::Legacy, argument);
            let handler = move |cx: &mut ThreadCx, argument| {
                let (_one, mut cx) = D::legacy().enter(cx);
                handler(&mut cx, argument);
            };
            start(&mut cx, source, number, cpu, handler)?
        }
    };
    source.home.store(cpu as u8, Ordering::Relaxed);
    publish(number, source);
    send_to(intid, source, cpu);
    let mut gicd = DISTRIBUTOR.enter_leaf();
    gicd.set_priority(intid, gic::priority(D::IPL));
    gicd.enable(intid, true);
    // SAFETY: the handler is of domain `D`, and nobody else can establish this source.
    Ok(unsafe { IntrCookie::new(number) })
}

/// Starts the thread of a source that is not direct.
fn start(
    cx: &mut Cx<lock_order::Sources>,
    source: Source,
    intid: u32,
    cpu: usize,
    handler: impl Fn(&mut ThreadCx, usize) + Send + 'static,
) -> Result<&'static Source, SourceError> {
    let source: &'static Source = Box::leak(Box::new(source));
    let work = move |cx: &mut ThreadCx| {
        if source.ends.load(Ordering::Relaxed) {
            return false;
        }
        let started = source.start(intid);
        handler(cx, source.argument);
        source.finish(started);
        true
    };
    match thread::spawn_interrupt(cx, source.name(), source.class, intid, cpu, work) {
        Ok(handle) => source.thread.call_once(|| handle),
        Err(error) => {
            reclaim(source);
            return Err(SourceError::Threads(error));
        }
    };
    Ok(source)
}

/// Frees a source that nobody can reach any more.
fn reclaim(source: &'static Source) {
    // SAFETY: leaked by this file, and the caller knows that this is the last reference.
    drop(unsafe { Box::from_raw((&raw const *source).cast_mut()) });
}

/// Undoes [`establish`]: when this returns, the handler does not run and will not.
pub fn disestablish<D: DeviceDomain, K: Before<lock_order::Sources> + MaySleep>(
    cx: &mut Cx<K>,
    cookie: IntrCookie<D>,
) -> Result<(), SourceError> {
    let number = cookie.source();
    let intid = IntId::spi(number - 32);
    let (_one, mut cx) = SOURCES.enter(cx);
    let source = get(number).ok_or(SourceError::NotEstablished(number))?;
    if let Err(error) = quieten(&mut cx, number, source) {
        DISTRIBUTOR.enter_leaf().enable(intid, true);
        return Err(error);
    }
    DISTRIBUTOR.enter_leaf().clear_pending(intid);
    remember(source);
    retract(number);
    if let Some(t) = source.thread() {
        source.ends.store(true, Ordering::Relaxed);
        let daif = irq_save();
        let _it_ends = thread::lend(thread::current(), t, source.class);
        irq_restore(daif);
        thread::run_pending();
    }
    if let Some(handle) = source.thread.get() {
        handle.join(&mut cx);
    }
    reclaim(source);
    Ok(())
}

/// Disables a source, and waits until it is active nowhere.
pub(super) fn quieten(
    cx: &mut Cx<lock_order::Sources>,
    number: u32,
    source: &Source,
) -> Result<(), SourceError> {
    let intid = IntId::spi(number - 32);
    DISTRIBUTOR.enter_leaf().enable(intid, false);
    let end = now_ns() + PATIENCE_NS;
    loop {
        // From its answer on the CPU takes no more of it; what it has taken is active.
        xcall::call(cx, CpuSet::only(source.cpu()), |_, _| (), 0);
        if !DISTRIBUTOR.enter_leaf().is_active(intid) {
            // Whoever deactivated it answers after what it did before; so that is seen here, and from here on elsewhere.
            xcall::call(cx, CpuSet::ALL, |_, _| (), 0);
            bsp::cpu::data_barrier();
            return Ok(());
        }
        if now_ns() > end {
            return Err(SourceError::Busy(number, source.cpu()));
        }
        thread::sleep_until(cx, now_ns() + 100_000);
    }
}
