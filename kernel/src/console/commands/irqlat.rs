// SPDX-License-Identifier: MIT OR Apache-2.0
//! `irqlat`: how far it is from an interrupt to who waits for it.
use super::{Command, Outcome, requires_instructions};
use crate::console::shell::Call;
use crate::intr::latency;
use crate::thread::ThreadCx;
use crate::{cpu, intr, irqlat, trace};
use core::fmt::Write;

pub const IRQLAT: Command = Command {
    name: "irqlat",
    arguments: "[hist|clear|off]",
    summary: "how far it is from an interrupt to its handler",
    details: "hist: histograms from now on, of the time from when a CPU took an interrupt\n\
              to its handler, by class; of the timer, from when it was to come. clear: from\n\
              zero. off: no more of that. Without a word, instructions: each path 200\n\
              times on one CPU, with nothing held off, under the policy in force.\n\
              The counter's own reading is in the figures. Instructions are counted on a\n\
              board, and in QEMU with -icount: make run ARGS=--icount.\n\
              Example: irqlat",
    takes_paths: false,
    run: irqlat,
};

fn irqlat(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    match call.words.first().map(|word| word.as_str()) {
        None => measure(cx, out),
        Some("hist") => histograms(out),
        Some("clear") => {
            latency::clear();
            Ok(())
        }
        Some("off") => {
            trace::set_latency(false);
            Ok(())
        }
        Some(_) => Err(call.usage()),
    }
}

/// Columns of the longest bar.
const BAR: u32 = 40;

fn histograms(out: &mut dyn Write) -> Outcome {
    if !trace::wants_latency() {
        trace::set_latency(true);
        writeln!(out, "counting from now on; irqlat off ends it")?;
    }
    for line in latency::lines() {
        let all: u32 = line.buckets.iter().sum();
        let Some(last) = line.buckets.iter().rposition(|count| *count != 0) else {
            continue;
        };
        let (us, ns) = (line.worst_ns / 1000, line.worst_ns % 1000);
        match line.class {
            Some(class) => write!(out, "{class}, from taken to handler")?,
            None => write!(out, "timer, from due to handler")?,
        }
        writeln!(out, ": {all}, the longest {us}.{ns:03} us")?;
        let first = line.buckets.iter().position(|count| *count != 0);
        let most = line.buckets.iter().max().copied().unwrap_or(1);
        for bucket in first.unwrap_or(0)..=last {
            let count = line.buckets[bucket];
            let bar = (u64::from(count) * u64::from(BAR)).div_ceil(u64::from(most)) as usize;
            let (sign, us) = match bucket {
                latency::LAST => (">=", 1 << (bucket - 1)),
                _ => (" <", 1_u32 << bucket),
            };
            writeln!(out, "  {sign} {us:>7} us {count:>10} {:#<bar$}", "")?;
        }
    }
    Ok(())
}

fn measure(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    requires_instructions()?;
    let cpu = cpu::online().iter().last().unwrap_or(0);
    writeln!(
        out,
        "instructions, CPU {cpu}, policy {:<10}  least  median    most   limit",
        intr::policy()
    )?;
    for path in irqlat::measure(cx, cpu)? {
        let counts = &path.counts;
        writeln!(
            out,
            "  {:<36} {:>7} {:>7} {:>7} {:>7}",
            path.name,
            counts[0],
            counts[counts.len() / 2],
            counts[counts.len() - 1],
            path.limit
        )?;
    }
    Ok(())
}
