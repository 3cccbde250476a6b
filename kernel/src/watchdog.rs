// SPDX-License-Identifier: MIT OR Apache-2.0
//! The watchdog: a CPU that hangs is named, with its backtrace, and a machine that hangs is reset.
//!
//! # Theory
//! Each CPU has a tick of its own once a second, from a timer that is nobody else's and by an interrupt that nothing holds
//! off but IRQ masked. At each tick it
//! - counts, for the others to see, and looks whether they count: one that has not for as many of *this* CPU's ticks as the
//!   limit has seconds hangs with IRQ masked;
//! - looks whether its own ordinary interrupts come through: it sends itself one of class Sched, and if that has not run
//!   for as many ticks, the CPU hangs at spl, or in an interrupt handler;
//! - feeds the chip's watchdog, if no CPU hangs;
//! - looks whether the console's input is served (`console/tty.rs`): a break must get in whichever CPU hangs;
//! - on an emulator, empties its TLB: nothing else here ever does, and QEMU's (256 entries at first) grows only then. TCP
//!   streams are a tenth faster for it.
//!
//! Time is counted in ticks and not read from a clock: a machine that stood still as a whole (a debugger, an emulator whose
//! host was busy) has missed nothing that it should have seen.
//!
//! Who finds a CPU hung stops the machine, prints by polling what that CPU runs and how it came there, writes a line to the log
//! if the log is free, and lets the machine go on. It is told once; again, when the CPU is back. The chip's watchdog is not
//! fed while a CPU hangs: the board is reset [`RESET_S`] seconds after the last feed, unless the CPU comes back first.
//! With all CPUs hung nobody feeds it either.
//!
//! # Contexts
//! [`tick`]: in the middle of anything, IRQ masked: no lock, no heap. [`alive`]: an interrupt of class Sched.
//!
//! # Memory ordering
//! `BEATS` and the like are numbers of their own, Relaxed. (1) `HUNG` goes from clear to set once for each hang: who sets it
//! tells, the CPU itself clears it and tells the end.
//!
//! # Rejected
//! - A ring in which each CPU watches the next: three hung neighbours are found one after the other, in three times the
//!   limit. Four CPUs can each watch three.
//! - The ordinary timer for the tick: it comes late where spl is held, its handler takes the lock of a list of callouts, and
//!   whoever hangs holding that stops the watch as well.
//! - A tick only where work is: an idle CPU would have to be asked by its neighbour, which wakes it all the same.
//!
//! References: Linux `kernel/watchdog*.c` (ticks of a neighbour); BCM2711's PM block: `drivers/src/pm`.
use crate::console::tty::{self, Polled};
use crate::cpu::{self, CPUS, CpuSet, CpuState};
use crate::panic::backtrace;
use crate::{board, ddb, intr, klog, machine_off, stop, thread};
use bsp::cpu::index;
use bsp::mmu;
use bsp::timer::{now_ns, set_watch};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use log::info;

/// Time from one tick of a CPU to the next.
const TICK_NS: u64 = 1_000_000_000;
/// How long after the last feed the chip's watchdog resets the board: nearly the longest that it can.
const RESET_S: u32 = 15;
/// The chip's watchdog counts this many ticks a second.
const CHIP_TICKS_PER_S: u32 = 65_536;

struct PerCpu {
    /// Ticks so far, and when the last was. Written by the CPU.
    beats: AtomicU32,
    beat_ns: AtomicU64,
    /// Ticks since an ordinary interrupt came through. Written by the CPU.
    unanswered: AtomicU32,
    /// An ordinary interrupt has come through since the last tick.
    answered: AtomicBool,
    /// When that was.
    answered_ns: AtomicU64,
    /// For each other CPU: its beats when last looked at, and for how many ticks they have not changed. Written by the CPU.
    seen: [(AtomicU32, AtomicU32); CPUS],
    /// It was told that this CPU hangs.
    hung: AtomicBool,
}

static CPU: [PerCpu; CPUS] = [const {
    PerCpu {
        beats: AtomicU32::new(0),
        beat_ns: AtomicU64::new(0),
        unanswered: AtomicU32::new(0),
        answered: AtomicBool::new(true),
        answered_ns: AtomicU64::new(0),
        seen: [const { (AtomicU32::new(0), AtomicU32::new(0)) }; CPUS],
        hung: AtomicBool::new(false),
    }
}; CPUS];

