// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of the firmware's that hold several things: the board's revision, and what slows the chip down.
//!
//! # References
//! Raspberry Pi documentation: "Raspberry Pi revision codes", and `vcgencmd get_throttled`.
use core::fmt;
use tock_registers::{LocalRegisterCopy, register_bitfields};

register_bitfields! { u32,
    REVISION [
        REVISION OFFSET(0) NUMBITS(4) [],
        TYPE OFFSET(4) NUMBITS(8) [],
        PROCESSOR OFFSET(12) NUMBITS(4) [],
        MANUFACTURER OFFSET(16) NUMBITS(4) [],
        MEMORY_SIZE OFFSET(20) NUMBITS(3) [],
        NEW_STYLE OFFSET(23) NUMBITS(1) []
    ]
}

/// The board's revision word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardRevision(pub u32);

impl BoardRevision {
    fn fields(self) -> LocalRegisterCopy<u32, REVISION::Register> {
        LocalRegisterCopy::new(self.0)
    }

    /// MiB of memory; `None` if the word does not say.
    pub fn memory_mib(self) -> Option<u32> {
        let fields = self.fields();
        fields
            .is_set(REVISION::NEW_STYLE)
            .then(|| 256 << fields.read(REVISION::MEMORY_SIZE))
    }
}

impl fmt::Display for BoardRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields();
        let Some(mib) = self.memory_mib() else {
            return f.write_str("a board of before 2014");
        };
        match fields.read(REVISION::TYPE) {
            0x11 => f.write_str("Raspberry Pi 4 Model B")?,
            0x13 => f.write_str("Raspberry Pi 400")?,
            0x14 => f.write_str("Compute Module 4")?,
            0x15 => f.write_str("Compute Module 4S")?,
            other => write!(f, "board type {other:#x}")?,
        }
        write!(f, " rev 1.{}, ", fields.read(REVISION::REVISION))?;
        match mib {
            0..1024 => write!(f, "{mib} MiB")?,
            _ => write!(f, "{} GiB", mib >> 10)?,
        }
        f.write_str(match fields.read(REVISION::MANUFACTURER) {
            0 => ", Sony UK",
            1 => ", Egoman",
            2 | 4 => ", Embest",
            3 => ", Sony Japan",
            5 => ", Stadium",
            _ => ", unknown maker",
        })
    }
}

/// What slows the chip down, now and since power-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled(pub u32);

/// What there can be, by bit; 16 places higher stands that it has been.
const CAUSES: [&str; 4] = [
    "under-voltage",
    "frequency capped",
    "throttled",
    "soft temperature limit",
];

impl Throttled {
    fn named(bits: u32) -> impl Iterator<Item = &'static str> + Clone {
        CAUSES
            .into_iter()
            .enumerate()
            .filter_map(move |(bit, name)| (bits >> bit & 1 != 0).then_some(name))
    }

    /// What there is now.
    pub fn now(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::named(self.0)
    }

    /// What there was since power-up.
    pub fn since_power_up(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::named(self.0 >> 16)
    }

    /// What has begun (true) or ended (false) since `before`.
    pub fn changes(self, before: Self) -> impl Iterator<Item = (&'static str, bool)> {
        let began = Self::named(self.0 & !before.0);
        let ended = Self::named(before.0 & !self.0);
        began
            .map(|name| (name, true))
            .chain(ended.map(|name| (name, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn revisions_are_those_of_the_documentation() {
        for (word, board) in [
            (0xa0_3111, "Raspberry Pi 4 Model B rev 1.1, 1 GiB, Sony UK"),
            (0xb0_3115, "Raspberry Pi 4 Model B rev 1.5, 2 GiB, Sony UK"),
            (0xd0_3114, "Raspberry Pi 4 Model B rev 1.4, 8 GiB, Sony UK"),
            (0xc0_3130, "Raspberry Pi 400 rev 1.0, 4 GiB, Sony UK"),
            (0xa0_3140, "Compute Module 4 rev 1.0, 1 GiB, Sony UK"),
            (0x90_0093, "board type 0x9 rev 1.3, 512 MiB, Sony UK"),
            (0x92_0093, "board type 0x9 rev 1.3, 512 MiB, Embest"),
            (0x00_000e, "a board of before 2014"),
        ] {
            assert_eq!(BoardRevision(word).to_string(), board, "{word:#x}");
        }
    }

    #[test]
    fn what_began_and_what_ended_is_told_once() {
        let changes = |before, now| -> Vec<_> {
            let changes = Throttled(now).changes(Throttled(before));
            changes.collect()
        };
        assert_eq!(changes(0, 0), []);
        assert_eq!(
            changes(0, 0x5_0005),
            [("under-voltage", true), ("throttled", true)]
        );
        assert_eq!(
            changes(0x5_0005, 0xd_0008),
            [
                ("soft temperature limit", true),
                ("under-voltage", false),
                ("throttled", false)
            ]
        );
        // That it has been is no news: its beginning was.
        assert_eq!(changes(0, 0xf_0000), []);
        let was: Vec<_> = Throttled(0x2_0001).since_power_up().collect();
        assert_eq!(was, ["frequency capped"]);
    }
}
