// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: who handles what, and how the CPUs interrupt each other.
//!
//! # Theory
//! Every source has a class ([`Ipl`]), and through the probed [`PriorityMap`] a GIC priority. A handler runs with
//! IRQ masked on the interrupted thread's stack; at the end of the outermost one a better thread may get the
//! CPU. Acknowledge, priority drop and deactivation are separate steps (EOImode split).
//!
//! What spl masks is not masked in the hardware: spl is a word in memory ([`sync::spl`]). An interrupt whose class the
//! interrupted thread masks is *deferred*: acknowledged, its priority dropped so that others can come, and left active,
//! so that it cannot. It waits in a list of this CPU, and the thread's `pending` says so. When spl drops, or
//! at the end of another interrupt, the handlers of those that are no longer masked run, the highest class first, and
//! each is deactivated: what is still asserted then comes again.
//!
//! Nothing is lost: a source is active while it is in the list, and leaves both at once. Nothing runs twice: the list
//! is touched with IRQ masked. Nothing is left behind: a thread that holds spl keeps its CPU, and with spl open nothing is
//! in the list when a thread gives its CPU up.
//!
//! # Contexts
//! [`establish`]: threads, at boot. [`send`]: any.
use crate::cpu::{self, CPUS, CpuSet};
use crate::thread::{self, Thread};
use crate::{callout, findings, lock_order};
use arm_gic::IntId;
use bsp::gic::{Acknowledged, CpuInterface, Distributor};
use bsp::map;
use bsp::mmio::Mmio;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use log::info;
use spin::Once;
use sync::domain::{Cx, High, Interrupt, InterruptDomain, Sched};
use sync::ipl::Ipl;
use sync::kmutex::{IntrCookie, KMutex};
use sync::priority::PriorityMap;
use sync::spl::{Mask, PENDING_INTERRUPT};

/// Interrupt identifiers that the board's GIC may have: 224.
pub const MAX_SOURCES: usize = 256;

/// What one CPU asks of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ipi {
    /// Look at the run queue.
    Resched = 0,
    /// Come back from being parked.
    Wake = 1,
    /// The machine panics: stop, and say where.
    Stop = 2,
    /// Your timer has more to wait for.
    Callouts = 3,
    /// lockdebug has found something: to oneself.
    Findings = 4,
}

/// A handler of domain `D`: runs at its class, gets the argument it was established with.
pub type Handler<D> = fn(&mut Cx<Interrupt<D>>, usize);

struct Source {
    name: &'static str,
    class: Ipl,
    /// A `Handler<D>`, and what knows its `D`.
    handler: fn(),
    call: fn(fn(), usize),
    argument: usize,
    /// Times taken and times deferred, by CPU.
    counts: [AtomicU32; CPUS],
    deferrals: [AtomicU32; CPUS],
}

impl Source {
    fn new<D: InterruptDomain>(name: &'static str, handler: Handler<D>, argument: usize) -> Self {
        fn call<D: InterruptDomain>(handler: fn(), argument: usize) {
            // SAFETY: `new` put a handler of this domain there.
            let handler = unsafe { core::mem::transmute::<fn(), Handler<D>>(handler) };
            // SAFETY: the first code of an interrupt of this domain.
            handler(&mut unsafe { Cx::assume() }, argument);
        }
        Self {
            name,
            class: D::IPL,
            // SAFETY: one kind of function pointer, which `call` turns back before it is called.
            handler: unsafe { core::mem::transmute::<Handler<D>, fn()>(handler) },
            call: call::<D>,
            argument,
            counts: [const { AtomicU32::new(0) }; CPUS],
            deferrals: [const { AtomicU32::new(0) }; CPUS],
        }
    }
}

static SOURCES: [Once<Source>; MAX_SOURCES] = [const { Once::new() }; MAX_SOURCES];

/// The interrupts that a CPU has deferred: each is active, so none is in it twice, and all have room.
struct Deferred(UnsafeCell<heapless::Vec<Acknowledged, MAX_SOURCES>>);

// SAFETY: each CPU reaches its own only, with IRQ masked (see `with`).
unsafe impl Sync for Deferred {}

static DEFERRED: [Deferred; CPUS] =
    [const { Deferred(UnsafeCell::new(heapless::Vec::new())) }; CPUS];

