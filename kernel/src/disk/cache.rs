// SPDX-License-Identifier: MIT OR Apache-2.0
//! Byte-wise reads of a device through a few cached lines.
//!
//! # Theory
//!
//! A command to an SD card costs about as much as moving several KiB. File systems ask for a FAT entry of 4
//! bytes or a directory of 512; file contents come in long runs. So what is shorter than a line goes through
//! one of a few lines, the least recently used giving way, and what covers whole lines goes straight to the
//! caller's memory in one command. A line with a bad sector in it is read sector by sector, so that the
//! good ones around it are not lost.

use alloc::vec::Vec;

use super::{BlockDevice, DiskError, SECTOR_BYTES};

/// Sectors in a line: 4 KiB.
const LINE_SECTORS: u64 = 8;
const LINE_BYTES: usize = LINE_SECTORS as usize * SECTOR_BYTES;
/// Lines in a cache: 32 KiB.
const LINES: usize = 8;

/// What went over the cache since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Read commands to the device.
    pub commands: u64,
    /// Sectors that they moved.
    pub sectors: u64,
    /// Reads of a line that was there.
    pub hits: u64,
}

#[derive(Default)]
struct Line {
    /// Its number on the device; none while it holds nothing.
    number: Option<u64>,
    used: u64,
    /// Shorter than the rest if the device ends in it.
    bytes: Vec<u8>,
}

/// A device that can be read at any byte.
pub struct Cache<D> {
    device: D,
    lines: Vec<Line>,
    clock: u64,
    stats: Stats,
}

impl<D: BlockDevice> Cache<D> {
    /// An empty cache over `device`.
    pub fn new(device: D) -> Self {
        Self {
            device,
            lines: core::iter::repeat_with(Line::default).take(LINES).collect(),
            clock: 0,
            stats: Stats::default(),
        }
    }

    /// The device's size in sectors.
    pub fn sectors(&self) -> u64 {
        self.device.sectors()
    }

    /// What it cost so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// Any [`DiskError`]; `buf` may then be filled in part.
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let (mut offset, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let sector = offset / SECTOR_BYTES as u64;
            let aligned = offset.is_multiple_of(SECTOR_BYTES as u64);
            let done = if aligned && rest.len() >= LINE_BYTES {
                let whole = rest.len() / SECTOR_BYTES * SECTOR_BYTES;
                self.command(sector, &mut rest[..whole])?;
                whole
            } else {
                let mut alone = [0; SECTOR_BYTES];
                let there = match self.line(sector) {
                    Ok(line) => &line.bytes[(offset % LINE_BYTES as u64) as usize..],
                    Err(DiskError::Medium { .. }) => {
                        self.command(sector, &mut alone)?;
                        &alone[(offset % SECTOR_BYTES as u64) as usize..]
                    }
                    Err(error) => return Err(error),
                };
                let n = there.len().min(rest.len());
                rest[..n].copy_from_slice(&there[..n]);
                n
            };
            offset += done as u64;
            rest = &mut rest[done..];
        }
        Ok(())
    }

    /// Reads past the lines.
    fn command(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.stats.commands += 1;
        self.stats.sectors += (buf.len() / SECTOR_BYTES) as u64;
        self.device.read(lba, buf)
    }

    /// The line that `sector` is in.
    fn line(&mut self, sector: u64) -> Result<&Line, DiskError> {
        let sectors = self.sectors();
        if sector >= sectors {
            return Err(DiskError::OutOfRange {
                lba: sector,
                count: 1,
                sectors,
            });
        }
        self.clock += 1;
        let number = sector / LINE_SECTORS;
        let found = self
            .lines
            .iter()
            .position(|line| line.number == Some(number));
        let oldest = self
            .lines
            .iter()
            .enumerate()
            .min_by_key(|(_, line)| line.used);
        let slot = found.or(oldest.map(|(slot, _)| slot)).unwrap_or(0);
        let line = &mut self.lines[slot];
        line.used = self.clock;
        if found.is_some() {
            self.stats.hits += 1;
            return Ok(line);
        }
        let start = number * LINE_SECTORS;
        let count = (sectors - start).min(LINE_SECTORS);
        self.stats.commands += 1;
        self.stats.sectors += count;
        line.number = None; // until the read has succeeded
        line.bytes.resize(count as usize * SECTOR_BYTES, 0);
        self.device.read(start, &mut line.bytes)?;
        line.number = Some(number);
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::MemDisk;
    use super::*;
    use std::vec;

    fn disk(sectors: usize) -> MemDisk {
        MemDisk::new(
            (0..sectors * SECTOR_BYTES)
                .map(|at| (at / 3) as u8)
                .collect(),
        )
    }

    #[test]
    fn any_bytes_are_the_devices() {
        let disk = disk(27);
        let mut cache = Cache::new(disk.clone());
        for (offset, len) in [
            (0, 1),
            (511, 2),
            (4095, 4098),
            (512, 8192),
            (13_823, 1),
            (100, 13_724),
            (0, 13_824),
        ] {
            let mut buf = vec![0; len];
            cache.read_at(offset, &mut buf).unwrap();
            assert_eq!(
                buf,
                disk.base[offset as usize..][..len],
                "{len} at {offset}"
            );
        }
        assert_eq!(cache.stats().commands, disk.reads());
    }

    #[test]
    fn beyond_the_end_is_an_error() {
        let mut cache = Cache::new(disk(9));
        for (offset, len) in [
            (4608, 1),
            (4607, 2),
            (5000, 1),
            (u64::MAX, 1),
            (512, 8192),
            (u64::MAX - 511, 8192),
        ] {
            let result = cache.read_at(offset, &mut vec![0; len]);
            assert!(
                matches!(result, Err(DiskError::OutOfRange { .. })),
                "{len} at {offset}"
            );
        }
    }

    #[test]
    fn small_reads_share_a_command_and_large_ones_take_one() {
        let disk = disk(4096);
        let mut cache = Cache::new(disk.clone());
        for offset in 0..100 {
            cache.read_at(offset * 40, &mut [0; 4]).unwrap();
        }
        assert_eq!(disk.reads(), 1);
        cache.read_at(0, &mut vec![0; 1 << 20]).unwrap();
        assert_eq!(disk.reads(), 2);
    }

    #[test]
    fn a_bad_sector_costs_only_itself() {
        let mut bad = disk(16);
        bad.bad = Some(3);
        let mut cache = Cache::new(bad);
        for _ in 0..2 {
            let result = cache.read_at(3 * 512, &mut [0; 4]);
            assert_eq!(result, Err(DiskError::Medium { lba: 3 }));
            assert_eq!(cache.read_at(2 * 512 + 100, &mut [0; 412]), Ok(()));
            assert_eq!(cache.read_at(4 * 512, &mut [0; 4]), Ok(()));
        }
    }
}
