// SPDX-License-Identifier: MIT OR Apache-2.0
//! RNG200, Broadcom's random number generator.
//!
//! # Theory
//! A random bit generator (RBG) feeds a FIFO, a word of 32 bits at a time, for as long as CTRL has it run. It tests
//! itself: where its bits fail the tests it says so in INT_STATUS and gives no more. Then a driver switches it
//! off, clears the status, and resets both halves.
//!
//! How fast the bits come is not documented: here a word each 32 µs (Linux polls each 500 µs at most), 16 in the FIFO.
//!
//! # References
//! Linux `iproc-rng200.c`; Circle `bcmrandom.cpp` (the total of bits).

use crate::{Stray, Strays};

const CTRL: u32 = 0x00;
const RNG_RESET: u32 = 0x04;
const RBG_RESET: u32 = 0x08;
const TOTAL_BITS: u32 = 0x0c;
const TOTAL_BITS_THRESHOLD: u32 = 0x10;
const INT_STATUS: u32 = 0x18;
const INT_ENABLE: u32 = 0x1c;
const FIFO_DATA: u32 = 0x20;
const FIFO_COUNT: u32 = 0x24;
const RBGEN: u32 = 0x1fff;
const STARTED: u32 = 1 << 17;
const WORD_NS: u64 = 32_000;
const FIFO_WORDS: u64 = 16;

/// What the generator's own tests find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The bits are not random enough (NIST's tests).
    Nist,
    /// So often that it gave up.
    Lockout,
}

/// The registers.
pub struct Rng200 {
    source: Box<dyn FnMut() -> u32 + Send>,
    ctrl: u32,
    resets: [u32; 2],
    status: u32,
    /// Threshold of the total, enabled interrupts, threshold of the FIFO.
    kept: [u32; 3],
    failed: bool,
    /// Words in the FIFO, and made since the reset, at this time.
    words: u64,
    made: u64,
    since_ns: u64,
    /// How often a driver reset a failed generator.
    pub recoveries: u32,
    /// What was done wrong.
    pub strays: Strays,
}

impl Rng200 {
    /// As at power-on; `source` gives the words.
    pub fn new(source: Box<dyn FnMut() -> u32 + Send>) -> Self {
        Self {
            source,
            ctrl: 0,
            resets: [0; 2],
            status: 0,
            kept: [0; 3],
            failed: false,
            words: 0,
            made: 0,
            since_ns: 0,
            recoveries: 0,
            strays: Strays::default(),
        }
    }

    /// The machine is reset.
    pub fn reset(&mut self) {
        self.ctrl = 0;
        self.resets = [0; 2];
        self.status = 0;
        self.kept = [0; 3];
        self.failed = false;
        self.empty();
    }

    /// The tests fail from now on, until a driver has reset the generator.
    pub fn fail(&mut self, failure: Failure) {
        self.failed = true;
        self.words = 0;
        self.status |= match failure {
            Failure::Nist => 1 << 5,
            Failure::Lockout => 1 << 31,
        };
    }

    fn empty(&mut self) {
        (self.words, self.made) = (0, 0);
    }

    fn runs(&self) -> bool {
        self.ctrl & RBGEN != 0 && self.resets == [0; 2] && !self.failed
    }

    /// What the generator has made by now.
    fn advance(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.since_ns);
        if !self.runs() {
            self.since_ns = now_ns;
            return;
        }
        let new = passed / WORD_NS;
        self.since_ns += new * WORD_NS;
        self.words = (self.words + new).min(FIFO_WORDS);
        self.made = self.made.saturating_add(new);
        if self.made > 0 {
            self.status |= STARTED;
        }
    }

    /// Reads `bytes` at `at`.
    pub fn read(&mut self, at: u32, bytes: u32, now_ns: u64) -> u32 {
        if !self.strays.is_word(at, bytes) {
            return 0;
        }
        self.advance(now_ns);
        match at {
            CTRL => self.ctrl,
            RNG_RESET | RBG_RESET => self.resets[usize::from(at == RBG_RESET)],
            TOTAL_BITS => (self.made * 32).min(u32::MAX.into()) as u32,
            TOTAL_BITS_THRESHOLD => self.kept[0],
            INT_STATUS => self.status,
            INT_ENABLE => self.kept[1],
            FIFO_COUNT => self.kept[2] | self.words as u32,
            FIFO_DATA if self.words > 0 => {
                self.words -= 1;
                (self.source)()
            }
            _ => {
                self.strays.count(match at {
                    FIFO_DATA => Stray::Empty,
                    _ => Stray::Read(at),
                });
                0
            }
        }
    }

    /// Writes `bytes` at `at`.
    pub fn write(&mut self, at: u32, bytes: u32, value: u32, now_ns: u64) {
        if !self.strays.is_word(at, bytes) {
            return;
        }
        self.advance(now_ns);
        match at {
            CTRL => self.ctrl = value,
            RNG_RESET | RBG_RESET => {
                self.resets[usize::from(at == RBG_RESET)] = value & 1;
                if value & 1 != 0 {
                    self.empty();
                    if at == RBG_RESET && std::mem::take(&mut self.failed) {
                        self.recoveries += 1;
                    }
                }
            }
            TOTAL_BITS_THRESHOLD => self.kept[0] = value,
            INT_STATUS => self.status &= !value,
            INT_ENABLE => self.kept[1] = value,
            FIFO_COUNT => self.kept[2] = value & 0xff00,
            _ => self.strays.count(Stray::Write(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> Rng200 {
        let mut n = 0;
        Rng200::new(Box::new(move || {
            n += 1;
            n
        }))
    }

    #[test]
    fn words_come_while_it_runs_up_to_a_full_fifo() {
        let mut rng = counting();
        assert_eq!(rng.read(FIFO_COUNT, 4, 1_000_000), 0, "it is off");
        rng.write(CTRL, 4, 1, 1_000_000);
        assert_eq!(rng.read(FIFO_COUNT, 4, 1_000_000 + 3 * WORD_NS), 3);
        assert_eq!(rng.read(FIFO_DATA, 4, 1_000_000 + 3 * WORD_NS), 1);
        assert_eq!(rng.read(TOTAL_BITS, 4, 1_000_000 + 4 * WORD_NS), 128);
        assert_eq!(rng.read(FIFO_COUNT, 4, 1_000_000_000), 16);
        rng.write(CTRL, 4, 0, 1_000_000_000);
        for _ in 0..16 {
            assert_ne!(rng.read(FIFO_DATA, 4, 1_000_000_000), 0);
        }
        assert_eq!(rng.read(FIFO_DATA, 4, 2_000_000_000), 0);
        assert_eq!(rng.strays.iter().next(), Some((Stray::Empty, 1)));
    }

    #[test]
    fn only_a_reset_ends_a_failure() {
        for (failure, bit) in [(Failure::Nist, 5), (Failure::Lockout, 31)] {
            let mut rng = counting();
            rng.write(CTRL, 4, 1, 0);
            rng.fail(failure);
            assert_eq!(rng.read(INT_STATUS, 4, 0), 1 << bit);
            rng.write(INT_STATUS, 4, u32::MAX, 0);
            assert_eq!(rng.read(FIFO_COUNT, 4, 1_000_000), 0);
            rng.write(RBG_RESET, 4, 1, 1_000_000);
            assert_eq!(rng.read(FIFO_COUNT, 4, 2_000_000), 0, "held in reset");
            rng.write(RBG_RESET, 4, 0, 2_000_000);
            assert_eq!(rng.read(FIFO_COUNT, 4, 2_000_000 + WORD_NS), 1);
            assert_eq!(rng.recoveries, 1);
        }
    }
}
