// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's rings: what is switched on, who writes, what is compared with the kernel's own counters.
//!
//! Theory, contexts and memory ordering are those of [`super`].
use super::event::TALLIES;
use super::{Class, Classes, Event, Merged, Record, Ring, write_line};
use crate::cpu::{self, CPUS, CpuSet};
use crate::net::device;
use crate::thread::{self, ThreadCx};
use crate::{intr, lock_order, storage, xcall};
use bsp::cpu::{index, irq_restore, irq_save};
use bsp::timer::{now_ns, ns_at, ticks};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use sync::domain::{Cx, Interrupt, Sched};
use sync::kmutex::KMutex;

/// Records that each CPU keeps: 128 KiB.
const RECORDS: usize = 4096;

static RINGS: [Ring<RECORDS>; CPUS] = [const { Ring::new() }; CPUS];
/// Classes that are on; everybody tests this, and goes on only if it is so.
static CLASSES: AtomicU8 = AtomicU8::new(0);
static CPU: [PerCpu; CPUS] = [const {
    PerCpu {
        gate: AtomicU8::new(0),
        written: [const { AtomicU64::new(0) }; TALLIES.len()],
        interrupts: AtomicU64::new(0),
    }
}; CPUS];
/// Threads that got a CPU while something was on; as [`PerCpu::interrupts`]. Changed while all CPUs stand still.
static SWITCHES: AtomicU64 = AtomicU64::new(0);
/// Beside the classes: latencies are sorted into histograms.
const LATENCY: u8 = 1 << 7;

/// Written by its CPU with IRQ masked, or for it by who has [`INTERVAL`] while it is off.
struct PerCpu {
    /// Classes that it records.
    gate: AtomicU8,
    /// What it recorded of that which the kernel counts too.
    written: [AtomicU64; TALLIES.len()],
    /// By how much its counter has advanced while the gate was open; while it is, less what the counter is.
    interrupts: AtomicU64,
}

/// What was switched on, and how the counters of devices stood then, and when it was switched off.
#[derive(Clone, Copy)]
struct Interval {
    classes: Classes,
    since_ns: u64,
    until_ns: Option<u64>,
    from: Devices,
    to: Devices,
}

static INTERVAL: KMutex<Interval, lock_order::Diagnosis> = KMutex::new(Interval {
    classes: Classes(0),
    since_ns: 0,
    until_ns: Some(0),
    from: Devices::NONE,
    to: Devices::NONE,
});

/// Counters of devices.
#[derive(Clone, Copy)]
struct Devices {
    commands: u64,
    transfers: u64,
    received: u64,
    sent: u64,
}

impl Devices {
    const NONE: Self = Self {
        commands: 0,
        transfers: 0,
        received: 0,
        sent: 0,
    };

    fn read(cx: &mut ThreadCx) -> Self {
        let (commands, transfers) = storage::work_done(cx);
        let counters = device::view(cx).map(|view| view.counters);
        Self {
            commands,
            transfers,
            received: counters.as_ref().map_or(0, |c| c.rx_frames),
            sent: counters.as_ref().map_or(0, |c| c.tx_frames),
        }
    }
}

/// Is `class` on, on some CPU?
#[inline(always)]
fn is_on(class: Class) -> bool {
    CLASSES.load(Ordering::Relaxed) & class as u8 != 0
}

/// Does anybody want to know that a handler begins?
#[inline(always)]
pub fn watches_handlers() -> bool {
    CLASSES.load(Ordering::Relaxed) & (Class::Intr as u8 | LATENCY) != 0
}

/// Are latencies wanted (intr/latency.rs)?
#[inline(always)]
pub fn wants_latency() -> bool {
    CLASSES.load(Ordering::Relaxed) & LATENCY != 0
}

/// Has latencies sorted from now on, or no longer.
pub fn set_latency(wanted: bool) {
    match wanted {
        true => CLASSES.fetch_or(LATENCY, Ordering::Relaxed),
        false => CLASSES.fetch_and(!LATENCY, Ordering::Relaxed),
    };
}

/// Has everybody look at the gates of `classes` from now on, and of no others.
fn set_classes(classes: Classes) {
    CLASSES.fetch_or(classes.0, Ordering::Relaxed);
    CLASSES.fetch_and(classes.0 | LATENCY, Ordering::Relaxed);
}

/// Records what `event` makes, if `class` is on. Any context.
#[inline(always)]
pub fn event(class: Class, event: impl FnOnce() -> Event) {
    if is_on(class) {
        record(class, event());
    }
}

