// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are on a good card: just enough of MBR and FAT32 to aim at them.

use super::Patch;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Where the partition table's entries begin.
const TABLE: u64 = 446;
/// Bytes of a directory entry.
pub(super) const ENTRY: u64 = 32;

/// A good card's boot partition.
pub(super) struct Volume<'a> {
    card: &'a [u8],
    start: u64,
    fat_sectors: u64,
    first_fat: u64,
    fats: u64,
    pub(super) cluster_bytes: u64,
    pub(super) root: u32,
}

impl<'a> Volume<'a> {
    /// Reads the first partition's parameter block. Panics if the card is not a good one.
    pub(super) fn new(card: &'a [u8]) -> Self {
        assert_eq!(card[510..512], [0x55, 0xaa], "not a good card");
        let start = u64::from(u32_at(card, TABLE + 8)) * SECTOR;
        let bpb = |at: u64| u64::from(u16_at(card, start + at));
        let byte = |at: u64| u64::from(card[index(start + at)]);
        assert_eq!(bpb(11), SECTOR, "bytes per sector");
        Self {
            card,
            start,
            fat_sectors: u64::from(u32_at(card, start + 36)),
            first_fat: start + bpb(14) * SECTOR,
            fats: byte(16),
            cluster_bytes: byte(13) * SECTOR,
            root: u32_at(card, start + 44),
        }
    }

    /// How many sectors the card has.
    pub(super) fn card_sectors(&self) -> u32 {
        u32::try_from(self.card.len() as u64 / SECTOR).expect("a card under 2 TiB")
    }

    /// A patch of a field in partition `n`'s entry (0 the first): 4 the type, 8 the first
    /// sector, 12 the number of sectors.
    pub(super) fn table(&self, n: u64, field: u64, bytes: &[u8]) -> Patch {
        (TABLE + 16 * n + field, bytes.to_vec())
    }

    /// A patch of the parameter block, in the boot sector and in its copy at sector 6.
    pub(super) fn bpb(&self, at: u64, bytes: &[u8]) -> Vec<Patch> {
        let copies = [0, 6].map(|sector| (self.start + sector * SECTOR + at, bytes.to_vec()));
        copies.to_vec()
    }

    /// A patch of one FAT entry, in every FAT.
    pub(super) fn fat(&self, cluster: u32, value: u32) -> Vec<Patch> {
        self.fats_at(u64::from(cluster) * 4, &value.to_le_bytes())
    }

    /// A patch of the FAT's bytes from `at` on, in every FAT.
    pub(super) fn fats_at(&self, at: u64, bytes: &[u8]) -> Vec<Patch> {
        let fats = (0..self.fats).map(|n| self.first_fat + n * self.fat_sectors * SECTOR);
        fats.map(|fat| (fat + at, bytes.to_vec())).collect()
    }

    /// The cluster after this one.
    pub(super) fn next(&self, cluster: u32) -> u32 {
        u32_at(self.card, self.first_fat + u64::from(cluster) * 4)
    }

    /// Where a cluster begins on the card.
    pub(super) fn cluster(&self, cluster: u32) -> u64 {
        let data = self.first_fat + self.fats * self.fat_sectors * SECTOR;
        data + u64::from(cluster - 2) * self.cluster_bytes
    }

    /// Where the root directory's entry of this short name is ("BIG     BIN").
    pub(super) fn entry(&self, name: &[u8; 11]) -> u64 {
        let root = self.cluster(self.root);
        (root..root + self.cluster_bytes)
            .step_by(ENTRY as usize)
            .find(|&at| self.card[index(at)..][..11] == *name && self.card[index(at) + 11] != 0x0f)
            .unwrap_or_else(|| panic!("no {} on the card", String::from_utf8_lossy(name)))
    }

    /// The first cluster of the file or folder of this entry.
    pub(super) fn first_cluster(&self, entry: u64) -> u32 {
        let (high, low) = (u16_at(self.card, entry + 20), u16_at(self.card, entry + 26));
        u32::from(high) << 16 | u32::from(low)
    }

    /// Patches of an entry's first cluster.
    pub(super) fn set_first_cluster(&self, entry: u64, cluster: u32) -> Vec<Patch> {
        let [a, b, c, d] = cluster.to_le_bytes();
        vec![(entry + 26, vec![a, b]), (entry + 20, vec![c, d])]
    }

    /// A patch that makes every unused entry of a directory's cluster a deleted one, so that a
    /// reader goes on to the next cluster.
    pub(super) fn no_end_mark(&self, cluster: u32) -> Vec<Patch> {
        let start = self.cluster(cluster);
        let entries = (start..start + self.cluster_bytes).step_by(ENTRY as usize);
        let unused = entries.filter(|&at| self.card[index(at)] == 0);
        unused.map(|at| (at, vec![0xe5])).collect()
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("the card is in memory")
}

fn u16_at(card: &[u8], at: u64) -> u16 {
    let at = index(at);
    u16::from_le_bytes([card[at], card[at + 1]])
}

fn u32_at(card: &[u8], at: u64) -> u32 {
    u32::from(u16_at(card, at)) | u32::from(u16_at(card, at + 2)) << 16
}
