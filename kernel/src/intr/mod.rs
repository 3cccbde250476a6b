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
//! Two interrupts nothing holds off, whatever the policy and the mask: the order to stop ([`crate::stop`]) and the
//! watchdog's tick ([`crate::watchdog`]). They have the GIC's highest priority, which the mask register never shuts out, and
//! are served between acknowledging and looking at the mask. So they run in the middle of anything but IRQ masked: they
//! enter no lock, wake nobody, and leave what they find as it was.
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
//! between is left active for a while, so that the CPU can do other things, and named in the log: unless its handler says
//! that it finds something to do ([`note_work`]), as a device may that has its next command done before the handler ends.
//! What comes so often in a row has the soft interrupts run every [`TURN`] times.
//!
//! # Contexts
//! [`interrupt`]: the vector. [`run_deferred`], [`completed`]: a CPU with IRQ masked. [`spl_raised`], [`send`]: any.
pub mod causes;
mod establish;
mod figures;
mod gic;
pub mod latency;
mod route;
mod source;

pub use self::establish::{DeviceDomain, Handler, SourceError, disestablish, establish};
pub use self::figures::{Figures, figures, figures_here};
pub use self::gic::{
    drain, hush, is_active, is_pending, mask, send, set_pending, stop_cpu, summary, unhush,
};
pub use self::route::{come_back, leave, move_to};
pub use self::source::{Flavour, Line, forget_worst, handled, lines, lines_stopped, with_sources};
use crate::cpu::irq_save;
use crate::cpu::{CPUS, CpuSet};
use crate::thread::{self, Returned, Thread};
use crate::trace::{self, Class, Event};
use crate::{callout, findings, lock_order, softint, watchdog, xcall};
use arm_gic::IntId;
use bsp::cpu::{index, irq_masked, irq_restore};
use bsp::gic::Acknowledged;
use bsp::map;
use bsp::timer::{now_ns, ticks, ticks_to_ns};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use log::warn;
use sync::delivery::{Delivery, Policy};
use sync::domain::{Before, Cx, Interrupt, MaySleep, Sched};
use sync::ipl::Ipl;
use sync::priority::TooFewLevels;
use sync::spl::{Mask, PENDING_INTERRUPT};

/// Interrupt identifiers that the board's GIC may have: 224.
const MAX_SOURCES: usize = 256;
/// Times in a row after which a line is taken for stuck.
const STORM: u32 = 1000;
/// Times in a row after which the soft interrupts have their turn.
const TURN: u32 = 32;
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
    /// Stop, and say where: taken whatever spl holds off ([`crate::stop`]).
    Stop = 2,
    /// Your timer has more to wait for.
    Callouts = 3,
    /// lockdebug has found something: to oneself.
    Findings = 4,
    /// There is a cross-call for you.
    Call = 5,
    /// The watchdog asks whether ordinary interrupts come through: to oneself.
    Alive = 6,
}

