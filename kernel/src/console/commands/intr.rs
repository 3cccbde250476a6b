// SPDX-License-Identifier: MIT OR Apache-2.0
//! `intr`, `spl`: the sources of interrupts, and how they are held off.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::console::tty;
use crate::console::words::{number, number_in};
use crate::cpu;
use crate::intr::{self, Line};
use crate::softint;
use crate::thread::{self, State, Thread, ThreadCx};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use sync::delivery::Policy;
use sync::ipl::Ipl;
use sync::spl::{PENDING_INTERRUPT, PENDING_RESCHED, PENDING_SOFT};

pub const INTR: Command = Command {
    name: "intr",
    arguments: "[cpus|clear|move N CPU]",
    summary: "interrupts: class, flavour, CPU, count, times",
    details: "deferred: times that one came while it was held off, and waited in memory.\n\
              wait: longest from being taken to the handler's first instruction; run:\n\
              longest time in it, with all that came in between. clear: forget these two.\n\
              cpus: counts on each CPU. move: send interrupt N to another CPU; returns when\n\
              nothing of it is left on the old one. Example: intr move 153 2",
    takes_paths: false,
    run: intr,
};

fn intr(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    match call.words.first().map(String::as_str) {
        None => table(cx, out),
        Some("cpus") => {
            call.at_most(1)?;
            by_cpu(cx, out)
        }
        Some("clear") => {
            call.at_most(1)?;
            intr::forget_worst(cx);
            Ok(writeln!(out, "worst times forgotten")?)
        }
        Some("move") => {
            call.at_most(3)?;
            let intid = u32::try_from(number(call.word(1)?)?).unwrap_or(u32::MAX);
            let cpu = number_in(call.word(2)?, 0..=cpu::CPUS as u64 - 1)? as usize;
            intr::move_to(cx, intid, cpu)?;
            Ok(writeln!(out, "interrupt {intid} goes to CPU {cpu}")?)
        }
        Some(_) => Err(call.usage()),
    }
}

/// Microseconds with one place behind the point.
fn us(ns: u64) -> String {
    format!("{}.{}", ns / 1000, ns / 100 % 10)
}

fn table(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    writeln!(
        out,
        "intid source       class flavour  prio cpu     count deferred  wait us   run us"
    )?;
    let lines = intr::lines(cx);
    for line in &lines {
        let cpu = line.cpu.map_or("all".into(), |cpu| format!("{cpu}"));
        writeln!(
            out,
            "{:>5} {:<12} {:<5} {:<8} {:#04x} {cpu:>3} {:>9} {:>8} {:>8} {:>8}",
            line.intid,
            line.name,
            line.class,
            line.flavour.name(),
            line.priority,
            line.counts.iter().sum::<u32>(),
            line.deferred,
            us(line.worst_wait_ns),
            us(line.worst_run_ns),
        )?;
    }
    for Line {
        intid,
        name,
        storms,
        ..
    } in lines.iter().filter(|line| line.storms > 0)
    {
        writeln!(
            out,
            "{intid} ({name}) stormed, and was throttled: {storms} times"
        )?;
    }
    let gic = intr::summary();
    let states = if gic.two_security_states {
        "two security states"
    } else {
        "one security state"
    };
    writeln!(
        out,
        "GICv2: {} lines, {states}, priority bits {:#04x}",
        gic.lines, gic.priority_bits
    )?;
    let (mut spurious, mut unexpected) = (0, 0);
    for figures in intr::figures(cx).iter().flatten() {
        spurious += figures.spurious;
        unexpected += figures.unexpected;
    }
    let (overruns, errors) = tty::line_statistics();
    writeln!(out, "spurious {spurious}, unexpected {unexpected}")?;
    writeln!(out, "serial line: overruns {overruns}, errors {errors}")?;
    Ok(())
}

