// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shell: reads a line, finds the command, runs it, says what was wrong. It never ends.
use super::commands::{COMMANDS, Command, find};
use super::complete::complete_path;
use super::terminal::{self, Output};
use super::{tty, words};
use crate::storage::MOUNTS;
use crate::{cpu, klog, smp};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use log::info;

/// What the shell shows when it waits.
pub const PROMPT: &str = "orthogon> ";

/// Why a command did not do what it was asked, for the user to read.
pub struct Refusal(pub String);

impl<E: fmt::Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal(format!("{error}"))
    }
}

/// What a command gets: its words (the name left out) and where to print.
pub struct Call<'a> {
    /// The command that was named.
    pub command: &'static Command,
    /// The words behind the name.
    pub words: &'a [String],
}

impl Call<'_> {
    /// Word `n`, or a complaint that shows the usage.
    pub fn word(&self, n: usize) -> Result<&str, Refusal> {
        self.words
            .get(n)
            .map(String::as_str)
            .ok_or_else(|| self.usage())
    }

    /// Complains if there are more than `most` words.
    pub fn at_most(&self, most: usize) -> Result<(), Refusal> {
        if self.words.len() > most {
            Err(self.usage())
        } else {
            Ok(())
        }
    }

    /// The complaint that shows the usage.
    pub fn usage(&self) -> Refusal {
        Refusal(format!(
            "usage: {} {}",
            self.command.name, self.command.arguments
        ))
    }
}

/// True if the user typed Ctrl-C; a command that prints much asks now and then.
pub fn interrupted() -> bool {
    tty::take_interrupt()
}

/// Gives the command up if the user typed Ctrl-C.
pub fn check_interrupt() -> Result<(), Refusal> {
    if interrupted() {
        return Err(Refusal("\ninterrupted".into()));
    }
    Ok(())
}

/// Reads and runs commands for ever.
pub fn run() -> ! {
    let (instructions, us) = (smp::instructions(), now_ns() / 1000);
    let cpus = cpu::online().iter().count();
    info!(target: "boot", "{cpus} CPUs; prompt {}.{:03} ms after entry", us / 1000, us % 1000);
    if let Some(count) = instructions {
        info!(target: "boot", "{count} instructions on all CPUs");
    }
    klog::drain();
    let _ = writeln!(
        Output,
        "\nOrthogon {}. Type help for the commands.",
        env!("CARGO_PKG_VERSION")
    );
    loop {
        match terminal::read_line(PROMPT, &mut complete) {
            None => {}
            Some(Err(error)) => {
                let _ = writeln!(Output, "{error}");
            }
            Some(Ok(line)) => execute(&line),
        }
    }
}

fn execute(line: &str) {
    if let Err(Refusal(reason)) = run_line(line) {
        let _ = writeln!(Output, "{reason}");
    }
}

fn run_line(line: &str) -> Result<(), Refusal> {
    let words = words::split(line)?;
    let Some((name, rest)) = words.split_first() else {
        return Ok(());
    };
    let command = find(name)?;
    (command.run)(
        &Call {
            command,
            words: rest,
        },
        &mut Output,
    )
}

/// Completes command names in the first word, file names behind a command that takes them.
fn complete(before: &str, offer: &mut dyn FnMut(&str)) -> usize {
    let (start, word) = words::last_word(before);
    let earlier: Vec<String> = words::split(&before[..start]).unwrap_or_default();
    match earlier.first() {
        first if first.is_none_or(|name| name == "help") => {
            COMMANDS
                .iter()
                .filter(|c| c.name.starts_with(&*word))
                .for_each(|c| offer(c.name));
            start
        }
        Some(name) if COMMANDS.iter().any(|c| c.name == name && c.takes_paths) => {
            complete_path(&mut MOUNTS.lock(), before, offer)
        }
        _ => start,
    }
}
