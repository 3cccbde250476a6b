// SPDX-License-Identifier: MIT OR Apache-2.0
//! A path that loses, delays, reorders and doubles frames, as seeded.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// What a path does. Shares are of a thousand frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Lost.
    pub lost: u32,
    /// Come twice.
    pub doubled: u32,
    /// Held back for [`Self::held`], so that others overtake them.
    pub reordered: u32,
    /// One bit of them is wrong.
    pub damaged: u32,
    /// How long each takes.
    pub delay: Duration,
    /// How much longer those take that are held back.
    pub held: Duration,
    /// Other frames with another.
    pub seed: u64,
}

/// One direction of a path.
#[derive(Debug)]
pub struct Path {
    impairment: Impairment,
    rng: Rng,
    /// By the time at which it leaves, and then in the order in which it came.
    frames: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    entered: u64,
}

impl Path {
    /// A path; `direction` makes its frames' fates others than those of the way back.
    pub fn new(impairment: &Impairment, direction: u64) -> Self {
        Self {
            impairment: impairment.clone(),
            rng: Rng::with_seed(impairment.seed ^ direction << 56),
            frames: BinaryHeap::new(),
            entered: 0,
        }
    }

    /// A frame begins its way.
    pub fn enter(&mut self, now: Instant, frame: &[u8]) {
        let Impairment {
            lost,
            doubled,
            reordered,
            damaged,
            delay,
            held,
            ..
        } = self.impairment;
        let mut strikes = |share: u32| self.rng.u32(0..1000) < share;
        if strikes(lost) {
            return;
        }
        let copies = if strikes(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let mut strikes = |share: u32| self.rng.u32(0..1000) < share;
            let mut at = now + delay;
            if strikes(reordered) {
                at += held;
            }
            let is_damaged = strikes(damaged);
            let mut frame = frame.to_vec();
            if is_damaged && !frame.is_empty() {
                let bit = self.rng.usize(0..frame.len() * 8);
                frame[bit / 8] ^= 1 << (bit % 8);
            }
            self.entered += 1;
            self.frames.push(Reverse((at, self.entered, frame)));
        }
    }

    /// The next frame that has come to the path's end.
    pub fn leave(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next()? > now {
            return None;
        }
        self.frames.pop().map(|Reverse((_, _, frame))| frame)
    }

    /// When the next one comes there.
    pub fn next(&self) -> Option<Instant> {
        self.frames.peek().map(|Reverse((at, ..))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(impairment: &Impairment, frames: u32) -> Vec<u32> {
        let mut path = Path::new(impairment, 0);
        let began = Instant::now();
        for n in 0..frames {
            path.enter(began + Duration::from_micros(n.into()), &n.to_le_bytes());
        }
        let end = began + Duration::from_secs(1);
        let came = std::iter::from_fn(|| path.leave(end));
        came.map(|f| u32::from_le_bytes(f.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn a_path_without_impairment_changes_nothing() {
        let all: Vec<u32> = (0..100).collect();
        assert_eq!(through(&Impairment::default(), 100), all);
    }

    #[test]
    fn frames_are_lost_doubled_and_reordered_in_their_shares() {
        let lost = Impairment {
            lost: 100,
            ..Impairment::default()
        };
        let came = through(&lost, 10_000).len();
        assert!((8_800..9_200).contains(&came), "{came}");
        assert_eq!(through(&lost, 10_000), through(&lost, 10_000));
        let doubled = Impairment {
            doubled: 100,
            ..Impairment::default()
        };
        let came = through(&doubled, 10_000).len();
        assert!((10_800..11_200).contains(&came), "{came}");
        let reordered = Impairment {
            reordered: 100,
            held: Duration::from_micros(10),
            ..Impairment::default()
        };
        let came = through(&reordered, 10_000);
        assert_eq!(came.len(), 10_000);
        let turned = came.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((700..1_100).contains(&turned), "{turned}");
    }

    #[test]
    fn a_damaged_frame_differs_in_one_bit() {
        let damaged = Impairment {
            damaged: 1000,
            ..Impairment::default()
        };
        let mut path = Path::new(&damaged, 0);
        let now = Instant::now();
        path.enter(now, &[0; 64]);
        let frame = path.leave(now).unwrap();
        assert_eq!(frame.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    }

    #[test]
    fn nothing_leaves_before_its_time() {
        let slow = Impairment {
            delay: Duration::from_millis(5),
            ..Impairment::default()
        };
        let mut path = Path::new(&slow, 0);
        let now = Instant::now();
        path.enter(now, b"frame");
        assert_eq!(path.leave(now + Duration::from_millis(4)), None);
        assert_eq!(path.next(), Some(now + Duration::from_millis(5)));
        assert!(path.leave(now + Duration::from_millis(5)).is_some());
        assert_eq!(path.next(), None);
    }
}
