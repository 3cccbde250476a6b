// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open file: where it is on the volume, and how far it has been read.
//!
//! # Theory
//!
//! Contents are read past the FAT crate, in runs: as many clusters as follow each other on the medium and
//! fit the caller's buffer take one command. A file holds no reference to its volume; who has the volume can
//! read it.
//!
//! # Rejected
//!
//! The crate's `FileReader`: one command a cluster, or, with its cached chain, 4 MiB of the FAT read and
//! allocated for each file opened.

use super::boot::Geometry;
use super::error::Fault;
use super::slot::Slot;

/// An open file.
#[derive(Clone, Debug)]
pub struct File {
    /// What its directory said when it was opened, and where.
    pub(super) slot: Slot,
    /// How often clusters of the volume had come out of use when its chain was checked.
    pub(super) seen: u64,
    position: u64,
    /// Some cluster of the file, and its place in the chain.
    here: (u32, u64),
}

/// A piece of a file that lies in one piece on the volume.
pub(super) struct Run {
    /// Where, in bytes from the volume's start.
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

impl File {
    /// A file whose chain has been checked.
    pub(super) fn new(slot: Slot, seen: u64) -> Self {
        Self {
            here: (slot.first, 0),
            slot,
            seen,
            position: 0,
        }
    }

    /// Its chain has been checked again.
    pub(super) fn look_again(&mut self, seen: u64) {
        (self.seen, self.here) = (seen, (self.slot.first, 0));
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.slot.size
    }

    /// Which byte is read next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a byte. At or beyond the end, nothing is left to read.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// The next run of at most `most` bytes; none at the end. Call [`Self::advance`] when it has been read.
    pub(super) fn run(
        &mut self,
        geometry: &Geometry,
        most: usize,
        mut next: impl FnMut(u32) -> Result<Option<u32>, Fault>,
    ) -> Result<Option<Run>, Fault> {
        let left = self
            .slot
            .size
            .saturating_sub(self.position)
            .min(most as u64);
        if left == 0 {
            return Ok(None);
        }
        let cluster_bytes = u64::from(geometry.cluster_bytes);
        let (index, inside) = (self.position / cluster_bytes, self.position % cluster_bytes);
        if index < self.here.1 {
            self.here = (self.slot.first, 0);
        }
        let mut follow = |from: u32| {
            // The chain was long enough when the file was opened.
            next(from)?.ok_or_else(|| Fault::Damaged("its chain has changed".into()))
        };
        while self.here.1 < index {
            self.here = (follow(self.here.0)?, self.here.1 + 1);
        }
        let start = self.here.0;
        let mut bytes = cluster_bytes - inside;
        while bytes < left {
            let successor = follow(self.here.0)?;
            let adjacent = successor == self.here.0 + 1;
            self.here = if adjacent {
                (successor, self.here.1 + 1)
            } else {
                break;
            };
            bytes += cluster_bytes;
        }
        Ok(Some(Run {
            offset: geometry.offset(start) + inside,
            bytes: bytes.min(left) as usize,
        }))
    }

    pub(super) fn advance(&mut self, run: &Run) {
        self.position += run.bytes as u64;
    }
}
