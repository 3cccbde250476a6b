// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: how they are taken, held off, run, and kept from taking a CPU for good.
//!
//! # Theory
//! Every source has a class ([`Ipl`]), and through it a GIC priority. What a thread holds off is a word in memory
//! ([`sync::spl`]); whether that is put into the GIC's mask, and when, is the policy's ([`sync::delivery`]): `eager` with
//! each raise, `lazy` when a masked interrupt comes, `domain` not at all. There a masked interrupt is *deferred*:
//! acknowledged, its priority dropped so that others can come, and left active, so that it cannot. It waits in a list of
//! its CPU, and the thread's `pending` says so. When spl drops, and at the end of each interrupt, what is no longer
//! masked runs, the highest class first, and is deactivated: what is still asserted then comes again.
//!
//! Acknowledge, priority drop and deactivation are always separate steps (EOImode split), and the drop follows the
//! acknowledgement at once. Nesting is by spl too: a handler runs with IRQ open and its class and those below held off,
//! so a higher class comes on top of it and a lower one waits.
//!
//! A *direct* handler runs on the interrupted thread's stack. The others have a thread that borrows the CPU
//! (sched/borrow.rs). At the end of the outermost interrupt the soft interrupts run ([`crate::softint`]), and then, perhaps,
//! a better thread.
//!
//! Nothing is lost: a source is active while it waits or runs, and the device's line or the GIC's pending bit keeps what
//! comes meanwhile. Nothing runs twice: the list is touched with IRQ masked. Nothing is left behind: a thread that holds
//! spl keeps its CPU, and when it holds none, nothing waits.
//!
//! A line that is asserted for ever comes back as soon as it is deactivated. One that has come [`STORM`] times with nothing in
//! between is left active for a while, so that the CPU can do other things, and named in the log.
//!
//! # Contexts
//! [`interrupt`]: the vector. [`run_deferred`], [`completed`]: a CPU with IRQ masked. [`spl_raised`], [`send`]: any.
mod establish;
mod figures;
mod gic;
mod route;
mod source;

pub use self::establish::{DeviceDomain, Handler, SourceError, disestablish, establish};
pub use self::figures::{Figures, figures, figures_here};
pub use self::gic::{drain, is_pending, mask, send, set_pending, stop_cpu, summary};
pub use self::route::{come_back, leave, move_to};
pub use self::source::{Flavour, Line, forget_worst, lines};
use crate::cpu::{CPUS, CpuSet};
use crate::thread::{self, Returned, Thread};
use crate::{callout, findings, lock_order, softint, xcall};
use arm_gic::IntId;
use bsp::cpu::{index, irq_enable, irq_masked, irq_restore, irq_save};
use bsp::gic::Acknowledged;
use bsp::map;
use bsp::timer::now_ns;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use log::warn;
use sync::delivery::{Delivery, Policy};
use sync::domain::{Before, Cx, High, Interrupt, MaySleep, Sched};
use sync::ipl::Ipl;
use sync::priority::TooFewLevels;
use sync::spl::{Mask, PENDING_INTERRUPT};

/// Interrupt identifiers that the board's GIC may have: 224.
const MAX_SOURCES: usize = 256;
/// Times in a row after which a line is taken for stuck.
const STORM: u32 = 1000;
/// How long a stuck line is left alone.
const THROTTLE_NS: u64 = 100_000_000;

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
    /// There is a cross-call for you.
    Call = 5,
}

impl Ipi {
    const ALL: [Ipi; 6] = [
        Ipi::Resched,
        Ipi::Wake,
        Ipi::Stop,
        Ipi::Callouts,
        Ipi::Findings,
        Ipi::Call,
    ];

    fn class(self) -> Ipl {
        if self == Ipi::Stop {
            Ipl::High
        } else {
            Ipl::Sched
        }
    }
}

/// An interrupt that a CPU has taken: acknowledged, and not yet deactivated.
#[derive(Clone, Copy)]
struct Taken {
    interrupt: Acknowledged,
    at_ticks: u64,
}

impl Taken {
    fn intid(self) -> u32 {
        self.interrupt.intid()
    }
}

/// What one CPU holds off.
struct PerCpu {
    delivery: UnsafeCell<Delivery<Taken, MAX_SOURCES>>,
    deactivated: AtomicU64,
    spurious: AtomicU64,
    unexpected: AtomicU64,
    raises: AtomicU64,
    idle: AtomicBool,
}

// SAFETY: each CPU reaches its own `delivery` only, with IRQ masked (see `with`); the rest is atomic.
unsafe impl Sync for PerCpu {}

static CPU: [PerCpu; CPUS] = [const {
    PerCpu {
        delivery: UnsafeCell::new(Delivery::new()),
        deactivated: AtomicU64::new(0),
        spurious: AtomicU64::new(0),
        unexpected: AtomicU64::new(0),
        raises: AtomicU64::new(0),
        idle: AtomicBool::new(false),
    }
}; CPUS];