#[cold]
#[inline(never)]
fn record(class: Class, event: Event) {
    let daif = irq_save(); // for too short to be found hung in it
    let cpu = index();
    let this = &CPU[cpu];
    if this.gate.load(Ordering::Relaxed) & class as u8 != 0 {
        if let Some((tally, count)) = event.tally() {
            let before = this.written[tally].load(Ordering::Relaxed);
            this.written[tally].store(before + count, Ordering::Relaxed);
        }
        RINGS[cpu].write(&Record {
            ticks: ticks(),
            thread: thread::current().id(),
            event,
        });
    }
    irq_restore(daif);
}

/// Notes in `advance` that a counter stands at `now` as it begins to be compared, or ceases to be.
fn compare(advance: &AtomicU64, begins: bool, ends: bool, now: u64) {
    let before = advance.load(Ordering::Relaxed);
    if begins && !ends {
        advance.store(before.wrapping_sub(now), Ordering::Relaxed);
    } else if ends && !begins {
        advance.store(before.wrapping_add(now), Ordering::Relaxed);
    }
}

/// What `advance` says when the counter is at `now`.
fn advanced(advance: &AtomicU64, is_open: bool, now: u64) -> u64 {
    let advance = advance.load(Ordering::Relaxed);
    advance.wrapping_add(if is_open { now } else { 0 })
}

/// Opens or closes the gate of CPU `cpu`, and notes how its counter stands. On it with IRQ masked, or while it is off.
fn set_gate(cpu: usize, classes: Classes) {
    let (this, opens) = (&CPU[cpu], classes.0 != 0);
    let was_open = this.gate.swap(classes.0, Ordering::Relaxed) != 0;
    compare(&this.interrupts, opens, was_open, intr::handled(cpu));
}

/// All CPUs meet here with IRQ masked, so that a counter of all of them stands still: who has come, and whether the counter has been
/// read. ORDERING: (4) SeqCst, once in a while.
static COME: AtomicUsize = AtomicUsize::new(0);
static EXPECTED: AtomicUsize = AtomicUsize::new(0);
static HAS_READ: AtomicBool = AtomicBool::new(false);
/// A CPU that does not come is not waited for longer than this.
const PATIENCE_NS: u64 = 1_000_000_000;

fn meet(read: impl FnOnce()) {
    let end = now_ns() + PATIENCE_NS;
    let wait = |until: &dyn Fn() -> bool| {
        while !until() && now_ns() < end {
            bsp::cpu::relax();
        }
    };
    let is_first = COME.fetch_add(1, Ordering::SeqCst) == 0;
    wait(&|| COME.load(Ordering::SeqCst) >= EXPECTED.load(Ordering::SeqCst));
    if is_first {
        read();
        HAS_READ.store(true, Ordering::SeqCst);
    }
    wait(&|| HAS_READ.load(Ordering::SeqCst));
}

/// Moves all gates, while all CPUs stand still.
fn set_gates(cx: &mut ThreadCx, classes: Classes) {
    fn move_gate(_: &mut Cx<Interrupt<Sched>>, classes: usize) {
        let classes = Classes(classes as u8);
        let daif = cpu::irq_save();
        meet(|| {
            let was_open = CPU[index()].gate.load(Ordering::Relaxed) != 0;
            compare(&SWITCHES, classes.0 != 0, was_open, thread::switches());
        });
        set_gate(index(), classes);
        irq_restore(daif);
    }
    intr::with_sources(cx, |cx| {
        let online = cpu::online();
        for cpu in (0..CPUS).filter(|cpu| !online.contains(*cpu)) {
            set_gate(cpu, classes);
        }
        COME.store(0, Ordering::SeqCst);
        HAS_READ.store(false, Ordering::SeqCst);
        EXPECTED.store(online.iter().count(), Ordering::SeqCst);
        xcall::call(cx, CpuSet::ALL, move_gate, classes.0.into());
    });
}

/// Records `classes` from now on; what was recorded before is forgotten.
pub fn on(cx: &mut ThreadCx, classes: Classes) {
    off(cx);
    clear(cx);
    let devices = Devices::read(cx);
    {
        let (mut interval, _) = INTERVAL.enter(cx);
        if interval.until_ns.take().is_some() {
            interval.from = devices;
            interval.since_ns = now_ns();
        }
        interval.classes = classes;
    }
    set_classes(classes);
    set_gates(cx, classes);
}

