// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk in memory: what a card cannot show, because nothing ever waits for it.
//!
//! # Contexts
//! Under the queue's lock, as every device: so transfers are merged up to [`MOST_SECTORS`] only. A longer one holds the
//! lock as long as copying it takes.
use super::disk::{Command, Progress, Strategy};
use super::queue::Limits;
use super::request::{Op, Transfer};
use super::{DiskError, SECTOR_BYTES};
use alloc::vec::Vec;

/// Sectors in one command: 32 KiB, some microseconds.
const MOST_SECTORS: u64 = 64;

/// The sectors.
pub struct RamDisk(Vec<u8>);

impl RamDisk {
    /// A disk of `sectors` sectors of zeroes.
    ///
    /// # Errors
    /// [`DiskError::NoMemory`].
    pub fn new(sectors: usize) -> Result<Self, DiskError> {
        let (mut memory, bytes) = (Vec::new(), sectors * SECTOR_BYTES);
        memory
            .try_reserve_exact(bytes)
            .map_err(|_| DiskError::NoMemory)?;
        memory.resize(bytes, 0);
        Ok(Self(memory))
    }

    fn carry_out(&mut self, transfer: &mut Transfer) {
        let at = transfer.lba as usize * SECTOR_BYTES;
        let here = &mut self.0[at..at + transfer.range.len()];
        let there = transfer.range.clone();
        match transfer.op {
            Op::Read => transfer.buffer.bytes_mut()[there].copy_from_slice(here),
            Op::Write | Op::WriteThrough => here.copy_from_slice(&transfer.buffer.bytes()[there]),
            Op::Flush => {}
        }
    }
}

impl Strategy for RamDisk {
    fn sectors(&self) -> u64 {
        (self.0.len() / SECTOR_BYTES) as u64
    }

    fn limits(&self) -> Limits {
        Limits {
            sectors: MOST_SECTORS,
            segments: usize::MAX,
        }
    }

    fn has_dma(&self) -> bool {
        false
    }

    fn has_volatile_cache(&self) -> bool {
        false
    }

    fn start(&mut self, command: &mut Command) -> Progress {
        let mut number = 0;
        while let Some(transfer) = command.transfer_mut(number) {
            self.carry_out(transfer);
            number += 1;
        }
        Progress::Done
    }

    fn look(&mut self, _: &mut Command) -> Progress {
        Progress::Done
    }

    fn give_up(&mut self, _: &mut Command) -> Progress {
        Progress::Done
    }

    fn recover(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
}