/// The chip's watchdog is in use.
static CHIP: AtomicBool = AtomicBool::new(false);

/// The ticks after which a CPU hangs; `None`: nobody watches.
fn limit() -> Option<u32> {
    board::options().watchdog_s
}

/// This CPU starts: it has been silent for no time. IRQ masked.
pub fn start_cpu() {
    let this = &CPU[index()];
    this.unanswered.store(0, Ordering::Relaxed);
    this.answered.store(true, Ordering::Relaxed);
    start_ticking();
}

/// This CPU ticks from now on, unless the command line forbids it, or whoever entered the kernel at EL1 may have kept the
/// timer. It starts, or was stopped: whether its ordinary interrupts come through is then as it was. IRQ masked.
pub fn start_ticking() {
    let this = &CPU[index()];
    // A sign of life: a CPU that goes and comes again and again may never tick.
    let beats = this.beats.load(Ordering::Relaxed);
    this.beats.store(beats.wrapping_add(1), Ordering::Relaxed);
    if this.unanswered.load(Ordering::Relaxed) == 0 && !hangs(index()) {
        this.beat_ns.store(now_ns(), Ordering::Relaxed);
        this.answered_ns.store(now_ns(), Ordering::Relaxed);
    }
    if ticks_here() {
        set_watch(Some(TICK_NS));
    }
}

/// This CPU goes off, or stops. IRQ masked.
pub fn stop_ticking() {
    if ticks_here() {
        set_watch(None);
    }
}

fn ticks_here() -> bool {
    limit().is_some() && cpu::this().entry_el.load(Ordering::Relaxed) >= 2
}

/// Says what is watched, and has the chip watch, too, if this is a board. When the firmware was asked what this is.
pub fn start() {
    let Some(limit_s) = limit() else {
        return info!("off (watchdog=off)");
    };
    if cpu::this().entry_el.load(Ordering::Relaxed) < 2 {
        return info!("off: entered at EL1, its timer may be another's");
    }
    let chip = if board::hwwatchdog() {
        CHIP.store(true, Ordering::Relaxed);
        feed();
        "; then the chip resets"
    } else {
        ""
    };
    info!("a CPU hangs after {limit_s} s{chip}");
}

/// The chip's watchdog begins anew.
fn feed() {
    if CHIP.load(Ordering::Relaxed) {
        let _in_range = machine_off::pm().arm(RESET_S * CHIP_TICKS_PER_S);
    }
}

/// The chip lets the machine stand still: somebody looks at it. IRQ masked, the machine stopped.
pub fn suspend() {
    if CHIP.load(Ordering::Relaxed) {
        machine_off::pm().stop();
    }
}

/// The chip watches again.
pub fn resume() {
    feed();
}

/// An ordinary interrupt came through.
pub fn alive() {
    let this = &CPU[index()];
    this.answered.store(true, Ordering::Relaxed);
}

/// True if it was told that `cpu` hangs, and not that it is back.
pub fn hangs(cpu: usize) -> bool {
    CPU[cpu].hung.load(Ordering::Relaxed)
}

fn hung_cpus() -> CpuSet {
    CpuSet(
        (0..CPUS)
            .filter(|n| hangs(*n))
            .fold(0, |set, n| set | 1 << n),
    )
}

/// The tick. In the middle of anything, IRQ masked.
pub fn tick() {
    set_watch(Some(TICK_NS));
    if board::is_emulated() {
        mmu::empty_tlb();
    }
    let Some(limit) = limit() else { return };
    let (me, now) = (index(), now_ns());
    let this = &CPU[me];
    let silent_since_ns = beat(this, now);
    match this.unanswered.load(Ordering::Relaxed) {
        0 if this.hung.swap(false, Ordering::Relaxed) => {
            tell_back(me, now.saturating_sub(silent_since_ns));
        }
        ticks if ticks >= limit && !hangs(me) => tell(me, silent_since_ns, "interrupts held off"),
        _ => {}
    }
    for n in (0..CPUS).filter(|n| *n != me) {
        if is_silent(this, n, limit) {
            tell(
                n,
                CPU[n].beat_ns.load(Ordering::Relaxed),
                "it does not answer",
            );
        }
    }
    if hung_cpus().0 == 0 {
        feed();
    }
    if tty::take_unserved_break() {
        ddb::enter("break on the line; nobody served the console");
    }
}