impl Deferred {
    /// Lets `f` at this CPU's list.
    ///
    /// # Safety
    /// IRQ is masked, and `f` does no more than look into the list.
    unsafe fn with<R>(f: impl FnOnce(&mut heapless::Vec<Acknowledged, MAX_SOURCES>) -> R) -> R {
        // SAFETY: this CPU's list; with IRQ masked nothing else runs here, and `f` does not come back.
        f(unsafe { &mut *DEFERRED[bsp::cpu::index()].0.get() })
    }
}

static SPURIOUS: AtomicU64 = AtomicU64::new(0);
static UNEXPECTED: AtomicU64 = AtomicU64::new(0);
static IDLE: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];
static PRIORITIES: Once<PriorityMap> = Once::new();
/// The priority bits that the hardware kept.
static PRIORITY_BITS: AtomicU8 = AtomicU8::new(0);

// SAFETY: the GIC's two blocks; this module is their only driver.
const GICD: Mmio = unsafe { Mmio::new(map::GICD) };
// SAFETY: as above.
static INTERFACE: CpuInterface<Mmio> = CpuInterface::new(unsafe { Mmio::new(map::GICC) });
static DISTRIBUTOR: KMutex<Distributor<Mmio>, lock_order::Gic> =
    KMutex::new(Distributor::new(GICD));
/// For SGIR and ISPENDR alone: writing them needs no lock.
static SENDER: Distributor<Mmio> = Distributor::new(GICD);

/// Sets up the distributor and checks that the GIC can tell the classes apart. First CPU, once.
pub fn init() -> Result<(), sync::priority::TooFewLevels> {
    let (map, lines) = {
        let mut gicd = DISTRIBUTOR.enter_leaf();
        gicd.init();
        let implemented = gicd.probe_priority_bits();
        PRIORITY_BITS.store(implemented, Ordering::Relaxed);
        let map = PriorityMap::new(implemented)?;
        // The table is what was asked for; believe the hardware, which may round.
        for class in Ipl::HARDWARE {
            let wanted = map.priority(class).expect("hardware class");
            gicd.set_priority(IntId::sgi(0), wanted);
            if gicd.priority(IntId::sgi(0)) != wanted {
                return Err(sync::priority::TooFewLevels { implemented });
            }
        }
        (map, gicd.lines())
    };
    let implemented = PRIORITY_BITS.load(Ordering::Relaxed);
    info!("GICv2: {lines} lines, priority bits {implemented:#04x}");
    let [bio, net, tty, sched, high] = Ipl::HARDWARE.map(|class| map.priority(class).unwrap_or(0));
    info!("bio {bio:#04x} net {net:#04x} tty {tty:#04x} sched {sched:#04x} high {high:#04x}");
    PRIORITIES.call_once(|| map);
    let ipi = |ipi: Ipi, source: Source| SOURCES[ipi as usize].call_once(|| source);
    ipi(
        Ipi::Resched,
        Source::new::<Sched>("ipi resched", |_, _| {}, 0),
    );
    ipi(Ipi::Wake, Source::new::<Sched>("ipi wake", |_, _| {}, 0));
    ipi(
        Ipi::Callouts,
        Source::new::<Sched>("ipi callouts", |_, _| callout::program_timer(), 0),
    );
    ipi(
        Ipi::Findings,
        Source::new::<Sched>("ipi findings", findings::interrupt, 0),
    );
    ipi(
        Ipi::Stop,
        Source::new::<High>("ipi stop", |_, _| crate::panic::stop_here(), 0),
    );
    SOURCES[u32::from(map::IRQ_TIMER) as usize]
        .call_once(|| Source::new("timer", callout::interrupt, 0));
    Ok(())
}

fn priority(class: Ipl) -> u8 {
    PRIORITIES
        .get()
        .and_then(|map| map.priority(class))
        .expect("a hardware class, after init")
}

