// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt sources: the table of who handles which, and what each has cost.
//!
//! # Theory
//! A source is *active* in the GIC from the moment a CPU takes it until its handler is done, whether it is deferred, runs,
//! or waits for a lock in the middle of it: so it is in one place at a time, and may be changed when it is not active.
//!
//! # Contexts
//! [`get`]: a CPU that took the interrupt, or with [`SOURCES`] locked. [`lines`], [`forget_worst`]: threads. Running and
//! completing one: IRQ masked, but for the handler itself.
use super::gic::{self, DISTRIBUTOR};
use super::{MAX_SOURCES, Taken, latency};
use crate::cpu::{self, CPUS, irq_save};
use crate::lock_order;
use crate::thread::{JoinHandle, Thread};
use crate::trace::{self, Class, Event, Name};
use alloc::vec::Vec;
use arm_gic::IntId;
use bsp::cpu::{index, irq_enable, irq_restore};
use bsp::timer::ticks;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use spin::Once;
use sync::domain::{Before, Cx, Interrupt, InterruptDomain};
use sync::ipl::Ipl;
use sync::kmutex::KMutex;

/// How a handler runs; see [`Handler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// On the interrupted stack.
    Direct,
    /// On its own thread.
    Threaded,
    /// On its own thread, under its domain's lock.
    Legacy,
}

impl Flavour {
    /// Its name, as `intr` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Direct => "direct",
            Flavour::Threaded => "threaded",
            Flavour::Legacy => "legacy",
        }
    }
}

/// What one source cost on one CPU. Written there, with IRQ masked or by its handler; read anywhere.
struct Cost {
    count: AtomicU32,
    deferred: AtomicU32,
    wait_ticks: AtomicU64,
    run_ticks: AtomicU64,
    /// How long a direct handler ran, those on top of it not counted.
    own_ticks: AtomicU64,
}

/// Adds one to what only this CPU writes.
fn count(counter: &AtomicU32) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Adds to what only this CPU writes.
fn add(sum: &AtomicU64, ticks: u64) {
    sum.store(sum.load(Ordering::Relaxed) + ticks, Ordering::Relaxed);
}

impl Cost {
    /// A handler begins, so long after the interrupt was taken. IRQ masked.
    fn started(&self, wait_ticks: u64) {
        count(&self.count);
        note_worst(&self.wait_ticks, wait_ticks);
    }
}

/// A direct handler has ended, and somebody wanted to know that it began.
#[cold]
#[inline(never)]
fn note_end(intid: u32) {
    trace::event(Class::Intr, || Event::Return {
        intid: intid as u16,
    });
}

/// Makes `worst`, which only this CPU writes, no less than `ticks`.
fn note_worst(worst: &AtomicU64, ticks: u64) {
    if ticks > worst.load(Ordering::Relaxed) {
        worst.store(ticks, Ordering::Relaxed);
    }
}

/// An established source.
pub struct Source {
    name: &'static str,
    /// Its class.
    pub class: Ipl,
    flavour: Flavour,
    /// A handler of some type, and what knows the type.
    handler: fn(),
    call: fn(fn(), usize),
    pub(super) argument: usize,
    /// Where it runs, unless it is direct.
    pub(super) thread: Once<JoinHandle>,
    /// That thread is to end.
    pub(super) ends: AtomicBool,
    /// While that thread is at it: the CPU that took the interrupt, plus one, and when.
    taken_by: AtomicU8,
    pub(super) taken_ticks: AtomicU64,
    /// Where it should go, and, as long as that CPU is off, where it goes.
    pub(super) home: AtomicU8,
    pub(super) cpu: AtomicU8,
    storms: AtomicU32,
    /// Its handler has found something to do since it was last asked.
    works: AtomicBool,
    costs: [Cost; CPUS],
}

static TABLE: [AtomicPtr<Source>; MAX_SOURCES] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_SOURCES];
/// Sources come, move and go one at a time.
pub static SOURCES: KMutex<(), lock_order::Sources> = KMutex::new(());

/// The source with that identifier.
#[inline]
pub fn get(intid: u32) -> Option<&'static Source> {
    // ORDERING: pairs with the Release in `publish`.
    let source = TABLE.get(intid as usize)?.load(Ordering::Acquire);
    // SAFETY: null or leaked by `publish`; `disestablish` takes it back when it is active nowhere, and the caller has it
    // active, or has the table locked.
    unsafe { source.as_ref() }
}

/// Puts a source in the table.
pub(super) fn publish(intid: u32, source: &'static Source) {
    // ORDERING: pairs with the Acquire in `get`.
    TABLE[intid as usize].store((&raw const *source).cast_mut(), Ordering::Release);
}

/// Takes a source out of the table. It is active nowhere.
pub(super) fn retract(intid: u32) {
    TABLE[intid as usize].store(ptr::null_mut(), Ordering::Relaxed);
}

