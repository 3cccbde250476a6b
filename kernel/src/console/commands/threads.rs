// SPDX-License-Identifier: MIT OR Apache-2.0
//! `threads`, `stress`, `selftest`: threads, and whether they work.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, interrupted};
use crate::thread::{self, State, ThreadCx};
use crate::{callout, selftest, stress};
use bsp::start::stacks;
use core::fmt::Write;
use core::sync::atomic::Ordering;

pub const THREADS: Command = Command {
    name: "threads",
    arguments: "",
    summary: "threads: state, priority, CPU, time, stack",
    details: "may run: the CPUs of its affinity. stack B: most bytes ever used of 28 KiB\n\
              (idle threads have the boot stacks, not measured). Example: threads",
    takes_paths: false,
    run: threads,
};

/// As people know it from elsewhere.
pub const PS: Command = Command {
    name: "ps",
    summary: "the same as threads",
    details: "Example: ps",
    ..THREADS
};

fn threads(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    writeln!(
        out,
        "  id  name             state     pri  cpu  may run   time ms   switches  stack B"
    )?;
    for t in thread::threads() {
        if interrupted(cx) {
            break;
        }
        let (state, priority, affinity, _) = t.snapshot(cx);
        let state = match state {
            State::Free => continue,
            State::Runnable => "runnable",
            State::Running => "running",
            State::Blocked => "blocked",
            State::Standby => "standby",
        };
        let ms = thread::cpu_time_ns(cx, t) / 1_000_000;
        let switches = t.switches.load(Ordering::Relaxed);
        write!(
            out,
            "{:>4}  {:<15}  {state:<8}  {priority:>3}  {:>3}  {affinity:<7}",
            t.id(),
            t.name(),
            t.cpu()
        )?;
        match t.slot() as usize {
            stacks::FIRST_FREE.. => writeln!(
                out,
                "  {ms:>8}  {switches:>9}  {:>7}",
                thread::stack_used(t)
            )?,
            _ => writeln!(out, "  {ms:>8}  {switches:>9}        -")?,
        }
    }
    let [a, b, c, d] = callout::waiting(cx);
    writeln!(out, "callouts waiting: {a} {b} {c} {d}")?;
    Ok(())
}

pub const STRESS: Command = Command {
    name: "stress",
    arguments: "start|stop|show",
    summary: "load all CPUs and check that nothing is lost",
    details: "Threads that compute, sleep, yield, contend and pass tokens around; stop says\n\
              whether anything was lost. Example: stress start",
    takes_paths: false,
    run: stress,
};

fn stress(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    match call.word(0)? {
        "start" => stress::start(cx)?,
        "stop" => return Ok(stress::stop(cx, out)?),
        "show" => stress::show(cx, out)?,
        _ => return Err(call.usage()),
    }
    Ok(())
}

pub const SELFTEST: Command = Command {
    name: "selftest",
    arguments: "[NAME]",
    summary: "check machine and kernel; about a second",
    details: "Each check prints what it claims. With NAME, only that one.\n\
              Example: selftest preempt",
    takes_paths: false,
    run: selftest,
};

fn selftest(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let failed = selftest::run(cx, out, call.words.first().map(|w| w.as_str()))?;
    if failed > 0 {
        Err(Refusal(alloc::format!("selftest: {failed} failed")))
    } else {
        Ok(())
    }
}
