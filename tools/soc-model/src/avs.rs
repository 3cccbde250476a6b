// SPDX-License-Identifier: MIT OR Apache-2.0
//! The temperature that the adaptive voltage scaling monitor measures.
//!
//! # References
//! Linux `bcm2711_thermal.c`, and slope and offset in `bcm2711.dtsi`: m°C = 410,040 - 487 * code.

use crate::{Stray, Strays};

const TEMPERATURE: u32 = 0x200;
const VALID: u32 = 1 << 16 | 1 << 10;
const CODE: i32 = 0x3ff;

/// The one register that is known.
pub struct Avs {
    /// What is measured; nothing, while the sensor is not ready.
    pub millidegrees: Option<i32>,
    /// What was done wrong.
    pub strays: Strays,
}

impl Default for Avs {
    fn default() -> Self {
        Self::new()
    }
}

impl Avs {
    /// A chip at work: 45 degrees Celsius.
    pub fn new() -> Self {
        Self {
            millidegrees: Some(45_000),
            strays: Strays::default(),
        }
    }

    /// Reads `bytes` at `at`.
    pub fn read(&mut self, at: u32, bytes: u32) -> u32 {
        if !self.strays.is_word(at, bytes) {
            return 0;
        }
        if at != TEMPERATURE {
            self.strays.count(Stray::Read(at));
            return 0;
        }
        self.millidegrees.map_or(0, |millidegrees| {
            VALID | ((410_040 - millidegrees) / 487).clamp(0, CODE) as u32
        })
    }

    /// Writes `bytes` at `at`: nothing here is known to take it.
    pub fn write(&mut self, at: u32) {
        self.strays.count(Stray::Write(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_linuxs() {
        let mut avs = Avs::new();
        // 410040 - 487 * 749 = 45277: the nearest that it can say from above.
        assert_eq!(avs.read(0x200, 4), 0x1_0400 | 749);
        avs.millidegrees = None;
        assert_eq!(avs.read(0x200, 4) & VALID, 0);
        avs.read(0x204, 4);
        avs.write(0x200);
        assert_eq!(avs.strays.iter().count(), 2);
    }
}
