// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUs coming and going.
//!
//! # Theory
//! A CPU goes off in four steps: its interrupts are sent elsewhere, and no others to it; its queue takes no more threads
//! and what waits there goes elsewhere; the thread that runs there is sent after them; the idle thread, alone, hands over
//! the callouts and leaves: through PSCI `CPU_OFF`, or, where the firmware could not start it again, into a loop in the
//! kernel with interrupts masked (parked).
//!
//! Parked it is under a spin table, which has no way back, and under TF-A on a QEMU without the device pack, which
//! ignores the write to RMR_EL3 by which BL31 resets a core. No register shows that before a core is lost to it. So
//! the command line decides (`cpuoff=psci|park`; `make run` says psci where the pack is there), else the firmware's
//! revision does: the emulator's mailbox answers a small constant where a board answers the time of its build. Once a
//! core that PSCI switched off did not come back, the others are parked.
//!
//! BL31 calls a core off shortly before it is: the core then still has to reset itself and to clear its mailbox, and a
//! `CPU_ON` before that is lost for good. [`stop`] returns only after [`SETTLE_NS`] more.
use crate::board::{self, CpuOff};
use crate::cpu::{self, CPUS, CpuSet, CpuState};
use crate::intr::SourceError;
use crate::thread::{IdleCx, ThreadCx};
use crate::{callout, intr, lock_order, thread, watchdog};
use bsp::fdt::Method;
use bsp::power;
use bsp::timer::now_ns;
use core::fmt;
use core::sync::atomic::Ordering;
use sync::domain::{Before, Cx};
use sync::kmutex::KMutex;

/// How long a CPU may take to come or go.
const PATIENCE_NS: u64 = 1_000_000_000;
/// How long a core may take from "off" to where a `CPU_ON` finds it: microseconds on a board, a busy host's time
/// slices in QEMU (10 ms were too few).
const SETTLE_NS: u64 = 100_000_000;

/// One CPU comes or goes at a time.
static CHANGE: KMutex<(), lock_order::Change> = KMutex::new(());

/// Why a CPU did not come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuError {
    /// Caller: there is no such CPU.
    NoSuchCpu(usize),
    /// Caller: CPU 0 takes over what the others leave.
    First,
    /// Caller: it is what was asked for.
    Already(usize, CpuState),
    /// Board: nothing says how to start CPUs.
    NoMethod,
    /// Firmware: it refused.
    Refused(usize, power::PsciError),
    /// Hardware: no answer in a second.
    NoAnswer(usize),
    /// Driver: an interrupt could not be moved.
    Interrupt(SourceError),
}

