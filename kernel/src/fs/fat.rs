// SPDX-License-Identifier: MIT OR Apache-2.0
//! A FAT volume, read-only, proof against whatever is on the medium.
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
//! - `fatfs` 0.3: without `std` it needs a nightly-only crate; a directory whose chain loops never ends.
//! - `embedded-sdmmc` 0.10: creates no long names, which a later part needs; cannot be sent between threads.
//! - `hadris-fat` 3.0: a release candidate.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hadris_fat::sync::{DirectoryEntry, FatDir, FatVolume, FileEntry};

use super::boot::{BOOT_BYTES, Geometry};
use super::chain::{self, ChainError, Needs};
use super::entry::{Attributes, DateTime, Directory, Entry};
use super::error::Fault;
use super::file::File;
use super::io::Io;
use crate::disk::BlockDevice;
use crate::disk::cache::Stats;

/// The most that a directory may occupy, in bytes: 65,536 entries.
const DIRECTORY_BYTES: u32 = 65_536 * 32;

/// A mounted volume. A path is given by its parts from the root on; names match in any case.
pub struct Volume<D: BlockDevice> {
    fat: FatVolume<Io<D>>,
    io: Io<D>,
    geometry: Geometry,
}

// SAFETY: what is not `Send` in it are the handles on the device's cache, which share a count and a cell. All of them are
// in this volume and are never given out, so they go to another thread together.
unsafe impl<D: BlockDevice + Send> Send for Volume<D> {}

impl<D: BlockDevice> Volume<D> {
    /// Mounts the volume that fills `device`.
    ///
    /// # Errors
    /// [`Fault::Boot`], [`Fault::Disk`], or [`Fault::Damaged`] for the information sector.
    pub fn mount(device: D) -> Result<Self, Fault> {
        let io = Io::new(device);
        let mut boot = [0; BOOT_BYTES];
        io.read_at(0, &mut boot)?;
        let geometry = Geometry::read(&boot, io.bytes())?;
        let fat = FatVolume::open(io.clone()).map_err(|error| fault(&io, error))?;
        Ok(Self { fat, io, geometry })
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

    /// How many bytes are free, as the volume's last writer noted; none if it did not.
    ///
    /// # Errors
    /// [`Fault::Disk`].
    pub fn free_bytes(&mut self) -> Result<Option<u64>, Fault> {
        let Some(info_at) = self.geometry.info_at else {
            return Ok(None);
        };
        let mut count = [0; 4];
        self.io.read_at(info_at + 488, &mut count)?;
        let count = u32::from_le_bytes(count);
        let known = count <= self.geometry.clusters;
        Ok(known.then_some(u64::from(count) * u64::from(self.geometry.cluster_bytes)))
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

    /// Opens a file, and checks that all of it can be reached.
    ///
    /// # Errors
    /// As [`Self::read_dir`], and [`Fault::IsADirectory`], [`Fault::Chain`], [`Fault::TooLarge`].
    pub fn open(&mut self, path: &[&str]) -> Result<File, Fault> {
        let entry = self.find(path)?.filter(|entry| !entry.is_directory());
        let entry = entry.ok_or(Fault::IsADirectory)?;
        let (size, first) = (entry.len(), first_cluster(&entry));
        if size > 0 {
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
            self.check_chain(first, Needs::AtLeast(needs))?;
        }
        Ok(File::new(size, first))
    }

    /// Reads on in `file`, which must be of this volume. Returns how many bytes; less than `buf` holds only
    /// at the end. A large `buf` costs fewer commands.
    ///
    /// # Errors
    /// [`Fault::Disk`]; the file's position is then behind what was read.
    pub fn read(&mut self, file: &mut File, buf: &mut [u8]) -> Result<usize, Fault> {
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
    fn next(&self, from: u32) -> Result<Option<u32>, Fault> {
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

    fn check_chain(&self, first: u32, needs: Needs) -> Result<(), Fault> {
        let last = self.geometry.last_cluster();
        if !(2..=last).contains(&first) {
            return Err(ChainError::Begins { at: first, last }.into());
        }
        chain::check(first, needs, |from| self.next(from))
    }

    /// A directory that has been checked; none means the root.
    fn directory(&self, entry: Option<&FileEntry>) -> Result<FatDir<'_, Io<D>>, Fault> {
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
    fn find(&self, parts: &[&str]) -> Result<Option<FileEntry>, Fault> {
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

fn first_cluster(entry: &FileEntry) -> u32 {
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
fn fault<D: BlockDevice>(io: &Io<D>, error: hadris_fat::Error) -> Fault {
    io.take_failure()
        .map_or_else(|| Fault::Damaged(error.to_string()), Fault::Disk)
}
