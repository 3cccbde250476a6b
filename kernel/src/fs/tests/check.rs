// SPDX-License-Identifier: MIT OR Apache-2.0
//! A checker of FAT volumes, written without a look at what it checks: what no power cut may leave is a panic, what
//! one may is counted.

use std::collections::{BTreeMap, HashMap};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use crate::bio::tests::MemDisk;

/// What is on a volume.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Contents by path; none for a directory.
    pub(super) files: BTreeMap<String, Option<Vec<u8>>>,
    /// Clusters that are marked as used and belong to nobody.
    pub(super) lost: usize,
    /// Entries in which the copies of the FAT differ.
    pub(super) differ: usize,
    /// Clusters of chains that are longer than their files.
    pub(super) excess: usize,
    /// Pieces of long names without their entry, or the other way round.
    pub(super) orphans: usize,
    /// Pairs of paths with the same first cluster.
    pub(super) twins: Vec<(String, String)>,
    /// Short names that a directory has twice.
    pub(super) doubles: usize,
    /// Directories whose `..` leads elsewhere.
    pub(super) astray: usize,
    /// The noted count of free clusters is wrong.
    pub(super) miscounted: bool,
}

impl Checked {
    /// Nothing at all is wrong.
    pub(super) fn is_clean(&self) -> bool {
        let spaces = [self.lost, self.differ, self.excess];
        let names = [self.orphans, self.doubles, self.astray];
        spaces == [0; 3] && names == [0; 3] && self.twins.is_empty() && !self.miscounted
    }
}

struct Volume<'a> {
    disk: &'a MemDisk,
    fats: [Vec<u32>; 2],
    cluster_bytes: usize,
    data_at: u64,
    root: (u64, usize),
    bits: u32,
    /// Who has each cluster.
    owners: HashMap<u32, String>,
    checked: Checked,
}

fn read(disk: &MemDisk, at: u64, bytes: usize) -> Vec<u8> {
    let sectors = at / 512..(at + bytes as u64).div_ceil(512);
    let all: Vec<u8> = sectors.flat_map(|lba| disk.sector(lba)).collect();
    all[(at % 512) as usize..][..bytes].to_vec()
}

/// Checks a volume.
pub(super) fn check(disk: &MemDisk) -> Checked {
    let boot = disk.sector(0);
    let word = |at: usize| u32::from(boot[at]) | u32::from(boot[at + 1]) << 8;
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let wide = word(22) == 0;
    let fat_sectors = if wide { long(36) } else { word(22) };
    let total = if word(19) != 0 { word(19) } else { long(32) };
    let root_at = u64::from(word(14) + 2 * fat_sectors) * 512;
    let root_bytes = word(17) as usize * 32;
    let data_at = root_at + root_bytes as u64;
    let per_cluster = u32::from(boot[13]);
    let clusters = (total - (data_at / 512) as u32) / per_cluster;
    let bits = match clusters {
        ..4085 => 12,
        _ if wide => 32,
        _ => 16,
    };
    assert_eq!(boot[16], 2);
    let fat = |copy: u32| {
        let raw = read(
            disk,
            u64::from(word(14) + copy * fat_sectors) * 512,
            fat_sectors as usize * 512,
        );
        let entry = |n: usize| match bits {
            12 => {
                let pair = u32::from(raw[n * 3 / 2]) | u32::from(raw[n * 3 / 2 + 1]) << 8;
                if n.is_multiple_of(2) {
                    pair & 0xfff
                } else {
                    pair >> 4
                }
            }
            16 => u32::from(raw[2 * n]) | u32::from(raw[2 * n + 1]) << 8,
            _ => u32::from_le_bytes(raw[4 * n..4 * n + 4].try_into().unwrap()) & 0x0fff_ffff,
        };
        (0..clusters as usize + 2).map(entry).collect::<Vec<_>>()
    };
    let mut volume = Volume {
        disk,
        fats: [fat(0), fat(1)],
        cluster_bytes: per_cluster as usize * 512,
        data_at,
        root: (root_at, root_bytes),
        bits,
        owners: HashMap::new(),
        checked: Checked::default(),
    };
    let root = if wide { long(44) } else { 0 };
    volume.directory(root, root, "");
    let used = volume.fats[0]
        .iter()
        .skip(2)
        .filter(|entry| **entry != 0)
        .count();
    let bad = volume.bad();
    assert!(!volume.fats[0][2..].contains(&bad));
    let pairs = volume.fats[0].iter().zip(&volume.fats[1]);
    volume.checked.differ = pairs.filter(|(a, b)| a != b).count();
    volume.checked.lost = used - volume.owners.len();
    if wide {
        let noted = disk.sector(u64::from(word(48)));
        let noted = u32::from_le_bytes(noted[488..492].try_into().unwrap());
        volume.checked.miscounted = noted != clusters - used as u32;
    }
    volume.checked
}

