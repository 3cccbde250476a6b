// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the debugger and the crash dump tell of a stopped machine: CPUs, threads, locks, interrupts, callouts.
//!
//! # Contexts
//! A stopped machine, as [`Stopped`] says. No lock, no heap.
use crate::cpu::{self, CPUS, CpuSet, CpuState};
use crate::panic::Location;
use crate::panic::backtrace::{self, Place};
use crate::stop::Stopped;
use crate::thread::{self, State, Thread};
use crate::{callout, intr, watchdog};
use arm_gic::IntId;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use sync::lockview::{self, Held, View};
use sync::machine::KThread;

/// Names of locks' classes are shown to this width.
const CLASS: usize = 16;

fn locks(_: &Stopped) -> impl Iterator<Item = View> {
    // SAFETY: the machine is stopped.
    unsafe { lockview::locks() }
}

/// The CPUs of `asked` that do not answer, and where they hang.
pub fn silent(_: &Stopped, out: &mut dyn Write, asked: CpuSet) -> fmt::Result {
    asked
        .iter()
        .filter(|n| cpu::cpu(*n).state() == CpuState::Online)
        .try_for_each(|n| backtrace::print_cpu(out, n))
}

/// Each CPU: what it runs, what that holds off, and where it is.
pub fn cpus(_: &Stopped, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "cpu  state      thread                 spl    at")?;
    for n in 0..CPUS {
        let place = backtrace::place_of(n);
        let (state, pc) = match place {
            Place::Off => {
                writeln!(out, "{n:>3}  off")?;
                continue;
            }
            Place::Here(_) => ("in ddb", None),
            _ if n == bsp::cpu::index() => ("in ddb", None),
            Place::Interrupted(frame) => ("stopped", Some(frame.elr as usize)),
            Place::Silent(pc, _) => ("no answer", Some(pc)),
        };
        write!(out, "{n:>3}  {state:<9}  ")?;
        match thread::running_on(n) {
            Some(t) => write!(out, "{:>4} {:<16}  {:<5}", t.id(), t.name(), spl(t))?,
            None => write!(out, "{:<28}", "-")?,
        }
        match pc {
            Some(pc) => write!(out, "  {:.33}", short(pc))?,
            None => write!(out, "  -")?,
        }
        writeln!(out, "{}", if watchdog::hangs(n) { " HANGS" } else { "" })?;
    }
    Ok(())
}

/// A code address as text, with the end of its function's path, which says more than the start.
fn short(pc: usize) -> heapless::String<33> {
    let mut whole = heapless::String::<160>::new();
    let _cut = write!(whole, "{}", Location(pc));
    let from = whole.len().saturating_sub(33);
    let mut short = heapless::String::new();
    let cut = whole.get(from..).unwrap_or(&whole);
    // From the first whole name on.
    let whole_names = cut.split_once("::").filter(|_| from > 0);
    let _fits = short.push_str(whole_names.map_or(cut, |(_, rest)| rest));
    short
}

/// The highest class that a thread holds off.
fn spl(t: &Thread) -> &'static str {
    t.sync.mask().level().map_or("-", |class| class.name())
}

/// All threads: state, priority, CPU, what they hold off, what they wait for.
pub fn threads(stopped: &Stopped, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "  id  name             state     pri  cpu  spl    wants lock"
    )?;
    for t in thread::threads() {
        // SAFETY: the machine is stopped.
        let state = match unsafe { t.sched_stopped() }.state.get() {
            State::Free => continue,
            State::Runnable => "runnable",
            State::Running => "running",
            State::Blocked => "blocked",
            State::Standby => "standby",
        };
        let runs = thread::running_on(t.cpu()).is_some_and(|on| core::ptr::eq(on, t));
        write!(
            out,
            "{:>4}  {:<16} {state:<8}  {:>3}  {:>3}  {:<5}  ",
            t.id(),
            t.name(),
            t.sync.priority(),
            t.cpu(),
            if runs { spl(t) } else { "-" }
        )?;
        match locks(stopped).find(|lock| lock.is_wanted_by(&t.sync)) {
            Some(lock) => writeln!(out, "{:.CLASS$} {:#x}", lock.class, lock.address)?,
            None => writeln!(out, "-")?,
        }
    }
    Ok(())
}

