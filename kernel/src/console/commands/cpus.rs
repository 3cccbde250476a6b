// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cpus`, `cpu`: processors.
use super::{Command, Outcome};
use crate::console::shell::Call;
use crate::console::words::number_in;
use crate::cpu::{self, CpuState};
use crate::thread::{self, ThreadCx};
use crate::{board, intr, smp};
use bsp::timer::now_ns;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};

pub const CPUS: Command = Command {
    name: "cpus",
    arguments: "",
    summary: "processors: state, MPIDR, levels, boot method",
    details: "el: as the firmware entered the kernel, and now. boot: how CPUs are started.\n\
              starts: times online. busy: share of the time since the last cpus that was\n\
              not idle. waiting: runnable threads in the queue. Example: cpus",
    takes_paths: false,
    run: cpus,
};

fn cpus(_: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let method = board::get().method.as_ref().map_or("none", |m| m.name());
    writeln!(
        out,
        "cpu  state    mpidr       el    boot        starts  busy  waiting"
    )?;
    for n in 0..cpu::CPUS {
        let c = cpu::cpu(n);
        let state = match c.state() {
            CpuState::Off => "off",
            CpuState::Parked => "parked",
            CpuState::Online => "online",
            CpuState::Stopped => "stopped",
        };
        let (starts, mpidr) = (
            c.starts.load(Ordering::Relaxed),
            c.mpidr.load(Ordering::Relaxed),
        );
        if starts == 0 {
            writeln!(out, "{n:>3}  {state:<8} never started")?;
            continue;
        }
        let el = c.entry_el.load(Ordering::Relaxed);
        let waiting = thread::waiting(n);
        let busy = busy_percent(n);
        writeln!(
            out,
            "{n:>3}  {state:<8} {mpidr:#010x}  {el}->{}  {method:<11} {starts:>6}  {busy:>3}%  {waiting:>7}",
            bsp::cpu::exception_level(),
        )?;
    }
    let online = cpu::online().iter().count();
    writeln!(out, "{online} of {} online", cpu::CPUS)?;
    Ok(())
}

/// Share of the time since the last call that CPU `n` did not sleep: interrupts count.
fn busy_percent(n: usize) -> u64 {
    static LAST: [(AtomicU64, AtomicU64); cpu::CPUS] =
        [const { (AtomicU64::new(0), AtomicU64::new(0)) }; cpu::CPUS];
    let (now, idle) = (now_ns(), intr::slept_ns(n));
    let elapsed = now - LAST[n].0.swap(now, Ordering::Relaxed);
    let idled = idle.saturating_sub(LAST[n].1.swap(idle, Ordering::Relaxed));
    100 - (idled * 100 + elapsed / 2)
        .checked_div(elapsed)
        .unwrap_or(0)
        .min(100)
}

pub const CPU: Command = Command {
    name: "cpu",
    arguments: "on|off N",
    summary: "take a CPU off, or back",
    details: "Off by PSCI; where the firmware could not start it again (spin table, QEMU\n\
              without the device pack), the kernel parks it instead. CPU 0 stays.\n\
              Example: cpu off 3",
    takes_paths: false,
    run: cpu,
};

fn cpu(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(2)?;
    let action = call.word(0)?;
    let n = number_in(call.word(1)?, 0..=cpu::CPUS as u64 - 1)? as usize;
    match action {
        "on" => smp::start(cx, n)?,
        "off" => smp::stop(cx, n)?,
        _ => return Err(call.usage()),
    }
    let how = match cpu::cpu(n).state() {
        CpuState::Online => "online",
        CpuState::Parked => "off (parked by the kernel)",
        _ => "off (by PSCI)",
    };
    writeln!(out, "CPU {n} is {how}")?;
    Ok(())
}
