// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data by the CPU, through the buffer port (§3.7.2.3, §3.7.2.4).
//!
//! # Theory
//! An event tells that the port is ready for a block; it is acknowledged before the block is moved, so that the next
//! block's is not lost. Blocks go as long as PRESENT_STATE says that the port is ready, and a page at most: the
//! owner's lock is held meanwhile, and the next block's event is there already.
use super::engine::Event;
use super::regs::{BUFFER_DATA_PORT, INT, PRESENT_STATE};
use super::{Error, Sdhci, Slot};
use crate::sd::{Direction, TransferData};
use crate::{DmaBuffer, Io};

/// Blocks for one interrupt.
const BLOCKS_AT_ONCE: u16 = 8;

/// Blocks on their way through the buffer port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    direction: Direction,
    block_bytes: u16,
    /// The next block.
    next: u16,
    blocks: u16,
}

impl Port {
    /// `blocks` of `block_bytes`, which are whole words and at most 512.
    pub(super) const fn new(direction: Direction, block_bytes: u16, blocks: u16) -> Self {
        Self {
            direction,
            block_bytes,
            next: 0,
            blocks,
        }
    }

    /// Were all blocks moved?
    pub(super) const fn is_through(self) -> bool {
        self.next == self.blocks
    }

    /// The event of a port that is ready for the next block.
    pub(super) fn ready_event(self) -> Event {
        match self.direction {
            Direction::Read => INT::BUFFER_READ_READY::SET,
            Direction::Write => INT::BUFFER_WRITE_READY::SET,
        }
    }
}

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// Moves the blocks that the port is ready for. Has the transfer ended, of which the controller says `complete`?
    pub(super) fn move_blocks(
        &mut self,
        port: &mut Port,
        transfer: &mut impl TransferData,
        complete: bool,
    ) -> Result<bool, Error> {
        let ready = match port.direction {
            Direction::Read => PRESENT_STATE::BUFFER_READ_ENABLE::SET,
            Direction::Write => PRESENT_STATE::BUFFER_WRITE_ENABLE::SET,
        };
        let end = port.blocks.min(port.next.saturating_add(BLOCKS_AT_ONCE));
        while port.next < end && PRESENT_STATE.read(&self.io).any_matching_bits_set(ready) {
            let (words, _) = transfer.block(port.next.into())[..port.block_bytes.into()]
                .as_chunks_mut::<{ size_of::<u32>() }>();
            for word in words {
                // The data port needs no pause.
                match port.direction {
                    Direction::Read => {
                        *word = BUFFER_DATA_PORT.read(&self.io).get().to_le_bytes();
                    }
                    Direction::Write => {
                        let value = u32::from_le_bytes(*word);
                        self.io.write32(BUFFER_DATA_PORT.offset, value);
                    }
                }
            }
            port.next += 1;
        }
        match port.blocks - port.next {
            0 => Ok(complete),
            left if complete => Err(Error::Short(left.into())),
            _ => Ok(false),
        }
    }
}
