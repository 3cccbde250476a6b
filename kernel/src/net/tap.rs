// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies of the frames that pass the interface, for who listens in.
//!
//! # Theory
//! A tap is part of the stack and inside its lock, so that frames are seen in the order in which the stack sees them. It is bounded: a
//! listener that does not keep up misses frames, and is told how many.
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use smoltcp::time::Instant;

/// Frames that wait for the listener at most.
const FRAMES: usize = 1024;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this station.
    In,
    /// From it.
    Out,
}

/// A frame that passed.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Which way.
    pub direction: Direction,
    /// When, in microseconds since the start.
    pub at_us: i64,
    /// Its length.
    pub bytes: usize,
    /// Its first bytes.
    pub data: Vec<u8>,
}

/// Listens in.
pub struct Tap {
    snap_bytes: usize,
    frames: VecDeque<Captured>,
    missed: u64,
}

impl Tap {
    /// Keeps the first `snap_bytes` of each frame.
    pub fn new(snap_bytes: usize) -> Self {
        Self {
            snap_bytes,
            frames: VecDeque::new(),
            missed: 0,
        }
    }

    pub(super) fn offer(&mut self, direction: Direction, at: Instant, frame: &[u8]) {
        if self.frames.len() == FRAMES {
            self.missed += 1;
            return;
        }
        let data = &frame[..frame.len().min(self.snap_bytes)];
        self.frames.push_back(Captured {
            direction,
            at_us: at.total_micros(),
            bytes: frame.len(),
            data: data.to_vec(),
        });
    }

    /// What passed since the last call, and how many more were missed in all.
    pub fn take(&mut self) -> (VecDeque<Captured>, u64) {
        (core::mem::take(&mut self.frames), self.missed)
    }

    /// There is something to take.
    pub fn is_ready(&self) -> bool {
        !self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_keep_up_is_told_what_was_missed() {
        let mut tap = Tap::new(4);
        for _ in 0..FRAMES + 3 {
            tap.offer(Direction::In, Instant::from_micros(7), &[1, 2, 3, 4, 5, 6]);
        }
        let (frames, missed) = tap.take();
        assert_eq!((frames.len(), missed), (FRAMES, 3));
        assert_eq!(
            (frames[0].bytes, &frames[0].data[..]),
            (6, &[1, 2, 3, 4][..])
        );
        assert!(!tap.is_ready());
    }
}
