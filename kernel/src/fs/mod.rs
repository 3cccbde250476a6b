// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files by path: the table of what is mounted where.
//!
//! # Theory
//!
//! Volumes are mounted below the root by one name each, `/boot` for the card's first partition. The root
//! itself only lists them. Paths match in any case, as on FAT.
//!
//! # Contexts
//!
//! Thread: reads sleep. Whoever shares the table puts it behind one adaptive lock.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

pub mod boot;
pub mod chain;
pub mod entry;
pub mod error;
pub mod fat;
pub mod file;
mod io;
pub mod path;

pub use entry::{Attributes, DateTime, Directory, Entry};
pub use error::{Fault, FsError};
pub use fat::Volume;
pub use path::MAX_DEPTH;

use crate::disk::BlockDevice;

/// What a volume lies on.
pub type Device = Box<dyn BlockDevice + Send>;

/// Bytes read at once where a whole file is read: it trades memory for commands to the device.
pub const CHUNK_BYTES: usize = 64 << 10;

/// What is mounted where.
#[derive(Default)]
pub struct Mounts {
    mounts: Vec<Mount>,
    /// How many there ever were, so that a file of an unmounted volume is not taken for another's.
    made: u64,
}

struct Mount {
    name: String,
    id: u64,
    volume: Volume<Device>,
}

/// A file that was opened by path.
pub struct OpenFile {
    mount: u64,
    path: String,
    file: file::File,
}

impl OpenFile {
    /// The path it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// Which byte is read next.
    pub fn position(&self) -> u64 {
        self.file.position()
    }

    /// Goes to a byte. At or beyond the end, nothing is left to read.
    pub fn seek(&mut self, position: u64) {
        self.file.seek(position);
    }
}

impl Mounts {
    /// Nothing is mounted.
    pub const fn new() -> Self {
        Self {
            mounts: Vec::new(),
            made: 0,
        }
    }

    /// Mounts the FAT volume that fills `device` as `/name`.
    ///
    /// # Errors
    /// [`Fault::Busy`], or why the volume cannot be mounted.
    pub fn mount(&mut self, name: &str, device: Device) -> Result<(), FsError> {
        let at = |fault| FsError {
            path: alloc::format!("/{name}"),
            fault,
        };
        if self.volume(name).is_some() {
            return Err(at(Fault::Busy));
        }
        let volume = Volume::mount(device).map_err(at)?;
        self.made += 1;
        self.mounts.push(Mount {
            name: name.to_owned(),
            id: self.made,
            volume,
        });
        Ok(())
    }

    /// Unmounts `/name`. Its open files can be read no more. Says whether there was one.
    pub fn unmount(&mut self, name: &str) -> bool {
        let before = self.mounts.len();
        self.mounts
            .retain(|mount| !fat::same_name(&mount.name, name));
        self.mounts.len() < before
    }

    /// The names of what is mounted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().map(|mount| &*mount.name)
    }

    /// The volume mounted as `/name`.
    pub fn volume(&mut self, name: &str) -> Option<&mut Volume<Device>> {
        self.find(name).ok().map(|mount| &mut mount.volume)
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// As [`Volume::read_dir`], with `path`.
    pub fn read_dir(&mut self, path: &str) -> Result<Directory, FsError> {
        let listed = path::parts(path).and_then(|parts| match *parts {
            [] => Ok(self.root()),
            [name, ref rest @ ..] => self.find(name)?.volume.read_dir(rest),
        });
        listed.map_err(|fault| error(path, fault))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`Volume::open`], with `path`.
    pub fn open(&mut self, path: &str) -> Result<OpenFile, FsError> {
        let opened = path::parts(path).and_then(|parts| match *parts {
            [] => Err(Fault::IsADirectory),
            [name, ref rest @ ..] => {
                let mount = self.find(name)?;
                Ok((mount.id, mount.volume.open(rest)?))
            }
        });
        let (mount, file) = opened.map_err(|fault| error(path, fault))?;
        let path = path.to_owned();
        Ok(OpenFile { mount, path, file })
    }

    /// Reads on in `file`. Returns how many bytes; less than `buf` holds only at the end.
    ///
    /// # Errors
    /// [`Fault::Disk`], [`Fault::Unmounted`], with the path the file was opened by.
    pub fn read(&mut self, file: &mut OpenFile, buf: &mut [u8]) -> Result<usize, FsError> {
        let mount = self.mounts.iter_mut().find(|mount| mount.id == file.mount);
        let read = mount
            .ok_or(Fault::Unmounted)
            .and_then(|mount| mount.volume.read(&mut file.file, buf));
        read.map_err(|fault| error(&file.path, fault))
    }

    /// The SHA-256 of a file's contents.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::read`].
    pub fn sha256(&mut self, path: &str) -> Result<[u8; 32], FsError> {
        let mut file = self.open(path)?;
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
        loop {
            match self.read(&mut file, &mut chunk)? {
                0 => return Ok(hash.finalize().into()),
                n => hash.update(&chunk[..n]),
            }
        }
    }

    fn find(&mut self, name: &str) -> Result<&mut Mount, Fault> {
        let found = self
            .mounts
            .iter_mut()
            .find(|mount| fat::same_name(&mount.name, name));
        found.ok_or(Fault::NotFound)
    }

    fn root(&self) -> Directory {
        let entries = self.names().map(|name| Entry {
            name: name.to_owned(),
            size: 0,
            is_dir: true,
            modified: None,
            attributes: Attributes::default(),
        });
        Directory {
            entries: entries.collect(),
            damaged: 0,
        }
    }
}

fn error(path: &str, fault: Fault) -> FsError {
    FsError {
        path: path.to_owned(),
        fault,
    }
}

#[cfg(test)]
pub(crate) mod tests;
