// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with a path, and whose fault it is.

use alloc::string::String;
use core::fmt;

use super::boot::BootError;
use super::chain::ChainError;
use crate::bio::DiskError;

/// A fault, and the path it befell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsError {
    /// As the caller gave it.
    pub path: String,
    /// What happened.
    pub fault: Fault,
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.fault)
    }
}

impl core::error::Error for FsError {}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller named something that is not there.
    NotFound,
    /// The caller treats a file as a directory.
    NotADirectory,
    /// The caller treats a directory as a file.
    IsADirectory,
    /// The caller's path has more than [`super::MAX_DEPTH`] parts.
    TooDeep,
    /// The caller mounts where something is mounted already.
    Busy,
    /// The caller's file is on a volume that has been unmounted.
    Unmounted,
    /// The caller makes something that is there already.
    Exists,
    /// The caller removes a directory that has something in it.
    NotEmpty,
    /// The caller gives a name that FAT cannot hold, and why.
    Name(&'static str),
    /// The caller removes, replaces or renames a file that is being written.
    BeingWritten,
    /// The caller reads or writes on in a file that was changed meanwhile.
    Changed,
    /// The caller moves a directory into itself, or something from one volume to another.
    Elsewhere(&'static str),
    /// The caller's file would be longer than FAT can tell: 4 GiB less one byte.
    TooLong,
    /// The medium has no free cluster.
    Full,
    /// The medium: the root directory of a FAT12 or FAT16 volume has no free entry, or another directory is as long as
    /// one may be.
    DirectoryFull,
    /// The device, or the medium at one place.
    Disk(DiskError),
    /// The medium's boot sector.
    Boot(BootError),
    /// The medium: a broken chain of clusters.
    Chain(ChainError),
    /// The medium: a file larger than its volume.
    TooLarge {
        /// The file's size in bytes.
        size: u64,
        /// The volume's size in bytes.
        volume: u64,
    },
    /// The medium: a directory that contains itself.
    ContainsItself,
    /// The medium: something else that the FAT crate refuses, in its words.
    Damaged(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file or directory"),
            Self::NotADirectory => f.write_str("not a directory"),
            Self::IsADirectory => f.write_str("is a directory"),
            Self::TooDeep => write!(f, "more than {} directories deep", super::MAX_DEPTH),
            Self::Busy => f.write_str("something is mounted there already"),
            Self::Unmounted => f.write_str("its volume is not mounted any more"),
            Self::Exists => f.write_str("exists already"),
            Self::NotEmpty => f.write_str("the directory is not empty"),
            Self::Name(why) => write!(f, "FAT cannot hold the name: {why}"),
            Self::BeingWritten => f.write_str("is being written"),
            Self::Changed => f.write_str("was changed meanwhile by somebody else"),
            Self::Elsewhere(what) => f.write_str(what),
            Self::TooLong => f.write_str("files on FAT are at most 4294967295 bytes long"),
            Self::Full => f.write_str("no space left on the volume"),
            Self::DirectoryFull => f.write_str("the directory has no room for another entry"),
            Self::Disk(error) => error.fmt(f),
            Self::Boot(error) => error.fmt(f),
            Self::Chain(error) => error.fmt(f),
            Self::TooLarge { size, volume } => {
                write!(f, "damaged: {size} bytes long, on a volume of {volume}")
            }
            Self::ContainsItself => f.write_str("damaged: the directory contains itself"),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
        }
    }
}

impl core::error::Error for Fault {}

impl From<DiskError> for Fault {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<BootError> for Fault {
    fn from(error: BootError) -> Self {
        Self::Boot(error)
    }
}

impl From<ChainError> for Fault {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}