/// This CPU's private interrupts and its interface. Each time the CPU starts, interrupts masked.
pub fn init_cpu() {
    let mut gicd = DISTRIBUTOR.enter_leaf();
    gicd.init_cpu();
    cpu::this()
        .gic_target
        .store(gicd.own_target(), Ordering::Relaxed);
    for ipi in [
        Ipi::Resched,
        Ipi::Wake,
        Ipi::Stop,
        Ipi::Callouts,
        Ipi::Findings,
    ] {
        let class = SOURCES[ipi as usize]
            .get()
            .expect("established by init")
            .class;
        gicd.set_priority(IntId::sgi(ipi as u32), priority(class));
    }
    gicd.set_priority(map::IRQ_TIMER, priority(Ipl::Sched));
    gicd.enable(map::IRQ_TIMER, true);
    INTERFACE.init(PRIORITIES.get().expect("after init"));
}

/// Stops delivery to this CPU, which goes off.
pub fn stop_cpu() {
    INTERFACE.stop();
}

/// Connects a shared interrupt to `handler`, at the class of `D`, on CPU 0, and enables it. The cookie is for making
/// the mutexes that the handler takes.
///
/// All on one CPU, for while handlers run on top of whom they interrupt, handlers of two domains on two CPUs could
/// wait for each other's victims for ever (sync/src/domain.rs, Theory).
///
/// Panics if the source is taken: two drivers for one device are a bug.
pub fn establish<D: InterruptDomain>(
    intid: IntId,
    name: &'static str,
    handler: Handler<D>,
    argument: usize,
) -> IntrCookie<D> {
    assert!(intid.is_spi(), "{intid:?} is not a shared interrupt");
    let slot = &SOURCES[u32::from(intid) as usize];
    assert!(slot.get().is_none(), "{intid:?} is established twice");
    slot.call_once(|| Source::new(name, handler, argument));
    let mut gicd = DISTRIBUTOR.enter_leaf();
    gicd.set_priority(intid, priority(D::IPL));
    gicd.set_target(intid, cpu::cpu(0).gic_target.load(Ordering::Relaxed));
    gicd.enable(intid, true);
    // SAFETY: the handler is of domain `D`, and nobody else can establish this source.
    unsafe { IntrCookie::new(intid.into()) }
}

/// Interrupts the CPUs in `targets`; they see all that this CPU wrote before.
pub fn send(ipi: Ipi, targets: CpuSet) {
    let bits = targets.iter().fold(0, |bits, n| {
        bits | cpu::cpu(n).gic_target.load(Ordering::Relaxed)
    });
    bsp::cpu::data_barrier();
    SENDER.send_sgi(ipi as u32, bits);
}

/// Makes a shared interrupt pending, as its device would.
pub fn set_pending(intid: IntId) {
    SENDER.set_pending(intid);
}

/// The interrupt vector's Rust side.
pub fn interrupt() {
    let me = thread::current();
    let mut taken = 0;
    while let Some(interrupt) = INTERFACE.acknowledge() {
        taken += 1;
        INTERFACE.end(interrupt);
        if me.sync.mask().masks(class(interrupt)) {
            defer(me, interrupt);
        } else {
            handle(me, interrupt);
        }
    }
    if taken == 0 {
        SPURIOUS.fetch_add(1, Ordering::Relaxed);
    }
    run_deferred(me);
    thread::interrupt_exit(me);
}

fn source(interrupt: Acknowledged) -> Option<&'static Source> {
    SOURCES.get(interrupt.intid() as usize)?.get()
}

/// An interrupt's class; the highest, if it has no handler.
fn class(interrupt: Acknowledged) -> Ipl {
    source(interrupt).map_or(Ipl::High, |source| source.class)
}

/// Runs the handler, and lets the interrupt come again. IRQ masked.
fn handle(me: &Thread, interrupt: Acknowledged) {
    if interrupt.intid() == Ipi::Stop as u32 {
        // Its handler never comes back, and nothing may stay active: a reset does not clear it everywhere.
        INTERFACE.deactivate(interrupt);
    }
    match source(interrupt) {
        Some(source) => {
            source.counts[bsp::cpu::index()].fetch_add(1, Ordering::Relaxed);
            me.set_interrupt(Some(source.class));
            (source.call)(source.handler, source.argument);
            me.set_interrupt(None);
        }
        None => {
            UNEXPECTED.fetch_add(1, Ordering::Relaxed);
            if let Some(spi) = interrupt.intid().checked_sub(32) {
                DISTRIBUTOR.enter_leaf().enable(IntId::spi(spi), false); // nobody would ever quieten it
            }
        }
    }
    INTERFACE.deactivate(interrupt);
}

