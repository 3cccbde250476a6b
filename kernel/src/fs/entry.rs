// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a directory says about a file.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Its entries in the medium's order, without `.` and `..`.
    pub entries: Vec<Entry>,
    /// How many more there are whose names no file can have. They cannot be opened either.
    pub damaged: usize,
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its long name, or the short one if it has no other. Printable, without `/`.
    pub name: String,
    /// In bytes; 0 for a directory.
    pub size: u64,
    /// It is a directory.
    pub is_dir: bool,
    /// When it was last written, if the medium says so.
    pub modified: Option<DateTime>,
    /// Its flags.
    pub attributes: Attributes,
}

/// A file's flags. Shown as `rhsa`, with `-` for what is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub u8);

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [(0x01, "r"), (0x02, "h"), (0x04, "s"), (0x20, "a")]
            .into_iter()
            .try_for_each(|(bit, letter)| f.write_str(if self.0 & bit != 0 { letter } else { "-" }))
    }
}

/// A time by the writer's clock, in whatever zone that was. Exact to 2 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// 1980 to 2107.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 58.
    pub second: u8,
}

impl DateTime {
    /// Decodes FAT's two words; none if they are no time.
    pub(super) fn from_fat(date: u16, time: u16) -> Option<Self> {
        let decoded = Self {
            year: 1980 + (date >> 9),
            month: (date >> 5 & 15) as u8,
            day: (date & 31) as u8,
            hour: (time >> 11) as u8,
            minute: (time >> 5 & 63) as u8,
            second: (time & 31) as u8 * 2,
        };
        let Self {
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = decoded;
        let good = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
        good.then_some(decoded)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn times() {
        let time = DateTime::from_fat(46 << 9 | 7 << 5 | 31, 23 << 11 | 59 << 5 | 29).unwrap();
        assert_eq!(time.to_string(), "2026-07-31 23:59:58");
        for (date, time) in [
            (0, 0),
            (13 << 5 | 1, 0),
            (1 << 5, 0),
            (33, 24 << 11),
            (33, 60 << 5),
            (33, 30),
        ] {
            assert_eq!(DateTime::from_fat(date, time), None);
        }
    }

    #[test]
    fn flags() {
        assert_eq!(Attributes(0x23).to_string(), "rh-a");
    }
}
