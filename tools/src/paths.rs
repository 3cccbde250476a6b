// SPDX-License-Identifier: MIT OR Apache-2.0
//! The instructions that a function executes when nothing is in its way.
//!
//! That is the way from its first instruction to a return that calls nothing, leaves the function nowhere else and
//! executes no instruction twice: what is slow is elsewhere (`#[cold] #[inline(never)]`), and what is tried again jumps
//! back. There must be just one such way; if there are two, or none, the function is not what it was taken for.
//!
//! References: ARM DDI 0487, C4.1 (branches).

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol};
use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

/// A function's code.
pub struct Function {
    /// Address of its first instruction.
    pub address: u64,
    /// Its instructions.
    pub words: Vec<u32>,
}

/// Where an instruction leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// To the next one.
    On,
    /// To this address, and nowhere else.
    Jump(u64),
    /// To this address or the next one.
    Either(u64),
    /// To another function, which returns, or to an address that only the machine knows.
    Away,
    /// Out.
    Return,
}

/// The signed number in the `bits` bits of `word` from `low` on, times 4.
fn offset(word: u32, low: u32, bits: u32) -> i64 {
    let top = 32 - low - bits;
    i64::from((word << top) as i32 >> (top + low)) * 4
}

fn flow(word: u32, address: u64) -> Flow {
    let to = |offset: i64| address.wrapping_add_signed(offset);
    match word {
        w if w & 0xFC00_0000 == 0x1400_0000 => Flow::Jump(to(offset(w, 0, 26))), // B
        w if w & 0xFF00_0000 == 0x5400_0000 => Flow::Either(to(offset(w, 5, 19))), // B.cond
        w if w & 0x7E00_0000 == 0x3400_0000 => Flow::Either(to(offset(w, 5, 19))), // CBZ, CBNZ
        w if w & 0x7E00_0000 == 0x3600_0000 => Flow::Either(to(offset(w, 5, 14))), // TBZ, TBNZ
        w if w & 0xFFFF_FC1F == 0xD65F_0000 => Flow::Return,
        w if w & 0xFC00_0000 == 0x9400_0000 => Flow::Away, // BL
        w if w & 0xFE00_0000 == 0xD600_0000 => Flow::Away, // BR, BLR and what else goes by a register
        w if w & 0xFFE0_0000 == 0xD420_0000 => Flow::Away, // BRK
        w if w & 0xFFFF_0000 == 0 => Flow::Away,           // UDF
        _ => Flow::On,
    }
}

/// True for what a function needs that inlined code does not: the frame record, saved registers, the return.
fn is_frame(word: u32) -> bool {
    let base_is_sp = (word >> 5) & 31 == 31;
    let ldp_or_stp = word & 0x7E00_0000 == 0x2800_0000;
    let (t, t2) = (word & 31, (word >> 10) & 31);
    let saved = |register: u32| (19..=30).contains(&register);
    let pair = ldp_or_stp && base_is_sp && saved(t) && saved(t2);
    let single = word & 0xBF00_0000 == 0xB900_0000 && base_is_sp && saved(t);
    let single_writing_back = word & 0xFF20_0400 == 0xF800_0400 && base_is_sp && saved(t);
    let moves_sp = word & 0xBF00_0000 == 0x9100_0000 && base_is_sp && (t == 31 || t == 29);
    let sub_sp = word & 0xFF00_0000 == 0xD100_0000 && base_is_sp && t == 31;
    pair || single || single_writing_back || moves_sp || sub_sp || flow(word, 0) == Flow::Return
}

/// What a function executes.
pub struct Path {
    /// Addresses and instructions, in order.
    pub steps: Vec<(u64, u32)>,
}

impl Path {
    /// How many of them are the frame's: [`Path::counted`] leaves these out.
    pub fn frame(&self) -> usize {
        self.steps.iter().filter(|(_, w)| is_frame(*w)).count()
    }

    /// How many stay where the function is inlined.
    pub fn counted(&self) -> usize {
        self.steps.len() - self.frame()
    }

