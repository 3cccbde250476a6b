// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of console commands, and `help`.
//!
//! A command prints to the terminal it is given, at most 80 columns wide, and returns what was wrong as a sentence.
mod bench;
mod bench_spl;
mod change;
mod cpus;
mod demo;
mod disk;
mod diskload;
mod files;
mod intr;
mod irqlat;
mod locks;
mod machine;
mod memory;
mod threads;
mod torture;
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
    bench::BENCH,
    files::CAT,
    change::CP,
    cpus::CPU,
    cpus::CPUS,
    demo::DEMO,
    volumes::DF,
    disk::DISK,
    diskload::DISKBENCH,
    diskload::DISKTEST,
    #[cfg(feature = "dma-truth")]
    disk::DMAOMIT,
    machine::DMESG,
    HELP,
    files::HEXDUMP,
    intr::INTR,
    irqlat::IRQLAT,
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
    machine::PANIC,
    machine::POWEROFF,
    disk::RAMDISK,
    machine::REBOOT,
    change::RM,
    threads::SELFTEST,
    files::SHA256,
    intr::SPL,
    threads::STRESS,
    volumes::SYNC,
    threads::THREADS,
    torture::TORTURE,
    volumes::UMOUNT,
    machine::UPTIME,
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
