// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bus clock: which base, which divisor.
//!
//! # Theory
//! The bus runs at base / 2N, for N from 1 to 1023, and at the base itself for N = 0 (§2.2.14). Of the two who tell
//! the base clock, both can be wrong: CAPS is a constant that the board's boot stages do not follow, the firmware's
//! mailbox is 0 on old firmware and 700 MHz under QEMU. CAPS can express 255 MHz at most, so a rate above that is no
//! base clock. Where both are credible, the greater one: an error then makes the bus slow, never too fast.
use super::regs::{CAPABILITIES, CLOCK_CONTROL, HOST_CONTROL, HOST_CONTROL_2};
use super::{Error, Sdhci, Slot};
use crate::{DmaBuffer, Io};

/// How the bus is driven (Physical Layer §4.3.10, §3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// 3.3 V, up to 25 MHz.
    Default,
    /// 3.3 V, up to 50 MHz; eMMC: 52.
    High,
    /// 1.8 V, up to 50 MHz.
    Sdr25,
    /// 1.8 V, up to 100 MHz.
    Sdr50,
    /// 1.8 V, up to 50 MHz, data at both edges.
    Ddr50,
}

/// For a stable clock (§3.2.1).
const CLOCK_TIMEOUT_US: u32 = 150_000;
/// The card's own limits are 100 ms for reading and 500 ms for writing.
const DATA_TIMEOUT_MS: u32 = 1_000;
/// TIMEOUT_CONTROL's greatest value.
const TIMEOUT_MAX: u32 = 14;

/// For identification; the limit is 400 kHz. Below 200 kHz the BCM2711's EMMC2 can hang.
pub(super) const IDENTIFICATION_HZ: u32 = 390_625;
/// The most that CAPS can tell.
const CREDIBLE_HZ: u32 = 255_000_000;
/// The most that can be divided down for identification.
const DIVISIBLE_HZ: u32 = 2 * 1023 * IDENTIFICATION_HZ;

/// The base clock in Hz, by CAPS (0: not told) and by the firmware.
pub(super) fn base_hz(caps_mhz: u32, firmware_hz: Option<u32>) -> Result<u32, Error> {
    match (caps_mhz * 1_000_000, firmware_hz.unwrap_or(0)) {
        (0, firmware @ 1..=DIVISIBLE_HZ) => Ok(firmware),
        (0, _) => Err(Error::NoBaseClock),
        (caps, firmware) if firmware > CREDIBLE_HZ => Ok(caps),
        (caps, firmware) => Ok(caps.max(firmware)),
    }
}

/// N for the fastest bus that does not exceed `limit_hz`, and the rate that it gives. Fits the register for every
/// [`base_hz`] and every limit from [`IDENTIFICATION_HZ`] up.
pub(super) fn divisor(base_hz: u32, limit_hz: u32) -> (u32, u32) {
    if base_hz <= limit_hz {
        return (0, base_hz);
    }
    let n = base_hz.div_ceil(2 * limit_hz);
    (n, base_hz / (2 * n))
}

