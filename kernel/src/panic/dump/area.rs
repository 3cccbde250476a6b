// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a crash dump may be written, and the proof of it.
//!
//! # Theory
//! Whoever panics trusts nothing. The place is found at the boot, when the partition table is read, and kept in words with a
//! checksum. At the panic the words are held to their checksum, the card to its number, and the table, read anew, to
//! the entry that was kept: the same bytes, in the same place, of a disk of the same signature, and no other partition reaching
//! into it. The rest of the table may have changed meanwhile: the data partition grows at the first boot.
use super::format::{Sector, TEXT_SECTOR};
use crate::bio::gpt::crc32;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use drivers::sd::Cid;

/// The type of partitions that have no file system.
const KIND: u8 = 0xda;
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
const ENTRIES: u32 = 4;
/// Label, header, mark, and text that is worth it.
const SECTORS_MIN: u32 = TEXT_SECTOR + 16;

/// A partition that an MBR gives to dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The disk's signature.
    signature: u32,
    /// Which entry of the table, from 0.
    number: u32,
    entry: [u32; 4],
}

/// Why nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No place was found at the boot, or the card is out.
    NoPlace,
    /// What was kept of it is damaged.
    Damaged,
    /// The card is another one.
    OtherCard,
    /// The partition table says something else now.
    Table,
    /// The partition is not labelled.
    Label,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPlace => "there is no place for it on a card",
            Self::Damaged => "what memory says of its place is damaged",
            Self::OtherCard => "the card is not the one of the boot",
            Self::Table => "the card's partition table is not what it was",
            Self::Label => "its partition is not labelled",
        })
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|n| bytes[at + n]))
}

/// Kind, first sector and length in sectors of an entry.
const fn decoded(entry: [u32; 4]) -> (u8, u32, u32) {
    (entry[1] as u8, entry[2], entry[3])
}

fn entry(sector: &Sector, number: u32) -> [u32; 4] {
    let at = ENTRIES_AT + number as usize * ENTRY_BYTES;
    [0, 4, 8, 12].map(|offset| word(sector, at + offset))
}

impl Place {
    /// The partitions of a disk of `disk_sectors` that may be meant for dumps, by its first sector. Their labels decide.
    pub fn candidates(first: &Sector, disk_sectors: u64) -> impl Iterator<Item = Self> {
        (0..ENTRIES)
            .map(|number| Self {
                signature: word(first, ENTRIES_AT - 6),
                number,
                entry: entry(first, number),
            })
            .filter(move |place| place.stands(first, disk_sectors))
    }

    /// Is it a partition, and still this one, by the first sector of a disk of `disk_sectors`?
    pub fn stands(&self, first: &Sector, disk_sectors: u64) -> bool {
        let (kind, start, sectors) = decoded(self.entry);
        let end = u64::from(start) + u64::from(sectors);
        let meets = |other: u32| {
            let (kind, from, length) = decoded(entry(first, other));
            kind != 0
                && u64::from(from) < end
                && u64::from(start) < u64::from(from) + u64::from(length)
        };
        first[510..] == [0x55, 0xaa]
            && self.number < ENTRIES
            && word(first, ENTRIES_AT - 6) == self.signature
            && entry(first, self.number) == self.entry
            && kind == KIND
            && start > 0
            && sectors >= SECTORS_MIN
            && end <= disk_sectors
            && !(0..ENTRIES).any(|other| other != self.number && meets(other))
    }

    /// The partition's first sector.
    pub const fn start(&self) -> u32 {
        decoded(self.entry).1
    }

    /// Its length in sectors.
    pub const fn sectors(&self) -> u32 {
        decoded(self.entry).2
    }

    /// The disk's sector that is `sector` of the partition, if `count` from there on are within it.
    pub fn lba(&self, sector: u32, count: u32) -> Option<u64> {
        let within = sector.checked_add(count)? <= self.sectors();
        within.then(|| u64::from(self.start()) + u64::from(sector))
    }
}

