// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mem`, `md`, `mw`: memory and registers.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, check_interrupt};
use crate::console::words::{number, number_in};
use crate::thread::ThreadCx;
use crate::{board, heap};
use alloc::format;
use bsp::mmu::symbol;
use bsp::start::stacks;
use bsp::trap;
use core::fmt::{self, Write};

/// One row of a dump: address, 16 bytes, and what they are as text.
pub fn hex_row(out: &mut dyn Write, at: u64, row: &[u8]) -> fmt::Result {
    write!(out, "{at:08x} ")?;
    for i in 0..16 {
        let gap = if i % 8 == 0 { " " } else { "" };
        match row.get(i) {
            Some(byte) => write!(out, "{gap}{byte:02x} ")?,
            None => write!(out, "{gap}   ")?,
        }
    }
    out.write_str(" ")?;
    for byte in row {
        out.write_char(if (b' '..=b'~').contains(byte) {
            *byte as char
        } else {
            '.'
        })?;
    }
    writeln!(out)
}

/// The width suffix of a word such as `md.b`: bytes of an access.
fn width(word: Option<&str>) -> Option<usize> {
    match word {
        None | Some("w") => Some(4),
        Some("b") => Some(1),
        Some("h") => Some(2),
        Some("d") => Some(8),
        Some(_) => None,
    }
}

fn address(word: &str, bytes: usize) -> Result<usize, Refusal> {
    let address = number(word)?;
    if address % bytes as u64 != 0 {
        return Err(Refusal(format!(
            "address {address:#x} is not a multiple of {bytes}"
        )));
    }
    Ok(address as usize)
}

fn no_access(address: usize) -> Refusal {
    Refusal(format!(
        "{address:#x}: no access (not mapped, protected, or no device answers)"
    ))
}

pub const MD: Command = Command {
    name: "md",
    arguments: "ADDRESS [COUNT [b|h|w|d]]",
    summary: "show memory or registers",
    details: "COUNT accesses (16 unless told) of 1 (b), 2 (h), 4 (w, unless told) or 8 (d)\n\
              bytes. An address that cannot be read is an error.\n\
              Example: md 0xfe201018 1",
    takes_paths: false,
    run: md,
};

fn md(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(3)?;
    let bytes = width(call.words.get(2).map(|w| w.as_str())).ok_or_else(|| call.usage())?;
    let start = address(call.word(0)?, bytes)?;
    let count = call
        .words
        .get(1)
        .map_or(Ok(16), |w| number_in(w, 1..=65536))? as usize;
    for i in 0..count {
        let at = start.wrapping_add(i * bytes);
        let value = trap::read(at, bytes).map_err(|trap::Faulted| {
            let _ = if i > 0 { writeln!(out) } else { Ok(()) };
            no_access(at)
        })?;
        if i * bytes % 16 == 0 {
            write!(out, "{}{at:08x} ", if i == 0 { "" } else { "\n" })?;
            check_interrupt(cx)?;
        }
        write!(out, " {value:0width$x}", width = 2 * bytes)?;
    }
    writeln!(out)?;
    Ok(())
}

pub const MW: Command = Command {
    name: "mw",
    arguments: "ADDRESS VALUE [b|h|w|d]",
    summary: "write memory or a register",
    details: "One access of 1 (b), 2 (h), 4 (w, unless told) or 8 (d) bytes. You can break\n\
              the kernel; text and unmapped addresses are errors.\n\
              Example: mw 0xfe20001c 0x400",
    takes_paths: false,
    run: mw,
};

fn mw(_: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(3)?;
    let bytes = width(call.words.get(2).map(|w| w.as_str())).ok_or_else(|| call.usage())?;
    let at = address(call.word(0)?, bytes)?;
    let value = number_in(call.word(1)?, 0..=u64::MAX >> (64 - 8 * bytes))?;
    // SAFETY: none can be given: the user of this command takes the responsibility.
    unsafe { trap::write(at, bytes, value) }.map_err(|trap::Faulted| no_access(at))
}

pub const MEM: Command = Command {
    name: "mem",
    arguments: "",
    summary: "memory: the firmware's view, kernel, heap",
    details: "Example: mem",
    takes_paths: false,
    run: mem,
};

fn mem(_: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let mut row = |name: &str, range: core::ops::Range<usize>| {
        writeln!(
            out,
            "{name:<10} {:#013x} to {:#013x}  {:>10} KiB",
            range.start,
            range.end,
            range.len() >> 10
        )
    };
    for ram in board::get().memory.as_slice() {
        row("ram", ram.clone())?;
    }
    for reserved in board::get().reserved.as_slice() {
        row("reserved", reserved.clone())?;
    }
    row("text", symbol::text_start()..symbol::text_end())?;
    row("constants", symbol::text_end()..symbol::rodata_end())?;
    row("data", symbol::rodata_end()..symbol::ksyms_start())?;
    row("symbols", symbol::ksyms_start()..symbol::ksyms_end())?;
    row("bss", symbol::bss_start()..symbol::stacks())?;
    row("stacks", symbol::stacks()..symbol::end())?;
    let heap = heap::usage();
    writeln!(
        out,
        "heap: {} KiB used of {} MiB, at most {} KiB, {} allocations",
        heap.used_bytes.div_ceil(1024),
        heap.total_bytes >> 20,
        heap.most_bytes.div_ceil(1024),
        heap.allocations,
    )?;
    let kib = (stacks::SLOT_BYTES - stacks::GUARD_BYTES) >> 10;
    writeln!(
        out,
        "stacks: {} slots of {kib} KiB, a guard page under each",
        stacks::SLOTS
    )?;
    Ok(())
}
