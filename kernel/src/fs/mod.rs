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
use alloc::vec::Vec;

pub mod boot;
pub mod chain;
pub mod entry;
pub mod error;
pub mod fat;
pub mod file;
mod io;
pub mod path;
mod slot;
mod table;
mod write;
mod writer;

pub use entry::{Attributes, DateTime, Directory, Entry};
pub use error::{Fault, FsError};
pub use fat::Volume;
pub use path::MAX_DEPTH;
pub use writer::Mode;

use crate::bio::BlockDevice;

/// What a volume lies on.
pub type Device = Box<dyn BlockDevice>;

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
    /// What it lies on, in words.
    source: String,
    id: u64,
    volume: Volume<Device>,
}

/// A file that was opened by path.
pub struct OpenFile {
    mount: u64,
    path: String,
    file: file::File,
}

/// A file that is being written. It is what it was before until it is finished.
#[derive(Debug)]
pub struct WriteFile {
    mount: u64,
    path: String,
    id: u64,
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

    /// Mounts the FAT volume that fills `device`, which is called `source`, as `/name`, with a cache of at most so many
    /// pages.
    ///
    /// # Errors
    /// [`Fault::Busy`], or why the volume cannot be mounted.
    pub fn mount(
        &mut self,
        name: &str,
        source: &str,
        device: Device,
        pages: usize,
    ) -> Result<(), FsError> {
        let at = |fault| error(&root_of(name), fault);
        if self.volume(name).is_some() {
            return Err(at(Fault::Busy));
        }
        let volume = Volume::mount(device, pages).map_err(at)?;
        self.made += 1;
        self.mounts.push(Mount {
            name: name.to_owned(),
            source: source.to_owned(),
            id: self.made,
            volume,
        });
        Ok(())
    }

    /// Writes everything of `/name` and unmounts it. Its open files can be used no more; those that are being written
    /// are as they were before.
    ///
    /// # Errors
    /// [`Fault::NotFound`]. [`Fault::Disk`] if not everything could be written: it is still mounted then.
    pub fn unmount(&mut self, name: &str) -> Result<(), FsError> {
        let unmounted = self.find(name).and_then(|mount| mount.volume.unmount());
        unmounted.map_err(|fault| error(&root_of(name), fault))?;
        self.mounts
            .retain(|mount| !fat::same_name(&mount.name, name));
        Ok(())
    }

    /// Forgets `/name`, whose device is gone. Returns how many sectors were never written; none if it is not mounted.
    pub fn forget(&mut self, name: &str) -> Option<u64> {
        let at = self
            .mounts
            .iter()
            .position(|m| fat::same_name(&m.name, name))?;
        Some(self.mounts.swap_remove(at).volume.discard())
    }

    /// The names of what is mounted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().map(|mount| &*mount.name)
    }

    /// The names of what is mounted, and what each lies on.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mounts
            .iter()
            .map(|mount| (&*mount.name, &*mount.source))
    }

    /// Does `path` lead to a directory?
    pub fn is_dir(&mut self, path: &str) -> bool {
        path::parts(path).is_ok_and(|parts| match *parts {
            [] => true,
            [name, ref rest @ ..] => {
                let mount = self.find(name);
                mount.is_ok_and(|mount| mount.volume.is_dir(rest))
            }
        })
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

    /// Begins to write a file, and makes it if it is not there. Whoever begins must end it, by [`Self::finish`] or
    /// [`Self::abandon`].
    ///
    /// # Errors
    /// As [`Volume::create`], with `path`.
    pub fn create(&mut self, path: &str, mode: Mode) -> Result<WriteFile, FsError> {
        let created = self.on(path, |mount, parts| match parts {
            [] => Err(Fault::IsADirectory),
            parts => Ok((mount.id, mount.volume.create(parts, mode)?)),
        });
        let path = path.to_owned();
        created.map(|(mount, id)| WriteFile { mount, path, id })
    }

    /// Writes on in `file`.
    ///
    /// # Errors
    /// As [`Volume::write`], and [`Fault::Unmounted`], with the path the file was opened by.
    pub fn write(&mut self, file: &WriteFile, buf: &[u8]) -> Result<(), FsError> {
        self.writing(file, |volume| volume.write(file.id, buf))
    }

    /// Gives the file what was written.
    ///
    /// # Errors
    /// As [`Volume::finish`], and [`Fault::Unmounted`].
    pub fn finish(&mut self, file: WriteFile) -> Result<(), FsError> {
        self.writing(&file, |volume| volume.finish(file.id))
    }

    /// Gives up a file: it is as it was before, or not at all.
    ///
    /// # Errors
    /// As [`Volume::abandon`], and [`Fault::Unmounted`].
    pub fn abandon(&mut self, file: WriteFile) -> Result<(), FsError> {
        if self.writing(&file, |volume| volume.abandon(file.id))?.made {
            self.remove(&file.path)?;
        }
        Ok(())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Volume::make_dir`], with `path`.
    pub fn make_dir(&mut self, path: &str) -> Result<(), FsError> {
        self.on(path, |mount, parts| mount.volume.make_dir(parts))
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// As [`Volume::remove`], with `path`.
    pub fn remove(&mut self, path: &str) -> Result<(), FsError> {
        self.on(path, |mount, parts| mount.volume.remove(parts))
    }

    /// Gives a file or directory another name on its volume.
    ///
    /// # Errors
    /// As [`Volume::rename`], and [`Fault::Elsewhere`] for another volume.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), FsError> {
        let target = path::parts(to).map_err(|fault| error(to, fault))?;
        let Some((volume, target)) = target.split_first() else {
            return Err(error(to, Fault::Exists));
        };
        self.on(from, |mount, parts| {
            if !fat::same_name(&mount.name, volume) {
                return Err(Fault::Elsewhere(
                    "cannot move to another volume: copy and remove",
                ));
            }
            mount.volume.rename(parts, target)
        })
    }

    /// Writes all changes of all volumes to their media. With `done`, the media say that all is well.
    ///
    /// # Errors
    /// The first [`Fault::Disk`], with the volume's path; the other volumes are written all the same.
    pub fn flush(&mut self, done: bool) -> Result<(), FsError> {
        let mut result = Ok(());
        for mount in &mut self.mounts {
            let volume = &mut mount.volume;
            let flushed = if done { volume.sync() } else { volume.flush() };
            result = result.and(flushed.map_err(|fault| error(&root_of(&mount.name), fault)));
        }
        result
    }

    fn on<R>(
        &mut self,
        path: &str,
        act: impl FnOnce(&mut Mount, &[&str]) -> Result<R, Fault>,
    ) -> Result<R, FsError> {
        let done = path::parts(path).and_then(|parts| match *parts {
            [] => Err(Fault::Elsewhere("only mounted volumes can be written")),
            [name, ref rest @ ..] => act(self.find(name)?, rest),
        });
        done.map_err(|fault| error(path, fault))
    }

    fn writing<R>(
        &mut self,
        file: &WriteFile,
        act: impl FnOnce(&mut Volume<Device>) -> Result<R, Fault>,
    ) -> Result<R, FsError> {
        let mount = self.mounts.iter_mut().find(|mount| mount.id == file.mount);
        let done = mount
            .ok_or(Fault::Unmounted)
            .and_then(|m| act(&mut m.volume));
        done.map_err(|fault| error(&file.path, fault))
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

fn root_of(name: &str) -> String {
    alloc::format!("/{name}")
}

fn error(path: &str, fault: Fault) -> FsError {
    FsError {
        path: path.to_owned(),
        fault,
    }
}

#[cfg(test)]
pub(crate) mod tests;
