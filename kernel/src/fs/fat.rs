// SPDX-License-Identifier: MIT OR Apache-2.0
//! A FAT volume, proof against whatever is on the medium: what it is, and how it is read.
//!
//! # Theory
//!
//! `hadris-fat` knows the format: directories, long names, FAT entries. This file sees to it that the crate
//! is never asked what it could not answer in bounded time and memory: the boot sector is checked first
//! ([`super::boot`]), and every chain before it is followed ([`super::chain`]). What is left for the crate
//! to read is then at most 2 MiB for a directory. An error names what is damaged; data that the volume does
//! not vouch for is not returned.
//!
//! # Contexts
//!
//! Thread: reads sleep. The owner serialises, by `&mut`.
//!
//! # Rejected
//!
//! - `fatfs` 0.3: without `std` it needs a nightly-only crate; a directory whose chain loops never ends. What it
//!   writes it writes through handles that hold their chain, so that nobody else may change the volume.
//! - `embedded-sdmmc` 0.10: creates no long names, which a later part needs; cannot be sent between threads.
//! - `hadris-fat` 3.0: a release candidate.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hadris_fat::sync::{DirectoryEntry, FatDir, FatVolume, FileEntry};

use super::boot::{BOOT_BYTES, Geometry, Width};
use super::chain::{self, ChainError, Needs};
use super::entry::{Attributes, DateTime, Directory, Entry};
use super::error::Fault;
use super::file::File;
use super::io::Io;
use super::table;
use super::write::CLOCK;
use super::writer::Writer;
use crate::bio::BlockDevice;
use crate::bio::cache::{PAGE_BYTES, Stats};

/// The most that a directory may occupy, in bytes: 65,536 entries.
const DIRECTORY_BYTES: u32 = 65_536 * 32;

/// A mounted volume. A path is given by its parts from the root on; names match in any case.
pub struct Volume<D: BlockDevice> {
    pub(super) fat: FatVolume<Io<D>>,
    pub(super) io: Io<D>,
    pub(super) geometry: Geometry,
    /// Files that are being written.
    pub(super) writers: Vec<Writer>,
    /// How many writers there ever were.
    pub(super) written: u64,
    /// How often clusters came out of use: what was found before may be another's now.
    pub(super) shrunk: u64,
    /// Where to look for a free cluster.
    pub(super) hint: u32,
    /// It was not unmounted when it was last written, and nobody has checked it since.
    was_dirty: bool,
    /// The medium says so now.
    pub(super) marked: bool,
    /// The count of free clusters that the medium has.
    pub(super) noted_free: Option<u32>,
}

// SAFETY: what is not `Send` in it are the handles on the device's cache, which share a count and a cell. All of them are
// in this volume and are never given out, so they go to another thread together.
unsafe impl<D: BlockDevice + Send> Send for Volume<D> {}

impl<D: BlockDevice> Volume<D> {
    /// Mounts the volume that fills `device`, with a cache of at most so many pages. Writes nothing yet.
    ///
    /// # Errors
    /// [`Fault::Boot`], [`Fault::Disk`], or [`Fault::Damaged`] for the information sector.
    pub fn mount(device: D, pages: usize) -> Result<Self, Fault> {
        let io = Io::new(device, pages);
        let mut boot = [0; BOOT_BYTES];
        io.read_at(0, &mut boot)?;
        let geometry = Geometry::read(&boot, io.bytes())?;
        let fat = FatVolume::builder(io.clone()).time_provider(&CLOCK).open();
        let fat = fat.map_err(|error| fault(&io, error))?;
        let clean = match geometry.width {
            Width::Fat12 => 0,
            Width::Fat16 => 0x8000,
            Width::Fat32 => 0x0800_0000,
        };
        let marked = geometry
            .state_at
            .is_some_and(|at| boot[at as usize] & 1 != 0);
        let was_dirty = marked || table::entry(&io, &geometry, 1)? & clean != clean;
        let mut volume = Self {
            fat,
            io,
            geometry,
            writers: Vec::new(),
            written: 0,
            shrunk: 0,
            hint: 2,
            was_dirty,
            marked,
            noted_free: None,
        };
        if !was_dirty {
            volume.noted_free = volume.read_free()?;
        }
        volume.io.shared().free = volume.noted_free;
        volume.io.set_geometry(geometry);
        Ok(volume)
    }

    /// It was not unmounted when it was last written, and nobody has checked it since: some of its clusters may be
    /// used by no file.
    pub fn was_dirty(&self) -> bool {
        self.was_dirty
    }

    /// Where things are on it.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What reading it has cost so far.
    pub fn stats(&self) -> Stats {
        self.io.stats()
    }