    /// The listing, one instruction a line; those of the frame in brackets.
    pub fn listing(&self) -> String {
        let line = |(address, word): &(u64, u32)| {
            let text = text(*word);
            if is_frame(*word) {
                format!("      {address:#8x}  ({text})\n")
            } else {
                format!("      {address:#8x}  {text}\n")
            }
        };
        self.steps.iter().map(line).collect()
    }
}

/// The instruction as an assembler reads it.
fn text(word: u32) -> String {
    let bytes = word.to_le_bytes();
    match InstDecoder::default().decode(&mut U8Reader::new(&bytes)) {
        Ok(instruction) => instruction.to_string(),
        Err(_) => format!(".word {word:#010x}"),
    }
}

impl Function {
    /// The functions of an ELF file whose name begins so, by name; several names may be one function's.
    pub fn named(elf: &[u8], start: &str) -> Result<Vec<(String, Function)>> {
        let file = object::File::parse(elf).context("not an ELF file")?;
        let mut found = Vec::new();
        for symbol in file.symbols() {
            let Ok(name) = symbol.name() else { continue };
            let (Some(name), Some(index)) = (name.strip_prefix(start), symbol.section_index())
            else {
                continue;
            };
            let code = file
                .section_by_index(index)?
                .data_range(symbol.address(), symbol.size())?
                .with_context(|| format!("{name} has no code"))?;
            let words = code
                .chunks_exact(4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let function = Function {
                address: symbol.address(),
                words: words.collect(),
            };
            found.push((name.to_owned(), function));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn end(&self) -> u64 {
        self.address + 4 * self.words.len() as u64
    }

    /// The one way through; see the module.
    pub fn path(&self) -> Result<Path> {
        let mut found = Vec::new();
        self.walk(
            self.address,
            &mut Vec::new(),
            &mut BTreeSet::new(),
            &mut found,
        );
        match found.len() {
            1 => Ok(Path {
                steps: found.remove(0),
            }),
            0 => bail!("no way leads through it without a call"),
            n => bail!("{n} ways lead through it without a call"),
        }
    }

    fn walk(
        &self,
        at: u64,
        steps: &mut Vec<(u64, u32)>,
        seen: &mut BTreeSet<u64>,
        found: &mut Vec<Vec<(u64, u32)>>,
    ) {
        if !(self.address..self.end()).contains(&at) || !seen.insert(at) {
            return;
        }
        let word = self.words[(at - self.address) as usize / 4];
        steps.push((at, word));
        match flow(word, at) {
            Flow::On => self.walk(at + 4, steps, seen, found),
            Flow::Jump(to) => self.walk(to, steps, seen, found),
            Flow::Either(to) => {
                self.walk(at + 4, steps, seen, found);
                self.walk(to, steps, seen, found);
            }
            Flow::Away => {}
            Flow::Return => found.push(steps.clone()),
        }
        steps.pop();
        seen.remove(&at);
    }

    /// The instruction at `index` without its own address: a target inside the function counts from its start, one
    /// outside is the address.
    fn placeless(&self, index: usize) -> (u32, u64) {
        let (word, at) = (self.words[index], self.address + 4 * index as u64);
        let (target, low, bits) = match flow(word, at) {
            Flow::Jump(to) => (to, 0, 26),
            Flow::Either(to) if word & 0x7E00_0000 == 0x3600_0000 => (to, 5, 14),
            Flow::Either(to) => (to, 5, 19),
            _ if word & 0xFC00_0000 == 0x9400_0000 => {
                (at.wrapping_add_signed(offset(word, 0, 26)), 0, 26)
            }
            _ if word & 0x9F00_0000 == 0x9000_0000 => {
                // ADRP: pages from this one on.
                let pages = offset(word, 5, 19) + i64::from(word >> 29 & 3);
                let page = (at >> 12).wrapping_add_signed(pages);
                return (word & 0x9F00_001F, page);
            }
            _ => return (word, 0),
        };
        let rest = word & !(((1 << bits) - 1) << low);
        if (self.address..self.end()).contains(&target) {
            (rest, target - self.address)
        } else {
            (rest, target)
        }
    }

    /// The first instruction, counted from 0, in which the two functions differ, wherever they lie.
    pub fn difference(&self, other: &Function) -> Option<usize> {
        let same = |i: &usize| self.placeless(*i) == other.placeless(*i);
        let common = self.words.len().min(other.words.len());
        let differs = (0..common).find(|i| !same(i));
        differs.or((self.words.len() != other.words.len()).then_some(common))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RET: u32 = 0xD65F_03C0;
    const NOP: u32 = 0xD503_201F;

    fn function(address: u64, words: &[u32]) -> Function {
        Function {
            address,
            words: words.to_vec(),
        }
    }

    /// CBZ X0, so many instructions on.
    fn cbz(instructions: i32) -> u32 {
        0xB400_0000 | (instructions as u32 & 0x7FFFF) << 5
    }

    /// B or BL, so many instructions on.
    fn branch(opcode: u32, instructions: i32) -> u32 {
        opcode | (instructions as u32 & 0x3FF_FFFF)
    }
    const B: u32 = 0x1400_0000;
    const BL: u32 = 0x9400_0000;

    #[test]
    fn the_way_goes_round_calls_and_does_not_repeat() {
        // An attempt that is repeated on failure; then, unless all is well, a call.
        let f = function(
            0x80000,
            &[
                NOP,
                NOP,
                cbz(-1),
                cbz(3),
                NOP,
                RET,
                branch(BL, 100),
                branch(B, -3),
            ],
        );
        let path = f.path().unwrap();
        assert_eq!(path.counted(), 5);
        assert_eq!(path.frame(), 1, "the return");
        let addresses: Vec<u64> = path.steps.iter().map(|(a, _)| a - 0x80000).collect();
        assert_eq!(addresses, [0, 4, 8, 12, 16, 20]);
    }

    #[test]
    fn no_way_and_two_ways_are_errors() {
        assert!(function(0, &[NOP, branch(BL, 4), RET]).path().is_err());
        assert!(
            function(0, &[NOP, branch(B, 4)]).path().is_err(),
            "a tail call"
        );
        assert!(function(0, &[cbz(2), NOP, RET]).path().is_err());
    }

    #[test]
    fn the_frame_is_told_from_the_rest() {
        // As LLVM's assembler encodes them.
        let frame = [
            ("stp x29, x30, [sp, #-16]!", 0xA9BF_7BFD),
            ("mov x29, sp", 0x9100_03FD),
            ("add x29, sp, #16", 0x9100_43FD),
            ("stp x20, x19, [sp, #16]", 0xA901_4FF4),
            ("ldp x29, x30, [sp], #16", 0xA8C1_7BFD),
            ("sub sp, sp, #32", 0xD100_83FF),
            ("add sp, sp, #32", 0x9100_83FF),
            ("str x23, [sp, #16]", 0xF900_0BF7),
            ("ret", RET),
        ];
        for (text, word) in frame {
            assert!(is_frame(word), "{text}");
        }
        let rest = [
            ("nop", NOP),
            ("mrs x8, tpidr_el1", 0xD538_D088),
            ("ldaxr x9, [x0]", 0xC85F_FC09),
            ("stp x0, x8, [sp]", 0xA900_23E0),
            ("str x0, [x9]", 0xF900_0120),
            ("add x9, x9, #1", 0x9100_0529),
        ];
        for (text, word) in rest {
            assert!(!is_frame(word), "{text}");
        }
    }

    #[test]
    fn the_same_code_elsewhere_is_the_same_and_other_code_is_not() {
        // Both call 0x1000, and jump inside.
        let one = function(
            0x100,
            &[NOP, branch(BL, (0x1000 - 0x104) / 4), cbz(-2), RET],
        );
        let two = function(
            0x200,
            &[NOP, branch(BL, (0x1000 - 0x204) / 4), cbz(-2), RET],
        );
        assert_eq!(one.difference(&two), None);
        let calls_another = function(0x200, &[NOP, branch(BL, 7), cbz(-2), RET]);
        assert_eq!(one.difference(&calls_another), Some(1));
        let jumps_elsewhere = function(0x200, &[NOP, two.words[1], cbz(-1), RET]);
        assert_eq!(one.difference(&jumps_elsewhere), Some(2));
        let longer = function(0x100, &[&one.words[..], &[NOP]].concat());
        assert_eq!(one.difference(&longer), Some(4));
    }
}
