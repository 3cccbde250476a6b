// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where on the volume a file's directory entry is: the crate does not tell.

use hadris_fat::sync::FileEntry;
use hadris_fat::time::TimeProvider;

use super::boot::Geometry;
use super::chain::ChainError;
use super::error::Fault;
use super::fat::{Volume, first_cluster};
use super::io::When;
use super::write::CLOCK;
use crate::bio::BlockDevice;

/// Bytes of a directory entry.
const ENTRY_BYTES: usize = 32;
/// Bits of the attributes that no file and no directory has: a label's, a piece of a long name's.
const LABEL: u8 = 0x08;
const ARCHIVE: u8 = 0x20;

/// A directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Where, in bytes from the volume's start.
    pub(super) at: u64,
    /// Its short name.
    name: [u8; 11],
    /// The file's size in bytes.
    pub(super) size: u64,
    /// Its first cluster; 0 if it has none.
    pub(super) first: u32,
}

impl Slot {
    fn parse(at: u64, raw: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
        let mut name = [0; 11];
        name.copy_from_slice(&raw[..11]);
        let free = matches!(raw[0], 0 | 0xe5);
        (!free && raw[11] & LABEL == 0).then_some(Self {
            at,
            name,
            size: u64::from(word(28) | word(30) << 16),
            first: word(20) << 16 | word(26),
        })
    }
}

impl<D: BlockDevice> Volume<D> {
    /// Where the entry is that `path` led to.
    pub(super) fn slot(&self, path: &[&str], entry: &FileEntry) -> Result<Slot, Fault> {
        let above = &path[..path.len().saturating_sub(1)];
        let parent = self.find(above)?;
        let mut name = entry.short_name().raw_bytes();
        if name[0] == 0xe5 {
            name[0] = 0x05; // as it is on the medium, where e5 marks a free entry
        }
        let chain = parent.as_ref().map(first_cluster);
        let found = match chain.or(self.geometry.root_cluster) {
            None => {
                let root = self.geometry.fixed_root();
                self.slot_in(root.start, (root.end - root.start) as usize, name)?
            }
            Some(first) => {
                let (mut found, mut cluster) = (None, Some(first));
                while let (None, Some(here)) = (found, cluster) {
                    let Geometry { cluster_bytes, .. } = self.geometry;
                    let at = self.geometry.offset(here);
                    found = self.slot_in(at, cluster_bytes as usize, name)?;
                    cluster = self.next(here)?;
                }
                found
            }
        };
        let last = self.geometry.last_cluster();
        match found {
            // FAT12 and FAT16 have other things in the high half.
            Some(slot) if self.geometry.root_cluster.is_none() => Ok(Slot {
                first: slot.first & 0xffff,
                ..slot
            }),
            Some(slot) if slot.first > last && slot.size == 0 => Err(ChainError::Begins {
                at: slot.first,
                last,
            }
            .into()),
            Some(slot) => Ok(slot),
            None => Err(Fault::NotFound),
        }
    }

    fn slot_in(&self, start: u64, bytes: usize, name: [u8; 11]) -> Result<Option<Slot>, Fault> {
        for at in (0..bytes).step_by(ENTRY_BYTES) {
            let mut raw = [0; ENTRY_BYTES];
            self.io.read_at(start + at as u64, &mut raw)?;
            if raw[..11] == name
                && let Some(slot) = Slot::parse(start + at as u64, &raw)
            {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// What is now in a slot that was found before.
    ///
    /// # Errors
    /// [`Fault::Changed`] if it is another's.
    pub(super) fn slot_again(&self, slot: &Slot) -> Result<Slot, Fault> {
        let mut raw = [0; ENTRY_BYTES];
        self.io.read_at(slot.at, &mut raw)?;
        let mut now = Slot::parse(slot.at, &raw).ok_or(Fault::Changed)?;
        if self.geometry.root_cluster.is_none() {
            now.first &= 0xffff;
        }
        if now.name == slot.name {
            Ok(now)
        } else {
            Err(Fault::Changed)
        }
    }

    /// Has the file in `slot` begin at `first` and be `size` bytes long.
    pub(super) fn set_slot(&self, slot: &Slot, first: u32, size: u64) -> Result<(), Fault> {
        self.slot_again(slot)?;
        let mut raw = [0; ENTRY_BYTES];
        self.io.read_at(slot.at, &mut raw)?;
        let (date, time, _) = CLOCK.now().to_raw();
        raw[11] |= ARCHIVE;
        raw[18..20].copy_from_slice(&date.to_le_bytes());
        raw[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
        raw[22..24].copy_from_slice(&time.to_le_bytes());
        raw[24..26].copy_from_slice(&date.to_le_bytes());
        raw[26..28].copy_from_slice(&(first as u16).to_le_bytes());
        raw[28..32].copy_from_slice(&(size as u32).to_le_bytes());
        Ok(self.io.write_at(slot.at, &raw, When::Directory)?)
    }
}
