// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: who handles what, and how the CPUs interrupt each other.
//!
//! # Theory
//! Every source has a class ([`Ipl`]), and through the probed [`PriorityMap`] a GIC priority. A handler runs with
//! interrupts masked on the interrupted thread's stack; at the end of the outermost one a better thread may get the
//! CPU. Acknowledge, priority drop and deactivation are separate steps (EOImode split).
//!
//! # Contexts
//! [`establish`]: threads, at boot. [`send`]: any.
use crate::cpu::{self, CPUS, CpuSet};
use crate::lock::SpinLock;
use crate::{callout, thread};
use arm_gic::IntId;
use bsp::gic::{CpuInterface, Distributor};
use bsp::map;
use bsp::mmio::Mmio;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use log::info;
use spin::Once;
use sync::ipl::Ipl;
use sync::priority::PriorityMap;

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
}

/// A handler: runs at its class, gets the argument it was established with.
pub type Handler = fn(usize);

struct Source {
    name: &'static str,
    class: Ipl,
    handler: Handler,
    argument: usize,
}

static SOURCES: [Once<Source>; MAX_SOURCES] = [const { Once::new() }; MAX_SOURCES];
static COUNTS: [[AtomicU32; CPUS]; MAX_SOURCES] =
    [const { [const { AtomicU32::new(0) }; CPUS] }; MAX_SOURCES];
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
static DISTRIBUTOR: SpinLock<Distributor<Mmio>> = SpinLock::new(Distributor::new(GICD));
/// For SGIR alone, a write-only register that needs no lock.
static SENDER: Distributor<Mmio> = Distributor::new(GICD);

/// Sets up the distributor and checks that the GIC can tell the classes apart. First CPU, once.
pub fn init() -> Result<(), sync::priority::TooFewLevels> {
    let mut gicd = DISTRIBUTOR.lock();
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
    info!(
        "GICv2: {} lines, priority bits {implemented:#04x}",
        gicd.lines()
    );
    let [bio, net, tty, sched, high] = Ipl::HARDWARE.map(|class| map.priority(class).unwrap_or(0));
    info!("bio {bio:#04x} net {net:#04x} tty {tty:#04x} sched {sched:#04x} high {high:#04x}");
    PRIORITIES.call_once(|| map);
    let sgi = |name, class| {
        move || Source {
            name,
            class,
            handler: |_| {},
            argument: 0,
        }
    };
    SOURCES[Ipi::Resched as usize].call_once(sgi("ipi resched", Ipl::Sched));
    SOURCES[Ipi::Wake as usize].call_once(sgi("ipi wake", Ipl::Sched));
    SOURCES[Ipi::Stop as usize].call_once(sgi("ipi stop", Ipl::High));
    let timer = || Source {
        name: "timer",
        class: Ipl::Sched,
        handler: callout::interrupt,
        argument: 0,
    };
    SOURCES[u32::from(map::IRQ_TIMER) as usize].call_once(timer);
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
    let mut gicd = DISTRIBUTOR.lock();
    gicd.init_cpu();
    cpu::this()
        .gic_target
        .store(gicd.own_target(), Ordering::Relaxed);
    for ipi in [Ipi::Resched, Ipi::Wake, Ipi::Stop] {
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

/// Connects a shared interrupt to `handler`, at `class`, on CPU 0, and enables it.
///
/// Panics if the source is taken: two drivers for one device are a bug.
pub fn establish(intid: IntId, name: &'static str, class: Ipl, handler: Handler, argument: usize) {
    assert!(intid.is_spi(), "{intid:?} is not a shared interrupt");
    let slot = &SOURCES[u32::from(intid) as usize];
    assert!(slot.get().is_none(), "{intid:?} is established twice");
    slot.call_once(|| Source {
        name,
        class,
        handler,
        argument,
    });
    let mut gicd = DISTRIBUTOR.lock();
    gicd.set_priority(intid, priority(class));
    gicd.set_target(intid, cpu::cpu(0).gic_target.load(Ordering::Relaxed));
    gicd.enable(intid, true);
}

/// Interrupts the CPUs in `targets`; they see all that this CPU wrote before.
pub fn send(ipi: Ipi, targets: CpuSet) {
    let bits = targets.iter().fold(0, |bits, n| {
        bits | cpu::cpu(n).gic_target.load(Ordering::Relaxed)
    });
    bsp::cpu::data_barrier();
    SENDER.send_sgi(ipi as u32, bits);
}

/// The interrupt vector's Rust side.
pub fn interrupt() {
    let this = cpu::this();
    let cpu = bsp::cpu::index();
    this.in_interrupt.store(true, Ordering::Relaxed);
    let mut taken = 0;
    while let Some(interrupt) = INTERFACE.acknowledge() {
        taken += 1;
        let intid = interrupt.intid() as usize;
        if intid == Ipi::Stop as usize {
            // Never comes back: nothing may stay active, for a reset does not clear it everywhere.
            INTERFACE.end(interrupt);
            INTERFACE.deactivate(interrupt);
            crate::panic::stop_here();
        }
        match SOURCES.get(intid).and_then(|source| source.get()) {
            Some(source) => {
                COUNTS[intid][cpu].fetch_add(1, Ordering::Relaxed);
                (source.handler)(source.argument);
            }
            None => {
                UNEXPECTED.fetch_add(1, Ordering::Relaxed);
                if let Some(spi) = interrupt.intid().checked_sub(32) {
                    DISTRIBUTOR.lock().enable(IntId::spi(spi), false); // nobody would ever quieten it
                }
            }
        }
        INTERFACE.end(interrupt);
        INTERFACE.deactivate(interrupt);
    }
    if taken == 0 {
        SPURIOUS.fetch_add(1, Ordering::Relaxed);
    }
    this.in_interrupt.store(false, Ordering::Relaxed);
    thread::interrupt_exit();
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
    /// Times taken, by CPU.
    pub counts: [u32; CPUS],
}

/// All established sources, ascending.
pub fn lines() -> impl Iterator<Item = Line> {
    SOURCES.iter().enumerate().filter_map(|(intid, source)| {
        let source = source.get()?;
        let counts = core::array::from_fn(|cpu| COUNTS[intid][cpu].load(Ordering::Relaxed));
        let (name, class) = (source.name, source.class);
        Some(Line {
            intid: intid as u32,
            name,
            class,
            priority: priority(class),
            counts,
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
    let gicd = DISTRIBUTOR.lock();
    Summary {
        lines: gicd.lines(),
        priority_bits: PRIORITY_BITS.load(Ordering::Relaxed),
        two_security_states: gicd.has_security_extension(),
        spurious: SPURIOUS.load(Ordering::Relaxed),
        unexpected: UNEXPECTED.load(Ordering::Relaxed),
    }
}
