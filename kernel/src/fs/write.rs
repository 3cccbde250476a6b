// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a volume's directories are changed, and how what was changed gets to the medium.
//!
//! # Theory
//!
//! The crate makes, removes and renames entries: it knows long names and their aliases. In which order its
//! writes reach the medium is [`super::io`]'s. A removal or a truncation after something was made flushes, and the other
//! way round: clusters must not come into use again while the medium still shows their old owner.
//!
//! **After a power cut** some clusters may be marked as used and belong to no file, the two copies of the FAT may
//! differ, the count of free clusters may be wrong, a long name may be left over from, or lost to, an entry that was
//! being made or removed, and what was being renamed may have both its names. `fsck.fat -a` mends all of these (a
//! directory with two names in three goes). No entry leads to a free or foreign cluster, and a file that a flush had acknowledged, and nobody changed since, is whole.
//! Where an entry of a FAT12 lies across two sectors, there is no such promise.
//!
//! **The mark.** The boot sector says that the volume was not unmounted, from before the first change until
//! [`Volume::sync`]. If it says so at mounting already, it stays, for whoever checks the volume.
//!
//! **Time.** What is written bears the time of day, UTC, where somebody has told it (`ntp`), else one date, the first
//! of January 2026: the board has no clock that runs without power.
//!
//! # Rejected
//!
//! - The crate's `FileWriter`: it appends to the last cluster of the chain, which after a power cut is not always the
//!   one in which the file ends; it can neither replace a file at once nor take clusters in runs.
//! - The crate's `sync`: it does not know the stages.

use alloc::vec::Vec;

use hadris_fat::sync::{FatDateTime, FileEntry};
use hadris_fat::time::TimeProvider;

use super::error::Fault;
use super::fat::{Volume, fault};
use super::io::{Doing, When};
use super::slot::Slot;
use crate::bio::{BlockDevice, DiskError};
use crate::clock::{self, Utc};

/// The date of what is written.
pub(super) static CLOCK: Clock = Clock;

#[derive(Debug)]
pub(super) struct Clock;

impl TimeProvider for Clock {
    fn now(&self) -> FatDateTime {
        fat_time(clock::now())
    }
}

/// A time of day as FAT has it.
fn fat_time(time: Option<Utc>) -> FatDateTime {
    let Some(time) = time else {
        return FatDateTime::new(2026, 1, 1, 0, 0, 0);
    };
    let ((year, month, day), (hour, minute, second)) = (time.date(), time.time());
    FatDateTime::new(
        year as u16,
        month as u8,
        day as u8,
        hour as u8,
        minute as u8,
        second as u8,
    )
}

/// Where the count of free clusters and the place to look for one are in the sector of information.
const FREE_AT: u64 = 488;
/// Pages that a change of a directory makes dirty besides a new directory's clusters.
const CHANGE_PAGES: usize = 8;

impl<D: BlockDevice> Volume<D> {
    /// Makes a directory.
    ///
    /// # Errors
    /// [`Fault::Exists`], [`Fault::Name`], [`Fault::Full`], those of [`Self::read_dir`] for the path above it.
    pub fn make_dir(&mut self, path: &[&str]) -> Result<(), Fault> {
        let (above, name) = self.place(path)?;
        self.begin(Doing::Growing)?;
        // The crate makes the entry before what it leads to: nothing may be written back in between.
        let pages = self.geometry.cluster_bytes.div_ceil(4096) as usize + CHANGE_PAGES;
        self.io.shared().cache().reserve(pages)?;
        let parent = self.directory(above.as_ref())?;
        let made = self.fat.create_dir(&parent, name);
        made.map(drop).map_err(|error| fault(&self.io, error))
    }

    /// Makes an empty file.
    pub(super) fn make_file(&mut self, path: &[&str]) -> Result<Slot, Fault> {
        let (above, name) = self.place(path)?;
        self.begin(Doing::Growing)?;
        let parent = self.directory(above.as_ref())?;
        let made = self.fat.create_file(&parent, name);
        let entry = made.map_err(|error| fault(&self.io, error))?;
        self.slot(path, &entry)
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// [`Fault::NotEmpty`], [`Fault::BeingWritten`], those of [`Self::open`].
    pub fn remove(&mut self, path: &[&str]) -> Result<(), Fault> {
        let entry = self
            .find(path)?
            .ok_or(Fault::Elsewhere("a mounted volume is not removed"))?;
        self.not_being_written(path, &entry)?;
        if entry.is_directory() {
            self.directory(Some(&entry))?;
        }
        self.begin(Doing::Shrinking)?;
        self.shrunk += 1;
        let removed = self.fat.delete(&entry);
        removed.map_err(|error| fault(&self.io, error))
    }

    /// Gives a file or directory another name, perhaps in another directory.
    ///
    /// # Errors
    /// [`Fault::Exists`], [`Fault::Elsewhere`], [`Fault::BeingWritten`], those of [`Self::make_dir`] and [`Self::open`].
    pub fn rename(&mut self, from: &[&str], to: &[&str]) -> Result<(), Fault> {
        let entry = self
            .find(from)?
            .ok_or(Fault::Elsewhere("a mounted volume is not renamed"))?;
        self.not_being_written(from, &entry)?;
        let (last, above) = to.split_last().ok_or(Fault::Exists)?;
        match self.find(to) {
            Err(Fault::NotFound) => {}
            // Another case of the same name is another name.
            Ok(Some(other)) if self.slot(to, &other)?.at == self.slot(from, &entry)?.at => {
                if other.name() == *last {
                    return Ok(());
                }
            }
            Ok(_) => return Err(Fault::Exists),
            Err(error) => return Err(error),
        }
        check_name(last)?;
        let above = self.find(above)?;
        self.may_grow(above.as_ref())?;
        self.begin(Doing::Growing)?;
        self.io.shared().cache().reserve(CHANGE_PAGES)?;
        self.io.begin_rename()?;
        let parent = self.directory(above.as_ref())?;
        let renamed = self.fat.rename(&entry, &parent, last);
        self.io.begin(Doing::Growing)?;
        self.shrunk += 1; // who reads it must look it up again
        renamed.map(drop).map_err(|error| fault(&self.io, error))
    }

    /// Writes all changes to the medium. Files being written are on it as far as they were finished.
    ///
    /// # Errors
    /// [`Fault::Disk`]: not all of it is on the medium; it is tried again next time.
    pub fn flush(&mut self) -> Result<(), Fault> {
        let free = self.io.shared().free;
        if let (Some(info_at), Doing::Growing | Doing::Shrinking) =
            (self.geometry.info_at, self.doing())
        {
            // A hint: that it cannot be told keeps nothing else from the medium.
            let free = free.or_else(|| {
                let bytes = self.free_bytes().ok()?;
                Some((bytes / u64::from(self.geometry.cluster_bytes)) as u32)
            });
            if let Some(free) = free
                && self.noted_free != Some(free)
            {
                let mut raw = [0; 8];
                raw[..4].copy_from_slice(&free.to_le_bytes());
                raw[4..].copy_from_slice(&self.hint.to_le_bytes());
                let noted = self.io.write_at(info_at + FREE_AT, &raw, When::Last);
                self.noted_free = noted.is_ok().then_some(free);
            }
        }
        Ok(self.io.shared().cache().flush()?)
    }

    /// As [`Self::flush`], and the medium says that all is well.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn sync(&mut self) -> Result<(), Fault> {
        self.flush()?;
        if self.marked && !self.was_dirty() {
            self.mark(false)?;
        }
        Ok(())
    }

