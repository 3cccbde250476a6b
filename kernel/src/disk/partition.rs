// SPDX-License-Identifier: MIT OR Apache-2.0
//! A run of sectors of a device, as a device: nothing outside it can be reached through it.

use super::{BlockDevice, DiskError, check_range};

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

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(lba, buf.len(), self.sectors)?;
        self.device.read(self.start + lba, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::MemDisk;
    use super::*;
    use std::vec;

    #[test]
    fn reads_stay_inside() {
        let mut disk = MemDisk::new(vec![0; 8 * 512]);
        disk.poke(3 * 512, &[7]);
        let mut part = Partition::new(disk.clone(), 3, 2).unwrap();
        let mut two = [0; 1024];
        part.read(0, &mut two).unwrap();
        assert_eq!(two[0], 7);
        for lba in [1, 2, 3, u64::MAX - 2, u64::MAX] {
            assert!(part.read(lba, &mut two).is_err(), "{lba}");
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
