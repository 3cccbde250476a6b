// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of console commands, and `help`.
//!
//! A command prints to the terminal it is given, at most 80 columns wide, and returns what was wrong as a sentence.
mod bench;
mod bench_spl;
mod board;
mod change;
mod cpus;
mod demo;
mod disk;
mod diskload;
mod files;
mod hang;
mod hosts;
mod hwreport;
mod intr;
mod irqlat;
mod lastpanic;
mod live;
mod locks;
mod machine;
mod memory;
mod net;
mod netbench;
mod ping;
mod provoke;
mod random;
mod stack;
mod tcpdump;
mod threads;
mod torture;
mod trace;
mod volumes;

use super::shell::{Call, Refusal};
use crate::thread::ThreadCx;
use core::fmt::Write;

/// Where a command prints, and what it returns.
pub type Outcome = Result<(), Refusal>;

/// One console command.
pub struct Command {
    /// What is typed.
    pub name: &'static str,
    /// Its arguments, as `help` shows them.
    pub arguments: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What `help NAME` adds: details and an example.
    pub details: &'static str,
    /// Tab completes file names.
    pub takes_paths: bool,
    /// Does it.
    pub run: fn(&mut ThreadCx, &Call, &mut dyn Write) -> Outcome,
}

/// Writes a line, and goes on in further ones where it is wider than the terminal.
fn write_wrapped(out: &mut dyn Write, line: &str) -> core::fmt::Result {
    const COLUMNS: usize = 80;
    const INDENT: usize = 11;
    let mut column = 0;
    for (n, word) in line.split(' ').enumerate() {
        if n > 0 && column + 1 + word.len() > COLUMNS {
            write!(out, "\n{:INDENT$}", "")?;
            column = INDENT;
        } else if n > 0 {
            out.write_char(' ')?;
            column += 1;
        }
        out.write_str(word)?;
        column += word.len();
    }
    out.write_char('\n')
}

/// Refuses where nothing counts instructions.
fn requires_instructions() -> Outcome {
    match bsp::cpu::instructions() {
        Some(_) => Ok(()),
        None => Err(Refusal(
            "no instructions are counted here: QEMU does with make run ARGS=--icount".into(),
        )),
    }
}

/// All commands, in alphabetical order.
pub const COMMANDS: &[Command] = &[
    net::ARP,
    bench::BENCH,
    board::BOARD,
    files::CAT,
    change::CP,
    cpus::CPU,
    cpus::CPUS,
    hang::DDB,
    demo::DEMO,
    volumes::DF,
    disk::DISK,
    diskload::DISKBENCH,
    diskload::DISKTEST,
    #[cfg(feature = "dma-truth")]
    disk::DMAOMIT,
    machine::DMESG,
    hosts::DNS,
    hang::HANG,
    HELP,
    files::HEXDUMP,
    hwreport::HWREPORT,
    intr::INTR,
    irqlat::IRQLAT,
    lastpanic::LASTPANIC,
    locks::LOCKDEBUG,
    locks::LOCKSTAT,
    machine::LOG,
    files::LS,
    memory::MD,
    memory::MEM,
    change::MKDIR,
    volumes::MOUNT,
    change::MV,
    memory::MW,
    net::NET,
    netbench::NETBENCH,
    hosts::NTP,
    machine::PANIC,
    ping::PING,
    machine::POWEROFF,
    provoke::PROVOKE,
    threads::PS,
    disk::RAMDISK,
    random::RANDOM,
    machine::REBOOT,
    change::RM,
    threads::SELFTEST,
    files::SHA256,
    net::SOCKETS,
    intr::SPL,
    stack::STACK,
    threads::STRESS,
    volumes::SYNC,
    tcpdump::TCPDUMP,
    hosts::TFTP,
    threads::THREADS,
    live::TOP,
    torture::TORTURE,
    trace::TRACE,
    volumes::UMOUNT,
    machine::UPTIME,
    live::WATCH,
    change::WRITE,
];

/// The command of that name.
pub fn find(name: &str) -> Result<&'static Command, Refusal> {
    let unknown = || Refusal(alloc::format!("{name}: no such command; help lists them"));
    COMMANDS.iter().find(|c| c.name == name).ok_or_else(unknown)
}

const HELP: Command = Command {
    name: "help",
    arguments: "[COMMAND]",
    summary: "list the commands, or explain one",
    details: "Keys: arrows, Home, End; Tab completes; Ctrl-C gives up a line or a command.\n\
              Numbers: decimal, 0x hexadecimal, 0b binary; K, M, G multiply by 1024s.\n\
              Example: help md",
    takes_paths: false,
    run: help,
};

fn help(_: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let Some(name) = call.words.first() else {
        for c in COMMANDS {
            let width = 30 - c.name.len();
            write!(out, "  {} {:<width$} ", c.name, c.arguments)?;
            if c.arguments.len() > width {
                write!(out, "\n{:34}", "")?;
            }
            writeln!(out, "{}", c.summary)?;
        }
        return Ok(());
    };
    let c = find(name)?;
    writeln!(out, "{} {}\n  {}", c.name, c.arguments, c.summary)?;
    for line in c.details.lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