impl Source {
    /// Without a handler yet.
    pub(super) fn new(name: &'static str, class: Ipl, flavour: Flavour, argument: usize) -> Self {
        Self {
            name,
            class,
            flavour,
            handler: || (),
            call: |_, _| (),
            argument,
            thread: Once::new(),
            ends: AtomicBool::new(false),
            taken_by: AtomicU8::new(0),
            taken_ticks: AtomicU64::new(0),
            home: AtomicU8::new(0),
            cpu: AtomicU8::new(0),
            storms: AtomicU32::new(0),
            works: AtomicBool::new(false),
            costs: [const {
                Cost {
                    count: AtomicU32::new(0),
                    deferred: AtomicU32::new(0),
                    wait_ticks: AtomicU64::new(0),
                    run_ticks: AtomicU64::new(0),
                    own_ticks: AtomicU64::new(0),
                }
            }; CPUS],
        }
    }

    /// With a direct handler.
    pub(super) fn direct<D: InterruptDomain>(
        name: &'static str,
        handler: fn(&mut Cx<Interrupt<D>>, usize),
        argument: usize,
    ) -> Self {
        fn call<D: InterruptDomain>(handler: fn(), argument: usize) {
            // SAFETY: `direct` put a handler of this type there.
            let handler =
                unsafe { core::mem::transmute::<fn(), fn(&mut Cx<Interrupt<D>>, usize)>(handler) };
            // SAFETY: the first code of an interrupt of this domain.
            handler(&mut unsafe { Cx::assume() }, argument);
        }
        Self {
            // SAFETY: one kind of function pointer, which `call` turns back before it is called.
            handler: unsafe {
                core::mem::transmute::<fn(&mut Cx<Interrupt<D>>, usize), fn()>(handler)
            },
            call: call::<D>,
            ..Self::new(name, D::IPL, Flavour::Direct, argument)
        }
    }

    /// Its thread; none if it is direct.
    pub fn thread(&self) -> Option<&'static Thread> {
        Some(self.thread.get()?.thread)
    }

    /// Calls the handler of a direct one, which a CPU took at `taken_ticks`. IRQ masked, but for the handler.
    pub fn run(&self, intid: u32, taken_ticks: u64) {
        let n = index();
        let (cost, this) = (&self.costs[n], cpu::cpu(n));
        let started = ticks();
        let interruption = this.interrupted(started);
        cost.started(started - taken_ticks);
        let is_watched = trace::watches_handlers();
        if is_watched {
            self.note_start(intid, started - taken_ticks);
        }
        irq_enable();
        (self.call)(self.handler, self.argument);
        let _open = bsp::cpu::irq_save(); // not for long
        let ended = ticks();
        note_worst(&cost.run_ticks, ended - started);
        add(&cost.own_ticks, this.resumed(interruption, ended));
        if is_watched {
            note_end(intid);
        }
    }

    /// Its handler begins, and somebody wants to know.
    #[cold]
    #[inline(never)]
    fn note_start(&self, intid: u32, wait_ticks: u64) {
        latency::note(self.class, intid, wait_ticks);
        let (intid, name) = (intid as u16, Name::of(self.name));
        trace::event(Class::Intr, || match self.flavour {
            Flavour::Direct => Event::Interrupt { intid, name },
            _ => Event::Handler { intid, name },
        });
    }

    /// The handler of a threaded one begins, on its thread.
    pub(super) fn start(&self, intid: u32) -> u64 {
        let daif = irq_save();
        let started = ticks();
        let wait_ticks = started - self.taken_ticks.load(Ordering::Relaxed);
        self.costs[index()].started(wait_ticks);
        if trace::watches_handlers() {
            self.note_start(intid, wait_ticks);
        }
        irq_restore(daif);
        started
    }

    /// It ends.
    pub(super) fn finish(&self, started: u64) {
        note_worst(&self.costs[index()].run_ticks, ticks() - started);
    }

    /// Notes that its interrupt was deferred. IRQ masked.
    pub fn note_deferred(&self) {
        count(&self.costs[index()].deferred);
    }

    /// Notes that the handler found something to do.
    pub(super) fn note_work(&self) {
        self.works.store(true, Ordering::Relaxed);
    }

    /// Did it, since this was last asked?
    pub(super) fn take_work(&self) -> bool {
        self.works.swap(false, Ordering::Relaxed)
    }

    /// Notes a storm; returns how many there were before.
    pub fn note_storm(&self) -> u32 {
        self.storms.fetch_add(1, Ordering::Relaxed)
    }

    /// Its name, as `intr` prints it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Notes what its thread is to handle. IRQ masked, before the thread has this CPU.
    pub(super) fn hand(&self, taken: Taken) {
        self.taken_ticks.store(taken.at_ticks, Ordering::Relaxed);
        self.taken_by.store(index() as u8 + 1, Ordering::Relaxed);
    }

    /// Its thread stands by again: the interrupt may come again. IRQ masked. The last touch of the source.
    pub fn complete(&self, intid: IntId) {
        match self.taken_by.swap(0, Ordering::Relaxed) {
            0 => {} // the thread has just started
            by if usize::from(by) == index() + 1 => gic::deactivate_shared(intid),
            // Another CPU's to deactivate, by the book; the distributor serves all.
            _ => DISTRIBUTOR.enter_leaf().clear_active(intid),
        }
    }
}

