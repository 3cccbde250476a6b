// SPDX-License-Identifier: MIT OR Apache-2.0
//! `lastpanic`: what the last panic has left on the card.
use super::{Command, Outcome};
use crate::clock::Utc;
use crate::console::shell::{Call, Refusal, check_interrupt};
use crate::panic::dump::format::{Header, sections};
use crate::panic::dump::{build, keep};
use crate::storage;
use crate::thread::ThreadCx;
use alloc::format;
use core::fmt::Write;

const COLUMNS: usize = 80;

pub const LASTPANIC: Command = Command {
    name: "lastpanic",
    arguments: "[PART|all|clear]",
    summary: "what the last panic left on the card",
    details: "Shows the report as it stood on the console. PART is another part of the dump:\n\
              machine, cpus, locks, threads, interrupts, log; all: every part, one after the\n\
              other. The dump stays until clear forgets it or another panic takes its\n\
              place. On a host, orthogon-symbolise shows it with the source's lines.\n\
              Example: lastpanic log",
    takes_paths: false,
    run: lastpanic,
};

fn lastpanic(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let word = call.words.first().map_or("report", |word| word.as_str());
    let medium = storage::medium(cx, "card").map_err(Refusal)?;
    let refused = |error: keep::Unread| Refusal(format!("{error}"));
    if word == "clear" {
        keep::clear(cx, &medium).map_err(refused)?;
        return Ok(writeln!(out, "the crash dump is cleared")?);
    }
    let (header, text) = keep::read(cx, &medium).map_err(refused)?;
    if word != "all" && !sections(&text).any(|(name, _)| name == word) {
        return Err(call.usage());
    }
    show_header(&header, out)?;
    for (name, body) in sections(&text).filter(|(name, _)| word == "all" || *name == word) {
        if word == "all" {
            writeln!(out, "== {name} ==")?;
        }
        for line in body.trim_start().lines() {
            write_cut(line, out)?;
            check_interrupt(cx)?;
        }
    }
    Ok(())
}

fn show_header(header: &Header, out: &mut dyn Write) -> Outcome {
    let ms = header.uptime_ns / 1_000_000;
    write!(
        out,
        "panic {}, {}.{:03} s after boot",
        header.sequence,
        ms / 1000,
        ms % 1000
    )?;
    if header.utc_ns != 0 {
        write!(out, ", {}", Utc(header.utc_ns))?;
    }
    let same = header.build == build::id();
    let which = if same { "this build" } else { "another build" };
    Ok(writeln!(out, ", by {which}\n  {}", header.build)?)
}

/// Writes a line, and the rest of one that is too long in further lines.
fn write_cut(mut line: &str, out: &mut dyn Write) -> Outcome {
    while line.len() > COLUMNS {
        let (now, later) = line.split_at(line.floor_char_boundary(COLUMNS));
        writeln!(out, "{now}")?;
        line = later;
    }
    Ok(writeln!(out, "{line}")?)
}