/// The policy of all CPUs.
static POLICY: AtomicU8 = AtomicU8::new(Policy::Domain as u8);

fn this() -> &'static PerCpu {
    &CPU[index()]
}

/// Lets `f` at what this CPU holds off.
///
/// # Safety
/// IRQ is masked, and `f` neither unmasks it nor comes back here.
#[inline]
unsafe fn with<R>(f: impl FnOnce(&mut Delivery<Taken, MAX_SOURCES>) -> R) -> R {
    // SAFETY: this CPU's; with IRQ masked nothing else runs here.
    f(unsafe { &mut *this().delivery.get() })
}

/// Sets up the distributor, checks that the GIC can tell the classes apart, and connects what is the kernel's own. First
/// CPU, once.
pub fn init(policy: Policy) -> Result<(), TooFewLevels> {
    gic::init()?;
    POLICY.store(policy as u8, Ordering::Relaxed);
    set_eager(policy == Policy::Eager);
    let ipi =
        |ipi: Ipi, name, handler| establish::establish_private::<Sched>(ipi as u32, name, handler);
    ipi(Ipi::Resched, "ipi resched", |_, _| {});
    ipi(Ipi::Wake, "ipi wake", |_, _| {});
    ipi(Ipi::Callouts, "ipi callouts", |_, _| {
        callout::program_timer()
    });
    ipi(Ipi::Findings, "ipi findings", findings::interrupt);
    ipi(Ipi::Call, "ipi call", xcall::interrupt);
    let stop = |_: &mut Cx<Interrupt<High>>, _| crate::panic::stop_here();
    establish::establish_private(Ipi::Stop as u32, "ipi stop", stop);
    establish::establish_private(map::IRQ_TIMER.into(), "timer", callout::interrupt);
    Ok(())
}

/// This CPU's private interrupts and its interface. Each time the CPU starts, interrupts masked.
pub fn init_cpu() {
    gic::init_cpu();
    reset_cpu();
}

/// Opens this CPU's mask. It starts, or holds nothing any more; interrupts masked.
pub fn reset_cpu() {
    // SAFETY: IRQ is masked.
    unsafe {
        with(|delivery| {
            delivery.reset(&gic::Gic);
            delivery.set_policy(policy(), Mask::OPEN, &gic::Gic);
        });
    }
}

/// The interrupt vector's Rust side.
pub fn interrupt() {
    let me = thread::current();
    let (mut last, mut repeated) = (u32::MAX, 0);
    // SAFETY: IRQ is masked, as it is whenever `handle` returns.
    while let Some(taken) = unsafe { with(|delivery| delivery.arrived(&me.sync, &gic::Gic)) } {
        repeated = if taken.intid() == last {
            repeated + 1
        } else {
            0
        };
        last = taken.intid();
        if repeated == STORM && last >= 32 {
            throttle(taken);
        } else {
            handle(me, taken);
        }
    }
    if last == u32::MAX && me.sync.pending.load(Ordering::Relaxed) & PENDING_INTERRUPT == 0 {
        add_one(&this().spurious);
    }
    thread::interrupt_exit(me);
}

/// Runs the handler, or has its thread run it, and lets the interrupt come again. IRQ masked.
fn handle(me: &'static Thread, taken: Taken) {
    let Some(source) = source::get(taken.intid()) else {
        return unexpected(taken);
    };
    if let Some(t) = source.thread() {
        source.hand(taken);
        if thread::lend(me, t, source.class) == Returned::Done {
            completed(t);
        }
        return;
    }
    if source.class == Ipl::High {
        // Its handler never comes back, and nothing may stay active: a reset does not clear it everywhere.
        gic::deactivate(taken);
    }
    let holds = Mask::of_class(source.class);
    me.sync.add_holds(holds);
    let outer = me.enter_interrupt(source.class);
    irq_enable();
    source.run(taken.at_ticks);
    let _open = irq_save();
    me.leave_interrupt(outer);
    me.sync.drop_holds(holds);
    gic::deactivate(taken);
    add_one(&this().deactivated);
}

/// Counts one more of what only this CPU counts, with IRQ masked.
fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// An interrupt thread stands by again. On its CPU, IRQ masked.
pub fn completed(t: &Thread) {
    if t.serves().is_some_and(|class| class < Ipl::Bio) {
        softint::completed(t);
    } else if let Some(source) = source::get(t.duty()) {
        source.complete(IntId::spi(t.duty() - 32));
        add_one(&this().deactivated);
    }
}

/// Nobody would ever quieten it.
fn unexpected(taken: Taken) {
    add_one(&this().unexpected);
    if let Some(spi) = taken.intid().checked_sub(32) {
        gic::DISTRIBUTOR.enter_leaf().enable(IntId::spi(spi), false);
        warn!("interrupt {} has no handler: disabled", taken.intid());
    }
    gic::deactivate(taken);
}

