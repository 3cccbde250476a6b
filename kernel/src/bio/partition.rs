// SPDX-License-Identifier: MIT OR Apache-2.0
//! A run of sectors of a device, as a device: nothing outside it can be reached through it.

use alloc::vec::Vec;

use super::DiskError;
use super::request::{BlockDevice, Ticket, Transfer};

/// A part of `D`.
pub struct Partition<D> {
    device: D,
    start: u64,
    sectors: u64,
}

impl<D: BlockDevice> Partition<D> {
    /// The `sectors` sectors of `device` from `start` on.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`] if they are not all on the device.
    pub fn new(device: D, start: u64, sectors: u64) -> Result<Self, DiskError> {
        let there = device.sectors();
        match start.checked_add(sectors) {
            Some(end) if end <= there => Ok(Self {
                device,
                start,
                sectors,
            }),
            _ => Err(DiskError::OutOfRange {
                lba: start,
                count: sectors,
                sectors: there,
            }),
        }
    }
}

impl<D: BlockDevice> BlockDevice for Partition<D> {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn submit(&self, mut transfers: Vec<Transfer>) -> Vec<Ticket> {
        for transfer in &mut transfers {
            transfer.lba = match transfer.check(self.sectors) {
                Err(DiskError::OutOfRange { .. }) => u64::MAX, // which the device refuses
                _ => self.start.saturating_add(transfer.lba),
            };
        }
        self.device.submit(transfers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Op;
    use super::super::tests::MemDisk;
    use super::*;
    use crate::dma::Buffer;
    use std::vec;

    fn read(part: &Partition<MemDisk>, lba: u64) -> Transfer {
        let two = Transfer::new(Op::Read, lba, Buffer::new(1024).unwrap(), 0..1024);
        part.submit(vec![two]).remove(0).wait()
    }

    #[test]
    fn transfers_stay_inside() {
        let mut disk = MemDisk::new(vec![0; 8 * 512]);
        disk.poke(3 * 512, &[7]);
        let part = Partition::new(disk.share(), 3, 2).unwrap();
        let done = read(&part, 0);
        assert_eq!((done.result, done.buffer.bytes()[0]), (Ok(()), 7));
        for lba in [1, 2, 3, u64::MAX - 2, u64::MAX] {
            let result = read(&part, lba).result;
            assert!(matches!(result, Err(DiskError::OutOfRange { .. })), "{lba}");
        }
        assert_eq!(disk.reads(), 1);
    }

    #[test]
    fn it_must_be_on_the_device() {
        for (start, sectors) in [(0, 9), (8, 1), (9, 0), (u64::MAX, 2)] {
            assert!(Partition::new(MemDisk::new(vec![0; 8 * 512]), start, sectors).is_err());
        }
    }
}
