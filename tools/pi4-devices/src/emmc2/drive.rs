// SPDX-License-Identifier: GPL-2.0-or-later
//! A drive of QEMU's as the medium of the card.
//!
//! What QEMU's block layer refuses, the host's errors and blkdebug's, the card shows to its driver.

use std::ffi::{c_int, c_void};

use sdhci_model::{Medium, MediumError};

use crate::qemu::qemu;

/// `IF_SD`: what `-drive if=sd` makes.
const IF_SD: c_int = 6;
/// `BDRV_REQ_MAY_UNMAP`
const MAY_UNMAP: c_int = 4;

/// The drive, which stays as long as QEMU runs.
pub struct Drive {
    backend: *mut c_void,
    bytes: u64,
}

// SAFETY: QEMU's block layer is called with its big lock held, as the device is.
unsafe impl Send for Drive {}

impl Drive {
    /// The first `-drive if=sd`, if there is one with an image.
    pub fn find() -> Option<Self> {
        let q = qemu();
        // SAFETY: the drive's description, if there is one, is QEMU's, and its backend stays.
        let (backend, bytes) = unsafe {
            let drive = (q.drive_get)(IF_SD, 0, 0);
            if drive.is_null() {
                return None;
            }
            let backend = (q.blk_by_legacy_dinfo)(drive);
            (backend, (q.blk_getlength)(backend))
        };
        // The machine makes an empty drive where the command line has none.
        let bytes = u64::try_from(bytes).ok()?;
        Some(Self { backend, bytes })
    }
}

fn done(result: c_int) -> Result<(), MediumError> {
    if result < 0 { Err(MediumError) } else { Ok(()) }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Medium for Drive {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), MediumError> {
        let (at, bytes) = (signed(at), signed(into.len() as u64));
        // SAFETY: the backend stays; the slice is valid for writing, of that length.
        done(unsafe { (qemu().blk_pread)(self.backend, at, bytes, into.as_mut_ptr().cast(), 0) })
    }

    fn write(&mut self, at: u64, from: &[u8]) -> Result<(), MediumError> {
        let (at, bytes) = (signed(at), signed(from.len() as u64));
        // SAFETY: the backend stays; the slice is valid, of that length.
        done(unsafe { (qemu().blk_pwrite)(self.backend, at, bytes, from.as_ptr().cast(), 0) })
    }

    fn erase(&mut self, at: u64, bytes: u64) -> Result<(), MediumError> {
        let (at, bytes) = (signed(at), signed(bytes));
        // SAFETY: the backend stays.
        done(unsafe { (qemu().blk_pwrite_zeroes)(self.backend, at, bytes, MAY_UNMAP) })
    }

    fn flush(&mut self) -> Result<(), MediumError> {
        // SAFETY: the backend stays.
        done(unsafe { (qemu().blk_flush)(self.backend) })
    }
}