impl Ipi {
    const ALL: [Ipi; 7] = [
        Ipi::Resched,
        Ipi::Wake,
        Ipi::Stop,
        Ipi::Callouts,
        Ipi::Findings,
        Ipi::Call,
        Ipi::Alive,
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
    /// One came which nothing masks, since nothing came but such.
    unmaskable: AtomicBool,
    unexpected: AtomicU64,
    raises: AtomicU64,
    idle: AtomicBool,
    /// How long it has slept, and since when it does.
    slept_ticks: AtomicU64,
    asleep_since: AtomicU64,
}

// SAFETY: each CPU reaches its own `delivery` only, with IRQ masked (see `with`); the rest is atomic.
unsafe impl Sync for PerCpu {}

static CPU: [PerCpu; CPUS] = [const {
    PerCpu {
        delivery: UnsafeCell::new(Delivery::new()),
        deactivated: AtomicU64::new(0),
        spurious: AtomicU64::new(0),
        unmaskable: AtomicBool::new(false),
        unexpected: AtomicU64::new(0),
        raises: AtomicU64::new(0),
        idle: AtomicBool::new(false),
        slept_ticks: AtomicU64::new(0),
        asleep_since: AtomicU64::new(0),
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
    ipi(Ipi::Alive, "ipi alive", |_, _| watchdog::alive());
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
    me.note_masked();
    let (mut last, mut repeated) = (u32::MAX, 0);
    // SAFETY: IRQ is masked, as it is whenever `handle` returns.
    while let Some(taken) = unsafe { with(|delivery| delivery.arrived(&me.sync, &gic::Gic)) } {
        repeated = if taken.intid() == last && repeated < STORM {
            repeated + 1
        } else {
            0
        };
        last = taken.intid();
        if repeated == STORM && last >= 32 && !works(last) {
            throttle(taken);
        } else {
            handle(me, taken);
        }
        if repeated != 0 {
            after_another(me, repeated);
        }
    }
    if last == u32::MAX && me.sync.pending.load(Ordering::Relaxed) & PENDING_INTERRUPT == 0 {
        nothing_came();
    }
    thread::interrupt_exit(me);
}

/// An interrupt was handled that has come so often in a row.
#[cold]
fn after_another(me: &'static Thread, repeated: u32) {
    if repeated.is_multiple_of(TURN) {
        thread::soft_interrupts_turn(me);
    }
}

/// The handler of `intid`, which executes this, has found something to do: its line is not stuck, however often it comes.
pub fn note_work(intid: IntId) {
    if let Some(source) = source::get(intid.into()) {
        source.note_work();
    }
}

/// Has the handler of `intid` said so since it was last asked?
fn works(intid: u32) -> bool {
    source::get(intid).is_some_and(source::Source::take_work)
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
    let holds = Mask::of_class(source.class);
    me.sync.add_holds(holds);
    let outer = me.enter_interrupt(source.class);
    source.run(taken.intid(), taken.at_ticks);
    me.leave_interrupt(outer);
    me.sync.drop_holds(holds);
    gic::deactivate(taken);
    add_one(&this().deactivated);
}

/// Notes that an interrupt came which nothing masks. IRQ masked.
fn note_unmaskable() {
    this().unmaskable.store(true, Ordering::Relaxed);
}

/// The CPU was interrupted, and nothing waits: unless something came that nothing masks, by nothing.
#[cold]
#[inline(never)]
fn nothing_came() {
    if !this().unmaskable.load(Ordering::Relaxed) {
        add_one(&this().spurious);
    }
    this().unmaskable.store(false, Ordering::Relaxed);
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
            trace::event(Class::Intr, || Event::Deferred {
                intid: taken.intid() as u16,
                us: (ticks_to_ns(ticks() - taken.at_ticks) / 1000) as u32,
            });
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

/// Notes that this CPU sleeps, or no longer: for the placement of threads, and for [`slept_ns`]. IRQ masked: what wakes
/// it runs when it has said so.
pub fn set_idle(idle: bool) {
    let this = this();
    let now = ticks();
    if idle {
        this.asleep_since.store(now, Ordering::Relaxed);
    } else {
        let slept = now - this.asleep_since.load(Ordering::Relaxed);
        let before = this.slept_ticks.load(Ordering::Relaxed);
        this.slept_ticks.store(before + slept, Ordering::Relaxed);
    }
    this.idle.store(idle, Ordering::Relaxed);
}

/// How long `cpu` has slept since the machine started, ns. What interrupts do on the idle thread's CPU is no sleep.
pub fn slept_ns(cpu: usize) -> u64 {
    let of = &CPU[cpu];
    let slept = of.slept_ticks.load(Ordering::Relaxed);
    let asleep = if of.idle.load(Ordering::Relaxed) {
        ticks().saturating_sub(of.asleep_since.load(Ordering::Relaxed))
    } else {
        0
    };
    ticks_to_ns(slept + asleep)
}

/// True if `cpu` sleeps.
pub fn is_idle(cpu: usize) -> bool {
    CPU[cpu].idle.load(Ordering::Relaxed)
}