impl From<SourceError> for CpuError {
    fn from(error: SourceError) -> Self {
        CpuError::Interrupt(error)
    }
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            CpuError::NoSuchCpu(n) => write!(f, "CPU {n} does not exist (0 to {})", CPUS - 1),
            CpuError::First => write!(f, "CPU 0 takes over what the others leave, and stays"),
            CpuError::Interrupt(error) => error.fmt(f),
            CpuError::Already(n, CpuState::Online) => write!(f, "CPU {n} is online already"),
            CpuError::Already(n, _) => write!(f, "CPU {n} is off already"),
            CpuError::NoMethod => write!(f, "the firmware does not say how to start CPUs"),
            CpuError::Refused(n, error) => write!(f, "the firmware refused for CPU {n}: {error}"),
            CpuError::NoAnswer(n) => {
                write!(f, "CPU {n} did not answer within 1 s")?;
                match (cpu::cpu(*n).state(), board::cpu_off()) {
                    (CpuState::Off, CpuOff::Park) => {
                        write!(f, ": PSCI does not restart it; CPUs are parked from now on")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// What every CPU does when it starts or comes back: interrupts masked.
pub fn come_online(entry_el: u8) {
    let this = cpu::this();
    let n = bsp::cpu::index();
    this.entry_el.store(entry_el, Ordering::Relaxed);
    this.mpidr.store(bsp::cpu::mpidr(), Ordering::Relaxed);
    this.starts.fetch_add(1, Ordering::Relaxed);
    thread::become_idle();
    thread::name_idle(n);
    callout::stop_timer();
    intr::init_cpu();
    watchdog::start_cpu();
    thread::set_online(n, true);
}

fn wait_for(
    cx: &mut Cx<lock_order::Change>,
    n: usize,
    state: impl Fn(CpuState) -> bool,
) -> Result<(), CpuError> {
    let end = now_ns() + PATIENCE_NS;
    while !state(cpu::cpu(n).state()) {
        if now_ns() > end {
            return Err(CpuError::NoAnswer(n));
        }
        thread::sleep_until(cx, now_ns() + 100_000);
    }
    Ok(())
}

/// Starts CPU `n`, or takes it back from where it is parked.
pub fn start<K: Before<lock_order::Change>>(cx: &mut Cx<K>, n: usize) -> Result<(), CpuError> {
    if n >= CPUS {
        return Err(CpuError::NoSuchCpu(n));
    }
    let (_one, mut cx) = CHANGE.enter(cx);
    let target = cpu::cpu(n);
    match target.state() {
        CpuState::Online | CpuState::Stopped => return Err(CpuError::Already(n, CpuState::Online)),
        CpuState::Parked => {
            // ORDERING: pairs with the Acquire in `leave`.
            target.wake_request.store(true, Ordering::Release);
            intr::send(intr::Ipi::Wake, CpuSet::only(n));
        }
        CpuState::Off => {
            let method = board::get().method.as_ref().ok_or(CpuError::NoMethod)?;
            // SAFETY: the CPU is off or in the stub's loop, so nothing runs on its stack.
            unsafe { power::start_cpu(method, n) }.map_err(|error| CpuError::Refused(n, error))?;
        }
    }
    let came = wait_for(&mut cx, n, |state| state == CpuState::Online);
    if came.is_err() && target.state() == CpuState::Off {
        board::park_from_now_on();
    }
    came?;
    Ok(intr::come_back(&mut cx, n)?)
}

/// Takes CPU `n` off: its threads, callouts and timers go to others.
pub fn stop<K: Before<lock_order::Change>>(cx: &mut Cx<K>, n: usize) -> Result<(), CpuError> {
    match n {
        0 => return Err(CpuError::First),
        n if n >= CPUS => return Err(CpuError::NoSuchCpu(n)),
        _ => {}
    }
    let (_one, mut cx) = CHANGE.enter(cx);
    let target = cpu::cpu(n);
    if target.state() != CpuState::Online {
        return Err(CpuError::Already(n, target.state()));
    }
    target.wake_request.store(false, Ordering::Relaxed);
    target.gone.store(false, Ordering::Relaxed);
    intr::leave(&mut cx, n)?;
    // ORDERING: pairs with the Release in `leave`.
    let end = now_ns() + PATIENCE_NS;
    while !target.gone.load(Ordering::Acquire) {
        if now_ns() > end {
            return Err(CpuError::NoAnswer(n));
        }
        thread::sleep_until(&mut cx, now_ns() + 100_000);
    }
    if let (CpuState::Off, Some(Method::Psci(conduit))) = (target.state(), &board::get().method) {
        while !power::is_off(*conduit, n) {
            if now_ns() > end {
                return Err(CpuError::NoAnswer(n));
            }
            thread::sleep_until(&mut cx, now_ns() + 100_000);
        }
        thread::sleep_until(&mut cx, now_ns() + SETTLE_NS);
    }
    Ok(())
}

/// Instructions that all online CPUs retired since they were entered; `None` where they are not counted. The calling
/// thread visits each CPU.
pub fn instructions(cx: &mut ThreadCx) -> Option<u64> {
    let me = thread::current();
    // QEMU has one counter, of the instructions of all CPUs, and shows it on each; CPU 0's began first.
    let counters = if board::is_emulated() {
        CpuSet::only(0)
    } else {
        cpu::online()
    };
    let counts = counters.iter().map(|n| {
        thread::set_affinity(cx, me, CpuSet::only(n));
        bsp::cpu::instructions().map(u64::from)
    });
    let sum = counts.sum();
    thread::set_affinity(cx, me, CpuSet::ALL);
    sum
}

/// The idle thread of a CPU that goes off: returns when it is taken back. Interrupts masked.
pub fn leave(cx: &mut IdleCx) {
    let this = cpu::this();
    let n = bsp::cpu::index();
    watchdog::stop_ticking();
    callout::stop_timer();
    callout::hand_over(cx, n);
    intr::send(intr::Ipi::Callouts, CpuSet::only(0));
    if let (CpuOff::Psci, Some(Method::Psci(conduit))) = (board::cpu_off(), &board::get().method) {
        intr::stop_cpu();
        cpu::set_state(n, CpuState::Off);
        this.gone.store(true, Ordering::Release);
        let _refused = power::cpu_off(*conduit);
        intr::init_cpu(); // refused: stay in the kernel
    }
    intr::reset_cpu(); // what wakes it up must come through
    cpu::set_state(n, CpuState::Parked);
    this.gone.store(true, Ordering::Release);
    while !this.wake_request.swap(false, Ordering::AcqRel) {
        bsp::cpu::wait_for_interrupt();
        intr::drain();
    }
    come_online(this.entry_el.load(Ordering::Relaxed));
}
