// SPDX-License-Identifier: MIT OR Apache-2.0
//! The GUID partition table, at both ends of a disk.
//!
//! # Theory
//!
//! A header in sector 1 and the array of entries behind it, each with a checksum; and both again at the disk's end.
//! The first pair of which both checksums hold is the table. What one pair lacks is told, so that somebody
//! writes it anew. Entries are judged one by one, as those of an [`super::mbr`].
//!
//! # Rejected
//!
//! The crate `gpt_disk_types`: its checksum of a header covers 92 bytes, whatever the header says of its size; and for a
//! dozen fields it brings five crates.
//!
//! # References
//!
//! UEFI 2.10 §5.3.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::fmt;

use super::table::{Entries, Entry, EntryError, Kind};
use super::{DiskError, SECTOR_BYTES};

/// The most bytes that an array may have: four times what all programs write.
const MOST_ARRAY_BYTES: u64 = 64 << 10;
const LEAST_HEADER_BYTES: usize = 92;

/// A type of partition, or a partition, as it is on the medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// What a partition of this type holds.
    pub fn name(&self) -> &'static str {
        match self.0[..4] {
            [0x28, 0x73, 0x2a, 0xc1] => "EFI system",
            [0xa2, 0xa0, 0xd0, 0xeb] => "Microsoft basic data",
            [0xaf, 0x3d, 0xc6, 0x0f] => "Linux",
            [0x6d, 0xfd, 0x57, 0x06] => "Linux swap",
            [0x5a, 0x8d, 0xf4, 0x49] => "NetBSD",
            _ => "unknown",
        }
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.0;
        let (first, second, third) = (long(b, 0), word(b, 4), word(b, 6));
        write!(
            f,
            "{first:08x}-{second:04x}-{third:04x}-{:02x}{:02x}-",
            b[8], b[9]
        )?;
        b[10..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is wrong with one of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GptError {
    /// It cannot be read.
    Disk(DiskError),
    /// Its header does not begin with `EFI PART`.
    NoSignature,
    /// Its header's checksum does not hold.
    HeaderChecksum,
    /// A field of its header that cannot be right.
    Field(&'static str),
    /// The checksum of its entries does not hold.
    ArrayChecksum,
}

impl fmt::Display for GptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::NoSignature => f.write_str("there is none"),
            Self::HeaderChecksum => f.write_str("its header's checksum does not hold"),
            Self::Field(field) => write!(f, "its {field} cannot be right"),
            Self::ArrayChecksum => f.write_str("its entries' checksum does not hold"),
        }
    }
}

/// A copy of the table.
struct Header {
    usable: core::ops::RangeInclusive<u64>,
    entry_bytes: usize,
    array: Vec<u8>,
}

/// The entries by number, from 1, and a sentence if only one copy of the table is good.
pub(super) type Read = (Entries, Option<String>);

/// Reads the table of a disk of `sectors` sectors.
///
/// # Errors
/// What is wrong with the first copy and with the second.
pub(super) fn read(
    sectors: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), DiskError>,
) -> Result<Read, [GptError; 2]> {
    let copies = [1, sectors.saturating_sub(1)].map(|at| header(at, sectors, &mut read));
    match copies {
        [Ok(header), Ok(_)] => Ok((entries(&header), None)),
        [Ok(header), Err(error)] => {
            let told = format!("the copy of the partition table at the disk's end is bad: {error}");
            Ok((entries(&header), Some(told)))
        }
        [Err(error), Ok(header)] => {
            let told = format!("the partition table is bad: {error}; its copy is used");
            Ok((entries(&header), Some(told)))
        }
        [Err(first), Err(second)] => Err([first, second]),
    }
}

