// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a transfer is, as its owner tells it.
use super::Error;

/// Which way the data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the card to memory.
    Read,
    /// From memory to the card.
    Write,
}

/// A stretch of memory as the controller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first byte's address on the controller's bus: a multiple of 4.
    pub bus_address: u32,
    /// Its length in bytes: a multiple of 4. A long one takes a descriptor for each 64 KiB.
    pub bytes: u32,
}

/// A transfer. [`segments`](Self::segments) is asked when it starts, if it goes by DMA, and [`block`](Self::block) as
/// its blocks come, if it does not.
///
/// The memory behind the segments must be ready for the device at the start, and is the device's until the end
/// is told; after [`Progress::Failed`], until the recovery has ended.
pub trait TransferData {
    /// The first block.
    fn lba(&self) -> u64;
    /// How many blocks of 512 bytes: 1 to 65,535.
    fn blocks(&self) -> u32;
    /// Which way.
    fn direction(&self) -> Direction;
    /// The memory, in order.
    fn segments(&self) -> impl Iterator<Item = Segment>;
    /// The memory of block `number` of the transfer, counted from 0.
    fn block(&mut self, number: u32) -> &mut [u8; 512];
}

/// What an interrupt meant for the transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This controller told nothing.
    NotMine,
    /// The transfer is on its way.
    Going,
    /// The transfer has ended well: read, it is in memory; written, the card has taken it (and, unless the card has a
    /// volatile cache that is on, programmed it).
    Done,
    /// The transfer has failed, and how much was moved is unknown. Next comes the recovery.
    Failed(Error),
}
