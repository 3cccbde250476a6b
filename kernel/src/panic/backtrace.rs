// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backtraces by frame pointer, with symbols.
//!
//! A frame record is two words, {caller's record, return address}; vectors.S makes one for a trap. Every record is
//! checked to lie on a stack, above the one before, so that a broken chain ends the trace and nothing else.
use super::ksyms::Symbols;
use bsp::mmu::symbol;
use bsp::start::stacks;
use core::fmt::{self, Write};

/// Of a long chain, so many innermost and outermost frames are printed.
const INNER: usize = 12;
const OUTER: usize = 8;
/// Frames looked at; a stack of 28 KiB has at most 1792.
const LONGEST: usize = 2000;

fn symbols() -> Option<Symbols<'static>> {
    let (start, end) = (symbol::ksyms_start(), symbol::ksyms_end());
    // SAFETY: the linker script's reservation, mapped read-only.
    Symbols::new(unsafe { core::slice::from_raw_parts(start as *const u8, end - start) })
}

/// A code address as `function+offset`.
pub struct Location(pub usize);

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let text = symbol::text_start()..symbol::text_end();
        let offset = self.0.wrapping_sub(text.start) as u32;
        match symbols()
            .filter(|_| text.contains(&self.0))
            .and_then(|s| s.lookup(offset))
        {
            Some((name, into)) => write!(f, "{name}+{into:#x}"),
            None if text.contains(&self.0) => f.write_str("(no symbol)"),
            None => f.write_str("(not in the kernel's text)"),
        }
    }
}

/// The record at `fp`: the caller's record and the return address; `None` where the chain ends or is broken.
fn record(fp: usize) -> Option<(usize, usize)> {
    let on_a_stack = |at| matches!(stacks::locate(at), Some((_, false)));
    if !fp.is_multiple_of(8) || !on_a_stack(fp) || !on_a_stack(fp + 8) {
        return None;
    }
    // SAFETY: both words lie in a stack slot, above its guard page: mapped, aligned memory.
    let [caller, back] = unsafe { *(fp as *const [usize; 2]) };
    (back != 0 && (caller == 0 || caller > fp)).then_some((caller, back))
}

/// Prints the call chain of code at `pc` whose frame record is at `fp`.
pub fn print(out: &mut dyn Write, pc: usize, fp: usize) -> fmt::Result {
    writeln!(out, "   0  {pc:#010x}  {}", Location(pc))?;
    chain(out, fp, 1)
}

/// Prints the callers of the code whose frame record is at `fp`, but not that code.
pub fn print_callers(out: &mut dyn Write, fp: usize) -> fmt::Result {
    chain(out, fp, 0)
}

fn chain(out: &mut dyn Write, fp: usize, first: usize) -> fmt::Result {
    let records = || core::iter::successors(record(fp), |(caller, _)| record(*caller));
    let frames = records().take(LONGEST).count();
    let mut in_trap = false;
    for (number, (_, back)) in records().enumerate().take(frames) {
        if number == INNER && frames > INNER + OUTER {
            writeln!(out, "      ... {} frames", frames - INNER - OUTER)?;
        }
        if number < INNER || number + OUTER >= frames {
            // A return address points behind the call; the call is what happened.
            let at = if in_trap { back } else { back - 4 };
            writeln!(out, "  {:>2}  {at:#010x}  {}", number + first, Location(at))?;
        }
        in_trap = bsp::trap::is_vector_code(back);
    }
    Ok(())
}