/// Records nothing more; what was recorded stays.
pub fn off(cx: &mut ThreadCx) {
    set_gates(cx, Classes::default());
    set_classes(Classes::default());
    let devices = Devices::read(cx);
    let (mut interval, _) = INTERVAL.enter(cx);
    if interval.until_ns.is_none() {
        interval.until_ns = Some(now_ns());
        interval.to = devices;
    }
}

/// Is nothing on?
pub fn is_past(cx: &mut ThreadCx) -> bool {
    INTERVAL.enter(cx).0.until_ns.is_some()
}

/// Forgets what was recorded and counted; what is on stays on.
pub fn clear(cx: &mut ThreadCx) {
    let classes = Classes(CLASSES.load(Ordering::Relaxed) & !LATENCY);
    set_gates(cx, Classes::default());
    for (ring, cpu) in RINGS.iter().zip(&CPU) {
        ring.clear();
        let counters = cpu.written.iter().chain([&cpu.interrupts]);
        counters.for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
    SWITCHES.store(0, Ordering::Relaxed);
    let devices = Devices::read(cx);
    {
        let (mut interval, _) = INTERVAL.enter(cx);
        (interval.from, interval.to) = (devices, devices);
        interval.since_ns = now_ns();
    }
    set_gates(cx, classes);
}

/// A number of events, and what the kernel counted of the same.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// What is counted.
    pub what: &'static str,
    /// Events.
    pub events: u64,
    /// By the kernel's own counters; none if its class was off.
    pub counted: Option<u64>,
}

/// How tracing stands.
pub struct Status {
    /// Classes that are on, or were last.
    pub classes: Classes,
    /// How long it has been on, or was, ns.
    pub ns: u64,
    /// It is on.
    pub is_on: bool,
    /// Events beside counters.
    pub counts: [Count; TALLIES.len()],
    /// Of each CPU: records that were written, and of them those that are there.
    pub rings: [(u64, u64); CPUS],
}

/// How tracing stands. While it is on, the two sides of a count are not of the same moment.
pub fn status(cx: &mut ThreadCx) -> Status {
    let now = Devices::read(cx);
    let is_open = |cpu: usize| CPU[cpu].gate.load(Ordering::Relaxed) != 0;
    let interrupts = intr::with_sources(cx, |_| {
        let of = |cpu: usize| advanced(&CPU[cpu].interrupts, is_open(cpu), intr::handled(cpu));
        (0..CPUS).map(of).sum()
    });
    let switches = advanced(&SWITCHES, is_open(0), thread::switches());
    let (interval, _) = INTERVAL.enter(cx);
    let (from, to) = match interval.until_ns {
        Some(_) => (interval.from, interval.to),
        None => (interval.from, now),
    };
    let counted = [
        interrupts,
        switches,
        to.commands.wrapping_sub(from.commands),
        to.transfers.wrapping_sub(from.transfers),
        to.received.wrapping_sub(from.received),
        to.sent.wrapping_sub(from.sent),
    ];
    let count = |tally: usize| {
        let written = |cpu: &PerCpu| cpu.written[tally].load(Ordering::Relaxed);
        let (what, class) = TALLIES[tally];
        Count {
            what,
            events: CPU.iter().map(written).sum(),
            counted: interval.classes.has(class).then_some(counted[tally]),
        }
    };
    Status {
        classes: interval.classes,
        ns: interval.until_ns.unwrap_or_else(now_ns) - interval.since_ns,
        is_on: interval.until_ns.is_none(),
        counts: core::array::from_fn(count),
        rings: core::array::from_fn(|n| {
            let numbers = RINGS[n].numbers();
            (RINGS[n].written(), numbers.end - numbers.start)
        }),
    }
}

/// All records, oldest first, with their CPU; or the last `most` of them.
pub fn records(most: Option<usize>) -> impl Iterator<Item = (usize, Record)> {
    match most {
        None => Merged::all(&RINGS),
        Some(most) => Merged::last(&RINGS, most),
    }
}

/// Writes the last `most` records in words, a line each. Any context, of a stopped machine too: no lock, no memory.
pub fn write_last(out: &mut dyn Write, most: usize) -> fmt::Result {
    let name = |out: &mut dyn Write, id: u32| match thread::threads().find(|t| t.id() == id) {
        Some(t) => write!(out, "{}({id})", t.name()),
        None => write!(out, "ended({id})"),
    };
    for (cpu, record) in records(Some(most)) {
        write_line(out, ns_at(record.ticks), cpu, &record, &name)?;
    }
    Ok(())
}