fn header(
    at: u64,
    sectors: u64,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), DiskError>,
) -> Result<Header, GptError> {
    let mut raw = [0; SECTOR_BYTES];
    read(at, &mut raw).map_err(GptError::Disk)?;
    if !raw.starts_with(b"EFI PART") {
        return Err(GptError::NoSignature);
    }
    let bytes = long(&raw, 12) as usize;
    if !(LEAST_HEADER_BYTES..=SECTOR_BYTES).contains(&bytes) {
        return Err(GptError::Field("header size"));
    }
    let sum = long(&raw, 16);
    raw[16..20].fill(0);
    if crc32(&raw[..bytes]) != sum {
        return Err(GptError::HeaderChecksum);
    }
    if long(&raw, 8) >> 16 != 1 {
        return Err(GptError::Field("revision"));
    }
    if quad(&raw, 24) != at {
        return Err(GptError::Field("own place"));
    }
    let (first, last) = (quad(&raw, 40), quad(&raw, 48));
    if first < 2 || last >= sectors || first > last {
        return Err(GptError::Field("usable range"));
    }
    let (array_at, count, entry) = (quad(&raw, 72), long(&raw, 80), long(&raw, 84));
    if entry < 128 || !entry.is_power_of_two() {
        return Err(GptError::Field("size of an entry"));
    }
    let array_bytes = u64::from(count) * u64::from(entry);
    let array_sectors = array_bytes.div_ceil(SECTOR_BYTES as u64);
    if array_bytes > MOST_ARRAY_BYTES {
        return Err(GptError::Field("number of entries"));
    }
    let array_end = array_at.saturating_add(array_sectors);
    if array_end > sectors {
        return Err(GptError::Field("place of the entries"));
    }
    let mut array = vec![0; array_sectors as usize * SECTOR_BYTES];
    read(array_at, &mut array).map_err(GptError::Disk)?;
    array.truncate(array_bytes as usize);
    if crc32(&array) != long(&raw, 88) {
        return Err(GptError::ArrayChecksum);
    }
    Ok(Header {
        usable: first..=last,
        entry_bytes: entry as usize,
        array,
    })
}

fn entries(header: &Header) -> Entries {
    let mut entries = Entries::new();
    for (number, raw) in (1..).zip(header.array.chunks_exact(header.entry_bytes)) {
        if raw[..16] != [0; 16] {
            let judged = entry(raw, header).and_then(|new| new.beside(&entries));
            entries.push((number, judged));
        }
    }
    entries
}

fn entry(raw: &[u8], header: &Header) -> Result<Entry, EntryError> {
    let (first, last) = (quad(raw, 32), quad(raw, 40));
    if first > last {
        return Err(EntryError::Empty);
    }
    if !header.usable.contains(&first) || !header.usable.contains(&last) {
        let (first, last) = (*header.usable.start(), *header.usable.end());
        return Err(EntryError::NotUsable { first, last });
    }
    let mut kind = Guid::default();
    kind.0.copy_from_slice(&raw[..16]);
    let units = raw[56..128]
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units = units.take_while(|unit| *unit != 0);
    let name = char::decode_utf16(units).map(|c| c.unwrap_or('?'));
    Ok(Entry {
        kind: Kind::Gpt(
            kind,
            name.map(|c| if c.is_control() { '?' } else { c }).collect(),
        ),
        active: raw[48] & 4 != 0,
        start: first,
        sectors: last - first + 1,
    })
}

fn word(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([raw[at], raw[at + 1]])
}

fn long(raw: &[u8], at: usize) -> u32 {
    u32::from(word(raw, at)) | u32::from(word(raw, at + 2)) << 16
}

fn quad(raw: &[u8], at: usize) -> u64 {
    u64::from(long(raw, at)) | u64::from(long(raw, at + 4)) << 32
}

