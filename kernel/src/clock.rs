// SPDX-License-Identifier: MIT OR Apache-2.0
//! The time of day: the board has no clock that runs without power, so it is unknown until somebody sets it.
//!
//! Contexts: any.
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 86_400;

/// When the machine was started, in nanoseconds since 1970; 0: unknown.
static BOOT_NS: AtomicU64 = AtomicU64::new(0);

/// Says that the time since boot began at `boot_ns` (nanoseconds since 1970, UTC, not 0).
pub fn set_boot_ns(boot_ns: u64) {
    // ORDERING: with nobody; a number of its own.
    BOOT_NS.store(boot_ns, Ordering::Relaxed);
}

/// When the machine was started, in nanoseconds since 1970, if that is known.
pub fn boot_ns() -> Option<u64> {
    // ORDERING: with nobody; a number of its own.
    Some(BOOT_NS.load(Ordering::Relaxed)).filter(|boot_ns| *boot_ns > 0)
}

/// The time of day, in nanoseconds since 1970, of an instant that is `since_boot_ns` after boot.
pub fn utc_ns(since_boot_ns: u64) -> Option<u64> {
    boot_ns().map(|boot_ns| boot_ns + since_boot_ns)
}

/// The time of day as it is now, if that is known. Not on the host, whose tests repeat.
pub fn now() -> Option<Utc> {
    #[cfg(target_os = "none")]
    return utc_ns(bsp::timer::now_ns()).map(Utc);
    #[cfg(not(target_os = "none"))]
    None
}

/// A time of day in nanoseconds since 1970, shown as date and time to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(pub u64);

impl Utc {
    /// Year, month (from 1) and day (from 1).
    pub fn date(self) -> (u64, u64, u64) {
        // Years from March to February, so that a leap day is the last of its year; eras of 400 years, 146097 days.
        let days = self.0 / NS_PER_S / S_PER_DAY + 719_468; // since 0000-03-01
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (era * 400 + year + u64::from(month <= 2), month, day)
    }

    /// Hour, minute and second.
    pub fn time(self) -> (u64, u64, u64) {
        let s = self.0 / NS_PER_S % S_PER_DAY;
        (s / 3600, s / 60 % 60, s % 60)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        let us = self.0 % NS_PER_S / 1000;
        write!(
            f,
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{us:06}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By `date -u -d @N`.
        for (s, shown) in [
            (0, "1970-01-01 00:00:00"),
            (68_169_599, "1972-02-28 23:59:59"),
            (68_169_600, "1972-02-29 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (1_795_367_705, "2026-11-22 17:15:05"),
            (2_147_483_648, "2038-01-19 03:14:08"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            let shown_here = Utc(s * NS_PER_S + 123_456_789).to_string();
            assert_eq!(shown_here, [shown, ".123456"].concat(), "{s}");
        }
    }
}
