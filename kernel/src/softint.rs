// SPDX-License-Identifier: MIT OR Apache-2.0
//! Soft interrupts: what an interrupt leaves to be done, on the same CPU, as soon as nothing more urgent is.
//!
//! # Theory
//! Each CPU has a word with a bit for each soft interrupt: scheduling one sets its bit, and says so in the thread that
//! runs there. At the end of an interrupt, and when spl drops, the classes that have bits and are not held off run, the
//! highest first: each on an interrupt thread of that CPU and class, which borrows the CPU ([`thread::lend`]). So they may
//! take locks of every kind, and wait. While one waits, those of its class on its CPU wait behind it, and no others.
//!
//! A soft interrupt runs once for however often it was scheduled before it started; scheduled from then on, again.
//!
//! # Contexts
//! [`establish`], [`disestablish`]: threads. [`schedule`]: any; it runs on the CPU that scheduled it.
//!
//! # Memory ordering
//! A CPU's words are its own: they are set and cleared there, with IRQ masked, or by its class's thread where that went
//! when it waited and the CPU went off. [`disestablish`] looks from elsewhere, at `scheduled` first and then at `running`:
//! a soft interrupt comes into the second before it goes from the first.
//!
//! References: NetBSD softint(9), kern_softint.c.
use crate::cpu::CPUS;
use crate::cpu::irq_save;
use crate::thread::{self, Returned, Thread, ThreadCx, TooManyThreads};
use crate::trace::{self, Class, Event};
use crate::{intr, lock_order};
use alloc::boxed::Box;
use alloc::format;
use bsp::cpu::{index, irq_restore};
use bsp::timer::now_ns;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use spin::Once;
use sync::domain::{Before, Cx, MaySleep, MayWake};
use sync::ipl::Ipl;
use sync::kmutex::KMutex;
use sync::spl::PENDING_SOFT;

/// Most soft interrupts of a class.
pub const PER_CLASS: usize = 8;
const MAX: usize = CLASSES.len() * PER_CLASS;
/// The classes, lowest first.
pub const CLASSES: [Ipl; 4] = [Ipl::SoftClock, Ipl::SoftBio, Ipl::SoftNet, Ipl::SoftSerial];

/// What a soft interrupt does, with its argument.
pub type Handler = fn(&mut ThreadCx, usize);

/// An established soft interrupt, for [`schedule`].
#[derive(Debug)]
pub struct Softint {
    number: u32,
}

/// Why one was not established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftintError {
    /// Caller: the class is a device's.
    NotSoft(Ipl),
    /// Kernel: all [`PER_CLASS`] are taken.
    TooMany,
    /// Kernel: no thread is left for the class.
    Threads(TooManyThreads),
}

impl fmt::Display for SoftintError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SoftintError::NotSoft(class) => write!(f, "{class} is not a class of soft interrupts"),
            SoftintError::TooMany => {
                write!(f, "no free soft interrupt of the class (limit {PER_CLASS})")
            }
            SoftintError::Threads(error) => error.fmt(f),
        }
    }
}

struct Work {
    handler: Handler,
    argument: usize,
}