    /// Its label: the root directory's, or else the boot sector's. May be empty.
    ///
    /// # Errors
    /// [`Fault::Disk`], [`Fault::Chain`].
    pub fn label(&mut self) -> Result<String, Fault> {
        self.directory(None)?;
        let root = self
            .fat
            .read_root_label()
            .map_err(|error| fault(&self.io, error))?;
        let label = match &root {
            Some(bytes) => String::from_utf8_lossy(bytes),
            None => self.fat.volume_info().volume_label().into(),
        };
        Ok(label.trim_end().replace(char::is_control, "?"))
    }

    /// How many bytes are free. The first time, where the volume's last writer did not note it, all of the FAT
    /// is read.
    ///
    /// # Errors
    /// [`Fault::Disk`].
    pub fn free_bytes(&mut self) -> Result<u64, Fault> {
        let known = self.io.shared().free;
        let free = match known {
            Some(free) => free,
            None => table::count_free(&self.io, &self.geometry)?,
        };
        self.io.shared().free = Some(free);
        Ok(u64::from(free) * u64::from(self.geometry.cluster_bytes))
    }

    /// The number of free clusters that the medium has, if that can be true.
    fn read_free(&mut self) -> Result<Option<u32>, Fault> {
        let Some(info_at) = self.geometry.info_at else {
            return Ok(None);
        };
        let mut count = [0; 4];
        self.io.read_at(info_at + 488, &mut count)?;
        let count = u32::from_le_bytes(count);
        Ok((count <= self.geometry.clusters).then_some(count))
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// [`Fault::NotFound`], [`Fault::NotADirectory`], or the medium's and device's.
    pub fn read_dir(&mut self, path: &[&str]) -> Result<Directory, Fault> {
        let entry = self.find(path)?;
        let mut listed = Directory::default();
        listed.damaged = self.scan(entry.as_ref(), |name, found| {
            let modified = found.modified();
            listed.entries.push(Entry {
                name,
                size: if found.is_directory() { 0 } else { found.len() },
                is_dir: found.is_directory(),
                modified: DateTime::from_fat(modified.date, modified.time),
                attributes: Attributes(found.attributes().bits()),
            });
            true
        })?;
        Ok(listed)
    }

    /// Does `path` lead to a directory?
    pub fn is_dir(&self, path: &[&str]) -> bool {
        let found = self.find(path);
        found.is_ok_and(|entry| entry.is_none_or(|entry| entry.is_directory()))
    }

    /// How many KiB of what was written wait in memory.
    pub fn dirty_kib(&self) -> usize {
        self.io.shared().cache().dirty_pages() * (PAGE_BYTES >> 10)
    }

    /// Opens a file, and checks that all of it can be reached.
    ///
    /// # Errors
    /// As [`Self::read_dir`], and [`Fault::IsADirectory`], [`Fault::Chain`], [`Fault::TooLarge`].
    pub fn open(&mut self, path: &[&str]) -> Result<File, Fault> {
        let entry = self.find(path)?.filter(|entry| !entry.is_directory());
        let entry = entry.ok_or(Fault::IsADirectory)?;
        let slot = self.slot(path, &entry)?;
        self.check_contents(slot.size, slot.first)?;
        Ok(File::new(slot, self.shrunk))
    }

    /// Checks that the chain from `first` on has `size` bytes.
    pub(super) fn check_contents(&self, size: u64, first: u32) -> Result<(), Fault> {
        let Geometry {
            cluster_bytes,
            clusters,
            ..
        } = self.geometry;
        let volume = u64::from(clusters) * u64::from(cluster_bytes);
        if size > volume {
            return Err(Fault::TooLarge { size, volume });
        }
        let needs = size.div_ceil(cluster_bytes.into()) as u32;
        match needs {
            0 => Ok(()),
            _ => self.check_chain(first, Needs::AtLeast(needs)),
        }
    }

    /// Reads on in `file`, which must be of this volume. Returns how many bytes; less than `buf` holds only
    /// at the end. A large `buf` costs fewer commands.
    ///
    /// # Errors
    /// [`Fault::Disk`]; the file's position is then behind what was read. [`Fault::Changed`] if the file was removed,
    /// replaced or renamed since it was opened.
    pub fn read(&mut self, file: &mut File, buf: &mut [u8]) -> Result<usize, Fault> {
        if file.seen != self.shrunk {
            let slot = self.slot_again(&file.slot)?;
            if (slot.first, slot.size) != (file.slot.first, file.slot.size) {
                return Err(Fault::Changed);
            }
            self.check_contents(slot.size, slot.first)?;
            file.look_again(self.shrunk);
        }
        let mut done = 0;
        while let Some(run) = file.run(&self.geometry, buf.len() - done, |from| self.next(from))? {
            self.io
                .read_at(run.offset, &mut buf[done..done + run.bytes])?;
            file.advance(&run);
            done += run.bytes;
        }
        Ok(done)
    }

    /// The cluster after `from`, which must exist; none at the end of its chain.
    pub(super) fn next(&self, from: u32) -> Result<Option<u32>, Fault> {
        let next = self
            .fat
            .fat()
            .next_cluster(&mut self.io.clone(), from as usize);
        next.map_err(|error| match error {
            hadris_fat::Error::ClusterOutOfBounds { cluster: to, .. } => {
                ChainError::Leads { from, to }.into()
            }
            hadris_fat::Error::BadCluster { .. } => ChainError::Bad { from }.into(),
            error => fault(&self.io, error),
        })
    }

    pub(super) fn check_chain(&self, first: u32, needs: Needs) -> Result<(), Fault> {
        let last = self.geometry.last_cluster();
        if !(2..=last).contains(&first) {
            return Err(ChainError::Begins { at: first, last }.into());
        }
        chain::check(first, needs, |from| self.next(from))
    }

    /// Refuses if a directory might be longer than any may be, with another cluster.
    pub(super) fn may_grow(&self, entry: Option<&FileEntry>) -> Result<(), Fault> {
        let first = entry.map(first_cluster).or(self.geometry.root_cluster);
        let most = DIRECTORY_BYTES / self.geometry.cluster_bytes - 1;
        match first.map_or(Ok(()), |first| {
            self.check_chain(first, Needs::ToTheEnd(most))
        }) {
            Err(Fault::Chain(ChainError::TooLong)) => Err(Fault::DirectoryFull),
            checked => checked,
        }
    }

    /// A directory that has been checked; none means the root.
    pub(super) fn directory(&self, entry: Option<&FileEntry>) -> Result<FatDir<'_, Io<D>>, Fault> {
        let (directory, first) = match entry {
            None => (self.fat.root_dir(), self.geometry.root_cluster),
            Some(entry) => {
                let directory = self
                    .fat
                    .open_dir_entry(entry)
                    .map_err(|_| Fault::NotADirectory)?;
                (directory, Some(first_cluster(entry)))
            }
        };
        if let Some(first) = first {
            let most = DIRECTORY_BYTES / self.geometry.cluster_bytes;
            self.check_chain(first, Needs::ToTheEnd(most))?;
        }
        Ok(directory)
    }

