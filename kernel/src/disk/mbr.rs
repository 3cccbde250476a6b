// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partition table in a disk's first sector.
//!
//! # Theory
//!
//! Four entries, each judged by itself: a bad one is reported with its number and does not take the good
//! ones with it. Of two that overlap, the later one is refused. What an entry says about cylinders and
//! heads is ignored, as everybody does.
//!
//! # References
//!
//! UEFI 2.10 §5.2 (legacy and protective MBR); T13/1572D annex A.

use core::fmt;

use super::SECTOR_BYTES;

/// The entries of a table; none where an entry is unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(pub [Option<Result<Entry, EntryError>>; 4]);

impl Table {
    /// The good entries, each with its number, from 1.
    pub fn good(&self) -> impl Iterator<Item = (usize, Entry)> {
        let numbered = (1..).zip(self.0);
        numbered.filter_map(|(number, entry)| Some((number, entry?.ok()?)))
    }

    /// The bad entries, each with its number, from 1.
    pub fn bad(&self) -> impl Iterator<Item = (usize, EntryError)> {
        let numbered = (1..).zip(self.0);
        numbered.filter_map(|(number, entry)| Some((number, entry?.err()?)))
    }
}

/// A primary partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it holds, as [`kind_name`] tells.
    pub kind: u8,
    /// Marked to boot from. The Pi's firmware does not look.
    pub active: bool,
    /// Its first sector.
    pub start: u64,
    /// Its length in sectors.
    pub sectors: u64,
}

/// A partition type's name.
pub fn kind_name(kind: u8) -> &'static str {
    match kind {
        0x01 => "FAT12",
        0x04 | 0x06 | 0x0e => "FAT16",
        0x05 | 0x0f => "extended (not supported)",
        0x07 => "NTFS or exFAT",
        0x0b | 0x0c => "FAT32",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0xa9 => "NetBSD",
        0xda => "data",
        0xef => "EFI system",
        _ => "unknown",
    }
}

/// Why there is no table: the medium is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MbrError {
    /// The sector does not end in 55 AA.
    NoSignature([u8; 2]),
    /// The sector begins a FAT file system that fills the disk.
    Unpartitioned,
}

impl fmt::Display for MbrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSignature([a, b]) => {
                write!(
                    f,
                    "no partition table: sector 0 ends in {a:02x} {b:02x}, not in 55 aa"
                )
            }
            Self::Unpartitioned => {
                f.write_str("no partition table: one FAT file system fills the disk")
            }
        }
    }
}

impl core::error::Error for MbrError {}

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
    /// It shares sectors with an earlier entry, by its number.
    Overlaps(usize),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt => f.write_str("a GUID partition table (GPT) is not supported yet"),
            Self::Status(status) => write!(f, "its status byte is {status:#04x}, not 0x00 or 0x80"),
            Self::Empty => f.write_str("it has a type, but no sectors"),
            Self::AtZero => f.write_str("it begins at sector 0, where the table is"),
            Self::BeyondEnd { end, sectors } => {
                write!(f, "it ends at sector {end}, but the disk has {sectors}")
            }
            Self::Overlaps(other) => write!(f, "it overlaps partition {other}"),
        }
    }
}

impl core::error::Error for EntryError {}

/// Reads the table from a disk's sector 0. `sectors` is the disk's size.
///
/// # Errors
/// [`MbrError`] if the sector holds no table. Bad entries are in the table.
pub fn parse(sector: &[u8; SECTOR_BYTES], sectors: u64) -> Result<Table, MbrError> {
    let signature = [sector[510], sector[511]];
    if signature != [0x55, 0xaa] {
        return Err(MbrError::NoSignature(signature));
    }
    let mut table = Table([None; 4]);
    for number in 0..4 {
        let raw = &sector[446 + 16 * number..][..16];
        let entry = match raw[4] {
            0 => continue,
            0xee => Err(EntryError::Gpt),
            _ => entry(raw, sectors, &table),
        };
        table.0[number] = Some(entry);
    }
    if table.good().next().is_none() && is_fat(sector) {
        return Err(MbrError::Unpartitioned);
    }
    Ok(table)
}