/// All shared sources. With the table locked.
pub(super) fn shared() -> impl Iterator<Item = (u32, &'static Source)> {
    (32..MAX_SOURCES as u32).filter_map(|n| Some((n, get(n)?)))
}

impl Source {
    /// Where it goes.
    pub(super) fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed).into()
    }

    fn handled_on(&self, cpu: usize) -> u32 {
        self.costs[cpu].count.load(Ordering::Relaxed)
    }
}

/// Times that handlers ran on CPU `cpu`, whose sources are gone.
static GONE: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// Times that handlers ran on `cpu` since the start. With the table locked; exact on that CPU with IRQ masked.
pub fn handled(cpu: usize) -> u64 {
    let sources = (0..MAX_SOURCES as u32).filter_map(get);
    let there: u64 = sources.map(|s| u64::from(s.handled_on(cpu))).sum();
    there + GONE[cpu].load(Ordering::Relaxed)
}

/// Notes the counts of a source that goes. With the table locked.
pub(super) fn remember(source: &Source) {
    for (cpu, gone) in GONE.iter().enumerate() {
        gone.fetch_add(source.handled_on(cpu).into(), Ordering::Relaxed);
    }
}

/// Has sources stay as they are meanwhile.
pub fn with_sources<K: Before<lock_order::Sources>, R>(
    cx: &mut Cx<K>,
    look: impl FnOnce(&mut Cx<lock_order::Sources>) -> R,
) -> R {
    let (_locked, mut cx) = SOURCES.enter(cx);
    look(&mut cx)
}

/// One line of the `intr` command.
pub struct Line {
    /// Interrupt identifier.
    pub intid: u32,
    /// Who established it.
    pub name: &'static str,
    /// Its class.
    pub class: Ipl,
    /// How its handler runs.
    pub flavour: Flavour,
    /// GIC priority of the class.
    pub priority: u8,
    /// Where it goes; nowhere, if it is each CPU's own.
    pub cpu: Option<usize>,
    /// Times handled, by CPU.
    pub counts: [u32; CPUS],
    /// Times it was deferred, on all CPUs together.
    pub deferred: u32,
    /// Times it was throttled.
    pub storms: u32,
    /// Longest from when a CPU took it until its handler began, ns.
    pub worst_wait_ns: u64,
    /// Longest that its handler took, ns; waits and interruptions included.
    pub worst_run_ns: u64,
    /// How long it ran on all CPUs, if it is direct, ns; interrupts on top of it not counted.
    pub own_ns: u64,
}

/// All established sources, ascending.
pub fn lines<K: Before<lock_order::Sources>>(cx: &mut Cx<K>) -> Vec<Line> {
    let _locked = SOURCES.enter(cx);
    let sources = (0..MAX_SOURCES as u32).filter_map(|n| Some((n, get(n)?)));
    sources.map(|(intid, source)| source.line(intid)).collect()
}

impl Source {
    fn line(&self, intid: u32) -> Line {
        let worst = |of: fn(&Cost) -> &AtomicU64| {
            let ticks = self.costs.iter().map(|c| of(c).load(Ordering::Relaxed));
            bsp::timer::ticks_to_ns(ticks.max().unwrap_or(0))
        };
        let deferred = self
            .costs
            .iter()
            .map(|c| c.deferred.load(Ordering::Relaxed));
        let own = self
            .costs
            .iter()
            .map(|c| c.own_ticks.load(Ordering::Relaxed));
        Line {
            intid,
            name: self.name,
            class: self.class,
            flavour: self.flavour,
            priority: gic::priority(self.class),
            cpu: (intid >= 32).then(|| self.cpu()),
            counts: core::array::from_fn(|cpu| self.handled_on(cpu)),
            deferred: deferred.sum(),
            storms: self.storms.load(Ordering::Relaxed),
            worst_wait_ns: worst(|c| &c.wait_ticks),
            worst_run_ns: worst(|c| &c.run_ticks),
            own_ns: bsp::timer::ticks_to_ns(own.sum()),
        }
    }
}

/// All established sources, ascending, past the table's lock.
///
/// # Safety
/// The machine is stopped: nobody disestablishes one meanwhile.
pub unsafe fn lines_stopped() -> impl Iterator<Item = Line> {
    (0..MAX_SOURCES as u32).filter_map(|n| Some(get(n)?.line(n)))
}

/// Forgets the worst waits and runs, so that what comes shows.
pub fn forget_worst<K: Before<lock_order::Sources>>(cx: &mut Cx<K>) {
    let _locked = SOURCES.enter(cx);
    for source in (0..MAX_SOURCES as u32).filter_map(get) {
        for cost in &source.costs {
            cost.wait_ticks.store(0, Ordering::Relaxed);
            cost.run_ticks.store(0, Ordering::Relaxed);
        }
    }
}
