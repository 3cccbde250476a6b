// SPDX-License-Identifier: MIT OR Apache-2.0
//! The watchdog of the power management block.
//!
//! # Theory
//! WDOG holds ticks of 1/65536 s. They are counted down while RSTC's write-configuration field asks for a full reset,
//! and when none is left the chip is reset. So a driver resets the machine by a small count, and guards it by
//! one that it writes anew in time. A driver that asks for the reset before it has written a count gets it at once.
//!
//! RSTS outlives that reset: the firmware reads from it which partition to start (63: none, the board halts), and
//! that it was the watchdog.
//!
//! Only WDOG, RSTC and RSTS are here; the block's power domains are not.
//!
//! # References
//! Linux `bcm2835_wdt.c`; Trusted Firmware-A, `plat/rpi`; `vcgencmd get_rsts` on boards (0x1000 after power-on, 0x1020
//! after a reset).

use crate::{Stray, Strays};

const RSTC: u32 = 0x1c;
const RSTS: u32 = 0x20;
const WDOG: u32 = 0x24;
const PASSWORD: u32 = 0x5a00_0000;
const PASSWORD_MASK: u32 = 0xff00_0000;
const WRCFG: u32 = 0x30;
const FULL_RESET: u32 = 0x20;
const RSTC_AT_START: u32 = 0x102;
/// Bits that tell of a power-on, and of a reset by the watchdog.
const HAD_POWER_ON: u32 = 1 << 12;
const HAD_WATCHDOG: u32 = 1 << 5;
/// The partition's number, in the even bits.
const PARTITION: u32 = 0x555;
const TICKS: u32 = 0xf_ffff;
const TICKS_PER_S: u64 = 65_536;
const NS_PER_S: u64 = 1_000_000_000;

/// What an expired watchdog leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The machine starts again.
    Reset,
    /// The firmware finds partition 63, and starts nothing.
    Halt,
}

/// The registers.
pub struct Pm {
    rstc: u32,
    rsts: u32,
    /// Ticks left, while none are counted.
    ticks: u32,
    /// When none will be left.
    deadline_ns: Option<u64>,
    /// What was done wrong.
    pub strays: Strays,
}

fn ns(ticks: u32) -> u64 {
    u64::from(ticks) * NS_PER_S / TICKS_PER_S
}

impl Default for Pm {
    fn default() -> Self {
        Self::new()
    }
}

impl Pm {
    /// As at power-on.
    pub fn new() -> Self {
        Self {
            rstc: RSTC_AT_START,
            rsts: HAD_POWER_ON,
            ticks: 0,
            deadline_ns: None,
            strays: Strays::default(),
        }
    }

    /// Reads `bytes` at `at`.
    pub fn read(&mut self, at: u32, bytes: u32, now_ns: u64) -> u32 {
        if !self.strays.is_word(at, bytes) {
            return 0;
        }
        match at {
            RSTC => self.rstc,
            RSTS => self.rsts,
            WDOG => self.ticks_left(now_ns),
            _ => {
                self.strays.count(Stray::Read(at));
                0
            }
        }
    }

    /// Writes `bytes` at `at`; then [`Self::advance`] must follow.
    pub fn write(&mut self, at: u32, bytes: u32, value: u32, now_ns: u64) {
        if !self.strays.is_word(at, bytes) {
            return;
        }
        if !matches!(at, RSTC | RSTS | WDOG) {
            return self.strays.count(Stray::Write(at));
        }
        if value & PASSWORD_MASK != PASSWORD {
            return self.strays.count(Stray::Password(at));
        }
        let value = value & !PASSWORD_MASK;
        match at {
            RSTS => self.rsts = value,
            WDOG => {
                self.ticks = value & TICKS;
                if self.deadline_ns.is_some() {
                    self.deadline_ns = Some(now_ns + ns(self.ticks));
                }
            }
            _ => {
                self.ticks = self.ticks_left(now_ns);
                self.rstc = value;
                let counts = value & WRCFG == FULL_RESET;
                self.deadline_ns = counts.then(|| now_ns + ns(self.ticks));
            }
        }
    }

    fn ticks_left(&self, now_ns: u64) -> u32 {
        self.deadline_ns.map_or(self.ticks, |deadline_ns| {
            let left_ns = u128::from(deadline_ns.saturating_sub(now_ns));
            (left_ns * u128::from(TICKS_PER_S)).div_ceil(u128::from(NS_PER_S)) as u32
        })
    }