/// All locks that are held or waited for.
pub fn held_locks(stopped: &Stopped, out: &mut dyn Write) -> fmt::Result {
    let mut count = (0, 0);
    for lock in locks(stopped) {
        count.0 += 1;
        if !matches!(lock.held, Held::Free) || waiters(&lock).next().is_some() {
            count.1 += 1;
            one_lock(&lock, out)?;
        }
    }
    writeln!(out, "{} of {} locks are held", count.1, count.0)
}

/// The locks of a class, or the one whose word is at an address; false if there is none.
pub fn lock(
    stopped: &Stopped,
    out: &mut dyn Write,
    is_it: impl Fn(&View) -> bool,
) -> Result<bool, fmt::Error> {
    let mut found = false;
    for lock in locks(stopped).filter(is_it) {
        found = true;
        one_lock(&lock, out)?;
    }
    Ok(found)
}

fn waiters(lock: &View) -> impl Iterator<Item = &'static Thread> {
    let waits = move |t: &&'static Thread| lock.is_wanted_by(&t.sync) && !lock.is_held_by(&t.sync);
    thread::threads().filter(waits)
}

fn one_lock(lock: &View, out: &mut dyn Write) -> fmt::Result {
    write!(
        out,
        "{:<CLASS$.CLASS$} {:<8} {:<6} {:#010x}  ",
        lock.class, lock.lock, lock.domain, lock.address
    )?;
    match lock.held {
        Held::Free => writeln!(out, "free")?,
        Held::By(owner) => holder(lock, owner, out)?,
        Held::Readers(_) | Held::Writer => {
            match lock.held {
                Held::Readers(n) => writeln!(out, "{n} readers")?,
                _ => writeln!(out, "written")?,
            }
            for t in thread::threads().filter(|t| lock.is_held_by(&t.sync)) {
                write!(out, "{:>22}", "held by ")?;
                holder(lock, &t.sync, out)?;
            }
        }
    }
    for t in waiters(lock) {
        writeln!(
            out,
            "{:>22}{} {} on CPU {}",
            "wanted by ",
            t.id(),
            t.name(),
            t.cpu()
        )?;
    }
    Ok(())
}

fn holder(lock: &View, owner: &'static KThread, out: &mut dyn Write) -> fmt::Result {
    let t = Thread::of(owner);
    write!(out, "{} {} on CPU {}", t.id(), t.name(), t.cpu())?;
    if let Some(since_ns) = lock.since_ns(owner) {
        let ms = now_ns().saturating_sub(since_ns) / 1_000_000;
        write!(out, ", {}.{:03} s", ms / 1000, ms % 1000)?;
    }
    writeln!(out)
}

/// All interrupts that have a handler.
pub fn interrupts(_: &Stopped, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "intid source       class flavour  cpu      count deferred  now"
    )?;
    // SAFETY: the machine is stopped.
    for line in unsafe { intr::lines_stopped() } {
        write!(
            out,
            "{:>5} {:<12} {:<5} {:<8} ",
            line.intid,
            line.name,
            line.class,
            line.flavour.name()
        )?;
        match line.cpu {
            Some(cpu) => write!(out, "{cpu:>3}")?,
            None => write!(out, "all")?,
        }
        let count: u32 = line.counts.iter().sum();
        write!(out, " {count:>10} {:>8}  ", line.deferred)?;
        let now = |is: fn(IntId) -> bool, text| match line.intid.checked_sub(32) {
            Some(spi) if is(IntId::spi(spi)) => text,
            _ => "",
        };
        writeln!(
            out,
            "{}{}",
            now(intr::is_active, "active "),
            now(intr::is_pending, "pending")
        )?;
    }
    Ok(())
}

/// All callouts, the next one of each CPU last.
pub fn callouts(_: &Stopped, out: &mut dyn Write) -> fmt::Result {
    let now = now_ns() as i64;
    writeln!(out, "cpu      due ms  function(argument)")?;
    for n in 0..CPUS {
        // SAFETY: the machine is stopped.
        for (at_ns, function, argument) in unsafe { callout::waiting_stopped(n) } {
            let ms = (at_ns as i64 - now) / 1_000_000;
            writeln!(
                out,
                "{n:>3}  {ms:>10}  {}({argument:#x})",
                Location(function)
            )?;
        }
    }
    Ok(())
}