/// What each does. Written with `ESTABLISHING` held; read by a CPU where its bit was set.
static WORK: [AtomicPtr<Work>; MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX];
static ESTABLISHING: KMutex<(), lock_order::Softints> = KMutex::new(());
/// The soft interrupts of one CPU.
struct PerCpu {
    /// Those that are to run, as bits, the lowest class in the lowest byte.
    scheduled: AtomicU32,
    /// Those that run, or wait in the middle of it.
    running: AtomicU32,
    /// All of the classes whose thread does not stand by, as bits.
    busy: AtomicU32,
    threads: [Once<&'static Thread>; CLASSES.len()],
    counts: [AtomicU32; CLASSES.len()],
}

static CPU: [PerCpu; CPUS] = [const {
    PerCpu {
        scheduled: AtomicU32::new(0),
        running: AtomicU32::new(0),
        busy: AtomicU32::new(0),
        threads: [const { Once::new() }; CLASSES.len()],
        counts: [const { AtomicU32::new(0) }; CLASSES.len()],
    }
}; CPUS];

/// Makes a soft interrupt of `class`.
pub fn establish<K: Before<lock_order::Softints> + MaySleep>(
    cx: &mut Cx<K>,
    class: Ipl,
    handler: Handler,
    argument: usize,
) -> Result<Softint, SoftintError> {
    let at = CLASSES.iter().position(|c| *c == class);
    let at = at.ok_or(SoftintError::NotSoft(class))?;
    let (_one, mut cx) = ESTABLISHING.enter(cx);
    for (cpu, this) in CPU.iter().enumerate() {
        this.start(&mut cx, cpu, at)
            .map_err(SoftintError::Threads)?;
    }
    let mut numbers = at * PER_CLASS..(at + 1) * PER_CLASS;
    let number = numbers.find(|n| WORK[*n].load(Ordering::Relaxed).is_null());
    let number = number.ok_or(SoftintError::TooMany)?;
    let work = Box::new(Work { handler, argument });
    // ORDERING: pairs with the Acquire in `work`.
    WORK[number].store(Box::into_raw(work), Ordering::Release);
    Ok(Softint {
        number: number as u32,
    })
}

/// Unmakes a soft interrupt, after it has run wherever it was scheduled.
pub fn disestablish<K: Before<lock_order::Softints> + MaySleep>(cx: &mut Cx<K>, softint: Softint) {
    let bit = 1 << softint.number;
    // ORDERING: in this order; both pair with the Release in `work`: what is no longer scheduled is seen to run, and who
    // ran it is done with it.
    let at_work = |cpu: &PerCpu| {
        (cpu.scheduled.load(Ordering::Acquire) | cpu.running.load(Ordering::Acquire)) & bit != 0
    };
    while CPU.iter().any(at_work) {
        thread::sleep_until(cx, now_ns() + 100_000);
    }
    let (_one, _) = ESTABLISHING.enter(cx);
    let work = WORK[softint.number as usize].swap(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: made by `establish`; nobody runs it any more, and nobody can schedule it, for its handle is here.
    drop(unsafe { Box::from_raw(work) });
}

/// Has a soft interrupt run on this CPU, as soon as nothing more urgent does: at once, perhaps. Any context.
pub fn schedule(softint: &Softint) {
    let daif = irq_save();
    let me = thread::current();
    let this = &CPU[index()];
    this.scheduled
        .fetch_or(1 << softint.number, Ordering::Relaxed);
    me.sync.pending.fetch_or(PENDING_SOFT, Ordering::Relaxed);
    irq_restore(daif);
    thread::run_pending();
}

/// All soft interrupts of a class, as bits.
const fn bits_of(class: usize) -> u32 {
    0xFF << (class * PER_CLASS)
}

/// Runs those that `me`, whose CPU this is, does not hold off, when `PENDING_SOFT` says that there are any; true if one
/// ran. IRQ masked.
pub fn run(me: &'static Thread) -> bool {
    let this = &CPU[index()];
    let mut ran = false;
    while let Some(at) = this.next(me) {
        let Some(t) = this.threads[at].get() else {
            break;
        };
        this.busy.fetch_or(bits_of(at), Ordering::Relaxed);
        if thread::lend(me, t, CLASSES[at]) == Returned::Done {
            completed(t);
        }
        ran = true;
    }
    if this.ready() == 0 {
        me.sync.pending.fetch_and(!PENDING_SOFT, Ordering::Relaxed);
    }
    ran
}

/// The thread of a soft interrupt stands by again. On its CPU, IRQ masked.
pub fn completed(t: &Thread) {
    let this = &CPU[t.duty() as usize];
    if let Some(at) = CLASSES.iter().position(|c| Some(*c) == t.serves()) {
        this.busy.fetch_and(!bits_of(at), Ordering::Relaxed);
    }
    if this.ready() != 0 {
        let me = thread::current(); // scheduled while that thread was busy
        me.sync.pending.fetch_or(PENDING_SOFT, Ordering::Relaxed);
    }
}

impl PerCpu {
    /// Starts this CPU's thread of a class, if there is none yet.
    fn start<K: MayWake + MaySleep>(
        &'static self,
        cx: &mut Cx<K>,
        cpu: usize,
        at: usize,
    ) -> Result<(), TooManyThreads> {
        if self.threads[at].is_completed() {
            return Ok(());
        }
        let name = format!("{}/{cpu}", CLASSES[at]);
        let work = move |cx: &mut ThreadCx| self.work(cx, at);
        let handle = thread::spawn_interrupt(cx, &name, CLASSES[at], cpu as u32, cpu, work)?;
        self.threads[at].call_once(|| handle.thread);
        Ok(())
    }

    /// Those that are to run and whose class's thread stands by.
    fn ready(&self) -> u32 {
        self.scheduled.load(Ordering::Relaxed) & !self.busy.load(Ordering::Relaxed)
    }

    /// The highest class that is ready, above what `me` serves, and not held off.
    fn next(&self, me: &Thread) -> Option<usize> {
        let mut ready = self.ready();
        while let Some(highest) = ready.checked_ilog2() {
            let at = highest as usize / PER_CLASS;
            let class = CLASSES[at];
            if Some(class) > me.serves() && !intr::holds_off(me, class) {
                return Some(at);
            }
            ready &= !bits_of(at);
        }
        None
    }

    /// Does what is scheduled of a class.
    fn work(&self, cx: &mut ThreadCx, at: usize) -> bool {
        loop {
            let daif = irq_save();
            let batch = self.scheduled.load(Ordering::Relaxed) & bits_of(at);
            self.running.fetch_or(batch, Ordering::Relaxed);
            // ORDERING: pairs with the Acquire in `disestablish`: who finds it no longer scheduled finds it running.
            self.scheduled.fetch_and(!batch, Ordering::Release);
            irq_restore(daif);
            if batch == 0 {
                return true;
            }
            let mut left = batch;
            while left != 0 {
                let number = left.trailing_zeros() as usize;
                left &= left - 1;
                self.counts[at].fetch_add(1, Ordering::Relaxed);
                trace::event(Class::Intr, || Event::Softint {
                    number: number as u8,
                });
                // SAFETY: its bit was set, so it is not unmade before it has run.
                let work = unsafe { &*WORK[number].load(Ordering::Acquire) };
                (work.handler)(cx, work.argument);
                // ORDERING: pairs with the Acquire in `disestablish`.
                self.running.fetch_and(!(1 << number), Ordering::Release);
            }
        }
    }
}

/// Times that soft interrupts of each class ran on `cpu`.
pub fn counts(cpu: usize) -> [u32; CLASSES.len()] {
    CPU[cpu]
        .counts
        .each_ref()
        .map(|n| n.load(Ordering::Relaxed))
}
