// SPDX-License-Identifier: MIT OR Apache-2.0
//! Block devices: 512-byte sectors, read by number.
//!
//! # Contexts
//!
//! Thread. A read sleeps until the device is done, so no spin lock may be held around it.

use alloc::boxed::Box;
use core::fmt;

pub mod cache;
pub mod mbr;
pub mod partition;

pub use partition::Partition;

/// Bytes in a sector.
pub const SECTOR_BYTES: usize = 512;

/// Something that holds sectors: a card, a partition of it, a RAM disk.
pub trait BlockDevice {
    /// How many sectors there are.
    fn sectors(&self) -> u64;

    /// Fills `buf` from sector `lba` on, with as few commands to the device as it allows.
    ///
    /// # Errors
    /// Any [`DiskError`]; `buf` then holds nothing of use.
    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError>;
}

impl<D: BlockDevice + ?Sized> BlockDevice for Box<D> {
    fn sectors(&self) -> u64 {
        (**self).sectors()
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        (**self).read(lba, buf)
    }
}

/// Why sectors could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The caller asked for sectors that are not there.
    OutOfRange {
        /// First sector asked for.
        lba: u64,
        /// How many.
        count: u64,
        /// How many the device has.
        sectors: u64,
    },
    /// The caller's buffer is not whole sectors.
    Misaligned {
        /// Its length.
        bytes: usize,
    },
    /// The device or its controller failed, for instance by a time-out.
    Device(&'static str),
    /// The medium could not be read at one place; other sectors may be good.
    Medium {
        /// The sector.
        lba: u64,
    },
    /// The medium was taken out.
    Removed,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange {
                lba,
                count,
                sectors,
            } => {
                write!(
                    f,
                    "{count} sectors from {lba} on reach beyond the end: there are {sectors}"
                )
            }
            Self::Misaligned { bytes } => write!(f, "{bytes} bytes are not whole sectors"),
            Self::Device(what) => write!(f, "the disk failed: {what}"),
            Self::Medium { lba } => write!(f, "sector {lba} cannot be read"),
            Self::Removed => f.write_str("the medium was removed"),
        }
    }
}

impl core::error::Error for DiskError {}

/// Checks what every device must: whole sectors, all of them there. Returns how many.
///
/// # Errors
/// [`DiskError::Misaligned`], [`DiskError::OutOfRange`].
pub fn check_range(lba: u64, bytes: usize, sectors: u64) -> Result<u64, DiskError> {
    if !bytes.is_multiple_of(SECTOR_BYTES) {
        return Err(DiskError::Misaligned { bytes });
    }
    let count = (bytes / SECTOR_BYTES) as u64;
    match lba.checked_add(count) {
        Some(end) if end <= sectors => Ok(count),
        _ => Err(DiskError::OutOfRange {
            lba,
            count,
            sectors,
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::vec::Vec;

    /// A disk in memory: shared sectors under private ones, so that a mutant costs only what differs.
    #[derive(Clone, Default)]
    pub(crate) struct MemDisk {
        pub base: Arc<Vec<u8>>,
        pub patches: BTreeMap<u64, [u8; SECTOR_BYTES]>,
        pub bad: Option<u64>,
        /// Read commands and the sectors they moved. ORDERING: statistics of one thread.
        pub reads: Arc<AtomicU64>,
        pub moved: Arc<AtomicU64>,
    }

    impl MemDisk {
        pub fn new(base: Vec<u8>) -> Self {
            Self {
                base: Arc::new(base),
                ..Self::default()
            }
        }

        pub fn sector(&self, lba: u64) -> [u8; SECTOR_BYTES] {
            self.patches.get(&lba).copied().unwrap_or_else(|| {
                let at = lba as usize * SECTOR_BYTES;
                self.base[at..at + SECTOR_BYTES].try_into().unwrap()
            })
        }

        pub fn poke(&mut self, at: u64, bytes: &[u8]) {
            for (at, &byte) in (at..).zip(bytes) {
                let mut sector = self.sector(at / 512);
                sector[(at % 512) as usize] = byte;
                self.patches.insert(at / 512, sector);
            }
        }

        pub fn reads(&self) -> u64 {
            self.reads.load(Ordering::Relaxed)
        }
    }

    impl BlockDevice for MemDisk {
        fn sectors(&self) -> u64 {
            (self.base.len() / SECTOR_BYTES) as u64
        }

        fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), DiskError> {
            let count = check_range(lba, buf.len(), self.sectors())?;
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.moved.fetch_add(count, Ordering::Relaxed);
            for (lba, sector) in (lba..).zip(buf.chunks_mut(SECTOR_BYTES)) {
                if self.bad == Some(lba) {
                    return Err(DiskError::Medium { lba });
                }
                sector.copy_from_slice(&self.sector(lba));
            }
            Ok(())
        }
    }

    #[test]
    fn ranges_are_checked_without_overflow() {
        assert_eq!(check_range(0, 1024, 2), Ok(2));
        assert_eq!(check_range(2, 0, 2), Ok(0));
        assert_eq!(
            check_range(0, 100, 2),
            Err(DiskError::Misaligned { bytes: 100 })
        );
        for lba in [1, 2, 3, u64::MAX] {
            assert!(matches!(
                check_range(lba, 1024, 2),
                Err(DiskError::OutOfRange { count: 2, .. })
            ));
        }
    }
}
