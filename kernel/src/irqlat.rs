// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions from an interrupt to who waits for it: a direct handler, a threaded one, a soft interrupt, a thread.
//!
//! # Theory
//! The counter is read right before the interrupt is made pending, and first of all in whatever it leads to; so the few
//! instructions of asking and of reading are in the figure. For the timer a less urgent thread reads the counter again and
//! again, and who was woken compares with the last reading, at most one turn of a short loop old.
//!
//! # Contexts
//! [`measure`]: a thread. The rest: the interrupts that it makes.
use crate::cpu::CpuSet;
use crate::intr::{Handler, SourceError};
use crate::softint::{self, Softint, SoftintError};
use crate::thread::{self, ThreadCx};
use crate::trial::{self, Line, spin_until};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::cpu::instructions;
use bsp::timer::now_ns;
use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use spin::Once;
use sync::domain::{Bio, Cx, Interrupt, Net};
use sync::ipl::Ipl;

/// Times that each path is taken, and those before that are not counted.
pub const TIMES: usize = 200;
const WARM_UP: usize = 10;
/// How long one may take.
const PATIENCE_NS: u64 = 1_000_000_000;
/// The timer's wait.
const SLEEP_NS: u64 = 50_000;

/// Why nothing was measured.
pub enum NotMeasured {
    /// Kernel: a line could not be established.
    Source(SourceError),
    /// Kernel: the soft interrupt could not.
    Softint(SoftintError),
    /// Kernel: no thread is left.
    Threads(thread::TooManyThreads),
    /// Kernel: an interrupt was lost.
    Lost(&'static str),
}

impl fmt::Display for NotMeasured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            NotMeasured::Source(error) => error.fmt(f),
            NotMeasured::Softint(error) => error.fmt(f),
            NotMeasured::Threads(error) => error.fmt(f),
            NotMeasured::Lost(what) => write!(f, "{what}: an interrupt did not come within 1 s"),
        }
    }
}

impl From<SourceError> for NotMeasured {
    fn from(error: SourceError) -> Self {
        NotMeasured::Source(error)
    }
}

impl From<SoftintError> for NotMeasured {
    fn from(error: SoftintError) -> Self {
        NotMeasured::Softint(error)
    }
}

/// One path's instructions.
pub struct Path {
    /// From where to where.
    pub name: &'static str,
    /// Most that the median may be.
    pub limit: u32,
    /// Each time, ascending.
    pub counts: Vec<u32>,
}

/// When the interrupt was asked for, what it took, and how often it came. ORDERING: all on one CPU.
static BEGAN: AtomicU32 = AtomicU32::new(0);
static TOOK: AtomicU32 = AtomicU32::new(0);
static CAME: AtomicU32 = AtomicU32::new(0);

/// It begins.
#[inline(always)]
fn begin() {
    BEGAN.store(instructions().unwrap_or(0), Ordering::Relaxed);
}

/// It has arrived.
#[inline(always)]
fn arrive() {
    let now = instructions().unwrap_or(0);
    TOOK.store(
        now.wrapping_sub(BEGAN.load(Ordering::Relaxed)),
        Ordering::Relaxed,
    );
    CAME.store(CAME.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Where each path ends: functions that stay apart, for who follows the instructions from outside (`make bench-intr`).
macro_rules! ends {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ty),*) = $number:literal;)*) => {$(
        $(#[$meta])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $name($(_: $argument),*) {
            arrive();
            black_box($number);
        }
    )*};
}
ends! {
    fn irqlat_direct(&mut Cx<Interrupt<Bio>>, usize) = 1;
    fn irqlat_threaded(&mut ThreadCx, usize) = 2;
    fn irqlat_softint(&mut ThreadCx, usize) = 3;
    fn irqlat_woken() = 4;
}

static SOFT: Once<Softint> = Once::new();

/// A direct handler that leaves the rest to a soft interrupt.
#[unsafe(no_mangle)]
fn irqlat_schedules(_: &mut Cx<Interrupt<Bio>>, _: usize) {
    if let Some(softint) = SOFT.get() {
        begin();
        softint::schedule(softint);
    }
}

/// Takes one path again and again, by `ask`.
fn repeat(name: &'static str, limit: u32, mut ask: impl FnMut()) -> Result<Path, NotMeasured> {
    let mut counts = Vec::with_capacity(TIMES);
    for time in 0..WARM_UP + TIMES {
        let before = CAME.load(Ordering::Relaxed);
        ask();
        if !spin_until(PATIENCE_NS, || CAME.load(Ordering::Relaxed) != before) {
            return Err(NotMeasured::Lost(name));
        }
        if time >= WARM_UP {
            counts.push(TOOK.load(Ordering::Relaxed));
        }
    }
    counts.sort_unstable();
    Ok(Path {
        name,
        limit,
        counts,
    })
}

/// Asks for the interrupt of a trial line.
#[inline(always)]
fn pend(line: Line) {
    begin();
    trial::set_pending(line);
}

/// Measures all paths, on `cpu`.
pub fn measure(cx: &mut ThreadCx, cpu: usize) -> Result<Vec<Path>, NotMeasured> {
    if SOFT.get().is_none() {
        let softint = softint::establish(cx, Ipl::SoftNet, irqlat_softint, 0)?;
        SOFT.call_once(|| softint);
    }
    let me = thread::current();
    thread::set_affinity(cx, me, CpuSet::only(cpu));
    let paths = by_lines(cx, cpu).and_then(|mut paths| {
        paths.push(timer(cx, cpu)?);
        Ok(paths)
    });
    thread::set_affinity(cx, me, CpuSet::ALL);
    paths
}

/// The paths that begin at a trial line.
fn by_lines(cx: &mut ThreadCx, cpu: usize) -> Result<Vec<Path>, NotMeasured> {
    let mut paths = Vec::new();
    let direct = Handler::<Bio>::Direct(irqlat_direct);
    let path = trial::with_line(cx, Line::Bio, "irqlat", direct, cpu, |_| {
        repeat("interrupt to direct handler", 200, || pend(Line::Bio))
    });
    paths.push(path??);

    let threaded = Handler::<Net>::Threaded(irqlat_threaded);
    let path = trial::with_line(cx, Line::Net, "irqlat", threaded, cpu, |_| {
        repeat("interrupt to threaded handler", 600, || pend(Line::Net))
    });
    paths.push(path??);

    let schedules = Handler::<Bio>::Direct(irqlat_schedules);
    let path = trial::with_line(cx, Line::Bio, "irqlat", schedules, cpu, |_| {
        repeat("direct handler to soft interrupt", 400, || pend(Line::Bio))
    });
    paths.push(path??);
    Ok(paths)
}

/// From the timer's interrupt to the thread that it wakes.
fn timer(cx: &mut ThreadCx, cpu: usize) -> Result<Path, NotMeasured> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let read = move |_: &mut ThreadCx| {
        while !stopped.load(Ordering::Relaxed) {
            begin();
        }
    };
    let reader =
        thread::spawn(cx, "irqlat", 1, CpuSet::only(cpu), read).map_err(NotMeasured::Threads)?;
    let path = repeat("timer to running thread", 1000, || {
        thread::sleep_until(cx, now_ns() + SLEEP_NS);
        irqlat_woken();
    });
    stop.store(true, Ordering::Relaxed);
    reader.join(cx);
    path
}