/// TIMEOUT_CONTROL for [`DATA_TIMEOUT_MS`] at least, by the timeout clock that CAPS tells in kHz (0: not told).
fn data_timeout(clock_khz: u32) -> u32 {
    let clocks = u64::from(clock_khz) * u64::from(DATA_TIMEOUT_MS);
    let enough = |n: &u32| clock_khz != 0 && 1 << (13 + n) >= clocks;
    (0..TIMEOUT_MAX).find(enough).unwrap_or(TIMEOUT_MAX)
}

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// Drives the bus with `timing`, at the rate that is nearest below `limit_hz`; tells the rate in Hz (§3.2.1, §3.2.3).
    ///
    /// # Errors
    /// The device's.
    pub fn set_clock(&mut self, limit_hz: u32, timing: Timing) -> Result<u32, Error> {
        let caps = CAPABILITIES.read(&self.io);
        let base_hz = base_hz(caps.read(CAPABILITIES::BASE_CLOCK_MHZ), self.firmware_hz)?;
        let (n, hz) = divisor(base_hz, limit_hz);
        self.set(&CLOCK_CONTROL, CLOCK_CONTROL::SD_ENABLE::CLEAR);
        let fast = timing != Timing::Default;
        self.set(&HOST_CONTROL, HOST_CONTROL::HIGH_SPEED.val(fast.into()));
        let uhs_mode = match timing {
            Timing::Default | Timing::High => None,
            Timing::Sdr25 => Some(HOST_CONTROL_2::UHS_MODE::Sdr25),
            Timing::Sdr50 => Some(HOST_CONTROL_2::UHS_MODE::Sdr50),
            Timing::Ddr50 => Some(HOST_CONTROL_2::UHS_MODE::Ddr50),
        };
        if let Some(mode) = uhs_mode {
            self.set(&HOST_CONTROL_2, mode);
        }
        self.set(
            &CLOCK_CONTROL,
            CLOCK_CONTROL::DIVISOR_LOW.val(n & 0xff)
                + CLOCK_CONTROL::DIVISOR_HIGH.val(n >> 8)
                + CLOCK_CONTROL::DATA_TIMEOUT.val(self.card_timeout())
                + CLOCK_CONTROL::INTERNAL_ENABLE::SET,
        );
        self.start_clock()?;
        self.clock_hz = hz;
        Ok(hz)
    }

    /// Waits until the internal clock is stable, and gives it to the card.
    pub(super) fn start_clock(&mut self) -> Result<(), Error> {
        if !self.comes(CLOCK_TIMEOUT_US, |io| {
            CLOCK_CONTROL
                .read(io)
                .is_set(CLOCK_CONTROL::INTERNAL_STABLE)
        }) {
            return Err(Error::ClockStuck);
        }
        self.set(&CLOCK_CONTROL, CLOCK_CONTROL::SD_ENABLE::SET);
        Ok(())
    }

    /// TIMEOUT_CONTROL for what cards may take.
    fn card_timeout(&self) -> u32 {
        let caps = CAPABILITIES.read(&self.io);
        let unit_khz = match caps.is_set(CAPABILITIES::TIMEOUT_CLOCK_MHZ) {
            true => 1_000,
            false => 1,
        };
        data_timeout(caps.read(CAPABILITIES::TIMEOUT_CLOCK) * unit_khz)
    }

    /// Lets the controller wait for busy cards as long as it can, or as long as cards may take.
    pub(super) fn be_patient(&mut self, patient: bool) {
        let timeout = match patient {
            true => TIMEOUT_MAX,
            false => self.card_timeout(),
        };
        self.set(&CLOCK_CONTROL, CLOCK_CONTROL::DATA_TIMEOUT.val(timeout));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tell_the_base_clock_and_the_safe_one_wins() {
        assert_eq!(base_hz(100, Some(100_000_000)), Ok(100_000_000)); // EMMC2 on a board
        assert_eq!(base_hz(100, Some(200_000_000)), Ok(200_000_000));
        assert_eq!(base_hz(100, Some(50_000_000)), Ok(100_000_000));
        assert_eq!(base_hz(100, None), Ok(100_000_000));
        assert_eq!(base_hz(52, Some(700_000_000)), Ok(52_000_000)); // QEMU
        assert_eq!(base_hz(0, Some(250_000_000)), Ok(250_000_000)); // the Arasan on a board
        assert_eq!(base_hz(0, None), Err(Error::NoBaseClock));
        assert_eq!(base_hz(0, Some(0)), Err(Error::NoBaseClock));
        assert_eq!(base_hz(0, Some(DIVISIBLE_HZ + 1)), Err(Error::NoBaseClock));
    }

    #[test]
    fn the_controller_waits_a_second_for_data_and_not_much_longer() {
        assert_eq!(data_timeout(50), 3); // EMMC2 on a board: 1.3 s
        assert_eq!(data_timeout(52_000), 13); // QEMU
        assert_eq!(data_timeout(8), 0);
        assert_eq!(data_timeout(0), 14);
        assert_eq!(data_timeout(63_000), 13);
    }

    #[test]
    fn the_bus_is_the_fastest_within_the_limit() {
        assert_eq!(divisor(100_000_000, IDENTIFICATION_HZ), (128, 390_625));
        assert_eq!(divisor(52_000_000, IDENTIFICATION_HZ), (67, 388_059));
        assert_eq!(divisor(250_000_000, IDENTIFICATION_HZ), (320, 390_625));
        assert_eq!(divisor(DIVISIBLE_HZ, IDENTIFICATION_HZ), (1023, 390_625));
        assert_eq!(divisor(100_000_000, 25_000_000), (2, 25_000_000));
        assert_eq!(divisor(100_000_000, 50_000_000), (1, 50_000_000));
        assert_eq!(divisor(52_000_000, 25_000_000), (2, 13_000_000));
        assert_eq!(divisor(50_000_000, 50_000_000), (0, 50_000_000));
        assert_eq!(divisor(10_000_000, 25_000_000), (0, 10_000_000));
        for base_hz in (10_000_000..=DIVISIBLE_HZ).step_by(999_999) {
            for limit in [IDENTIFICATION_HZ, 25_000_000, 50_000_000] {
                let (n, hz) = divisor(base_hz, limit);
                assert!(
                    n <= 1023 && (200_000..=limit).contains(&hz),
                    "{base_hz} {limit}"
                );
            }
        }
    }
}
