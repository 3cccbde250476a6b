// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ls`, `cat`, `hexdump`, `sha256`: files read.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, check_interrupt};
use crate::console::words::number_in;
use crate::fs::CHUNK_BYTES;
use crate::storage::MOUNTS;
use crate::thread::ThreadCx;
use alloc::format;
use alloc::vec;
use bsp::timer::now_ns;
use core::fmt::Write;
use sha2::{Digest, Sha256};

pub const LS: Command = Command {
    name: "ls",
    arguments: "[PATH]",
    summary: "list a directory",
    details: "Without PATH: what is mounted. Example: ls /boot",
    takes_paths: true,
    run: ls,
};

fn ls(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let path = call.words.first().map_or("/", |p| p);
    if MOUNTS.enter(cx).0.names().next().is_none() {
        return Err(Refusal("nothing is mounted; mount looks for a card".into()));
    }
    let listed = MOUNTS.enter(cx).0.read_dir(path)?;
    let (mut files, mut bytes) = (0u64, 0);
    for entry in &listed.entries {
        check_interrupt(cx)?;
        let (end, size) = if entry.is_dir {
            ("/", "dir".into())
        } else {
            ("", format!("{}", entry.size))
        };
        let modified = entry.modified.map_or("-".into(), |m| format!("{m}"));
        writeln!(out, "{size:>12}  {modified:<19}  {}{end}", entry.name)?;
        files += 1;
        bytes += entry.size;
    }
    let entries = if files == 1 { "entry" } else { "entries" };
    writeln!(out, "{bytes:>12}  bytes in {files} {entries}")?;
    if listed.damaged > 0 {
        writeln!(out, "damaged and not shown: {}", listed.damaged)?;
    }
    Ok(())
}

/// Feeds the file's chunks to `take` until it says false. Ctrl-C ends it.
pub(super) fn each_chunk(
    cx: &mut ThreadCx,
    path: &str,
    from: u64,
    mut take: impl FnMut(&mut ThreadCx, &[u8]) -> Result<bool, Refusal>,
) -> Outcome {
    let mut file = MOUNTS.enter(cx).0.open(path)?;
    file.seek(from);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let n = MOUNTS.enter(cx).0.read(&mut file, &mut buffer)?;
        if n == 0 || !take(cx, &buffer[..n])? {
            return Ok(());
        }
        check_interrupt(cx)?;
    }
}

pub const CAT: Command = Command {
    name: "cat",
    arguments: "FILE",
    summary: "print a text file",
    details: "What is not printable ASCII is printed as dots. Example: cat /boot/config.txt",
    takes_paths: true,
    run: cat,
};

fn cat(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let mut last = b'\n';
    each_chunk(cx, call.word(0)?, 0, |cx, chunk| {
        for part in chunk.chunks(256) {
            for byte in part.iter().copied().filter(|byte| *byte != b'\r') {
                let plain = matches!(byte, b'\n' | b'\t' | b' '..=b'~');
                out.write_char(if plain { byte.into() } else { '.' })?;
                last = byte;
            }
            check_interrupt(cx)?;
        }
        Ok(true)
    })?;
    if last != b'\n' {
        writeln!(out)?; // or the prompt would stand behind the text
    }
    Ok(())
}

pub const HEXDUMP: Command = Command {
    name: "hexdump",
    arguments: "FILE [OFFSET [BYTES]]",
    summary: "show a file's bytes",
    details: "256 bytes from the start unless told.\n\
              Example: hexdump /boot/kernel8.img 0x38 16",
    takes_paths: true,
    run: hexdump,
};

fn hexdump(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(3)?;
    let path = call.word(0)?;
    let from = call
        .words
        .get(1)
        .map_or(Ok(0), |w| number_in(w, 0..=u64::from(u32::MAX)))?;
    let mut left = call
        .words
        .get(2)
        .map_or(Ok(256), |w| number_in(w, 1..=u64::from(u32::MAX)))? as usize;
    let mut at = from;
    each_chunk(cx, path, from, |cx, chunk| {
        let chunk = &chunk[..chunk.len().min(left)];
        for row in chunk.chunks(16) {
            super::memory::hex_row(out, at, row)?;
            at += row.len() as u64;
            check_interrupt(cx)?;
        }
        left -= chunk.len();
        Ok(left > 0)
    })?;
    if at == from {
        return Err(Refusal(format!("{path}: nothing at offset {from}")));
    }
    Ok(())
}

pub const SHA256: Command = Command {
    name: "sha256",
    arguments: "FILE",
    summary: "SHA-256 of a file",
    details: "The digest as sha256sum prints it, then the file.\n\
              Example: sha256 /boot/kernel8.img",
    takes_paths: true,
    run: sha256,
};

fn sha256(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    let path = call.word(0)?;
    let start = now_ns();
    let (mut hash, mut size) = (Sha256::new(), 0);
    each_chunk(cx, path, 0, |_, chunk| {
        hash.update(chunk);
        size += chunk.len();
        Ok(true)
    })?;
    let ms = ((now_ns() - start) / 1_000_000).max(1);
    for byte in hash.finalize() {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out, "\n{path}: {size} bytes in {ms} ms")?;
    Ok(())
}
