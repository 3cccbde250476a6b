// SPDX-License-Identifier: MIT OR Apache-2.0
//! The data partition of a new card grows to the card's end.
//!
//! # Theory
//!
//! The image that is flashed is as short as its content allows, and nobody but the system on the card
//! learns how long the card is. So the released image ends in a data partition of exactly
//! [`STUB_SECTORS`]: that length is the mark of a card that never grew. Once grown the partition is
//! longer, and so is one that somebody made: neither is touched. Growing moves nothing and overwrites
//! nothing, so it does no harm where the stub has been used already.
//!
//! It is one write of one sector, which a card does whole or not at all: a power cut leaves the old
//! table or the new one, and with the old one the next boot does it again. Only the length in the
//! third entry changes.
//!
//! Whose card it is, all of this must say: the disk signature that our images have, three partitions of
//! their types, each behind the one before, no fourth. A card with any other table is never written.
//!
//! # Rejected
//!
//! A marker file on the boot partition: two writes, with a power cut between them, and a file that
//! somebody copies to another card. Growing whenever there is room behind the partition: a user who made
//! it short, to have a fourth one some day, would be overruled at each boot.
//!
//! # References
//!
//! UEFI 2.10 §5.2.1 (legacy MBR); `tools/src/card.rs`, which makes the image.

use super::SECTOR_BYTES;

/// Length of the data partition in the released image: 4 MiB.
pub const STUB_SECTORS: u64 = 8192;
/// The end is on a boundary of this many sectors, 4 MiB: the erase blocks of ordinary cards.
const ALIGN_SECTORS: u64 = 8192;
/// Of our images.
const SIGNATURE: &[u8] = b"ORTH";
/// Of the boot, crash and data partitions, and of none.
const KINDS: [u8; 4] = [0x0c, 0xda, 0x83, 0];
/// Where the third entry's length stands.
const LENGTH_AT: usize = 446 + 2 * 16 + 12;

/// A table with a longer data partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Sector 0.
    pub sector: [u8; SECTOR_BYTES],
    /// The partition's new length.
    pub sectors: u64,
}

/// The table to write to a disk of `sectors` sectors whose sector 0 is this; none if it is to be left as it is.
pub fn grown(sector: &[u8; SECTOR_BYTES], sectors: u64) -> Option<Grown> {
    let entries: [&[u8]; 4] = core::array::from_fn(|n| &sector[446 + 16 * n..][..16]);
    let ours = sector[510..] == [0x55, 0xaa]
        && sector[440..444] == *SIGNATURE
        && entries.map(|entry| entry[4]) == KINDS;
    if !ours {
        return None;
    }
    let word = |entry: &[u8], at: usize| {
        u64::from(u32::from_le_bytes([
            entry[at],
            entry[at + 1],
            entry[at + 2],
            entry[at + 3],
        ]))
    };
    let [boot, crash, data] = [0, 1, 2].map(|n| (word(entries[n], 8), word(entries[n], 12)));
    let in_order = boot.0 > 0 && boot.0 + boot.1 <= crash.0 && crash.0 + crash.1 <= data.0;
    if !in_order || data.1 != STUB_SECTORS {
        return None;
    }
    let end = sectors / ALIGN_SECTORS * ALIGN_SECTORS;
    let most = u64::from(u32::MAX) / ALIGN_SECTORS * ALIGN_SECTORS;
    let length = end.checked_sub(data.0)?.min(most);
    if length <= STUB_SECTORS {
        return None;
    }
    let mut sector = *sector;
    sector[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&(length as u32).to_le_bytes());
    Some(Grown {
        sector,
        sectors: length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The released image's.
    fn stub() -> [u8; 512] {
        let mut sector = [0; 512];
        sector[..440].fill(0x5a);
        sector[440..444].copy_from_slice(SIGNATURE);
        for (n, (kind, start, length)) in [
            (0x0c, 8192_u32, 131_072_u32),
            (0xda, 139_264, 2048),
            (0x83, 147_456, 8192),
        ]
        .into_iter()
        .enumerate()
        {
            let entry = &mut sector[446 + 16 * n..][..16];
            entry[4] = kind;
            entry[8..12].copy_from_slice(&start.to_le_bytes());
            entry[12..].copy_from_slice(&length.to_le_bytes());
        }
        sector[446] = 0x80;
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn it_grows_once_to_the_end_and_nothing_else_changes() {
        let before = stub();
        for (card, end) in [
            (62_521_344, 62_521_344),
            (62_521_343, 62_513_152),
            (155_648 + 8192, 155_648 + 8192),
        ] {
            let after = grown(&before, card).unwrap();
            assert_eq!(147_456 + after.sectors, end);
            for (at, (a, b)) in after.sector.iter().zip(&before).enumerate() {
                assert!((LENGTH_AT..LENGTH_AT + 4).contains(&at) || a == b, "{at}");
            }
            let length: [u8; 4] = after.sector[LENGTH_AT..LENGTH_AT + 4].try_into().unwrap();
            assert_eq!(u64::from(u32::from_le_bytes(length)), after.sectors);
            assert_eq!(grown(&after.sector, card), None, "a second time");
            assert_eq!(grown(&after.sector, 2 * card), None, "on a larger card");
        }
    }

    #[test]
    fn without_room_it_stays() {
        for card in [0, 147_455, 147_456, 155_648, 155_648 + 8191] {
            assert_eq!(grown(&stub(), card), None, "{card}");
        }
    }

    #[test]
    fn the_length_stays_in_its_field() {
        let after = grown(&stub(), 1 << 40).unwrap();
        assert_eq!(after.sectors, 0xffff_e000);
    }

    #[test]
    fn another_table_is_left_alone() {
        const CARD: u64 = 62_521_344;
        assert!(grown(&stub(), CARD).is_some());
        for (what, at, byte) in [
            ("no table", 510, 0),
            ("another signature", 443, b'S'),
            ("another boot partition", 446 + 4, 0x0b),
            ("another second partition", 462 + 4, 0x82),
            ("another third partition", 478 + 4, 0x0c),
            ("a fourth partition", 494 + 4, 0x83),
            ("a partition that was made shorter", LENGTH_AT + 1, 0x10),
            ("a partition that was made longer", LENGTH_AT + 1, 0x30),
            ("data before the crash area", 478 + 10, 0),
            ("a crash area in the boot partition", 462 + 10, 1),
        ] {
            let mut sector = stub();
            assert_ne!(sector[at], byte, "{what}");
            sector[at] = byte;
            assert_eq!(grown(&sector, CARD), None, "{what}");
        }
    }
}