/// A place, and how the card that it is on is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The partition.
    pub place: Place,
    /// Address of the controller's registers.
    pub controller: u32,
    /// Its base clock in Hz, as the firmware tells it; 0 if it does not.
    pub clock_hz: u32,
    /// [`fingerprint`] of the card.
    pub card: u32,
}

/// A number that tells cards apart.
pub fn fingerprint(cid: &Cid) -> u32 {
    let mut bytes = [0; 17];
    bytes[..3].copy_from_slice(&[cid.manufacturer, cid.revision, cid.month]);
    bytes[3..5].copy_from_slice(&cid.oem);
    bytes[5..11].copy_from_slice(&cid.name);
    bytes[11..15].copy_from_slice(&cid.serial.to_le_bytes());
    bytes[15..].copy_from_slice(&cid.year.to_le_bytes());
    crc32(&bytes)
}

const WORDS: usize = 10;
/// Distinguishes words that were never set from those of a place.
const MARK: u32 = 0x6d75_6470;

impl Area {
    fn words(&self) -> [u32; WORDS] {
        let [a, b, c, d] = self.place.entry;
        let Place {
            signature, number, ..
        } = self.place;
        let (base, hz, card) = (self.controller, self.clock_hz, self.card);
        [MARK, base, hz, card, signature, number, a, b, c, d]
    }

    fn of_words(
        [_, controller, clock_hz, card, signature, number, a, b, c, d]: [u32; WORDS],
    ) -> Self {
        Self {
            place: Place {
                signature,
                number,
                entry: [a, b, c, d],
            },
            controller,
            clock_hz,
            card,
        }
    }
}

fn sum(words: &[u32; WORDS]) -> u32 {
    let mut bytes = [0; 4 * WORDS];
    for (place, word) in bytes.chunks_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    crc32(&bytes)
}

/// What is kept between boot and panic. One thread at a time writes it, with the disks' lock held.
// ORDERING: Relaxed: words that do not belong together, as a panic in mid-change finds them, fail their checksum.
pub struct Kept {
    words: [AtomicU32; WORDS],
    sum: AtomicU32,
}