impl Volume<'_> {
    fn bad(&self) -> u32 {
        (1u32 << self.bits.min(28)) - 9
    }

    /// The clusters of a chain, none of them anybody else's.
    fn chain(&mut self, first: u32, path: &str) -> Vec<u32> {
        let (mut chain, mut at) = (Vec::new(), first);
        if let Some(owner) = self.owners.get(&first) {
            self.checked.twins.push((owner.clone(), path.into()));
            // As a whole the same chain, or not at all.
            while at < self.bad() {
                assert!(
                    self.owners[&at] == self.owners[&first],
                    "{path}: cluster {at}"
                );
                chain.push(at);
                at = self.fats[0][at as usize];
            }
            return chain;
        }
        while at < self.bad() {
            assert!(
                at >= 2 && (at as usize) < self.fats[0].len(),
                "{path}: leads to {at}"
            );
            let foreign = self.owners.insert(at, path.into());
            assert_eq!(foreign, None, "{path}: cluster {at}");
            chain.push(at);
            at = self.fats[0][at as usize];
            assert!(at != 0, "{path}: cluster {chain:?} is free");
        }
        assert!(at > self.bad(), "{path}: bad");
        chain
    }

    fn contents(&self, chain: &[u32]) -> Vec<u8> {
        let at = |c: &u32| self.data_at + u64::from(c - 2) * self.cluster_bytes as u64;
        chain
            .iter()
            .flat_map(|c| read(self.disk, at(c), self.cluster_bytes))
            .collect()
    }

    fn directory(&mut self, first: u32, above: u32, path: &str) {
        let raw = if first == 0 {
            read(self.disk, self.root.0, self.root.1)
        } else {
            let chain = self.chain(first, &format!("{path}/"));
            self.contents(&chain)
        };
        let (mut long, mut sum, mut wanted) = (vec![], 0, 0);
        let mut names = std::collections::HashSet::new();
        for entry in raw.chunks(32) {
            match entry[0] {
                0 => break,
                0xe5 => {
                    self.checked.orphans += usize::from(!long.is_empty());
                    long.clear();
                    continue;
                }
                _ => {}
            }
            if entry[11] == 0x0f {
                let number = entry[0] & 0x1f;
                if entry[0] & 0x40 != 0 {
                    self.checked.orphans += usize::from(!long.is_empty());
                    (long, sum, wanted) = (vec![], entry[13], number);
                }
                if number != wanted || entry[13] != sum || wanted == 0 {
                    self.checked.orphans += 1;
                    (long, wanted) = (vec![], 0);
                    continue;
                }
                wanted -= 1;
                let units = [&entry[1..11], &entry[14..26], &entry[28..32]].concat();
                let units = units.chunks(2).map(|u| u16::from_le_bytes([u[0], u[1]]));
                long.splice(0..0, units);
                continue;
            }
            let check = entry[..11]
                .iter()
                .fold(0u8, |s, b| s.rotate_right(1).wrapping_add(*b));
            if !long.is_empty() && (wanted != 0 || check != sum) {
                self.checked.orphans += 1;
                long.clear();
            }
            self.checked.doubles += usize::from(!names.insert(entry[..11].to_vec()));
            let name = name(entry, &core::mem::take(&mut long));
            self.entry(entry, first, above, path, &name);
        }
    }

    fn entry(&mut self, entry: &[u8], here: u32, above: u32, path: &str, name: &str) {
        let word = |at: usize| u32::from(entry[at]) | u32::from(entry[at + 1]) << 8;
        let size = (word(28) | word(30) << 16) as usize;
        let first = if self.bits == 32 {
            word(20) << 16 | word(26)
        } else {
            word(26)
        };
        let root = if path.matches('/').count() <= 1 {
            0
        } else {
            above
        };
        match name {
            "." => return assert_eq!(first, here, "{path}/."),
            ".." => {
                self.checked.astray += usize::from(first != root);
                return;
            }
            _ if entry[11] & 8 != 0 => return,
            _ => {}
        }
        let path = format!("{path}/{name}");
        if entry[11] & 0x10 != 0 {
            assert_eq!(size, 0, "{path}");
            self.checked.files.insert(path.clone(), None);
            return self.directory(first, here, &path);
        }
        assert_eq!(
            first == 0,
            size == 0,
            "{path}: {size} bytes from cluster {first}"
        );
        let mut bytes = vec![];
        if first != 0 {
            let chain = self.chain(first, &path);
            bytes = self.contents(&chain);
            assert!(bytes.len() >= size, "{path}: {size} bytes in {chain:?}");
            self.checked.excess += (bytes.len() - size) / self.cluster_bytes;
        }
        bytes.truncate(size);
        self.checked.files.insert(path, Some(bytes));
    }
}

fn name(entry: &[u8], long: &[u16]) -> String {
    if !long.is_empty() {
        let end = long.iter().position(|u| *u == 0).unwrap_or(long.len());
        return String::from_utf16(&long[..end]).unwrap();
    }
    let part = |bytes: &[u8], lower: u8| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_string();
        if entry[12] & lower != 0 {
            text.to_lowercase()
        } else {
            text
        }
    };
    let (base, extension) = (part(&entry[..8], 8), part(&entry[8..11], 16));
    let dot = if extension.is_empty() { "" } else { "." };
    format!("{base}{dot}{extension}")
}
