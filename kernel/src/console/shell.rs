// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shell: reads a line, finds the command, runs it, says what was wrong. It never ends.
use super::commands::{COMMANDS, Command, find};
use super::complete::complete_path;
use super::terminal::{self, Output};
use super::{tty, words};
use crate::storage::MOUNTS;
use crate::thread::ThreadCx;
use crate::{cpu, klog, lock_order, smp};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use log::info;
use sync::domain::{Before, Cx};

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
        let usage = format!("usage: {} {}", self.command.name, self.command.arguments);
        Refusal(usage.trim_end().into())
    }
}

/// True if the user typed Ctrl-C; a command that prints much asks now and then.
pub fn interrupted<K: Before<lock_order::Tty>>(cx: &mut Cx<K>) -> bool {
    tty::take_interrupt(cx)
}

/// Gives the command up if the user typed Ctrl-C.
pub fn check_interrupt<K: Before<lock_order::Tty>>(cx: &mut Cx<K>) -> Result<(), Refusal> {
    if interrupted(cx) {
        return Err(Refusal("\ninterrupted".into()));
    }
    Ok(())
}

/// Reads and runs commands for ever.
pub fn run(cx: &mut ThreadCx) -> ! {
    let (instructions, us) = (smp::instructions(cx), now_ns() / 1000);
    let cpus = cpu::online().iter().count();
    info!(target: "boot", "{cpus} CPUs; prompt {}.{:03} ms after entry", us / 1000, us % 1000);
    if let Some(count) = instructions {
        info!(target: "boot", "{count} instructions on all CPUs");
    }
    klog::drain(cx);
    let _ = writeln!(
        Output,
        "\nOrthogon {}. Type help for the commands.",
        env!("CARGO_PKG_VERSION")
    );
    loop {
        match terminal::read_line(cx, PROMPT, complete) {
            None => {}
            Some(Err(error)) => {
                let _ = writeln!(Output, "{error}");
            }
            Some(Ok(line)) => execute(cx, &line),
        }
    }
}

fn execute(cx: &mut ThreadCx, line: &str) {
    if let Err(Refusal(reason)) = run_line(cx, line) {
        let _ = writeln!(Output, "{reason}");
    }
    klog::drain(cx); // what it warned of, before the next prompt
}

fn run_line(cx: &mut ThreadCx, line: &str) -> Result<(), Refusal> {
    let words = words::split(line)?;
    let Some((name, rest)) = words.split_first() else {
        return Ok(());
    };
    let command = find(name)?;
    (command.run)(
        cx,
        &Call {
            command,
            words: rest,
        },
        &mut Output,
    )
}

/// Completes command names in the first word, file names behind a command that takes them.
fn complete(cx: &mut Cx<lock_order::Terminal>, before: &str, offer: &mut dyn FnMut(&str)) -> usize {
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
            complete_path(&mut MOUNTS.enter(cx).0, before, offer)
        }
        _ => start,
    }
}