    /// Before a change of that kind.
    pub(super) fn begin(&mut self, doing: Doing) -> Result<(), Fault> {
        if !self.marked {
            self.mark(true)?;
        }
        Ok(self.io.begin(doing)?)
    }

    fn doing(&self) -> Doing {
        self.io.shared().doing
    }

    /// Has the medium say that the volume is in use, or that it is not.
    fn mark(&mut self, used: bool) -> Result<(), Fault> {
        if let Some(at) = self.geometry.state_at {
            let mut state = [0];
            self.io.read_at(at, &mut state)?;
            state[0] = state[0] & !1 | u8::from(used);
            // Until it is flushed nobody knows what the medium says: the next change says it anew.
            self.marked = false;
            self.io.write_at(at, &state, When::Last)?;
            let marked = self.io.shared().cache().flush();
            if marked == Err(DiskError::ReadOnly) {
                self.discard(); // else every flush would fail from now on
            }
            marked?;
        }
        self.marked = used;
        Ok(())
    }

    /// Where something new is to be made: the directory, and the name in it.
    fn place<'a>(&mut self, path: &[&'a str]) -> Result<(Option<FileEntry>, &'a str), Fault> {
        let (name, above) = path.split_last().ok_or(Fault::Exists)?;
        match self.find(path) {
            Err(Fault::NotFound) => {}
            Ok(_) => return Err(Fault::Exists),
            Err(error) => return Err(error),
        }
        check_name(name)?;
        let above = self.find(above)?;
        self.may_grow(above.as_ref())?;
        Ok((above, name))
    }

    fn not_being_written(&self, path: &[&str], entry: &FileEntry) -> Result<(), Fault> {
        let at = self.slot(path, entry)?.at;
        let writing = self.writers.iter().any(|writer| writer.slot.at == at);
        if writing {
            Err(Fault::BeingWritten)
        } else {
            Ok(())
        }
    }
}

/// Can FAT hold the name?
fn check_name(name: &str) -> Result<(), Fault> {
    let forbidden = |c: char| c.is_control() || "\"*/:<>?\\|".contains(c);
    let refused = match name {
        "" | "." | ".." => "it is none",
        _ if name.encode_utf16().count() > 255 => "it has more than 255 characters",
        _ if name.contains(forbidden) => {
            "it has one of \" * / : < > ? \\ | or a control character in it"
        }
        _ if name.ends_with(['.', ' ']) => "it ends in a dot or a space",
        _ => return Ok(()),
    };
    Err(Fault::Name(refused))
}

/// Writers whose files were not finished, so that their clusters can be freed.
impl<D: BlockDevice> Volume<D> {
    /// Writes everything and lets go of the device. Files that were being written are as they were before.
    ///
    /// # Errors
    /// [`Fault::Disk`]; the volume is still mounted then.
    pub fn unmount(&mut self) -> Result<(), Fault> {
        let ids: Vec<u64> = self.writers.iter().map(|writer| writer.id).collect();
        for id in ids {
            self.abandon(id)?;
        }
        self.sync()
    }

    /// Forgets what is not on the medium, whose device is gone. Returns how many sectors.
    pub fn discard(&mut self) -> u64 {
        self.io.shared().cache().discard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::entry::DateTime;
    use std::string::ToString;

    #[test]
    fn a_time_of_day_becomes_fats() {
        for (time, shown) in [
            (None, "2026-01-01 00:00:00"),
            (Some(1_795_367_705), "2026-11-22 17:15:04"), // exact to 2 s
            (Some(951_868_799), "2000-02-29 23:59:58"),
            (Some(5), "1980-01-01 00:00:04"), // FAT begins there
        ] {
            let (date, time, _) = fat_time(time.map(|s| Utc(s * 1_000_000_000))).to_raw();
            let read = DateTime::from_fat(date, time).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Some(shown));
        }
    }
}
