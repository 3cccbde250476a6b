// SPDX-License-Identifier: MIT OR Apache-2.0
//! A volume's device, as the FAT crate wants it: a stream with a position.
//!
//! The crate keeps one handle and the volume another, since file contents are read past the crate. Both lead
//! to one cache. No lock: all handles belong to one [`super::fat::Volume`], which one thread at a time has.

use alloc::rc::Rc;
use core::cell::RefCell;
use hadris_fat::sync::{ErrorKind, IoResult, Read, Seek, SeekFrom};

use crate::disk::cache::{Cache, Stats};
use crate::disk::{BlockDevice, DiskError, SECTOR_BYTES};

/// A handle to the device. Each clone has its own position.
pub(super) struct Io<D> {
    shared: Rc<RefCell<Shared<D>>>,
    position: u64,
}

struct Shared<D> {
    cache: Cache<D>,
    /// What went wrong last: the crate passes on only that something did.
    failed: Option<DiskError>,
}

impl<D> Clone for Io<D> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            position: self.position,
        }
    }
}

impl<D: BlockDevice> Io<D> {
    pub(super) fn new(device: D) -> Self {
        let shared = Shared {
            cache: Cache::new(device),
            failed: None,
        };
        Self {
            shared: Rc::new(RefCell::new(shared)),
            position: 0,
        }
    }

    /// The device's size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let sectors = self.shared.borrow().cache.sectors();
        sectors.saturating_mul(SECTOR_BYTES as u64)
    }

    pub(super) fn stats(&self) -> Stats {
        self.shared.borrow().cache.stats()
    }

    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.shared.borrow_mut().cache.read_at(offset, buf)
    }

    /// The error behind the crate's last failure, once.
    pub(super) fn take_failure(&self) -> Option<DiskError> {
        self.shared.borrow_mut().failed.take()
    }
}

impl<D: BlockDevice> Read for Io<D> {
    type Error = ErrorKind;

    fn read(&mut self, buf: &mut [u8]) -> IoResult<usize> {
        let mut shared = self.shared.borrow_mut();
        if let Err(error) = shared.cache.read_at(self.position, buf) {
            shared.failed = Some(error);
            return Err(hadris_fat::sync::Error::from_source(ErrorKind::Other));
        }
        self.position = self.position.saturating_add(buf.len() as u64);
        Ok(buf.len())
    }
}

impl<D: BlockDevice> Seek for Io<D> {
    type Error = ErrorKind;

    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.bytes().checked_add_signed(by),
        };
        let invalid = hadris_fat::sync::Error::from_kind(ErrorKind::InvalidInput);
        self.position = position.ok_or(invalid)?;
        Ok(self.position)
    }
}
