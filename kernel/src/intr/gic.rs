// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's GIC: one distributor, each CPU's interface, and the priority of each class.
//!
//! # Contexts
//! [`init`], [`init_cpu`]: a CPU that starts. [`send`], [`set_pending`], [`is_pending`]: any. The rest says it.
use super::{Ipi, Taken, causes, source};
use crate::cpu::{self, CpuSet};
use crate::trace::{self, Class, Event};
use crate::{lock_order, stop, watchdog};
use arm_gic::IntId;
use bsp::gic::{Acknowledged, CpuInterface, Distributor};
use bsp::map;
use bsp::mmio::Mmio;
use core::sync::atomic::{AtomicU8, Ordering};
use log::info;
use spin::Once;
use sync::delivery::Pic;
use sync::ipl::Ipl;
use sync::kmutex::KMutex;
use sync::priority::{PriorityMap, TooFewLevels};
use sync::spl::Mask;

// SAFETY: the GIC's two blocks; this module is their only driver.
const GICD: Mmio = unsafe { Mmio::new(map::GICD) };
// SAFETY: as above.
static INTERFACE: CpuInterface<Mmio> = CpuInterface::new(unsafe { Mmio::new(map::GICC) });
/// The distributor, for what needs its lock.
pub static DISTRIBUTOR: KMutex<Distributor<Mmio>, lock_order::Gic> =
    KMutex::new(Distributor::new(GICD));
/// For SGIR and ISPENDR, and to look: neither needs the lock.
static SENDER: Distributor<Mmio> = Distributor::new(GICD);

static PRIORITIES: Once<PriorityMap> = Once::new();
/// The priority bits that the hardware kept.
static PRIORITY_BITS: AtomicU8 = AtomicU8::new(0);

/// Sets up the distributor and checks that the GIC can tell the classes apart. First CPU, once.
pub fn init() -> Result<(), TooFewLevels> {
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
                return Err(TooFewLevels { implemented });
            }
        }
        (map, gicd.lines())
    };
    let implemented = PRIORITY_BITS.load(Ordering::Relaxed);
    info!(target: "intr", "GICv2: {lines} lines, priority bits {implemented:#04x}");
    let [bio, net, tty, sched, high] = Ipl::HARDWARE.map(|class| map.priority(class).unwrap_or(0));
    info!(target: "intr", "bio {bio:#04x} net {net:#04x} tty {tty:#04x} sched {sched:#04x} high {high:#04x}");
    PRIORITIES.call_once(|| map);
    Ok(())
}

/// The priority of a hardware class, after [`init`].
pub fn priority(class: Ipl) -> u8 {
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
    for ipi in Ipi::ALL {
        gicd.set_priority(IntId::sgi(ipi as u32), priority(ipi.class()));
    }
    gicd.set_priority(map::IRQ_TIMER, priority(Ipl::Sched));
    gicd.enable(map::IRQ_TIMER, true);
    gicd.set_priority(map::IRQ_WATCH, priority(Ipl::High));
    gicd.enable(map::IRQ_WATCH, true);
    INTERFACE.init(PRIORITIES.get().expect("after init"));
}

/// Stops delivery to this CPU, which goes off.
pub fn stop_cpu() {
    INTERFACE.stop();
}

/// Interrupts the CPUs in `targets`; they see all that this CPU wrote before.
pub fn send(ipi: Ipi, targets: CpuSet) {
    let bits = targets.iter().fold(0, |bits, n| {
        bits | cpu::cpu(n).gic_target.load(Ordering::Relaxed)
    });
    trace::event(Class::Intr, || Event::Ipi {
        what: ipi as u8,
        cpus: targets.0,
    });
    bsp::cpu::data_barrier();
    SENDER.send_sgi(ipi as u32, bits);
}

/// Makes a shared interrupt pending, as its device would.
pub fn set_pending(intid: IntId) {
    SENDER.set_pending(intid);
}

/// True if a shared interrupt is pending, and so not yet acknowledged.
pub fn is_pending(intid: IntId) -> bool {
    SENDER.is_pending(intid)
}

/// True if a CPU has taken a shared interrupt, and it may not come again yet.
pub fn is_active(intid: IntId) -> bool {
    SENDER.is_active(intid)
}

