// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk's partitions, whichever table they stand in.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::gpt::{self, Guid};
use super::mbr::{self, MbrError, kind_name};
use super::{DiskError, SECTOR_BYTES};

/// Entries that are used, by number, from 1; bad ones with what is wrong with them.
pub type Entries = Vec<(usize, Result<Entry, EntryError>)>;

/// A disk's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What kind of table it is: `MBR` or `GPT`.
    pub scheme: &'static str,
    /// Its entries.
    pub entries: Entries,
    /// What is wrong with the table, though it can be used.
    pub damage: Option<String>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub kind: Kind,
    /// Marked to boot from. The Pi's firmware does not look.
    pub active: bool,
    /// Its first sector.
    pub start: u64,
    /// Its length in sectors.
    pub sectors: u64,
}

impl Entry {
    /// Itself, if it shares no sector with a good one of `others`.
    ///
    /// # Errors
    /// [`EntryError::Overlaps`].
    pub(super) fn beside(
        self,
        others: &[(usize, Result<Self, EntryError>)],
    ) -> Result<Self, EntryError> {
        let overlaps = |old: &Self| {
            self.start < old.start + old.sectors && old.start < self.start + self.sectors
        };
        let mut good = others
            .iter()
            .filter_map(|(n, entry)| Some((n, entry.as_ref().ok()?)));
        match good.find(|(_, old)| overlaps(old)) {
            Some((number, _)) => Err(EntryError::Overlaps(*number)),
            None => Ok(self),
        }
    }
}

/// What a partition holds, by what its table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The number in an MBR.
    Mbr(u8),
    /// The type in a GPT, and the partition's name.
    Gpt(Guid, String),
}

impl Kind {
    /// May it be a volume that is mounted?
    pub fn may_be_fat(&self) -> bool {
        match self {
            Self::Mbr(kind) => kind_name(*kind).starts_with("FAT") || *kind == 0xef,
            Self::Gpt(guid, _) => {
                guid.name().starts_with("EFI") || guid.name().starts_with("Micro")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mbr(kind) => write!(f, "{kind:#04x} {}", kind_name(*kind)),
            Self::Gpt(guid, name) if name.is_empty() => f.write_str(guid.name()),
            Self::Gpt(guid, name) => write!(f, "{} \"{name}\"", guid.name()),
        }
    }
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// The disk cannot be read.
    Disk(DiskError),
    /// The first sector is none of a table.
    Mbr(MbrError),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Mbr(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TableError {}

impl From<DiskError> for TableError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<MbrError> for TableError {
    fn from(error: MbrError) -> Self {
        Self::Mbr(error)
    }
}

/// Why one entry cannot be used: the medium is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// It stands for a GUID partition table.
    Gpt,
    /// Its status byte is neither 00 nor 80.
    Status(u8),
    /// It has a type, but no sectors.
    Empty,
    /// It begins at sector 0, in the table itself.
    AtZero,
    /// It ends behind the disk.
    BeyondEnd {
        /// The sector after its last.
        end: u64,
        /// How many the disk has.
        sectors: u64,
    },
    /// It is not within the sectors that the table leaves for partitions.
    NotUsable {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// It shares sectors with an earlier entry, by its number.
    Overlaps(usize),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt => f.write_str("it stands for a GUID partition table, which is not there"),
            Self::Status(status) => write!(f, "its status byte is {status:#04x}, not 0x00 or 0x80"),
            Self::Empty => f.write_str("it has a type, but no sectors"),
            Self::AtZero => f.write_str("it begins at sector 0, where the table is"),
            Self::BeyondEnd { end, sectors } => {
                write!(f, "it ends at sector {end}, but the disk has {sectors}")
            }
            Self::NotUsable { first, last } => {
                write!(
                    f,
                    "it is not within the disk's usable sectors, {first} to {last}"
                )
            }
            Self::Overlaps(other) => write!(f, "it overlaps partition {other}"),
        }
    }
}

impl core::error::Error for EntryError {}

impl Table {
    /// The good entries, each with its number, from 1.
    pub fn good(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries
            .iter()
            .filter_map(|(number, entry)| Some((*number, entry.as_ref().ok()?)))
    }

    /// The bad entries, each with its number, from 1.
    pub fn bad(&self) -> impl Iterator<Item = (usize, EntryError)> {
        self.entries
            .iter()
            .filter_map(|(number, entry)| Some((*number, entry.clone().err()?)))
    }

    /// The partition of that number, from 1.
    ///
    /// # Errors
    /// A sentence: there is none, or it cannot be used.
    pub fn partition(&self, number: usize) -> Result<&Entry, String> {
        match self.entries.iter().find(|(other, _)| *other == number) {
            Some((_, Ok(entry))) => Ok(entry),
            Some((_, Err(error))) => Err(alloc::format!("partition {number}: {error}")),
            None => Err(alloc::format!("there is no partition {number}")),
        }
    }

    /// Reads the table of a disk of `sectors` sectors; `read` reads some from a sector on.
    ///
    /// # Errors
    /// The disk cannot be read, or has no table.
    pub fn read(
        sectors: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), DiskError>,
    ) -> Result<Self, TableError> {
        let mut first = [0; SECTOR_BYTES];
        read(0, &mut first)?;
        let mbr = mbr::parse(&first, sectors)?;
        let protective = mbr.iter().any(|(_, entry)| *entry == Err(EntryError::Gpt));
        let (scheme, entries, damage) = match protective.then(|| gpt::read(sectors, read)) {
            Some(Ok((entries, damage))) => ("GPT", entries, damage),
            Some(Err([first, second])) => {
                let damage = alloc::format!(
                    "the GUID partition table is bad: {first}; its copy at the disk's end, too: {second}"
                );
                ("MBR", mbr, Some(damage))
            }
            None => ("MBR", mbr, None),
        };
        Ok(Self {
            scheme,
            entries,
            damage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(disk: &[u8]) -> Result<Table, TableError> {
        Table::read(2000, |lba, buf| {
            buf.copy_from_slice(&disk[lba as usize * 512..][..buf.len()]);
            Ok(())
        })
    }

    #[test]
    fn a_protective_mbr_leads_to_the_gpt_and_another_does_not() {
        let mut disk = gpt::tests::disk(&[(40, 99)]);
        let found = table(&disk).unwrap();
        assert_eq!((found.scheme, found.damage.clone()), ("GPT", None));
        assert_eq!(found.partition(1).unwrap().start, 40);
        assert_eq!(found.partition(2).unwrap_err(), "there is no partition 2");
        disk[446 + 4] = 0x0c;
        let found = table(&disk).unwrap();
        assert_eq!((found.scheme, found.good().count()), ("MBR", 1));
        disk[510] = 0;
        let error = table(&disk).unwrap_err();
        assert_eq!(error, TableError::Mbr(MbrError::NoSignature([0, 0xaa])));
    }

    #[test]
    fn without_a_good_copy_the_mbr_is_shown_with_what_is_wrong() {
        let mut disk = gpt::tests::disk(&[(40, 99)]);
        disk[512] = 0;
        disk[1999 * 512] = 0;
        let found = table(&disk).unwrap();
        assert_eq!((found.scheme, found.good().count()), ("MBR", 0));
        assert_eq!(found.bad().next(), Some((1, EntryError::Gpt)));
        assert!(found.damage.unwrap().ends_with("too: there is none"));
    }
}