    /// Shows a directory's entries to `found` until it returns false. Returns how many were damaged.
    fn scan(
        &self,
        entry: Option<&FileEntry>,
        mut found: impl FnMut(String, FileEntry) -> bool,
    ) -> Result<usize, Fault> {
        let mut entries = self.directory(entry)?.entries();
        let mut damaged = 0;
        while let Some(next) = entries.next_entry() {
            let DirectoryEntry::Entry(entry) = match next {
                Err(hadris_fat::Error::InvalidShortFilename) => {
                    damaged += 1;
                    continue;
                }
                next => next.map_err(|error| fault(&self.io, error))?,
            };
            let name = entry.name().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            if name.is_empty() || name.contains(|c: char| c == '/' || c.is_control()) {
                damaged += 1;
            } else if !found(name, entry) {
                break;
            }
        }
        Ok(damaged)
    }

    /// Finds what `parts` lead to from the root; none is the root itself.
    pub(super) fn find(&self, parts: &[&str]) -> Result<Option<FileEntry>, Fault> {
        let mut here = None;
        let mut above: Vec<u32> = self.geometry.root_cluster.into_iter().collect();
        for part in parts {
            let mut wanted = None;
            self.scan(here.as_ref(), |name, entry| {
                let same = same_name(&name, part) || entry.short_name().matches(part);
                wanted = same.then_some(entry);
                !same
            })?;
            let entry = wanted.ok_or(Fault::NotFound)?;
            if entry.is_directory() {
                let cluster = first_cluster(&entry);
                if above.contains(&cluster) {
                    return Err(Fault::ContainsItself);
                }
                above.push(cluster);
            }
            here = Some(entry);
        }
        Ok(here)
    }
}

pub(super) fn first_cluster(entry: &FileEntry) -> u32 {
    entry.cluster().0 as u32 // made of two 16-bit fields
}

/// FAT's idea of the same name.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    let upper = |name: &str| {
        name.chars()
            .flat_map(char::to_uppercase)
            .collect::<String>()
    };
    a == b || upper(a) == upper(b)
}

/// The crate's error as ours: the device's own words where it was the device.
pub(super) fn fault<D: BlockDevice>(io: &Io<D>, error: hadris_fat::Error) -> Fault {
    use hadris_fat::Error;
    match (io.take_failure(), error) {
        (Some(failure), _) => Fault::Disk(failure),
        (None, Error::NoFreeSpace) => Fault::Full,
        (None, Error::DirectoryFull) => Fault::DirectoryFull,
        (None, Error::AlreadyExists) => Fault::Exists,
        (None, Error::DirectoryNotEmpty) => Fault::NotEmpty,
        (None, Error::InvalidFilename) => Fault::Name("no short name is left for it here"),
        (None, Error::InvalidPath) => Fault::Elsewhere("cannot move a directory into itself"),
        (None, error) => Fault::Damaged(error.to_string()),
    }
}
