// SPDX-License-Identifier: MIT OR Apache-2.0
//! The power management block's watchdog: reset, power-off, and a timer that resets a hung machine.
//!
//! # Theory
//! The watchdog counts down 65,536 ticks a second and then does what RSTC's WRCFG field says. The boot firmware
//! that runs next reads from RSTS which partition to start; partition 63 means: do not start. That is all the
//! power-off there is: the board halts, its supply stays on.
//!
//! QEMU alone carries out a reset as soon as RSTC asks for one, so [`Pm::arm`] resets at once there; it ends its
//! process where the board halts; and with `-d unimp` it logs each write to RSTS and WDOG. With the device pack
//! (`tools/pi4-devices`) it counts as the chip does.
//!
//! # References
//! The block is not in BCM2711 ARM Peripherals. Facts from Linux `bcm2835_wdt.c` and Trusted Firmware-A's `rpi3`/`rpi4`.
mod regs;

use crate::Io;
use core::fmt;
use regs::{RSTC, RSTS, WDOG};

/// Ticks a second of the watchdog's counter.
pub const TICKS_PER_SECOND: u32 = 65_536;
/// The longest time the watchdog can be armed for: just under 16 s.
pub const MAX_TICKS: u32 = 0xf_ffff;

/// Every write without it in the top byte is ignored.
const PASSWORD: u32 = 0x5a << 24;
/// RSTC after power-up: WRCFG clear.
const RSTC_STOPPED: u32 = 0x102;
/// The bits of RSTS that hold the partition number, spread over the even places.
const PARTITION: u32 = 0x555;
/// From the request to the reset, some 150 µs.
const SOON_TICKS: u32 = 10;

/// Caller: the watchdog cannot be armed for no time, nor for more than [`MAX_TICKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicksOutOfRange(u32);

impl fmt::Display for TicksOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the watchdog cannot count {} ticks: 1 to {MAX_TICKS}",
            self.0
        )
    }
}

impl core::error::Error for TicksOutOfRange {}

/// The watchdog behind its registers.
pub struct Pm<I: Io> {
    io: I,
}

impl<I: Io> Pm<I> {
    /// The block at `io`.
    pub const fn new(io: I) -> Self {
        Self { io }
    }

    /// Restarts the machine from its default boot partition, some 150 µs after it returns.
    pub fn reset(&mut self) {
        self.set_partition(0);
        self.start(SOON_TICKS);
    }

    /// Halts the machine, some 150 µs after it returns.
    pub fn power_off(&mut self) {
        self.set_partition(PARTITION);
        self.start(SOON_TICKS);
    }

    /// Resets the machine `ticks` from now ([`TICKS_PER_SECOND`]), unless armed anew (which is how it is fed) or
    /// stopped before.
    ///
    /// # Errors
    /// [`TicksOutOfRange`].
    pub fn arm(&mut self, ticks: u32) -> Result<(), TicksOutOfRange> {
        if !(1..=MAX_TICKS).contains(&ticks) {
            return Err(TicksOutOfRange(ticks));
        }
        self.start(ticks);
        Ok(())
    }

    /// Stops the watchdog.
    pub fn stop(&mut self) {
        self.io.write32(RSTC.offset, PASSWORD | RSTC_STOPPED);
    }

    /// Whether the watchdog counts.
    pub fn is_armed(&self) -> bool {
        RSTC.read(&self.io).matches_all(RSTC::WRCFG::FullReset)
    }

    /// Whether the machine started by a reset of the watchdog's: [`Self::reset`], or one that nobody fed. False after
    /// power-on, and in QEMU without the device pack.
    pub fn was_reset(&self) -> bool {
        RSTS.read(&self.io).is_set(RSTS::HADWRF)
    }

    /// Ticks left until the armed watchdog resets the machine.
    pub fn remaining_ticks(&self) -> u32 {
        WDOG.read(&self.io).read(WDOG::TIME)
    }

    fn start(&mut self, ticks: u32) {
        WDOG.write(&self.io, WDOG::PASSWORD::Write + WDOG::TIME.val(ticks));
        RSTC.modify(&self.io, RSTC::PASSWORD::Write + RSTC::WRCFG::FullReset);
    }

    fn set_partition(&mut self, bits: u32) {
        let kept = self.io.read32(RSTS.offset) & 0x00ff_ffff & !PARTITION;
        self.io.write32(RSTS.offset, PASSWORD | kept | bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Clock, RegisterFile};
    use core::cell::RefCell;
    use embedded_hal::delay::DelayNs;
    use soc_model::Ending;
    use std::string::ToString;
    use std::vec;

    /// The model of the block, with a clock.
    struct Block<'a> {
        model: RefCell<soc_model::Pm>,
        clock: &'a Clock,
    }

