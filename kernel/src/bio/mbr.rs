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
use super::table::{Entries, Entry, EntryError, Kind};

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

/// Reads the table from a disk's sector 0. `sectors` is the disk's size.
///
/// # Errors
/// [`MbrError`] if the sector holds no table. Bad entries are in the table.
pub(super) fn parse(sector: &[u8; SECTOR_BYTES], sectors: u64) -> Result<Entries, MbrError> {
    let signature = [sector[510], sector[511]];
    if signature != [0x55, 0xaa] {
        return Err(MbrError::NoSignature(signature));
    }
    let mut entries = Entries::new();
    for (number, raw) in (1..=4).zip(sector[446..].chunks(16)) {
        let judged = match raw[4] {
            0 => continue,
            0xee => Err(EntryError::Gpt),
            _ => entry(raw, sectors).and_then(|new| new.beside(&entries)),
        };
        entries.push((number, judged));
    }
    if entries.iter().all(|(_, entry)| entry.is_err()) && is_fat(sector) {
        return Err(MbrError::Unpartitioned);
    }
    Ok(entries)
}

fn entry(raw: &[u8], sectors: u64) -> Result<Entry, EntryError> {
    let word = |at: usize| {
        u64::from(u32::from_le_bytes([
            raw[at],
            raw[at + 1],
            raw[at + 2],
            raw[at + 3],
        ]))
    };
    let new = Entry {
        kind: Kind::Mbr(raw[4]),
        active: raw[0] == 0x80,
        start: word(8),
        sectors: word(12),
    };
    let end = new.start + new.sectors;
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
    Ok(new)
}

/// A boot sector has its signature where a partition table has, and code in place of the entries.
fn is_fat(sector: &[u8; SECTOR_BYTES]) -> bool {
    let jump = sector[0] == 0xe9 || sector[0] == 0xeb && sector[2] == 0x90;
    jump && (sector[54..].starts_with(b"FAT") || sector[82..].starts_with(b"FAT"))
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn parse(sector: &[u8; 512], sectors: u64) -> Result<Table, MbrError> {
        super::parse(sector, sectors).map(|entries| Table {
            scheme: "MBR",
            entries,
            damage: None,
        })
    }

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
            .map(|(n, e)| (n, e.kind.to_string(), e.start, e.sectors))
            .collect();
        let expected = [("0x0c FAT32", 2048, 1000), ("0x83 Linux", 3048, 952)];
        let expected = (1..)
            .zip(expected)
            .map(|(n, (k, s, l))| (n, k.to_string(), s, l));
        assert_eq!(good, expected.collect::<Vec<_>>());
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
                "it stands for a GUID partition table, which is not there",
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
        assert_eq!(parse(&sector(&[]), 100).unwrap().entries, []);
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
