// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stopping the machine and reporting; the theory is in `mod.rs`.
use super::backtrace::{self, Location};
use super::dump;
use crate::board::{self, OnPanic};
use crate::console::tty::Polled;
use crate::cpu::{self, CPUS, CpuSet, CpuState};
use crate::{ddb, machine_off, stop, thread, watchdog};
use bsp::timer::now_ns;
use bsp::trap::{Cause, Fault, Frame};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// CPU that panics; `CPUS`: none does.
static PANICKING: AtomicUsize = AtomicUsize::new(CPUS);
/// A panic came while one was being reported.
static AGAIN: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    report(
        |out| {
            writeln!(out, "*** PANIC: {}", info.message())?;
            match info.location() {
                Some(at) => writeln!(out, "    at {}:{}", at.file(), at.line()),
                None => Ok(()),
            }
        },
        None,
    )
}

/// The kernel's answer to an unexpected trap.
pub fn fault(fault: &Fault) -> ! {
    report(
        |out| {
            let frame = fault.frame;
            writeln!(out, "*** PANIC: {}", fault.cause)?;
            match fault.cause {
                Cause::StackOverflow => writeln!(
                    out,
                    "    stack pointer {:#x}, address {:#x}",
                    frame.sp, frame.far
                ),
                Cause::UndefinedInstruction | Cause::Breakpoint | Cause::SystemError => Ok(()),
                _ => writeln!(out, "    address {:#x}", frame.far),
            }?;
            writeln!(
                out,
                "    at {:#x} {}",
                frame.elr,
                Location(frame.elr as usize)
            )?;
            let lr = frame.x[30] as usize;
            writeln!(out, "    lr {lr:#x} {}", Location(lr.wrapping_sub(4)))?;
            write!(
                out,
                "    vector {}, ESR {:#010x}, SPSR {:#x}",
                fault.vector, frame.esr, frame.spsr
            )?;
            for (n, value) in frame.x.iter().enumerate() {
                write!(
                    out,
                    "{}x{n:<2} {value:016x}",
                    if n % 3 == 0 { "\n    " } else { "  " }
                )?;
            }
            writeln!(out)
        },
        Some(fault.frame),
    )
}

fn report(what: impl Fn(&mut dyn Write) -> fmt::Result, frame: Option<&Frame>) -> ! {
    let _masked = bsp::cpu::irq_save();
    let me = bsp::cpu::index();
    ddb::recover(&what);
    match PANICKING.compare_exchange(CPUS, me, Ordering::AcqRel, Ordering::Relaxed) {
        Ok(_) => {}
        Err(first) if first == me => again(what),
        Err(_) => bsp::cpu::park(), // another CPU was first, and stops this one
    }
    let others = stop_others(me);
    stop::note_here();
    watchdog::suspend();
    dump::begin();
    let _ = print(&mut dump::Tee, me, others, what, frame);
    dump::save();
    finish()
}

/// Stops the other CPUs for good, also where this one had stopped them before it panicked; returns which.
fn stop_others(me: usize) -> CpuSet {
    loop {
        if let Some(others) = stop::stop_others(CpuSet(0)) {
            return others;
        }
        if stop::is_mine() {
            let stopped = (0..CPUS).filter(|n| cpu::cpu(*n).state() == CpuState::Stopped);
            let online = cpu::online().0 & !CpuSet::only(me).0;
            return CpuSet(stopped.fold(online, |set, n| set | 1 << n));
        }
        stop::stay();
    }
}

/// A panic within the panic: once it may be told, then only stopping is left.
fn again(what: impl Fn(&mut dyn Write) -> fmt::Result) -> ! {
    if !AGAIN.swap(true, Ordering::Relaxed) {
        let _ = what(&mut Polled);
        let _ = writeln!(Polled, "    while reporting the panic before it; halted");
    }
    bsp::cpu::park()
}

fn print(
    out: &mut dyn Write,
    me: usize,
    others: CpuSet,
    what: impl Fn(&mut dyn Write) -> fmt::Result,
    frame: Option<&Frame>,
) -> fmt::Result {
    writeln!(out, "\n")?;
    what(out)?;
    let (name, id) = (thread::current().name(), thread::current().id());
    let ms = now_ns() / 1_000_000;
    writeln!(
        out,
        "    CPU {me}, thread {id} \"{name}\", {}.{:03} s after boot",
        ms / 1000,
        ms % 1000
    )?;
    writeln!(out, "backtrace of CPU {me}:")?;
    match frame {
        Some(frame) => backtrace::print(out, frame.elr as usize, frame.x[29] as usize)?,
        None => backtrace::print_callers(out, bsp::cpu::frame_pointer())?,
    }
    others.iter().try_for_each(|n| backtrace::print_cpu(out, n))
}

fn finish() -> ! {
    let action = board::options().on_panic;
    let _ = match action {
        OnPanic::Halt => writeln!(Polled, "halted (panic=halt): reset or switch off"),
        OnPanic::Reboot => writeln!(Polled, "rebooting (panic=reboot)"),
        OnPanic::Exit => writeln!(Polled, "ending the emulator (panic=exit)"),
        OnPanic::Ddb => writeln!(Polled, "the debugger (panic=ddb)"),
    };
    match action {
        OnPanic::Halt => bsp::cpu::park(),
        OnPanic::Reboot => machine_off::reset(),
        OnPanic::Exit => bsp::semihost::exit(1),
        OnPanic::Ddb => ddb::after_panic(),
    }
}