fn by_cpu(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    writeln!(
        out,
        "intid source            cpu0       cpu1       cpu2       cpu3"
    )?;
    for line in intr::lines(cx) {
        write!(out, "{:>5} {:<12}", line.intid, line.name)?;
        for count in line.counts {
            write!(out, " {count:>10}")?;
        }
        writeln!(out)?;
    }
    for (at, class) in softint::CLASSES.iter().enumerate() {
        write!(out, " soft {class:<12}")?;
        for cpu in 0..cpu::CPUS {
            write!(out, " {:>10}", softint::counts(cpu)[at])?;
        }
        writeln!(out)?;
    }
    Ok(())
}

pub const SPL: Command = Command {
    name: "spl",
    arguments: "[eager|lazy|domain|count on|off]",
    summary: "how interrupts are held off; what it costs",
    details: "eager: each raise writes the GIC's priority mask (PMR). lazy: only memory, and\n\
              the PMR when something comes. domain: memory; what comes and is held off waits\n\
              there, so disk and network do not wait for each other. held, pending: of the\n\
              thread that the CPU runs. deferred: waited in memory; at gic: waited there,\n\
              behind the PMR. gic: register accesses. count: count raises, which makes them\n\
              slower. Example: spl lazy",
    takes_paths: false,
    run: spl,
};

fn spl(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    match (call.words.first().map(String::as_str), call.words.get(1)) {
        (None, _) => {}
        (Some("count"), Some(word)) if word == "on" || word == "off" => {
            call.at_most(2)?;
            intr::count_raises(cx, word == "on");
        }
        (Some(word), None) => {
            let policy: Policy = word
                .parse()
                .map_err(|error| Refusal(format!("{error}\n{}", call.usage().0)))?;
            intr::set_policy(cx, policy);
        }
        _ => return Err(call.usage()),
    }
    let counted = intr::counts_raises();
    let not = if counted { "" } else { " not" };
    writeln!(out, "policy {}; raises are{not} counted", intr::policy())?;
    writeln!(
        out,
        "cpu  held        pending    raises     deferred  at gic  pmr writes   gic"
    )?;
    for (cpu, figures) in intr::figures(cx).iter().enumerate() {
        let Some(figures) = figures else {
            writeln!(out, "{cpu:>3}  off")?;
            continue;
        };
        let running = thread::threads().find(|t| {
            let (state, ..) = t.snapshot(cx);
            t.cpu() == cpu && state == State::Running
        });
        let raises = if counted {
            format!("{}", figures.raises)
        } else {
            "-".into()
        };
        writeln!(
            out,
            "{cpu:>3}  {:<10}  {:<8} {raises:>8} {:>12} {:>7} {:>11} {:>5}",
            running.map_or("-".into(), held),
            running.map_or("-", pending),
            figures.delivery.deferred,
            figures.delivery.held,
            figures.delivery.mask_writes,
            figures.delivery.accesses + figures.deactivated,
        )?;
    }
    Ok(())
}

/// The hardware classes that a thread holds off.
fn held(t: &Thread) -> String {
    let mask = t.sync.mask();
    if Ipl::HARDWARE.iter().all(|class| !mask.masks(*class)) {
        return "nothing".into();
    }
    match mask.level() {
        Some(Ipl::High) => "everything".into(),
        Some(Ipl::Sched) => "to sched".into(),
        _ => {
            let names = [Ipl::Bio, Ipl::Net, Ipl::Tty].into_iter();
            let names = names.filter(|class| mask.masks(*class)).map(Ipl::name);
            names.fold(String::new(), |text, name| {
                if text.is_empty() {
                    name.into()
                } else {
                    text + "," + name
                }
            })
        }
    }
}

/// What waits for a thread's spl to drop.
fn pending(t: &Thread) -> &'static str {
    let pending = t.sync.pending.load(Ordering::Relaxed);
    match pending & (PENDING_INTERRUPT | PENDING_RESCHED | PENDING_SOFT) {
        0 => "nothing",
        PENDING_INTERRUPT => "intr",
        PENDING_RESCHED => "resched",
        PENDING_SOFT => "softint",
        _ => "several",
    }
}
