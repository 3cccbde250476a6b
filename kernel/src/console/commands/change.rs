// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cp`, `mv`, `rm`, `mkdir`, `write`: files changed.
//!
//! What has changed is in memory until the syncer, or `sync`, has it written.
use super::files::each_chunk;
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal};
use crate::fs::{Mode, WriteFile};
use crate::storage::MOUNTS;
use crate::thread::ThreadCx;
use alloc::format;
use alloc::string::{String, ToString};
use bsp::timer::now_ns;
use core::fmt::Write;

/// Has `fill` write a file. If that fails, the file is as it was before, or not at all; if finishing it fails, it may be
/// there, empty or as it was to become.
pub(super) fn write_file(
    cx: &mut ThreadCx,
    path: &str,
    mode: Mode,
    fill: impl FnOnce(&mut ThreadCx, &WriteFile) -> Outcome,
) -> Outcome {
    let file = MOUNTS.enter(cx).0.create(path, mode)?;
    match fill(cx, &file) {
        Ok(()) => Ok(MOUNTS.enter(cx).0.finish(file)?),
        Err(refusal) => {
            // What went wrong first is what counts; a volume that is gone needs no tidying up.
            let _ = MOUNTS.enter(cx).0.abandon(file);
            Err(refusal)
        }
    }
}

/// `to`, or in it the name that `from` has, if it is a directory.
pub(super) fn target(cx: &mut ThreadCx, from: &str, to: &str) -> String {
    let name = from
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(from);
    if MOUNTS.enter(cx).0.is_dir(to) {
        format!("{}/{name}", to.trim_end_matches('/'))
    } else {
        to.to_string()
    }
}

pub const CP: Command = Command {
    name: "cp",
    arguments: "FILE TARGET",
    summary: "copy a file, to another or into a directory",
    details: "A file that is there is replaced when all of it is copied: there must be\n\
              room for both. Ctrl-C gives up, and nothing has changed.\n\
              Example: cp /boot/config.txt /boot/config.old",
    takes_paths: true,
    run: cp,
};

fn cp(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(2)?;
    let (from, start) = (call.word(0)?, now_ns());
    let to = target(cx, from, call.word(1)?);
    MOUNTS.enter(cx).0.open(from)?; // before the target is made
    let mut size = 0;
    write_file(cx, &to, Mode::Replace, |cx, file| {
        each_chunk(cx, from, 0, |cx, chunk| {
            size += chunk.len();
            MOUNTS.enter(cx).0.write(file, chunk)?;
            Ok(true)
        })
    })?;
    let ms = ((now_ns() - start) / 1_000_000).max(1);
    writeln!(out, "{to}: {size} bytes in {ms} ms")?;
    Ok(())
}

pub const MV: Command = Command {
    name: "mv",
    arguments: "PATH TARGET",
    summary: "rename or move a file or directory",
    details: "Within one volume, also into a directory; nothing is replaced.\n\
              Example: mv /boot/new.txt /boot/notes.txt",
    takes_paths: true,
    run: mv,
};

fn mv(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(2)?;
    let (from, to) = (call.word(0)?, call.word(1)?);
    let renamed = MOUNTS.enter(cx).0.rename(from, to);
    match renamed {
        Err(error) if error.fault == crate::fs::Fault::Exists => {
            let inside = target(cx, from, to);
            if inside == to {
                return Err(error.into());
            }
            Ok(MOUNTS.enter(cx).0.rename(from, &inside)?)
        }
        renamed => Ok(renamed?),
    }
}

pub const RM: Command = Command {
    name: "rm",
    arguments: "PATH...",
    summary: "remove files and empty directories",
    details: "Example: rm /boot/old.txt",
    takes_paths: true,
    run: rm,
};

fn rm(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.word(0)?;
    for path in call.words {
        MOUNTS.enter(cx).0.remove(path)?;
    }
    Ok(())
}

pub const MKDIR: Command = Command {
    name: "mkdir",
    arguments: "PATH...",
    summary: "make directories",
    details: "Example: mkdir /boot/overlays",
    takes_paths: true,
    run: mkdir,
};

fn mkdir(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.word(0)?;
    for path in call.words {
        MOUNTS.enter(cx).0.make_dir(path)?;
    }
    Ok(())
}

pub const WRITE: Command = Command {
    name: "write",
    arguments: "[-a] FILE TEXT...",
    summary: "write a line of text to a file",
    details: "What the file held is replaced; with -a the line is added to it.\n\
              Example: write -a /boot/config.txt dtparam=watchdog=on",
    takes_paths: true,
    run: write,
};

fn write(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    let append = call.words.first().is_some_and(|word| word == "-a");
    let path = call.word(usize::from(append))?;
    let words = &call.words[1 + usize::from(append)..];
    if words.is_empty() {
        return Err(Refusal("TEXT is missing; help write".into()));
    }
    let line = words.join(" ") + "\n";
    let mode = if append { Mode::Append } else { Mode::Replace };
    write_file(cx, path, mode, |cx, file| {
        Ok(MOUNTS.enter(cx).0.write(file, line.as_bytes())?)
    })
}
