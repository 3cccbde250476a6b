// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ddb`, `hang`: a stopped machine, and one that hangs.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::console::terminal;
use crate::console::words::number_in;
use crate::cpu;
use crate::ddb;
use crate::hang::{self, How};
use crate::thread::ThreadCx;
use alloc::format;
use bsp::timer::now_ns;
use core::fmt::Write;

pub const DDB: Command = Command {
    name: "ddb",
    arguments: "",
    summary: "stop the machine, and look at it",
    details: "A break on the line does the same, whatever hangs (QEMU: Ctrl-A b), and with\n\
              panic=ddb a panic does. help lists its commands. Example: ddb",
    takes_paths: false,
    run: ddb,
};

fn ddb(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    terminal::flush(cx);
    ddb::enter("asked for at the console");
    Ok(())
}

pub const HANG: Command = Command {
    name: "hang",
    arguments: "CPU|all irq|spl [SECONDS] | locks",
    summary: "have a CPU hang, to see that it is found",
    details: "irq: with interrupts masked; spl: at splhigh; for ever, unless told for how\n\
              long. locks: one CPU takes all locks of the machine, for ever.\n\
              The watchdog reports it; a break on the line gets in. Example: hang 2 irq 10",
    takes_paths: false,
    run: hang,
};

fn hang(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(3)?;
    let online = cpu::online();
    if call.word(0)? == "locks" {
        call.at_most(1)?;
        let last = online.iter().last().unwrap_or(0);
        terminal::flush(cx);
        hang::start(cx, last, How::Locks, u64::MAX)?;
        return Ok(());
    }
    let cpus = match call.word(0)? {
        "all" => online,
        word => {
            let n = number_in(word, 0..=cpu::CPUS as u64 - 1)? as usize;
            if !online.contains(n) {
                return Err(Refusal(format!("CPU {n} is not online")));
            }
            cpu::CpuSet::only(n)
        }
    };
    let how = match call.word(1)? {
        "irq" => How::Masked,
        "spl" => How::Spl,
        _ => return Err(call.usage()),
    };
    let until_ns = match call.words.get(2) {
        Some(word) => now_ns() + number_in(word, 1..=3600)? * 1_000_000_000,
        None => u64::MAX,
    };
    writeln!(out, "CPU {cpus} hangs")?;
    terminal::flush(cx);
    // This CPU last: it may not come to the next.
    let this = bsp::cpu::index();
    let others = cpus.iter().filter(|n| *n != this);
    for n in others.chain(cpus.iter().filter(|n| *n == this)) {
        hang::start(cx, n, how, until_ns)?;
    }
    Ok(())
}
