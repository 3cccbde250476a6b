// SPDX-License-Identifier: MIT OR Apache-2.0
//! Block devices: 512-byte sectors, read by number.
//!
//! # Contexts
//!
//! Thread. A read sleeps until the device is done, so no spin lock may be held around it.

use crate::dma::NoMemory;
use core::fmt;

pub mod cache;
#[cfg(target_os = "none")]
pub mod card;
#[cfg(target_os = "none")]
pub mod disk;
pub mod gpt;
pub mod grow;
pub mod load;
pub mod mbr;
pub mod partition;
pub mod queue;
#[cfg(target_os = "none")]
pub mod ramdisk;
pub mod request;
pub mod script;
pub mod statistics;
pub mod table;

pub use partition::Partition;
pub use request::BlockDevice;

/// Bytes in a sector.
pub const SECTOR_BYTES: usize = 512;

/// Why sectors could not be read or written.
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
    /// The device or its controller failed.
    Device(&'static str),
    /// The medium could not be read at one place; other sectors may be good.
    Medium {
        /// The sector.
        lba: u64,
    },
    /// The medium could not be written at one place; other sectors may be good.
    Unwritable {
        /// The sector.
        lba: u64,
    },
    /// The medium is protected against writing.
    ReadOnly,
    /// There is no memory for a buffer.
    NoMemory,
    /// The medium was taken out.
    Removed,
}

impl DiskError {
    /// May it be otherwise if the device has recovered and the same is tried again?
    pub const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Device(_) | Self::Medium { .. } | Self::Unwritable { .. }
        )
    }
}

impl DiskError {
    /// The error of a transfer that begins at `lba`, of a command that failed.
    pub const fn at(self, lba: u64) -> Self {
        match self {
            Self::Medium { .. } => Self::Medium { lba },
            Self::Unwritable { .. } => Self::Unwritable { lba },
            other => other,
        }
    }
}

impl From<NoMemory> for DiskError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
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
            Self::Unwritable { lba } => write!(f, "sector {lba} cannot be written"),
            Self::ReadOnly => f.write_str("the medium is write-protected"),
            Self::NoMemory => f.write_str("no memory for a disk buffer"),
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
pub(crate) mod tests;