/// Puts an interrupt aside that `me` masks. IRQ masked.
fn defer(me: &Thread, interrupt: Acknowledged) {
    if let Some(source) = source(interrupt) {
        source.deferrals[bsp::cpu::index()].fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: IRQ is masked.
    let _always = unsafe { Deferred::with(|list| list.push(interrupt)) };
    me.sync
        .pending
        .fetch_or(PENDING_INTERRUPT, Ordering::Relaxed);
}

/// Runs what was put aside on this CPU and `me`, whose CPU it is, masks no longer. IRQ masked.
pub fn run_deferred(me: &Thread) {
    if me.sync.pending.load(Ordering::Relaxed) & PENDING_INTERRUPT == 0 {
        return;
    }
    // SAFETY: IRQ is masked.
    while let Some(interrupt) = unsafe { Deferred::with(|list| take_highest(list, me.sync.mask())) }
    {
        handle(me, interrupt);
    }
    // SAFETY: as above.
    if unsafe { Deferred::with(|list| list.is_empty()) } {
        me.sync
            .pending
            .fetch_and(!PENDING_INTERRUPT, Ordering::Relaxed);
    }
}

/// The interrupt of the highest class that `mask` lets through; among equals the one that came first.
fn take_highest(
    list: &mut heapless::Vec<Acknowledged, MAX_SOURCES>,
    mask: Mask,
) -> Option<Acknowledged> {
    let mut best: Option<usize> = None;
    for (place, interrupt) in list.iter().enumerate() {
        let better = best.is_none_or(|best| class(*interrupt) > class(list[best]));
        if better && !mask.masks(class(*interrupt)) {
            best = Some(place);
        }
    }
    best.map(|place| list.remove(place))
}

/// Takes and drops whatever is pending on this CPU, which is parked: interrupts masked.
pub fn drain() {
    while let Some(interrupt) = INTERFACE.acknowledge() {
        INTERFACE.end(interrupt);
        INTERFACE.deactivate(interrupt);
    }
}

/// Notes that this CPU sleeps, or no longer: a hint for the placement of threads.
pub fn set_idle(idle: bool) {
    IDLE[bsp::cpu::index()].store(idle, Ordering::Relaxed);
}

/// True if `cpu` sleeps.
pub fn is_idle(cpu: usize) -> bool {
    IDLE[cpu].load(Ordering::Relaxed)
}

/// One line of the `intr` command.
pub struct Line {
    /// Interrupt identifier.
    pub intid: u32,
    /// Who established it.
    pub name: &'static str,
    /// Its class.
    pub class: Ipl,
    /// GIC priority of the class.
    pub priority: u8,
    /// Times handled, by CPU.
    pub counts: [u32; CPUS],
    /// Times it was deferred, on all CPUs together.
    pub deferred: u32,
}

/// All established sources, ascending.
pub fn lines() -> impl Iterator<Item = Line> {
    SOURCES.iter().enumerate().filter_map(|(intid, source)| {
        let source = source.get()?;
        let counts = source
            .counts
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let deferrals = source.deferrals.iter();
        let (name, class) = (source.name, source.class);
        Some(Line {
            intid: intid as u32,
            name,
            class,
            priority: priority(class),
            counts,
            deferred: deferrals.map(|count| count.load(Ordering::Relaxed)).sum(),
        })
    })
}

/// What the GIC is, and what it sent that nobody wanted.
pub struct Summary {
    /// Interrupt identifiers implemented.
    pub lines: u32,
    /// Priority bits that read back as ones.
    pub priority_bits: u8,
    /// The GIC has security extensions, and this is its non-secure view.
    pub two_security_states: bool,
    /// Times there was nothing to acknowledge.
    pub spurious: u64,
    /// Interrupts without a handler.
    pub unexpected: u64,
}

/// The GIC's figures now.
pub fn summary() -> Summary {
    let gicd = DISTRIBUTOR.enter_leaf();
    Summary {
        lines: gicd.lines(),
        priority_bits: PRIORITY_BITS.load(Ordering::Relaxed),
        two_security_states: gicd.has_security_extension(),
        spurious: SPURIOUS.load(Ordering::Relaxed),
        unexpected: UNEXPECTED.load(Ordering::Relaxed),
    }
}
