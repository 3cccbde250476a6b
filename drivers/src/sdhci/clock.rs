// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bus clock: which base, which divisor.
//!
//! # Theory
//! The bus runs at base / 2N, for N from 1 to 1023, and at the base itself for N = 0 (§2.2.14). Of the two who tell
//! the base clock, both can be wrong: CAPS is a constant that the board's boot stages do not follow, the firmware's
//! mailbox is 0 on old firmware and 700 MHz under QEMU. CAPS can express 255 MHz at most, so a rate above that is no
//! base clock. Where both are credible, the greater one: an error then makes the bus slow, never too fast.
use crate::sd::{HostError, Speed};

/// For identification; the limit is 400 kHz. Below 200 kHz the BCM2711's EMMC2 can hang.
pub(super) const IDENTIFICATION_HZ: u32 = 390_625;
/// The most that CAPS can tell.
const CREDIBLE_HZ: u32 = 255_000_000;
/// The most that can be divided down for identification.
const DIVISIBLE_HZ: u32 = 2 * 1023 * IDENTIFICATION_HZ;

/// What the bus may run at.
pub(super) const fn limit_hz(speed: Speed) -> u32 {
    match speed {
        Speed::Default => 25_000_000,
        Speed::High => 50_000_000,
    }
}

/// The base clock in Hz, by CAPS (0: not told) and by the firmware.
pub(super) fn base_hz(caps_mhz: u32, firmware_hz: Option<u32>) -> Result<u32, HostError> {
    match (caps_mhz * 1_000_000, firmware_hz.unwrap_or(0)) {
        (0, firmware @ 1..=DIVISIBLE_HZ) => Ok(firmware),
        (0, _) => Err(HostError::NoBaseClock),
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
        assert_eq!(base_hz(0, None), Err(HostError::NoBaseClock));
        assert_eq!(base_hz(0, Some(0)), Err(HostError::NoBaseClock));
        assert_eq!(
            base_hz(0, Some(DIVISIBLE_HZ + 1)),
            Err(HostError::NoBaseClock)
        );
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
