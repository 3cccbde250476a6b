// SPDX-License-Identifier: MIT OR Apache-2.0
//! The data phase of a command: blocks on their way between the bus and the medium or a register.

use super::registers::BLOCK;
use super::status;
use crate::medium::Medium;

/// How a data phase ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The block comes with a wrong check sequence.
    Crc,
    /// No block comes, and none is taken.
    Silence,
}

/// Where the data is.
#[derive(Clone, Debug)]
enum Source {
    /// A register's bytes, one block of them.
    Register(Vec<u8>),
    /// The medium, from this byte on.
    Medium(u64),
}

/// A data phase.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub read: bool,
    pub block_bytes: usize,
    source: Source,
    /// Blocks that are still to come; without, the host ends it.
    pub left: Option<u32>,
    /// Blocks that were written well.
    pub written: u32,
    /// An error has ended it; what comes is ignored.
    failed: bool,
}

impl Stream {
    /// The card sends this register.
    pub fn register(bytes: Vec<u8>) -> Self {
        Self {
            read: true,
            block_bytes: bytes.len(),
            source: Source::Register(bytes),
            left: Some(1),
            written: 0,
            failed: false,
        }
    }

    /// The card sends or takes blocks, from this byte on.
    pub fn medium(read: bool, at: u64, block_bytes: usize, left: Option<u32>) -> Self {
        Self {
            read,
            block_bytes,
            source: Source::Medium(at),
            left,
            written: 0,
            failed: false,
        }
    }

    /// The card is protected: it ignores what comes.
    pub fn refuse(&mut self) {
        self.failed = true;
    }

    /// Whether the last block has passed.
    pub fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// How much of `wanted` bytes, whole blocks, the phase still has.
    fn share(&self, wanted: usize) -> usize {
        let whole = wanted / self.block_bytes;
        let left = self.left.map_or(whole, |left| whole.min(left as usize));
        left * self.block_bytes
    }

    fn pass(&mut self, bytes: usize) {
        let blocks = (bytes / self.block_bytes) as u32;
        self.left = self.left.map(|left| left - blocks);
        if let Source::Medium(at) = &mut self.source {
            *at += bytes as u64;
        }
    }

    /// Fills whole blocks of `into`: how many bytes, why no more, and what the card's status says.
    pub fn send(
        &mut self,
        into: &mut [u8],
        medium: &mut dyn Medium,
        end: u64,
    ) -> (usize, Option<Broken>, u32) {
        if self.failed {
            return (0, Some(Broken::Silence), 0);
        }
        let want = self.share(into.len());
        let into = &mut into[..want];
        let at = match &self.source {
            Source::Register(bytes) => {
                into.copy_from_slice(&bytes[..want]);
                self.pass(want);
                return (want, None, 0);
            }
            Source::Medium(at) => *at,
        };
        let (mut good, mut why, mut errors) = (want, None, 0);
        if at + want as u64 > end {
            good = (end.saturating_sub(at) as usize) / self.block_bytes * self.block_bytes;
            (why, errors) = (Some(Broken::Silence), status::OUT_OF_RANGE);
        }
        if medium.read(at, &mut into[..good]).is_err() {
            // Only the block that is bad is lost: the ones before it reach the host.
            good = self.readable(at, &mut into[..good], medium);
            (why, errors) = (Some(Broken::Crc), status::CARD_ECC_FAILED);
        }
        self.pass(good);
        self.failed = why.is_some();
        (good, why, errors)
    }

    /// Reads block by block up to the first that cannot be read.
    fn readable(&self, at: u64, into: &mut [u8], medium: &mut dyn Medium) -> usize {
        let mut good = 0;
        for block in into.chunks_mut(self.block_bytes) {
            if medium.read(at + good as u64, block).is_err() {
                break;
            }
            good += block.len();
        }
        good
    }

    /// Takes whole blocks; what the card's status says then.
    pub fn receive(&mut self, from: &[u8], medium: &mut dyn Medium, end: u64) -> u32 {
        let take = self.share(from.len());
        let Source::Medium(at) = self.source else {
            return 0;
        };
        let mut errors = 0;
        if !self.failed {
            let room = end.saturating_sub(at).min(take as u64) / BLOCK * BLOCK;
            let mut good = room as usize;
            if good < take {
                errors = status::OUT_OF_RANGE;
            }
            if good > 0 && medium.write(at, &from[..good]).is_err() {
                good = self.writable(at, &from[..good], medium);
                errors = status::ERROR;
            }
            self.written += (good / self.block_bytes) as u32;
            self.failed = errors != 0;
        }
        self.pass(take);
        errors
    }

    /// Writes block by block up to the first that cannot be written.
    fn writable(&self, at: u64, from: &[u8], medium: &mut dyn Medium) -> usize {
        let mut good = 0;
        for block in from.chunks(self.block_bytes) {
            if medium.write(at + good as u64, block).is_err() {
                break;
            }
            good += block.len();
        }
        good
    }
}
