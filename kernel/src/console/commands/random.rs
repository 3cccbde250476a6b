// SPDX-License-Identifier: MIT OR Apache-2.0
//! `random`: random bytes, and where they come from.
use super::memory::hex_row;
use super::{Command, Outcome};
use crate::console::shell::{Call, check_interrupt};
use crate::console::words::number_in;
use crate::random;
use crate::thread::ThreadCx;
use core::fmt::Write;

const ROW_BYTES: usize = 16;

pub const RANDOM: Command = Command {
    name: "random",
    arguments: "[BYTES|reseed]",
    summary: "random bytes, and what they are made from",
    details: "32 bytes unless told, at most 1 MiB, from ChaCha20. reseed: make its key anew\n\
              first, which also happens every five minutes. Example: random 64",
    takes_paths: false,
    run: random,
};

fn random(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let bytes = match call.words.first().map(|word| word.as_str()) {
        None => 32,
        Some("reseed") => {
            random::seed(cx);
            0
        }
        Some(word) => number_in(word, 1..=1 << 20)? as usize,
    };
    let mut row = [0; ROW_BYTES];
    for at in (0..bytes).step_by(ROW_BYTES) {
        let row = &mut row[..ROW_BYTES.min(bytes - at)];
        random::fill(cx, row);
        hex_row(out, at as u64, row)?;
        check_interrupt(cx)?;
    }
    write_sources(cx, out)
}

/// What keys are made of, in a line.
pub fn write_sources(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let sources = random::sources(cx);
    match sources.hardware {
        None => write!(out, "no RNG200; ")?,
        Some(Ok(())) => write!(out, "RNG200 ({} restarts); ", sources.restarts)?,
        Some(Err(error)) => write!(out, "{error}; ")?,
    }
    match sources.firmware_bytes {
        0 => write!(out, "none from the firmware; ")?,
        bytes => write!(out, "{bytes} bytes from the firmware; ")?,
    }
    writeln!(out, "timer; keys made: {}", sources.seeds)?;
    Ok(())
}
