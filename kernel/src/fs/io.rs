// SPDX-License-Identifier: MIT OR Apache-2.0
//! A volume's device, as the FAT crate wants it: a stream with a position. And the order in which what is written
//! to it reaches the medium.
//!
//! # Theory
//!
//! The crate keeps one handle and the volume another, since file contents go past the crate. Both lead to one
//! cache. Where a write falls on the volume tells what it is, and what the volume does at the time tells in which of
//! the cache's stages it belongs, so that a power cut leaves at worst clusters that are marked as used and belong to nobody:
//!
//! - **Growing** (make, extend, rename). First what new clusters hold, file contents or an empty directory; then
//!   their entries in the FAT; then the entry that joins them to a chain that was there; then the directory entry that leads
//!   to them; last, the end of an entry that was renamed.
//! - **Shrinking** (remove, truncate). First the directory entry that no longer leads to the clusters, then the
//!   end of the chain that is kept, then the entries of what is free now.
//!
//! Between the two all is flushed: a cluster must not be used again while the medium still shows its old owner. So
//! within one of them no sector of a cluster has two meanings.
//!
//! What the crate writes to the sector of information is dropped, since it does not see all: the free clusters are counted
//! here, by the entries of the FAT that change, and noted before a flush.
//!
//! No lock: all handles belong to one [`super::fat::Volume`], which one thread at a time has.

use alloc::rc::Rc;
use core::cell::{RefCell, RefMut};
use hadris_fat::sync::{ErrorKind, IoResult, Read, Seek, SeekFrom, Write};

use super::boot::Geometry;
use super::table::{decode, encode, entry_at, entry_before};
use crate::bio::cache::{Cache, Stage, Stats};
use crate::bio::{BlockDevice, DiskError, SECTOR_BYTES};

/// What a volume is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Reading, at most.
    Nothing,
    /// Clusters come into use.
    Growing,
    /// Clusters come out of use.
    Shrinking,
}

/// When something gets to the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// What clusters hold to which nothing leads yet.
    Contents = 0,
    /// Entries in the FAT of such clusters.
    NewChain = 1,
    /// An entry that joins or ends a chain which is in use.
    Link = 2,
    /// Directory entries.
    Directory = 3,
    /// What must come after directory entries.
    Last = 4,
}

impl When {
    fn stage(self, doing: Doing) -> Stage {
        Stage::ALL[match (doing, self) {
            (Doing::Shrinking, Self::Directory) => 0,
            (Doing::Shrinking, Self::Link) => 1,
            (Doing::Shrinking, Self::NewChain) => 2,
            _ => self as usize,
        }]
    }
}

/// Where a rename makes the new entry, long name and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renamed {
    NotYet,
    /// In this sector.
    In(u64),
    /// In several.
    Across,
}

impl Renamed {
    fn and(self, sector: u64) -> Self {
        match self {
            Self::NotYet => Self::In(sector),
            Self::In(other) if other == sector => self,
            _ => Self::Across,
        }
    }
}

/// A handle to the device. Each clone has its own position.
pub(super) struct Io<D> {
    shared: Rc<RefCell<Shared<D>>>,
    position: u64,
}

pub(super) struct Shared<D> {
    cache: Cache<D>,
    geometry: Option<Geometry>,
    /// What went wrong last: the crate passes on only that something did.
    failed: Option<DiskError>,
    pub(super) doing: Doing,
    /// The cluster that was taken last, until a chain leads to it.
    fresh: Option<u32>,
    /// The sector of the entry that a rename makes.
    renamed: Option<Renamed>,
    /// How many clusters are free, if that is known.
    pub(super) free: Option<u32>,
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
    pub(super) fn new(device: D, pages: usize) -> Self {
        let shared = Shared {
            cache: Cache::new(device, pages),
            geometry: None,
            failed: None,
            doing: Doing::Nothing,
            fresh: None,
            renamed: None,
            free: None,
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

    /// Tells where things are. Nothing can be written before.
    pub(super) fn set_geometry(&self, geometry: Geometry) {
        self.shared.borrow_mut().geometry = Some(geometry);
    }

    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.shared.borrow_mut().cache.read_at(offset, buf)
    }

    /// Writes what is not in the FAT.
    pub(super) fn write_at(&self, offset: u64, buf: &[u8], when: When) -> Result<(), DiskError> {
        self.shared.borrow_mut().write(offset, buf, when)
    }

    /// Sets a cluster's entry in all copies of the FAT.
    pub(super) fn set_entry(&self, cluster: u32, value: u32, when: When) -> Result<(), DiskError> {
        let mut shared = self.shared.borrow_mut();
        let Some(geometry) = shared.geometry else {
            return Err(DiskError::ReadOnly);
        };
        let (at, bytes) = entry_at(&geometry, cluster);
        for copy in 0..geometry.fats {
            let (mut raw, at) = ([0; 4], at + copy * geometry.fat_bytes);
            shared.cache.read_at(at, &mut raw[..bytes])?;
            let old = decode(geometry.width, cluster, raw);
            encode(geometry.width, cluster, value, &mut raw);
            if copy == 0 {
                shared.count(old, value);
            }
            shared.write(at, &raw[..bytes], when)?;
        }
        Ok(())
    }

    /// What the volume does from now on; what is written before has reached the medium if that is something else.
    pub(super) fn begin(&self, doing: Doing) -> Result<(), DiskError> {
        let mut shared = self.shared.borrow_mut();
        if shared.doing != doing {
            shared.cache.flush()?;
            shared.doing = doing;
        }
        (shared.fresh, shared.renamed) = (None, None);
        Ok(())
    }

    /// From now to the next [`Self::begin`], the end of an entry waits until the new one is on the medium.
    pub(super) fn begin_rename(&self) -> Result<(), DiskError> {
        self.begin(Doing::Growing)?;
        self.shared.borrow_mut().renamed = Some(Renamed::NotYet);
        Ok(())
    }

    /// Everything underneath.
    pub(super) fn shared(&self) -> RefMut<'_, Shared<D>> {
        self.shared.borrow_mut()
    }

