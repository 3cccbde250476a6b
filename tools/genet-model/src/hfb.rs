// SPDX-License-Identifier: MIT OR Apache-2.0
//! HFB: patterns that steer a received frame to a ring.
//!
//! 48 filters of 128 words. A word holds two bytes of the pattern in its low half and, above
//! them, a bit for each half byte that is to be compared. A filter matches a frame that is at
//! least as long as the filter's length and agrees within it. Where several match, the
//! highest-numbered one wins: Linux keeps filter 0 as the one that matches everything, and puts
//! its rules above it. That order, and the length's unit of bytes, are drawn from how drivers
//! program the block; no manual says so.

/// Filters.
pub const FILTERS: usize = 48;
const WORDS: usize = 128;
const CTRL: u32 = 0x00;
const ENABLE_HIGH: u32 = 0x04;
const ENABLE_LOW: u32 = 0x08;
const LENGTH: u32 = 0x1c;
const LENGTH_END: u32 = LENGTH + FILTERS as u32;
const CTRL_EN: u32 = 1 << 0;

/// The filter block.
#[derive(Clone, Debug)]
pub(crate) struct Hfb {
    ctrl: u32,
    enable: [u32; 2],
    lengths: [u32; FILTERS / 4],
    words: Box<[u32]>,
}

impl Hfb {
    pub(crate) fn new() -> Self {
        Self {
            ctrl: 0,
            enable: [0; 2],
            lengths: [0; FILTERS / 4],
            words: vec![0; FILTERS * WORDS].into_boxed_slice(),
        }
    }

    pub(crate) fn read_pattern(&self, offset: u32) -> Option<u32> {
        self.words.get(offset as usize / 4).copied()
    }

    pub(crate) fn write_pattern(&mut self, offset: u32, value: u32) -> Option<()> {
        *self.words.get_mut(offset as usize / 4)? = value;
        Some(())
    }

    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        match register {
            CTRL => Some(self.ctrl),
            ENABLE_HIGH => Some(self.enable[1]),
            ENABLE_LOW => Some(self.enable[0]),
            LENGTH..LENGTH_END => Some(self.lengths[(register - LENGTH) as usize / 4]),
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            CTRL => self.ctrl = value,
            ENABLE_HIGH => self.enable[1] = value,
            ENABLE_LOW => self.enable[0] = value,
            LENGTH..LENGTH_END => self.lengths[(register - LENGTH) as usize / 4] = value,
            _ => return None,
        }
        Some(())
    }

    /// The filter that this frame matches.
    pub(crate) fn classify(&self, frame: &[u8]) -> Option<usize> {
        if self.ctrl & CTRL_EN == 0 {
            return None;
        }
        let enabled = |f: &usize| self.enable[f / 32] & (1 << (f % 32)) != 0;
        (0..FILTERS)
            .rev()
            .filter(enabled)
            .find(|f| self.matches(*f, frame))
    }

    /// The lengths lie four to a register, the last filters' first.
    fn length(&self, filter: usize) -> usize {
        let register = self.lengths[(FILTERS - 1 - filter) / 4];
        (register >> (8 * (filter % 4))) as usize & 0xff
    }

    fn matches(&self, filter: usize, frame: &[u8]) -> bool {
        let Some(head) = frame.get(..self.length(filter)) else {
            return false;
        };
        let words = &self.words[filter * WORDS..(filter + 1) * WORDS];
        head.iter().enumerate().all(|(at, byte)| {
            let word = words[at / 2];
            let (pattern, halves) = if at % 2 == 0 {
                (word >> 8, word >> 18)
            } else {
                (word, word >> 16)
            };
            let low = if halves & 1 != 0 { 0x0f } else { 0 };
            let high = if halves & 2 != 0 { 0xf0 } else { 0 };
            (u32::from(*byte) ^ pattern) & (low | high) == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pattern_matches_all_frames_that_are_long_enough() {
        let mut hfb = Hfb::new();
        hfb.write(LENGTH + 44, 4);
        hfb.write(ENABLE_LOW, 1);
        assert_eq!(hfb.classify(&[0; 60]), None, "the block is off");
        hfb.write(CTRL, CTRL_EN);
        assert_eq!(hfb.classify(&[0; 60]), Some(0));
        assert_eq!(hfb.classify(&[0; 3]), None);
    }

    #[test]
    fn half_bytes_are_compared_alone_and_higher_filters_win() {
        let mut hfb = Hfb::new();
        hfb.write(CTRL, CTRL_EN);
        hfb.write(LENGTH + 44, 0x0404);
        hfb.write(ENABLE_LOW, 3);
        // Filter 1: byte 2 is 0xab, of byte 3 the upper half is 0xc.
        hfb.write_pattern((128 + 1) * 4, 0xe_abc0);
        assert_eq!(hfb.classify(&[0, 0, 0xab, 0xcd]), Some(1));
        assert_eq!(hfb.classify(&[9, 9, 0xab, 0xc0]), Some(1));
        assert_eq!(hfb.classify(&[0, 0, 0xab, 0xdd]), Some(0));
        assert_eq!(hfb.classify(&[0, 0, 0xaa, 0xcd]), Some(0));
    }

    #[test]
    fn the_last_filters_are_in_the_first_registers() {
        let mut hfb = Hfb::new();
        hfb.write(CTRL, CTRL_EN);
        hfb.write(ENABLE_HIGH, 1 << 15);
        hfb.write(LENGTH, 2 << 24);
        assert_eq!(hfb.length(47), 2);
        assert_eq!(hfb.classify(&[0; 60]), Some(47));
    }
}
