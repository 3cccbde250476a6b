// SPDX-License-Identifier: MIT OR Apache-2.0
//! `trace`: what each CPU did last; on the console, and for Perfetto.
use super::change::write_file;
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, check_interrupt};
use crate::console::words::number_in;
use crate::fs::{CHUNK_BYTES, Mode};
use crate::storage::MOUNTS;
use crate::thread::{self, ThreadCx};
use crate::trace::chrome::Chrome;
use crate::trace::{self, Class, Classes};
use alloc::format;
use alloc::string::String;
use bsp::timer::ns_at;
use core::fmt::Write;

/// Records that `show` shows, unless told.
const SHOWN: u64 = 20;

pub const TRACE: Command = Command {
    name: "trace",
    arguments: "[on [CLASS]...|off|status|clear|show [N]|export [-n N] [FILE]]",
    summary: "record what the CPUs do, and show it",
    details: "on: record the classes, from now: sched lock intr bio net, or all (default).\n\
              show: the last N (20) records, oldest first: time, CPU, thread, what.\n\
              status: records, and what the kernel's own counters say of the same time.\n\
              export: ends the recording, and writes it (the last N records of it) as JSON\n\
              for ui.perfetto.dev, here or to FILE. Each CPU keeps its last 4096 records.\n\
              Example: trace on sched intr",
    takes_paths: true,
    run,
};

fn run(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    let words = call.words.iter().map(String::as_str);
    let words: heapless::Vec<&str, 6> = words.take(6).collect();
    match (&words[..], call.words.len()) {
        ([] | ["status"], _) => status(cx, out),
        (["on", classes @ ..], 1..6) => {
            let mut some = Classes::default();
            for word in classes {
                some = match Class::parse(word) {
                    Some(class) => some.with(class),
                    None if *word == "all" => Classes::ALL,
                    None => return Err(call.usage()),
                };
            }
            if classes.is_empty() {
                some = Classes::ALL;
            }
            trace::on(cx, some);
            Ok(writeln!(out, "tracing {some}")?)
        }
        (["off"], _) => {
            trace::off(cx);
            Ok(writeln!(out, "tracing nothing")?)
        }
        (["clear"], _) => {
            trace::clear(cx);
            Ok(())
        }
        (["show"], _) => show(out, SHOWN),
        (["show", most], _) => show(out, number_in(most, 1..=100_000)?),
        (["export"], _) => export_here(cx, out, None),
        (["export", "-n", most], _) => {
            let most = number_in(most, 1..=100_000)?;
            export_here(cx, out, Some(most as usize))
        }
        (["export", path], _) if !path.starts_with('-') => export_to(cx, out, None, path),
        (["export", "-n", most, path], _) => {
            let most = number_in(most, 1..=100_000)?;
            export_to(cx, out, Some(most as usize), path)
        }
        _ => Err(call.usage()),
    }
}

fn show(out: &mut dyn Write, most: u64) -> Outcome {
    writeln!(out, "      seconds    CPU  thread                 what")?;
    Ok(trace::write_last(out, most as usize)?)
}

fn status(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let status = trace::status(cx);
    let ms = status.ns / 1_000_000;
    let (classes, seconds, rest) = (status.classes, ms / 1000, ms % 1000);
    match status.is_on {
        true => writeln!(out, "tracing {classes} for {seconds}.{rest:03} s")?,
        false if status.classes == Classes::default() => writeln!(out, "nothing was traced")?,
        false => writeln!(out, "tracing nothing; {classes} for {seconds}.{rest:03} s")?,
    }
    writeln!(out, "                          events     counted")?;
    for count in status.counts {
        write!(out, "{:<20} {:>11}", count.what, count.events)?;
        match count.counted {
            Some(counted) => writeln!(out, " {counted:>11}")?,
            None => writeln!(out, "           -")?,
        }
    }
    for (cpu, (written, kept)) in status.rings.iter().enumerate() {
        let lost = written - kept;
        writeln!(
            out,
            "CPU {cpu}: {written} records, {kept} are kept, {lost} were overwritten"
        )?;
    }
    Ok(())
}

/// Has `put` write the trace, piece by piece.
fn export(
    cx: &mut ThreadCx,
    most: Option<usize>,
    mut put: impl FnMut(&mut ThreadCx, &mut String) -> Outcome,
) -> Result<usize, Refusal> {
    trace::off(cx);
    let lost: u64 = {
        let status = trace::status(cx);
        status
            .rings
            .iter()
            .map(|(written, kept)| written - kept)
            .sum()
    };
    let name = |id: u32| match thread::threads().find(|t| t.id() == id) {
        Some(t) => t.name().as_str().into(),
        None => format!("thread {id}, ended"),
    };
    let mut chrome = Chrome::new(&name);
    let mut text = String::new();
    chrome.begin(&mut text, env!("CARGO_PKG_VERSION"), lost)?;
    let mut count = 0;
    for (cpu, record) in trace::records(most) {
        chrome.add(&mut text, cpu, ns_at(record.ticks), &record)?;
        count += 1;
        put(cx, &mut text)?;
    }
    chrome.end(&mut text)?;
    put(cx, &mut text)?;
    Ok(count)
}

fn export_here(cx: &mut ThreadCx, out: &mut dyn Write, most: Option<usize>) -> Outcome {
    export(cx, most, |cx, text| {
        out.write_str(text)?;
        text.clear();
        check_interrupt(cx)
    })?;
    Ok(())
}

fn export_to(cx: &mut ThreadCx, out: &mut dyn Write, most: Option<usize>, path: &str) -> Outcome {
    let (mut count, mut bytes) = (0, 0);
    write_file(cx, path, Mode::Replace, |cx, file| {
        let mut rest = String::new();
        count = export(cx, most, |cx, text| {
            rest.push_str(text);
            text.clear();
            if rest.len() >= CHUNK_BYTES {
                check_interrupt(cx)?;
                MOUNTS.enter(cx).0.write(file, rest.as_bytes())?;
                bytes += rest.len();
                rest.clear();
            }
            Ok(())
        })?;
        bytes += rest.len();
        Ok(MOUNTS.enter(cx).0.write(file, rest.as_bytes())?)
    })?;
    Ok(writeln!(out, "{path}: {count} records, {bytes} bytes")?)
}