    /// When [`Self::advance`] must be called, if nothing happens before.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    /// What happens now, if the time is over.
    pub fn advance(&mut self, now_ns: u64) -> Option<Ending> {
        self.deadline_ns.filter(|end_ns| *end_ns <= now_ns)?;
        *self = Self {
            rsts: self.rsts | HAD_WATCHDOG,
            strays: std::mem::take(&mut self.strays),
            ..Self::new()
        };
        Some(match self.rsts & PARTITION {
            PARTITION => Ending::Halt,
            _ => Ending::Reset,
        })
    }

    /// The machine is reset by somebody else. RSTS keeps what it says.
    pub fn reset(&mut self) {
        *self = Self {
            rsts: self.rsts,
            strays: std::mem::take(&mut self.strays),
            ..Self::new()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = NS_PER_S;

    fn armed(ticks: u32) -> Pm {
        let mut pm = Pm::new();
        pm.write(WDOG, 4, PASSWORD | ticks, 0);
        assert_eq!(pm.deadline_ns(), None, "a count alone starts nothing");
        pm.write(RSTC, 4, PASSWORD | 0x122, 0);
        pm
    }

    #[test]
    fn what_is_not_fed_resets_the_machine() {
        let mut pm = armed(10 << 16);
        assert_eq!(pm.deadline_ns(), Some(10 * S));
        assert_eq!(pm.advance(10 * S - 1), None);
        assert_eq!(pm.read(WDOG, 4, 4 * S), 6 << 16);
        assert_eq!(pm.advance(10 * S), Some(Ending::Reset));
        assert_eq!(pm.advance(20 * S), None, "once");
        assert_eq!(pm.read(RSTS, 4, 20 * S), 0x1020);
        assert_eq!(pm.read(RSTC, 4, 20 * S), 0x102);
    }

    #[test]
    fn a_count_that_is_written_anew_starts_anew() {
        let mut pm = armed(10 << 16);
        pm.write(WDOG, 4, PASSWORD | 10 << 16, 9 * S);
        assert_eq!(pm.deadline_ns(), Some(19 * S));
        // As Linux feeds it: the request is repeated.
        pm.write(RSTC, 4, PASSWORD | 0x122, 9 * S);
        assert_eq!(pm.deadline_ns(), Some(19 * S));
    }

    #[test]
    fn a_stopped_watchdog_keeps_its_count() {
        let mut pm = armed(10 << 16);
        pm.write(RSTC, 4, PASSWORD | 0x102, 4 * S);
        assert_eq!(pm.deadline_ns(), None);
        assert_eq!(pm.read(WDOG, 4, 100 * S), 6 << 16);
    }

    #[test]
    fn partition_63_halts() {
        let mut pm = Pm::new();
        pm.write(RSTS, 4, PASSWORD | 0x1555, 0);
        pm.write(WDOG, 4, PASSWORD | 10, 0);
        pm.write(RSTC, 4, PASSWORD | 0x122, 0);
        assert_eq!(pm.advance(152_586), None, "10 ticks are 152,587 ns");
        assert_eq!(pm.advance(152_587), Some(Ending::Halt));
    }

    #[test]
    fn a_request_without_a_count_is_granted_at_once() {
        let mut pm = Pm::new();
        pm.write(RSTC, 4, PASSWORD | 0x122, 5);
        assert_eq!(pm.advance(5), Some(Ending::Reset));
    }

    #[test]
    fn without_the_password_nothing_changes() {
        let mut pm = Pm::new();
        pm.write(WDOG, 4, 0x5b00_0001, 0);
        pm.write(RSTC, 4, 0x122, 0);
        pm.write(RSTC, 2, PASSWORD | 0x122, 0);
        pm.write(0x28, 4, PASSWORD, 0);
        assert_eq!((pm.deadline_ns(), pm.read(WDOG, 4, 0)), (None, 0));
        let strays: Vec<_> = pm.strays.iter().collect();
        assert_eq!(
            strays,
            [
                (Stray::Write(0x28), 1),
                (Stray::Width(0x1c), 1),
                (Stray::Password(0x1c), 1),
                (Stray::Password(0x24), 1)
            ]
        );
    }
}