    /// The error behind the crate's last failure, once.
    pub(super) fn take_failure(&self) -> Option<DiskError> {
        self.shared.borrow_mut().failed.take()
    }
}

impl<D: BlockDevice> Shared<D> {
    pub(super) fn cache(&mut self) -> &mut Cache<D> {
        &mut self.cache
    }

    fn write(&mut self, offset: u64, buf: &[u8], when: When) -> Result<(), DiskError> {
        let stage = when.stage(self.doing);
        self.cache.write_at(offset, buf, stage)
    }

    fn count(&mut self, old: u32, new: u32) {
        self.free = match (self.free, old, new) {
            (Some(free), 0, 1..) => free.checked_sub(1),
            (Some(free), 1.., 0) => Some(free + 1),
            (free, ..) => free,
        };
    }

    /// Takes what the crate writes: decides what it is, and in which order it goes.
    fn take(&mut self, offset: u64, buf: &[u8]) -> Result<(), DiskError> {
        let Some(geometry) = self.geometry else {
            return Err(DiskError::ReadOnly);
        };
        if offset < geometry.fat_at {
            return Ok(()); // the sector of information
        }
        if offset < geometry.fixed_root().start {
            let when = self.entry_written(&geometry, offset, buf)?;
            return self.write(offset, buf, when);
        }
        let cluster = geometry.cluster_at(offset);
        if cluster.is_some() && cluster == self.fresh {
            return self.write(offset, buf, When::Contents);
        }
        let when = match (self.renamed, buf) {
            // In one sector the old entry ends as the new one begins; else after it.
            (Some(new), [_]) if new != Renamed::In(offset / SECTOR_BYTES as u64) => When::Last,
            _ => When::Directory,
        };
        if let Some(new) = &mut self.renamed
            && buf.len() > 1
            && !buf.starts_with(b"..")
        {
            *new = new.and(offset / SECTOR_BYTES as u64);
        }
        self.write(offset, buf, when)
    }

    /// An entry of the FAT is about to become `buf`.
    fn entry_written(
        &mut self,
        geometry: &Geometry,
        offset: u64,
        buf: &[u8],
    ) -> Result<When, DiskError> {
        let at = offset - geometry.fat_at;
        let cluster = entry_before(geometry.width, at % geometry.fat_bytes);
        let (mut raw, bytes) = ([0; 4], buf.len().min(4));
        self.cache.read_at(offset, &mut raw[..bytes])?;
        let old = decode(geometry.width, cluster, raw);
        raw[..bytes].copy_from_slice(&buf[..bytes]);
        let new = decode(geometry.width, cluster, raw);
        let first_copy = at < geometry.fat_bytes;
        if first_copy {
            self.count(old, new);
        }
        if first_copy && old == 0 {
            self.fresh = Some(cluster);
        }
        let linked = self.fresh == Some(new);
        if linked && at / geometry.fat_bytes == geometry.fats - 1 {
            self.fresh = None;
        }
        let chain_in_use = old != 0 && new != 0;
        Ok(if chain_in_use {
            When::Link
        } else {
            When::NewChain
        })
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

impl<D: BlockDevice> Write for Io<D> {
    type Error = ErrorKind;

    fn write(&mut self, buf: &[u8]) -> IoResult<usize> {
        let mut shared = self.shared.borrow_mut();
        if let Err(error) = shared.take(self.position, buf) {
            shared.failed = Some(error);
            return Err(hadris_fat::sync::Error::from_source(ErrorKind::Other));
        }
        self.position = self.position.saturating_add(buf.len() as u64);
        Ok(buf.len())
    }

    /// Nothing: the volume says when.
    fn flush(&mut self) -> IoResult<()> {
        Ok(())
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