/// Leaves a stuck line active for a while: it cannot come.
fn throttle(taken: Taken) {
    let Some(source) = source::get(taken.intid()) else {
        return unexpected(taken);
    };
    if source.note_storm() == 0 {
        warn!(
            "interrupt {} ({}) came {STORM} times in a row: throttled, {} ms each time; is the line stuck?",
            taken.intid(),
            source.name(),
            THROTTLE_NS / 1_000_000
        );
    }
    // SAFETY: in an interrupt that was not held off, so nothing of Sched or above is held.
    let mut cx = unsafe { Cx::<Interrupt<Sched>>::assume() };
    let again = |_: &mut Cx<Interrupt<Sched>>, intid: usize| {
        let intid = IntId::spi(intid as u32 - 32);
        gic::DISTRIBUTOR.enter_leaf().clear_active(intid);
    };
    callout::schedule(
        &mut cx,
        now_ns() + THROTTLE_NS,
        again,
        taken.intid() as usize,
    );
}

/// Runs what waited on this CPU and `me`, whose CPU it is, masks no longer; true if anything did. IRQ masked.
pub fn run_deferred(me: &'static Thread) -> bool {
    let mut ran = false;
    // SAFETY: IRQ is masked, as it is whenever `handle` returns.
    while let Some(taken) = unsafe { with(|delivery| delivery.released(&me.sync, &gic::Gic)) } {
        if let Some(source) = source::get(taken.intid()) {
            source.note_deferred();
        }
        handle(me, taken);
        ran = true;
    }
    ran
}

/// spl of the current thread was raised, under `eager`, or while that is counted. Any context.
#[cold]
pub fn spl_raised() {
    let masked = irq_masked();
    let daif = irq_save();
    add_one(&this().raises);
    // With IRQ masked, the mask has nothing to hold off, and nobody would lower it.
    if !masked {
        // SAFETY: IRQ is masked.
        unsafe { with(|delivery| delivery.raised(&thread::current().sync, &gic::Gic)) };
    }
    irq_restore(daif);
}

/// True if `me` holds off `class`, soft classes too.
pub fn holds_off(me: &Thread, class: Ipl) -> bool {
    policy().holds_off(me.sync.mask(), class)
}

/// The policy in force.
pub fn policy() -> Policy {
    match POLICY.load(Ordering::Relaxed) {
        0 => Policy::Eager,
        1 => Policy::Lazy,
        _ => Policy::Domain,
    }
}

/// Raises are counted.
static COUNTS_RAISES: AtomicBool = AtomicBool::new(false);

/// Has every thread come here as it raises spl, or not.
fn set_eager(eager: bool) {
    thread::entries().for_each(|t| t.sync.set_eager(eager));
}

/// From now on raises of spl are counted, or no longer: each costs more while they are.
pub fn count_raises<K: Before<lock_order::Sources>>(cx: &mut Cx<K>, count: bool) {
    let _one = source::SOURCES.enter(cx);
    COUNTS_RAISES.store(count, Ordering::Relaxed);
    set_eager(count || policy() == Policy::Eager);
}

/// True if raises of spl are counted.
pub fn counts_raises() -> bool {
    COUNTS_RAISES.load(Ordering::Relaxed)
}

/// Changes the policy, on all CPUs.
pub fn set_policy<K: Before<lock_order::Sources> + MaySleep>(cx: &mut Cx<K>, policy: Policy) {
    let (_one, mut cx) = source::SOURCES.enter(cx);
    POLICY.store(policy as u8, Ordering::Relaxed);
    // First those who raise the mask learn of it, and last those who lower it.
    if policy == Policy::Eager {
        set_eager(true);
    }
    xcall::call(&mut cx, CpuSet::ALL, change_policy, 0);
    set_eager(policy == Policy::Eager || counts_raises());
}

/// This CPU's part of a change of policy.
fn change_policy(_: &mut Cx<Interrupt<Sched>>, _: usize) {
    let me = thread::current();
    let daif = irq_save();
    // SAFETY: IRQ is masked.
    unsafe { with(|delivery| delivery.set_policy(policy(), me.sync.mask(), &gic::Gic)) };
    // The mask follows at the end of this interrupt.
    me.sync
        .pending
        .fetch_or(PENDING_INTERRUPT, Ordering::Relaxed);
    irq_restore(daif);
}

/// Notes that this CPU sleeps, or no longer: a hint for the placement of threads.
pub fn set_idle(idle: bool) {
    this().idle.store(idle, Ordering::Relaxed);
}

/// True if `cpu` sleeps.
pub fn is_idle(cpu: usize) -> bool {
    CPU[cpu].idle.load(Ordering::Relaxed)
}
