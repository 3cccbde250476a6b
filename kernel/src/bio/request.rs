// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of a block device, and how.
//!
//! # Theory
//! A transfer moves whole sectors between a device and a DMA buffer, which it owns until it has ended: so nobody
//! looks into memory that a device works on, and nobody frees it. Transfers that are submitted together may be done
//! in any order, neighbours in one command; two that overlap are done in the order in which they were submitted.
//!
//! # Contexts
//! Threads: [`BlockDevice::submit`] may wait for room in the queue, [`BlockDevice::wait`] for the device.
use super::{DiskError, SECTOR_BYTES, check_range};
use crate::dma::Buffer;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// From the device to the buffer.
    Read,
    /// From the buffer to the device. The data may stay in the device's own cache, if it has one, until a flush.
    Write,
    /// As [`Op::Write`], and on the medium when it has ended (force unit access).
    WriteThrough,
    /// Everything written, whose transfers ended before this one was submitted, is on the medium when it has ended. If
    /// an eMMC loses what it had not written yet, one flush is told, whosever it is.
    Flush,
}

impl Op {
    /// Does it change the medium?
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteThrough)
    }
}

/// One transfer.
#[derive(Debug)]
pub struct Transfer {
    /// What to do.
    pub op: Op,
    /// The first sector.
    pub lba: u64,
    /// The memory.
    pub buffer: Buffer,
    /// The bytes of the buffer: whole sectors.
    pub range: Range<usize>,
    /// How it ended.
    pub result: Result<(), DiskError>,
}

impl Transfer {
    /// A transfer of `range` of `buffer`, from or to sector `lba` on.
    pub const fn new(op: Op, lba: u64, buffer: Buffer, range: Range<usize>) -> Self {
        Self {
            op,
            lba,
            buffer,
            range,
            result: Ok(()),
        }
    }

    /// How many sectors it moves.
    pub fn sectors(&self) -> u64 {
        (self.range.len() / SECTOR_BYTES) as u64
    }

    /// The sector after its last.
    pub fn end(&self) -> u64 {
        self.lba + self.sectors()
    }

    /// Checks it against a device of `sectors` sectors.
    ///
    /// # Errors
    /// [`DiskError::Misaligned`], [`DiskError::OutOfRange`].
    pub fn check(&self, sectors: u64) -> Result<(), DiskError> {
        let bytes = self.range.len();
        let whole = self.range.start.is_multiple_of(SECTOR_BYTES)
            && self.range.end <= self.buffer.len()
            && (bytes > 0 || self.op == Op::Flush);
        if !whole {
            return Err(DiskError::Misaligned { bytes });
        }
        check_range(self.lba, bytes, sectors).map(|_| ())
    }
}

/// Something that holds sectors: a card, a partition of it, a RAM disk.
pub trait BlockDevice: Send {
    /// How many sectors there are.
    fn sectors(&self) -> u64;

    /// Hands over `transfers` all at once, in order, and tells what to wait for, in the same order. Errors, also the
    /// caller's, are told by [`Self::wait`].
    fn submit(&self, transfers: Vec<Transfer>) -> Vec<Ticket>;
}

/// A transfer that was submitted. Who drops it does not want to know how it ends.
pub trait Wait: Send + Sync {
    /// Has it ended?
    fn is_done(&self) -> bool;
    /// Waits until it has ended, and gives it back. Once.
    fn wait(self: Arc<Self>) -> Transfer;
}

/// What [`BlockDevice::submit`] gives.
pub type Ticket = Arc<dyn Wait>;

impl<D: BlockDevice + ?Sized> BlockDevice for alloc::boxed::Box<D> {
    fn sectors(&self) -> u64 {
        (**self).sectors()
    }

    fn submit(&self, transfers: Vec<Transfer>) -> Vec<Ticket> {
        (**self).submit(transfers)
    }
}