/// Counts this tick, and whether an ordinary interrupt came since the last; returns since when this CPU was silent, if it was.
fn beat(this: &PerCpu, now: u64) -> u64 {
    let last_ns = this.beat_ns.swap(now, Ordering::Relaxed);
    let beats = this.beats.load(Ordering::Relaxed);
    this.beats.store(beats.wrapping_add(1), Ordering::Relaxed);
    let answered_ns = this.answered_ns.load(Ordering::Relaxed);
    if this.answered.swap(false, Ordering::Relaxed) {
        this.unanswered.store(0, Ordering::Relaxed);
        this.answered_ns.store(now, Ordering::Relaxed);
        intr::send(intr::Ipi::Alive, CpuSet::only(index()));
    } else {
        let unanswered = this.unanswered.load(Ordering::Relaxed);
        this.unanswered
            .store(unanswered.saturating_add(1), Ordering::Relaxed);
    }
    last_ns.min(answered_ns)
}

/// True once `n` has been silent for `limit` of this CPU's ticks, for the first who sees it.
fn is_silent(this: &PerCpu, n: usize, limit: u32) -> bool {
    let (last, silent) = &this.seen[n];
    let beats = CPU[n].beats.load(Ordering::Relaxed);
    if last.swap(beats, Ordering::Relaxed) != beats || cpu::cpu(n).state() != CpuState::Online {
        silent.store(0, Ordering::Relaxed);
        return false;
    }
    let ticks = silent.load(Ordering::Relaxed).saturating_add(1);
    silent.store(ticks, Ordering::Relaxed);
    ticks >= limit && !hangs(n)
}

/// Tells that `n` hangs, which was last seen at `since_ns`: with the machine stopped, so that nobody prints in between.
/// If it is stopped already, the next tick sees to it.
fn tell(n: usize, since_ns: u64, how: &str) {
    let Some(others) = stop::stop_others(CpuSet(hung_cpus().0 | CpuSet::only(n).0)) else {
        return stop::stay();
    };
    // ORDERING: (1).
    if !CPU[n].hung.swap(true, Ordering::Relaxed) {
        let silent_ms = now_ns().saturating_sub(since_ns) / 1_000_000;
        let _ = write!(
            Polled,
            "\n\n*** CPU {n} hangs: {how}, no sign of life for {}.{} s\n",
            silent_ms / 1000,
            silent_ms % 1000 / 100
        );
        let _ = tell_more(&mut Polled, n);
        klog::note_stopped(
            log::Level::Error,
            format_args!("watchdog: CPU {n} hangs: {how}"),
        );
    }
    stop::release(others);
}

fn tell_more(out: &mut dyn Write, n: usize) -> fmt::Result {
    if let Some(t) = thread::running_on(n) {
        writeln!(out, "    thread {} \"{}\"", t.id(), t.name())?;
    }
    match backtrace::interrupted(bsp::cpu::frame_pointer()) {
        // It found itself: what hangs is what this tick interrupted.
        Some(frame) if n == index() => {
            writeln!(out, "backtrace of CPU {n}:")?;
            backtrace::print(out, frame.elr as usize, frame.x[29] as usize)?;
        }
        _ => backtrace::print_cpu(out, n)?,
    }
    if CHIP.load(Ordering::Relaxed) {
        writeln!(
            out,
            "    the board is reset in {RESET_S} s, unless CPU {n} comes back; a break stops that"
        )?;
    }
    writeln!(out)
}

/// Tells that this CPU is back, after so long.
fn tell_back(me: usize, silent_ns: u64) {
    let silent_ms = silent_ns / 1_000_000;
    let (s, tenths) = (silent_ms / 1000, silent_ms % 1000 / 100);
    let Some(others) = stop::stop_others(hung_cpus()) else {
        return stop::stay();
    };
    let _ = writeln!(Polled, "\n*** CPU {me} is back after {s}.{tenths} s");
    klog::note_stopped(
        log::Level::Warn,
        format_args!("watchdog: CPU {me} is back after {s}.{tenths} s"),
    );
    stop::release(others);
}
