// SPDX-License-Identifier: MIT OR Apache-2.0
//! `top`, `watch`: what changes, shown again and again in the same place.
//!
//! # Theory
//! A screen is put together in memory and written at once, from the upper left corner on, each line cleared to its end: so it
//! does not flicker at 115200 baud. It is cut to 80 columns and 24 rows. Between two screens keys are looked at
//! ten times a second: Ctrl-C and q end it.
use super::{Command, Outcome, find};
use crate::console::shell::{Call, Refusal};
use crate::console::tty;
use crate::console::words::number_in;
use crate::cpu::CPUS;
use crate::cpu_time::{self, Look, Owner, Shares};
use crate::shares::Percent;
use crate::thread::{self, ThreadCx};
use alloc::format;
use alloc::string::String;
use bsp::timer::now_ns;
use core::fmt::{self, Write};

const COLUMNS: usize = 80;
const ROWS: usize = 24;
/// How often keys are looked at.
const KEYS_NS: u64 = 100_000_000;
/// Ends a show.
const QUIT: [u8; 2] = [b'q', 3];

/// Shows what `draw` writes every `seconds`, until a key ends it; or so many times, one below the other.
pub(super) fn show(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    seconds: u64,
    times: Option<u64>,
    mut draw: impl FnMut(&mut ThreadCx, &mut String) -> Outcome,
) -> Outcome {
    let mut screen = String::new();
    let mut shown = 0;
    if times.is_none() {
        out.write_str("\x1b[2J")?;
    }
    loop {
        screen.clear();
        let drawn = draw(cx, &mut screen);
        if times.is_some() || drawn.is_err() {
            out.write_str(&screen)?;
        } else {
            redraw(out, &screen)?;
        }
        drawn?;
        shown += 1;
        if times.is_some_and(|times| shown >= times) {
            return Ok(());
        }
        if !pause(cx, seconds) {
            return Ok(out.write_char('\n')?);
        }
    }
}

/// Writes `screen` over the one before.
fn redraw(out: &mut dyn Write, screen: &str) -> fmt::Result {
    out.write_str("\x1b[H")?;
    for line in screen.lines().take(ROWS - 1) {
        let end = line
            .char_indices()
            .nth(COLUMNS)
            .map_or(line.len(), |(at, _)| at);
        writeln!(out, "{}\x1b[K", &line[..end])?;
    }
    out.write_str("\x1b[J")
}

/// Waits; false if a key was pressed that ends the show.
fn pause(cx: &mut ThreadCx, seconds: u64) -> bool {
    let end = now_ns() + seconds * 1_000_000_000;
    loop {
        while let Some(key) = tty::take_key(cx) {
            if QUIT.contains(&key) {
                return false;
            }
        }
        let now = now_ns();
        if now >= end {
            return true;
        }
        thread::sleep_until(cx, end.min(now + KEYS_NS));
    }
}

pub const WATCH: Command = Command {
    name: "watch",
    arguments: "[-n SECONDS] [-c TIMES] COMMAND...",
    summary: "run a command again and again, in place",
    details: "Every 2 seconds unless told, until q or Ctrl-C; with -c so many times, one\n\
              below the other. What does not fit 80 columns and 23 rows is not shown.\n\
              Example: watch -n 1 -c 3 intr",
    takes_paths: true,
    run: watch,
};

fn watch(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let (mut seconds, mut times, mut words) = (2, None, call.words);
    let (name, rest) = loop {
        words = match words {
            [option, value, more @ ..] if option == "-n" => {
                seconds = number_in(value, 1..=3600)?;
                more
            }
            [option, value, more @ ..] if option == "-c" => {
                times = Some(number_in(value, 1..=1_000_000)?);
                more
            }
            [option, ..] if option.starts_with('-') => return Err(call.usage()),
            [name, rest @ ..] => break (name, rest),
            [] => return Err(call.usage()),
        };
    };
    let command = find(name)?;
    if ["watch", "top"].contains(&command.name) {
        return Err(Refusal(format!(
            "{name} is shown again and again by itself"
        )));
    }
    let inner = Call {
        command,
        words: rest,
    };
    show(cx, out, seconds, times, |cx, screen| {
        (command.run)(cx, &inner, screen)
    })
}

pub const TOP: Command = Command {
    name: "top",
    arguments: "[-n TIMES] [SECONDS]",
    summary: "whose the CPUs' time is",
    details: "Every 2 seconds unless told, until q or Ctrl-C; with -n so many times, one\n\
              below the other. %: of one CPU. An interrupt thread that had to wait counts\n\
              as a thread from there on; the way into a handler is the interrupted thread's.\n\
              Example: top -n 3 1",
    takes_paths: false,
    run: top,
};

fn top(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(3)?;
    let (times, rest) = match call.words {
        [option, value, rest @ ..] if option == "-n" => {
            (Some(number_in(value, 1..=1_000_000)?), rest)
        }
        rest => (None, rest),
    };
    let seconds = match rest {
        [] => 2,
        [value] if !value.starts_with('-') => number_in(value, 1..=3600)?,
        _ => return Err(call.usage()),
    };
    let mut before = cpu_time::look(cx);
    if !pause(cx, 1) {
        return Ok(());
    }
    show(cx, out, seconds, times, |cx, screen| {
        let now = cpu_time::look(cx);
        write_top(screen, &now, &before)?;
        before = now;
        Ok(())
    })
}

fn write_shares(out: &mut String, name: &str, shares: Shares) -> fmt::Result {
    let [threads, interrupts, softints, idle] = shares.map(Percent);
    writeln!(
        out,
        "{name:>5} {threads:>9} {interrupts:>11} {softints:>6} {idle:>6}"
    )
}

fn write_top(out: &mut String, now: &Look, before: &Look) -> fmt::Result {
    let difference = now.since(before);
    let ms = (difference.ns / 1_000_000).max(1);
    let threads = now.had.keys().filter(|o| matches!(o, Owner::Thread(_)));
    writeln!(
        out,
        "{} threads; {} switches a second; over {}.{:03} s, up {} s",
        threads.count(),
        difference.switches * 1000 / ms,
        ms / 1000,
        ms % 1000,
        now_ns() / 1_000_000_000
    )?;
    writeln!(out, "  CPU  threads%  interrupt%  soft%  idle%")?;
    for n in 0..CPUS {
        match difference.cpus[n] {
            Some(shares) => write_shares(out, &format!("{n}"), shares)?,
            None => writeln!(out, "{n:>5}  off")?,
        }
    }
    write_shares(out, "all", difference.total)?;
    writeln!(
        out,
        "   id  name             kind       CPU  CPU%   time ms"
    )?;
    let head = 3 + CPUS + 1;
    for (owner, had, tenths) in difference.rows.iter().take(ROWS - 1 - head) {
        match owner {
            Owner::Thread(id) => write!(out, "{id:>5}  ")?,
            Owner::Interrupt(intid) => write!(out, "{:>5}  ", format!("i{intid}"))?,
        }
        let cpu = had.cpu.map_or(String::from("all"), |cpu| format!("{cpu}"));
        let (name, kind, ms) = (&had.name, had.kind, had.ns / 1_000_000);
        let percent = Percent(*tenths);
        writeln!(out, "{name:<16} {kind:<9} {cpu:>4} {percent:>5} {ms:>9}")?;
    }
    Ok(())
}