    impl<'a> Block<'a> {
        fn new(clock: &'a Clock) -> Self {
            Self {
                model: RefCell::default(),
                clock,
            }
        }

        /// What becomes of the machine within so many seconds.
        fn pass(&self, seconds: u32) -> Option<Ending> {
            let mut clock = self.clock;
            clock.delay_ms(1000 * seconds);
            self.model.borrow_mut().advance(self.clock.now_ns())
        }
    }

    impl Io for Block<'_> {
        fn read32(&self, offset: usize) -> u32 {
            let mut model = self.model.borrow_mut();
            model.read(offset as u32, 4, self.clock.now_ns())
        }
        fn write32(&self, offset: usize, value: u32) {
            let mut model = self.model.borrow_mut();
            model.write(offset as u32, 4, value, self.clock.now_ns());
            assert_eq!(model.strays.to_string(), "");
        }
    }

    #[test]
    fn a_watchdog_that_is_fed_lets_the_machine_be() {
        let clock = Clock::default();
        let block = Block::new(&clock);
        let mut pm = Pm::new(&block);
        for _ in 0..5 {
            pm.arm(10 * TICKS_PER_SECOND).unwrap();
            assert_eq!(block.pass(9), None);
            assert!(pm.is_armed());
        }
        assert_eq!(pm.remaining_ticks(), TICKS_PER_SECOND);
        assert!(!pm.was_reset());
        assert_eq!(block.pass(1), Some(Ending::Reset));
        assert!(pm.was_reset() && !pm.is_armed());
    }

    #[test]
    fn a_watchdog_that_is_stopped_does_nothing() {
        let clock = Clock::default();
        let block = Block::new(&clock);
        let mut pm = Pm::new(&block);
        pm.arm(MAX_TICKS).unwrap();
        pm.stop();
        assert_eq!(block.pass(100), None);
        assert!(!pm.is_armed());
    }

    #[test]
    fn reset_resets_and_power_off_halts_soon() {
        for ending in [Ending::Reset, Ending::Halt] {
            let clock = Clock::default();
            let block = Block::new(&clock);
            let mut pm = Pm::new(&block);
            match ending {
                Ending::Reset => pm.reset(),
                Ending::Halt => pm.power_off(),
            }
            assert_eq!(block.pass(0), None, "not yet");
            let mut pause = &clock;
            pause.delay_us(153);
            assert_eq!(block.pass(0), Some(ending));
        }
    }

    #[test]
    fn reset_clears_the_partition_and_keeps_the_rest() {
        // What RSTS reads in its top byte must not spoil the password.
        let io = RegisterFile::with(&[(0x20, 0xa500_1555), (0x1c, 0xff00_0112)]);
        Pm::new(&io).reset();
        assert_eq!(
            io.writes(),
            vec![
                (0x20, 0x5a00_1000),
                (0x24, 0x5a00_000a),
                (0x1c, 0x5a00_0122)
            ]
        );
    }

    #[test]
    fn power_off_names_partition_63() {
        let io = RegisterFile::with(&[(0x20, 0x1000), (0x1c, 0x102)]);
        Pm::new(&io).power_off();
        assert_eq!(
            io.writes(),
            vec![
                (0x20, 0x5a00_1555),
                (0x24, 0x5a00_000a),
                (0x1c, 0x5a00_0122)
            ]
        );
    }

    #[test]
    fn the_watchdog_is_armed_read_and_stopped() {
        let io = RegisterFile::with(&[(0x1c, 0x102)]);
        let mut pm = Pm::new(&io);
        pm.arm(15 * TICKS_PER_SECOND).unwrap();
        assert_eq!(pm.remaining_ticks(), 15 * TICKS_PER_SECOND);
        pm.stop();
        assert_eq!(
            io.writes(),
            vec![
                (0x24, 0x5a0f_0000),
                (0x1c, 0x5a00_0122),
                (0x1c, 0x5a00_0102)
            ]
        );
    }

    #[test]
    fn impossible_times_are_refused() {
        let io = RegisterFile::default();
        for ticks in [0, MAX_TICKS + 1, u32::MAX] {
            let error = Pm::new(&io).arm(ticks).unwrap_err();
            assert!(error.to_string().contains("1 to 1048575"));
        }
        assert!(Pm::new(&io).arm(MAX_TICKS).is_ok());
        assert_eq!(io.writes().len(), 2);
    }
}
