// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many frames come in before they interrupt, and how long the first of them waits.
//!
//! # Theory
//! A lone frame interrupts at once. In a stream, that many interrupts serve nobody: the more frames a second, the more
//! of them wait for each other, but never longer than a time that a stream does not feel. The rate is taken over a
//! millisecond or more; a level is left only when the rate has fallen to half of what led to it, so that
//! a steady stream does not swing between two.
use super::regs::{RDMA, RX_TIMEOUT};
use super::{FrameBuffer, Genet};
use crate::Io;

/// The unit of the device's time-out.
const UNIT_NS: u32 = 8_192;
/// The threshold register's nine bits.
const MAX_FRAMES: u16 = 256;
/// Frames are counted for so long at least before a rate is believed.
const WINDOW_NS: u64 = 1_000_000;

/// When received frames interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// When so many have come: 1 to 256.
    pub frames: u16,
    /// Or when the first of them has waited so long: 8 us to half a second.
    pub usecs: u32,
}

/// From so many frames a second on, what.
const LEVELS: [(u64, Coalescing); 3] = [
    (
        0,
        Coalescing {
            frames: 1,
            usecs: 57,
        },
    ),
    (
        20_000,
        Coalescing {
            frames: 8,
            usecs: 57,
        },
    ),
    (
        150_000,
        Coalescing {
            frames: 32,
            usecs: 114,
        },
    ),
];

/// Chooses by the rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chooser {
    adaptive: bool,
    chosen: Coalescing,
    level: usize,
    /// When the window began, and the count of frames then.
    since: Option<(u64, u64)>,
}

impl Chooser {
    pub(super) const fn new() -> Self {
        Self {
            adaptive: true,
            chosen: LEVELS[0].1,
            level: 0,
            since: None,
        }
    }

    /// It is `now_ns`, and `frames` have come in all: what is to be chosen from now on, if it is something else.
    fn sample(&mut self, now_ns: u64, frames: u64) -> Option<Coalescing> {
        let (since_ns, before) = *self.since.get_or_insert((now_ns, frames));
        let window_ns = now_ns.saturating_sub(since_ns);
        if !self.adaptive || window_ns < WINDOW_NS {
            return None;
        }
        self.since = Some((now_ns, frames));
        let rate = (frames - before).saturating_mul(1_000_000_000) / window_ns;
        let up = LEVELS.iter().rposition(|(from, _)| rate >= *from);
        let level = match up {
            Some(up) if up > self.level => up,
            _ if rate < LEVELS[self.level].0 / 2 => self.level - 1,
            _ => return None,
        };
        self.level = level;
        self.chosen = LEVELS[level].1;
        Some(self.chosen)
    }
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// Received frames interrupt so from now on; none: as their rate suggests.
    pub fn set_coalescing(&mut self, fixed: Option<Coalescing>) {
        self.coalescing = Chooser {
            adaptive: fixed.is_none(),
            chosen: fixed.unwrap_or(LEVELS[0].1),
            ..Chooser::new()
        };
        self.apply_coalescing();
    }

    /// How received frames interrupt.
    pub const fn coalescing(&self) -> Coalescing {
        self.coalescing.chosen
    }

    /// It is `now_ns` on a clock that never goes back: looks at the rate. To be called after a pass; it touches the
    /// device only when there is something to change.
    pub fn adapt(&mut self, now_ns: u64) {
        let frames = self.counters.rx_frames + self.counters.rx_no_buffer;
        if self.coalescing.sample(now_ns, frames).is_some() {
            self.apply_coalescing();
        }
    }

    pub(super) fn apply_coalescing(&mut self) {
        if !self.was_reset {
            return;
        }
        let Coalescing { frames, usecs } = self.coalescing.chosen;
        let units = usecs
            .saturating_mul(1_000)
            .div_ceil(UNIT_NS)
            .clamp(1, 0xffff);
        let frames = frames.clamp(1, MAX_FRAMES);
        self.io.write32(RX_TIMEOUT.offset, units);
        self.io.write32(RDMA.threshold.offset, frames.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const SECOND_NS: u64 = 1_000_000_000;

    /// What is chosen at each of these rates, which last a tenth of a second each, sampled at every 8th frame.
    fn chosen(rates: &[u64]) -> Vec<u16> {
        let mut chooser = Chooser::new();
        let (mut now_ns, mut frames) = (0, 0);
        let at = |rate: &u64| {
            for _ in 0..rate / 80 {
                now_ns += 8 * SECOND_NS / rate;
                frames += 8;
                chooser.sample(now_ns, frames);
            }
            chooser.chosen.frames
        };
        rates.iter().map(at).collect()
    }

    #[test]
    fn the_faster_they_come_the_more_wait_for_each_other() {
        assert_eq!(
            chosen(&[100, 19_000, 25_000, 140_000, 160_000, 1_400_000]),
            [1, 1, 8, 8, 32, 32]
        );
        assert_eq!(chosen(&[1_000_000]), [32], "at once");
    }

    #[test]
    fn a_rate_near_a_border_does_not_swing() {
        assert_eq!(
            chosen(&[21_000, 19_000, 11_000, 21_000, 9_000]),
            [8, 8, 8, 8, 1]
        );
        assert_eq!(
            chosen(&[200_000, 149_000, 80_000, 74_000, 11_000, 9_000]),
            [32, 32, 32, 8, 8, 1]
        );
    }

    #[test]
    fn a_lone_frame_after_a_stream_waits_for_nobody_for_long() {
        let mut chooser = Chooser::new();
        chooser.sample(0, 0);
        assert!(chooser.sample(WINDOW_NS, 1_000).is_some());
        assert_eq!(
            chooser.sample(WINDOW_NS + 10, 2_000),
            None,
            "too soon to say"
        );
        // A second later: down, level by level, a look each.
        assert_eq!(chooser.sample(SECOND_NS, 2_001).unwrap().frames, 8);
        assert_eq!(chooser.sample(2 * SECOND_NS, 2_002).unwrap().frames, 1);
        assert_eq!(chooser.sample(3 * SECOND_NS, 2_003), None);
    }
}
