// SPDX-License-Identifier: MIT OR Apache-2.0
//! RNG200: the chip's random number generator.
//!
//! # Theory
//! A random bit generator fills a FIFO of words and tests its own bits. When a test fails it stops, and says so; then it
//! is switched off, its status cleared, both halves reset, and it begins again. A generator that fails again in the
//! same [`Rng::fill`] is given up for this time: a broken one must not be asked until it happens to pass.
//!
//! The words are what the hardware gives. Whoever needs numbers that nobody can guess stirs many of them
//! together: the first after a start are known to be the worst, and the tests see only what is grossly wrong.
//!
//! # References
//! Not in BCM2711 ARM Peripherals. Facts from Linux `iproc-rng200.c`.
mod regs;

use crate::Io;
use crate::wait::wait_until;
use core::fmt;
use embedded_hal::delay::DelayNs;
use regs::{CTRL, FIFO_COUNT, FIFO_DATA, INT_STATUS, RBG_SOFT_RESET, RESET, RNG_SOFT_RESET};

/// How long a word may take. It takes some ten microseconds.
const WORD_TIMEOUT_US: u32 = 100_000;
const STEP_US: u32 = 10;

/// Device: why there are no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No word came in a tenth of a second.
    Silent,
    /// Its own tests fail, after a reset, too.
    NotRandom,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Silent => "the generator gives no numbers",
            Error::NotRandom => "the generator's numbers fail its own tests",
        })
    }
}

impl core::error::Error for Error {}

/// The generator behind its registers.
pub struct Rng<I: Io> {
    io: I,
    restarts: u32,
}

impl<I: Io> Rng<I> {
    /// The generator at `io`, running from now on.
    pub fn start(io: I) -> Self {
        CTRL.modify(&io, regs::CTRL::RBGEN::Run);
        Self { io, restarts: 0 }
    }

    /// How often its tests made a reset necessary.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Fills `words`.
    ///
    /// # Errors
    /// [`Error`]; `words` is then of no use.
    pub fn fill(&mut self, words: &mut [u32], delay: &mut impl DelayNs) -> Result<(), Error> {
        let mut restarted = false;
        for word in words {
            let io = &self.io;
            let failed = || {
                let status = INT_STATUS.read(io);
                status.any_matching_bits_set(
                    regs::INT_STATUS::NIST_FAIL::SET + regs::INT_STATUS::MASTER_FAIL_LOCKOUT::SET,
                )
            };
            let there = || FIFO_COUNT.read(io).read(regs::FIFO_COUNT::WORDS) > 0;
            let come =
                |delay: &mut _| wait_until(delay, WORD_TIMEOUT_US, STEP_US, || failed() || there());
            let mut came = come(delay);
            if failed() {
                if restarted {
                    return Err(Error::NotRandom);
                }
                restarted = true;
                restart(io);
                came = come(delay);
                self.restarts += 1;
            }
            match () {
                () if failed() => return Err(Error::NotRandom),
                () if !came => return Err(Error::Silent),
                () => *word = FIFO_DATA.read(&self.io).get(),
            }
        }
        Ok(())
    }
}

fn restart(io: &impl Io) {
    CTRL.modify(io, regs::CTRL::RBGEN::CLEAR);
    io.write32(INT_STATUS.offset, u32::MAX);
    RBG_SOFT_RESET.modify(io, RESET::HELD::SET);
    RNG_SOFT_RESET.modify(io, RESET::HELD::SET);
    RNG_SOFT_RESET.modify(io, RESET::HELD::CLEAR);
    RBG_SOFT_RESET.modify(io, RESET::HELD::CLEAR);
    CTRL.modify(io, regs::CTRL::RBGEN::Run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Clock;
    use core::cell::{Cell, RefCell};
    use soc_model::{Failure, Rng200};
    use std::boxed::Box;
    use std::string::ToString;

    struct Block<'a> {
        model: RefCell<Rng200>,
        clock: &'a Clock,
        /// Fails again when it is switched on, so many times.
        failures: Cell<u32>,
        dead: bool,
    }

    impl<'a> Block<'a> {
        fn new(clock: &'a Clock) -> Self {
            let mut n = 0;
            Self {
                model: RefCell::new(Rng200::new(Box::new(move || {
                    n += 1;
                    n
                }))),
                clock,
                failures: Cell::new(0),
                dead: false,
            }
        }

        fn quiet(&self) {
            assert_eq!(self.model.borrow().strays.to_string(), "");
        }
    }

    impl Io for Block<'_> {
        fn read32(&self, offset: usize) -> u32 {
            let mut model = self.model.borrow_mut();
            model.read(offset as u32, 4, self.clock.now_ns())
        }
        fn write32(&self, offset: usize, value: u32) {
            if self.dead {
                return;
            }
            let mut model = self.model.borrow_mut();
            model.write(offset as u32, 4, value, self.clock.now_ns());
            if offset == CTRL.offset && value & 1 != 0 && self.failures.get() > 0 {
                self.failures.set(self.failures.get() - 1);
                model.fail(Failure::Nist);
            }
        }
    }

    #[test]
    fn each_word_is_taken_once_and_none_before_it_is_there() {
        let clock = Clock::default();
        let block = Block::new(&clock);
        let mut words = [0; 40]; // more than the FIFO holds
        Rng::start(&block).fill(&mut words, &mut &clock).unwrap();
        assert!(words.iter().copied().eq(1..=40), "{words:?}");
        block.quiet();
    }

    #[test]
    fn a_failure_is_ended_by_a_restart() {
        for failure in [Failure::Nist, Failure::Lockout] {
            let clock = Clock::default();
            let block = Block::new(&clock);
            let mut rng = Rng::start(&block);
            let mut words = [0; 4];
            rng.fill(&mut words, &mut &clock).unwrap();
            block.model.borrow_mut().fail(failure);
            rng.fill(&mut words, &mut &clock).unwrap();
            assert_eq!(words, [5, 6, 7, 8]);
            assert_eq!((rng.restarts(), block.model.borrow().recoveries), (1, 1));
            block.quiet();
        }
    }

    #[test]
    fn a_generator_that_fails_again_is_given_up() {
        let clock = Clock::default();
        let block = Block::new(&clock);
        block.failures.set(2);
        let mut rng = Rng::start(&block);
        let mut words = [0; 4];
        assert_eq!(rng.fill(&mut words, &mut &clock), Err(Error::NotRandom));
        // Next time it is tried anew.
        assert_eq!(rng.fill(&mut words, &mut &clock), Ok(()));
        block.quiet();
    }

    #[test]
    fn silence_ends() {
        let clock = Clock::default();
        let mut block = Block::new(&clock);
        block.dead = true;
        let result = Rng::start(&block).fill(&mut [0; 4], &mut &clock);
        assert_eq!(result, Err(Error::Silent));
        assert_eq!(clock.now_us(), 100_000);
    }
}