fn entry(raw: &[u8], sectors: u64, table: &Table) -> Result<Entry, EntryError> {
    let word = |at: usize| {
        u64::from(u32::from_le_bytes([
            raw[at],
            raw[at + 1],
            raw[at + 2],
            raw[at + 3],
        ]))
    };
    let new = Entry {
        kind: raw[4],
        active: raw[0] == 0x80,
        start: word(8),
        sectors: word(12),
    };
    let end = new.start + new.sectors;
    let overlap = |old: &Entry| new.start < old.start + old.sectors && old.start < end;
    match raw[0] {
        0 | 0x80 => {}
        status => return Err(EntryError::Status(status)),
    }
    if new.sectors == 0 {
        return Err(EntryError::Empty);
    }
    if new.start == 0 {
        return Err(EntryError::AtZero);
    }
    if end > sectors {
        return Err(EntryError::BeyondEnd { end, sectors });
    }
    match table.good().find(|(_, old)| overlap(old)) {
        Some((number, _)) => Err(EntryError::Overlaps(number)),
        None => Ok(new),
    }
}

/// A boot sector has its signature where a partition table has, and code in place of the entries.
fn is_fat(sector: &[u8; SECTOR_BYTES]) -> bool {
    let jump = sector[0] == 0xe9 || sector[0] == 0xeb && sector[2] == 0x90;
    jump && (sector[54..].starts_with(b"FAT") || sector[82..].starts_with(b"FAT"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn sector(entries: &[(u8, u8, u32, u32)]) -> [u8; 512] {
        let mut sector = [0; 512];
        for (raw, &(status, kind, start, sectors)) in sector[446..].chunks_mut(16).zip(entries) {
            (raw[0], raw[4]) = (status, kind);
            raw[8..12].copy_from_slice(&start.to_le_bytes());
            raw[12..16].copy_from_slice(&sectors.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn a_card_of_two_partitions() {
        let table = parse(
            &sector(&[(0x80, 0x0c, 2048, 1000), (0, 0x83, 3048, 952)]),
            4000,
        )
        .unwrap();
        let good: Vec<_> = table
            .good()
            .map(|(n, e)| (n, kind_name(e.kind), e.start, e.sectors))
            .collect();
        assert_eq!(good, [(1, "FAT32", 2048, 1000), (2, "Linux", 3048, 952)]);
        assert_eq!(table.bad().count(), 0);
    }

    #[test]
    fn a_bad_entry_spares_the_good_ones() {
        for (bad, why) in [
            (
                (0x7f, 0x0c, 10, 10),
                "its status byte is 0x7f, not 0x00 or 0x80",
            ),
            ((0, 0x0c, 10, 0), "it has a type, but no sectors"),
            (
                (0, 0x0c, 0, 10),
                "it begins at sector 0, where the table is",
            ),
            (
                (0, 0x0c, 90, 11),
                "it ends at sector 101, but the disk has 100",
            ),
            (
                (0, 0x0c, u32::MAX, u32::MAX),
                "it ends at sector 8589934590, but the disk has 100",
            ),
            ((0, 0x0c, 59, 2), "it overlaps partition 1"),
            ((0, 0x0c, 20, 60), "it overlaps partition 1"),
            (
                (0, 0xee, 1, 99),
                "a GUID partition table (GPT) is not supported yet",
            ),
        ] {
            let table = parse(&sector(&[(0, 0x83, 60, 10), bad, (0, 0x0c, 80, 10)]), 100).unwrap();
            assert_eq!(
                table.good().map(|(n, _)| n).collect::<Vec<_>>(),
                [1, 3],
                "{why}"
            );
            let told: Vec<_> = table.bad().map(|(n, e)| (n, e.to_string())).collect();
            assert_eq!(told, [(2, why.to_string())]);
        }
    }

    #[test]
    fn no_table() {
        let error = parse(&[0; 512], 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no partition table: sector 0 ends in 00 00, not in 55 aa"
        );
        assert_eq!(parse(&sector(&[]), 100), Ok(Table([None; 4])));
    }

    #[test]
    fn a_boot_sector_is_no_table() {
        let mut boot = sector(&[(0xcd, 0x19, 7, 7)]);
        boot[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
        boot[82..90].copy_from_slice(b"FAT32   ");
        assert_eq!(parse(&boot, 100), Err(MbrError::Unpartitioned));
    }

    #[test]
    fn noise_does_not_panic_and_good_entries_are_on_the_disk() {
        let mut seed = 7u64;
        for _ in 0..20_000 {
            let mut noise = [0; 512];
            for byte in &mut noise {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                *byte = (seed >> 56) as u8;
            }
            noise[510..].copy_from_slice(&[0x55, 0xaa]);
            for at in [446, 462, 478, 494] {
                noise[at] &= 0x80;
            }
            let table = parse(&noise, 1 << 32).unwrap();
            assert!(
                table
                    .good()
                    .all(|(_, e)| e.start > 0 && e.start + e.sectors <= 1 << 32)
            );
        }
    }
}