/// True if a shared interrupt is pending for this CPU, and not active.
pub(super) fn waits_here(intid: IntId) -> bool {
    let here = cpu::this().gic_target.load(Ordering::Relaxed);
    SENDER.is_pending(intid) && !SENDER.is_active(intid) && SENDER.target(intid) & here != 0
}

/// Lets a shared interrupt come again that this CPU took.
pub fn deactivate_shared(intid: IntId) {
    INTERFACE.deactivate(Acknowledged::shared(intid));
}

/// Lets an interrupt come again that this CPU took.
pub(super) fn deactivate(taken: Taken) {
    INTERFACE.deactivate(taken.interrupt);
}

/// This CPU's priority mask register: what is not more urgent stays pending.
pub fn mask() -> u8 {
    INTERFACE.mask()
}

/// Takes and drops whatever is pending on this CPU, which is parked: interrupts masked.
pub fn drain() {
    while let Some(interrupt) = INTERFACE.acknowledge() {
        INTERFACE.end(interrupt);
        INTERFACE.deactivate(interrupt);
    }
}

/// True for the interrupts that no spl and no mask holds off: of class High, whose priority is the GIC's highest.
#[inline(always)]
fn is_unmaskable(intid: u32) -> bool {
    intid == Ipi::Stop as u32 || intid == u32::from(map::IRQ_WATCH)
}

/// Serves one of them, wherever it came: at once, between being taken and being looked at. Nothing of it stays active, for
/// it may not come back for long, and a reset does not clear that everywhere. IRQ masked.
#[cold]
fn unmaskable(interrupt: Acknowledged) {
    INTERFACE.end(interrupt);
    INTERFACE.deactivate(interrupt);
    super::note_unmaskable();
    if interrupt.intid() == Ipi::Stop as u32 {
        stop::interrupt();
    } else {
        watchdog::tick();
    }
}

/// Holds off everything but what nothing masks, and returns the mask that was. This CPU, IRQ masked.
pub fn hush() -> u8 {
    let before = INTERFACE.mask();
    Gic.set_mask(Some(Ipl::High));
    before
}

/// Puts back what [`hush`] returned. As above.
pub fn unhush(mask: u8) {
    INTERFACE.set_mask(mask);
}

/// This CPU's interface, as [`sync::delivery`] drives it.
pub(super) struct Gic;

impl Pic for Gic {
    type Interrupt = Taken;

    fn acknowledge(&self) -> Option<Taken> {
        let interrupt = loop {
            let interrupt = INTERFACE.acknowledge()?;
            if !is_unmaskable(interrupt.intid()) {
                break interrupt;
            }
            unmaskable(interrupt);
        };
        // Its ISB, behind the branch, keeps what the handler reads from being read before the acknowledgement: the sender of
        // an SGI wrote that before its barrier (`send`).
        let at_ticks = bsp::timer::ticks();
        Some(Taken {
            interrupt,
            at_ticks,
        })
    }

    fn end(&self, taken: Taken) {
        INTERFACE.end(taken.interrupt);
    }

    fn set_mask(&self, up_to: Option<Ipl>) {
        let open = || PRIORITIES.get().map_or(0, PriorityMap::open);
        INTERFACE.set_mask(match up_to {
            None => open(),
            // All but what nothing masks.
            Some(Ipl::High) => PRIORITIES.get().map_or(0, PriorityMap::step),
            Some(class) => priority(class),
        });
    }

    fn class(&self, taken: Taken) -> Ipl {
        source::get(taken.intid()).map_or(Ipl::High, |source| source.class)
    }

    fn puts_aside(&self, taken: Taken, mask: Mask) {
        causes::put_aside(taken.intid(), mask);
    }

    fn opens(&self, from: Mask, to: Mask) {
        causes::opens(from, to);
    }
}

/// What the GIC is.
pub struct Summary {
    /// Interrupt identifiers implemented.
    pub lines: u32,
    /// Priority bits that read back as ones.
    pub priority_bits: u8,
    /// The GIC has security extensions, and this is its non-secure view.
    pub two_security_states: bool,
}

/// What the GIC is.
pub fn summary() -> Summary {
    let gicd = DISTRIBUTOR.enter_leaf();
    Summary {
        lines: gicd.lines(),
        priority_bits: PRIORITY_BITS.load(Ordering::Relaxed),
        two_security_states: gicd.has_security_extension(),
    }
}