/// The checksum of ISO 3309, bit by bit: it is done seldom.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::string::ToString;

    pub(crate) const EFI: [u8; 16] = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
    ];

    fn checksums(disk: &mut [u8], header: usize, array: usize) {
        let sum = crc32(&disk[array..][..128 * 128]);
        disk[header + 88..][..4].copy_from_slice(&sum.to_le_bytes());
        disk[header + 16..][..4].fill(0);
        let sum = crc32(&disk[header..][..92]);
        disk[header + 16..][..4].copy_from_slice(&sum.to_le_bytes());
    }

    /// A disk of 2,000 sectors with these (first, last) as entries.
    pub(crate) fn disk(entries: &[(u64, u64)]) -> Vec<u8> {
        let sectors = 2000u64;
        let mut disk = vec![0; sectors as usize * 512];
        disk[446 + 4] = 0xee;
        disk[446 + 8] = 1;
        disk[446 + 12..][..4].copy_from_slice(&1999u32.to_le_bytes());
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        for (own, array) in [(1u64, 2u64), (1999, 1967)] {
            let at = own as usize * 512;
            disk[at..at + 8].copy_from_slice(b"EFI PART");
            let longs = [(8, 0x10000u32), (12, 92), (80, 128), (84, 128)];
            for (field, value) in longs {
                disk[at + field..][..4].copy_from_slice(&value.to_le_bytes());
            }
            let quads = [
                (24, own),
                (32, 2000 - own),
                (40, 34),
                (48, 1966),
                (72, array),
            ];
            for (field, value) in quads {
                disk[at + field..][..8].copy_from_slice(&value.to_le_bytes());
            }
            for (number, (first, last)) in entries.iter().enumerate() {
                let entry = array as usize * 512 + number * 128;
                disk[entry..entry + 16].copy_from_slice(&EFI);
                disk[entry + 32..][..8].copy_from_slice(&first.to_le_bytes());
                disk[entry + 40..][..8].copy_from_slice(&last.to_le_bytes());
                disk[entry + 56..][..4].copy_from_slice(&[b'a' + number as u8, 0, 0xe9, 0]);
            }
            checksums(&mut disk, at, array as usize * 512);
        }
        disk
    }

    fn parse(disk: &[u8]) -> Result<Read, [GptError; 2]> {
        read(2000, |lba, buf| {
            buf.copy_from_slice(&disk[lba as usize * 512..][..buf.len()]);
            Ok(())
        })
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn two_partitions_with_names() {
        let (entries, told) = parse(&disk(&[(40, 99), (100, 1966)])).unwrap();
        assert_eq!((told, entries.len()), (None, 2));
        let second = entries[1].1.clone().unwrap();
        assert_eq!((second.start, second.sectors), (100, 1867));
        assert_eq!(second.kind.to_string(), "EFI system \"bé\"");
        let Kind::Gpt(guid, _) = second.kind else {
            panic!()
        };
        assert_eq!(guid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    }

    #[test]
    fn a_bad_entry_spares_the_good_ones() {
        let bad = [
            (40, 39),
            (33, 50),
            (100, 1967),
            (90, 110),
            (u64::MAX, u64::MAX),
        ];
        let why = [
            "it has a type, but no sectors",
            "it is not within the disk's usable sectors, 34 to 1966",
            "it is not within the disk's usable sectors, 34 to 1966",
            "it overlaps partition 1",
            "it is not within the disk's usable sectors, 34 to 1966",
        ];
        for (bad, why) in bad.into_iter().zip(why) {
            let (entries, _) = parse(&disk(&[(80, 99), bad, (200, 300)])).unwrap();
            assert_eq!(
                entries[1].1.clone().unwrap_err().to_string(),
                why,
                "{bad:?}"
            );
            assert!(entries[0].1.is_ok() && entries[2].1.is_ok());
        }
    }

    #[test]
    fn of_two_copies_one_is_enough() {
        let good = disk(&[(40, 99)]);
        for at in [
            0,
            9,
            14,
            16,
            25,
            41,
            50,
            72,
            81,
            84,
            88,
            2 * 512 + 5,
            17 * 512,
        ] {
            for (copy, says) in [(0, "its copy is used"), (1, "at the disk's end is bad")] {
                let mut bad = good.clone();
                bad[[
                    512 + at,
                    if at < 512 {
                        1999 * 512 + at
                    } else {
                        1967 * 512 - 512 + at - 1024 + 512
                    },
                ][copy]] ^= 0x41;
                let (entries, told) = parse(&bad).unwrap();
                assert!(entries[0].1.is_ok());
                assert!(
                    told.as_ref().is_some_and(|t| t.contains(says)),
                    "{at} {copy}: {told:?}"
                );
            }
        }
        let mut none = good.clone();
        none[512] = 0;
        none[1999 * 512 + 17] ^= 1;
        assert_eq!(
            parse(&none).unwrap_err(),
            [GptError::NoSignature, GptError::HeaderChecksum]
        );
    }

    /// A header whose checksum holds and whose fields lie.
    #[test]
    fn a_header_that_lies_is_refused() {
        for (field, value, says) in [
            (12, 91u32, "header size"),
            (12, 513, "header size"),
            (8, 0x20000, "revision"),
            (24, 2, "own place"),
            (40, 1, "usable range"),
            (48, 2000, "usable range"),
            (84, 127, "size of an entry"),
            (84, 1 << 31, "number of entries"),
            (80, u32::MAX, "number of entries"),
            (72, 1980, "place of the entries"),
            (76, u32::MAX, "place of the entries"),
        ] {
            let mut bad = disk(&[(40, 99)]);
            bad[512 + field..][..4].copy_from_slice(&value.to_le_bytes());
            checksums(&mut bad, 512, 1024);
            let (_, told) = parse(&bad).unwrap();
            let expected =
                format!("the partition table is bad: its {says} cannot be right; its copy is used");
            assert_eq!(told, Some(expected));
        }
    }
}
