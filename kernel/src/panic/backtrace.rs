// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backtraces by frame pointer, with symbols.
//!
//! A frame record is two words, {caller's record, return address}; vectors.S makes one for a trap. Every record is
//! checked to lie on a stack, above the one before, so that a broken chain ends the trace and nothing else.
use super::ksyms::Symbols;
use crate::cpu::{self, CpuState};
use crate::thread;
use bsp::mmu::symbol;
use bsp::start::stacks;
use bsp::trap::Frame;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

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

/// The registers of the code that the innermost trap on the chain from `fp` interrupted.
pub fn interrupted(fp: usize) -> Option<&'static Frame> {
    let mut records = core::iter::successors(record(fp), |(caller, _)| record(*caller));
    let (at, _) = records.find(|(_, back)| bsp::trap::is_vector_code(*back))?;
    let frame = Frame::of_record(at);
    // SAFETY: the record that vectors.S put into the frame lies on a stack, and the frame around it; it stays as long as the
    // trap lasts, and the caller, on that stack or with the CPU stopped, as long as that.
    record(at).map(|_| unsafe { &*(frame as *const Frame) })
}

/// What is known of where a CPU is.
pub enum Place {
    /// Its registers as it was interrupted.
    Interrupted(&'static Frame),
    /// It is the one that stopped the others, from here: its frame record.
    Here(usize),
    /// It does not answer; where its thread last masked IRQ: (pc, fp).
    Silent(usize, usize),
    /// It runs nothing of the kernel's.
    Off,
}

/// Where CPU `n` is, which is this one, or stopped, or does not answer.
pub fn place_of(n: usize) -> Place {
    let of = cpu::cpu(n);
    let fp = of.stopped_at.load(Ordering::Relaxed) as usize;
    match of.state() {
        _ if n == bsp::cpu::index() => Place::Here(fp),
        CpuState::Stopped => interrupted(fp).map_or(Place::Here(fp), Place::Interrupted),
        CpuState::Off | CpuState::Parked => Place::Off,
        CpuState::Online => {
            let (pc, fp) = thread::running_on(n).map_or((0, 0), |t| t.masked_at());
            Place::Silent(pc, fp)
        }
    }
}

/// Prints the backtrace of CPU `n`, as [`place_of`] finds it.
pub fn print_cpu(out: &mut dyn Write, n: usize) -> fmt::Result {
    match place_of(n) {
        Place::Interrupted(frame) => {
            writeln!(out, "backtrace of CPU {n}:")?;
            print(out, frame.elr as usize, frame.x[29] as usize)
        }
        Place::Here(fp) => {
            writeln!(out, "backtrace of CPU {n}:")?;
            print_callers(out, fp)
        }
        Place::Silent(pc, fp) => {
            writeln!(
                out,
                "CPU {n} does not answer: it hangs with interrupts masked, since about here:"
            )?;
            print(out, pc, fp)
        }
        Place::Off => writeln!(out, "CPU {n} is off"),
    }
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