impl Kept {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            words: [const { AtomicU32::new(0) }; WORDS],
            sum: AtomicU32::new(0),
        }
    }

    /// Keeps `area` from now on, or nothing.
    pub fn set(&self, area: Option<Area>) {
        let words = area.map_or([0; WORDS], |area| area.words());
        for (kept, word) in self.words.iter().zip(words) {
            kept.store(word, Ordering::Relaxed);
        }
        self.sum
            .store(area.map_or(0, |_| sum(&words)), Ordering::Relaxed);
    }

    /// What is kept.
    ///
    /// # Errors
    /// [`Doubt::NoPlace`], [`Doubt::Damaged`].
    pub fn get(&self) -> Result<Area, Doubt> {
        let words: [u32; WORDS] = core::array::from_fn(|n| self.words[n].load(Ordering::Relaxed));
        let kept = self.sum.load(Ordering::Relaxed);
        match words[0] {
            0 if words == [0; WORDS] && kept == 0 => Err(Doubt::NoPlace),
            MARK if kept == sum(&words) => Ok(Area::of_words(words)),
            _ => Err(Doubt::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const DISK: u64 = 100_000;

    fn table(entries: &[(u8, u32, u32)]) -> Sector {
        let mut sector = [0; 512];
        sector[440..444].copy_from_slice(b"ORTH");
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        for (raw, (kind, start, sectors)) in sector[446..].chunks_mut(16).zip(entries) {
            raw[4] = *kind;
            raw[8..12].copy_from_slice(&start.to_le_bytes());
            raw[12..16].copy_from_slice(&sectors.to_le_bytes());
        }
        sector
    }

    fn good() -> Sector {
        table(&[(0x0c, 8192, 1000), (0xda, 9192, 2048), (0x83, 16384, 100)])
    }

    fn places(sector: &Sector) -> Vec<(u32, u32)> {
        let places = Place::candidates(sector, DISK);
        places
            .map(|place| (place.start(), place.sectors()))
            .collect()
    }

    #[test]
    fn a_place_is_found_and_its_sectors_are_within_it() {
        assert_eq!(places(&good()), [(9192, 2048)]);
        let place = Place::candidates(&good(), DISK).next().unwrap();
        assert_eq!(place.lba(0, 2048), Some(9192));
        assert_eq!(place.lba(2047, 1), Some(11239));
        for (sector, count) in [(0, 2049), (2047, 2), (2048, 1), (u32::MAX, 2)] {
            assert_eq!(place.lba(sector, count), None);
        }
    }

    #[test]
    fn what_is_no_place_is_none() {
        for entries in [
            &[(0x0c, 8192, 1000), (0x83, 9192, 2048)][..],
            &[(0xda, 0, 2048)],
            &[(0xda, 9192, 18)],
            &[(0xda, 99_000, 2048)],
            &[(0xda, u32::MAX, u32::MAX)],
            &[(0x0c, 8192, 1001), (0xda, 9192, 2048)],
            &[(0xda, 9192, 2048), (0x83, 11239, 5)],
        ] {
            assert_eq!(places(&table(entries)), [], "{entries:?}");
        }
        let mut unsigned = good();
        unsigned[510] = 0;
        assert_eq!(places(&unsigned), []);
    }

    #[test]
    fn a_table_that_says_something_else_about_it_is_noticed_and_growth_is_not() {
        let place = Place::candidates(&good(), DISK).next().unwrap();
        for at in 0..512 {
            let mut changed = good();
            changed[at] ^= 0x10;
            let matters = (440..444).contains(&at) || (462..478).contains(&at) || at >= 510;
            if matters {
                assert!(!place.stands(&changed, DISK), "byte {at}");
            } else if at < 446 {
                assert!(place.stands(&changed, DISK), "byte {at}");
            }
        }
        let grown = table(&[
            (0x0c, 8192, 1000),
            (0xda, 9192, 2048),
            (0x83, 16384, 80_000),
        ]);
        assert!(place.stands(&grown, DISK));
        let moved = table(&[(0xda, 9192, 2048), (0x0c, 8192, 1000)]);
        assert!(!place.stands(&moved, DISK));
    }

    #[test]
    fn what_is_kept_comes_back_and_each_damaged_bit_is_noticed() {
        let kept = Kept::new();
        assert_eq!(kept.get(), Err(Doubt::NoPlace));
        let area = Area {
            place: Place::candidates(&good(), DISK).next().unwrap(),
            controller: 0xfe34_0000,
            clock_hz: 100_000_000,
            card: 0x1234_5678,
        };
        kept.set(Some(area));
        assert_eq!(kept.get(), Ok(area));
        for word in kept.words.iter().chain([&kept.sum]) {
            for bit in 0..32 {
                word.fetch_xor(1 << bit, Ordering::Relaxed);
                assert_eq!(kept.get(), Err(Doubt::Damaged));
                word.fetch_xor(1 << bit, Ordering::Relaxed);
            }
        }
        kept.set(None);
        assert_eq!(kept.get(), Err(Doubt::NoPlace));
    }

    #[test]
    fn cards_differ_by_anything_in_their_number() {
        let cid = Cid {
            manufacturer: 3,
            oem: *b"SD",
            name: *b"SU32G\0",
            revision: 0x80,
            serial: 0x1234_5678,
            year: 2024,
            month: 5,
        };
        let others = [
            Cid {
                serial: 0x1234_5679,
                ..cid
            },
            Cid {
                manufacturer: 4,
                ..cid
            },
            Cid { oem: *b"SE", ..cid },
            Cid {
                name: *b"SU32H\0",
                ..cid
            },
            Cid {
                revision: 0x81,
                ..cid
            },
            Cid { year: 2025, ..cid },
            Cid { month: 6, ..cid },
        ];
        for other in others {
            assert_ne!(fingerprint(&cid), fingerprint(&other), "{other}");
        }
    }
}
