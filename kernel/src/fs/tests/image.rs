// SPDX-License-Identifier: MIT OR Apache-2.0
//! Card images for the tests, made by another implementation of FAT, and tools to damage them.

use std::io::{Cursor, Write};
use std::string::String;
use std::sync::{Arc, OnceLock};
use std::vec::Vec;
use std::{format, vec};

use crate::bio::tests::MemDisk;

#[derive(Debug)]
struct Clock;

impl fatfs::TimeProvider for Clock {
    fn get_current_date(&self) -> fatfs::Date {
        self.get_current_date_time().date
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime {
            date: fatfs::Date {
                year: 2026,
                month: 7,
                day: 31,
            },
            time: fatfs::Time {
                hour: 23,
                min: 59,
                sec: 58,
                millis: 0,
            },
        }
    }
}

/// A file's contents: every 4 bytes tell where they are, and in which file.
pub(crate) fn contents(seed: u32, bytes: usize) -> Vec<u8> {
    let words =
        (0..bytes as u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b1) ^ seed).to_le_bytes());
    words.take(bytes).collect()
}

/// What is on the small image, as (path, contents).
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("CONFIG.TXT", contents(1, 700)),
        ("a long name with spaces.txt", contents(2, 5000)),
        ("Überraschung – 日本語.txt", contents(3, 100)),
        ("empty", vec![]),
        ("one cluster", contents(4, 512)),
        ("overlays/deeper/disable-bt.dtbo", contents(5, 1100)),
        ("overlays/vc4-kms-v3d.dtbo", contents(6, 2000)),
        ("fragmented.bin", contents(7, 16 * 512)),
    ]
}

/// Formats `sectors` and fills them.
fn make(
    sectors: u32,
    cluster_bytes: u32,
    kind: fatfs::FatType,
    files: &[(&str, Vec<u8>)],
) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0; sectors as usize * 512]);
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(kind)
        .bytes_per_cluster(cluster_bytes)
        .volume_label(*b"ORTHOGON   ");
    fatfs::format_volume(&mut disk, options).unwrap();
    let options = fatfs::FsOptions::new().time_provider(&Clock);
    let volume = fatfs::FileSystem::new(&mut disk, options).unwrap();
    let root = volume.root_dir();
    for (path, contents) in files {
        let (directory, _) = path.rsplit_once('/').unwrap_or_default();
        let mut here = String::new();
        for part in directory.split('/').filter(|part| !part.is_empty()) {
            here = format!("{here}/{part}");
            root.create_dir(&here).unwrap();
        }
        let mut file = root.create_file(path).unwrap();
        if *path == "fragmented.bin" {
            // Every other cluster belongs to another file.
            let mut filler = root.create_file("filler").unwrap();
            for piece in contents.chunks(512) {
                file.write_all(piece).unwrap();
                filler.write_all(&[0xee; 512]).unwrap();
            }
        } else {
            file.write_all(contents).unwrap();
        }
    }
    drop(root);
    volume.stats().unwrap(); // has the free clusters counted and noted
    volume.unmount().unwrap();
    disk.into_inner()
}

/// A FAT32 volume of 512-byte clusters with [`files`] on it. The sectors are shared.
pub(crate) fn small() -> Image {
    static MADE: OnceLock<Arc<Vec<u8>>> = OnceLock::new();
    let made = MADE.get_or_init(|| Arc::new(make(68_000, 512, fatfs::FatType::Fat32, &files())));
    Image::new(MemDisk::over(made.clone()))
}

/// A volume of any kind with [`files`] on it.
pub(crate) fn of_kind(kind: fatfs::FatType, sectors: u32) -> Image {
    Image::new(MemDisk::new(make(sectors, 512, kind, &files())))
}

/// A FAT32 volume of 4 KiB clusters with one file of 1 MiB.
pub(crate) fn large() -> Image {
    let files = [("million.bin", contents(9, 1 << 20))];
    Image::new(MemDisk::new(make(
        600_000,
        4096,
        fatfs::FatType::Fat32,
        &files,
    )))
}

/// A FAT32 image that can be damaged.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) disk: MemDisk,
    /// Where the first FAT is, its size, and where cluster 2 is; in bytes.
    pub(crate) fat_at: u64,
    pub(crate) fat_bytes: u64,
    pub(crate) data_at: u64,
    cluster_bytes: u64,
}

impl Image {
    fn new(disk: MemDisk) -> Self {
        let boot = disk.sector(0);
        let word = |at: usize| u64::from(boot[at]) | u64::from(boot[at + 1]) << 8;
        let fat_at = word(14) * 512;
        let fat_bytes = (word(36) | word(38) << 16) * 512;
        Self {
            disk,
            fat_at,
            fat_bytes,
            data_at: fat_at + 2 * fat_bytes,
            cluster_bytes: u64::from(boot[13]) * 512,
        }
    }

    pub(crate) fn cluster_at(&self, cluster: u32) -> u64 {
        self.data_at + u64::from(cluster - 2) * self.cluster_bytes
    }

    pub(crate) fn long(&self, at: u64) -> u32 {
        let sector = self.disk.sector(at / 512);
        let at = (at % 512) as usize;
        u32::from_le_bytes(sector[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn fat(&self, cluster: u32) -> u32 {
        self.long(self.fat_at + u64::from(cluster) * 4)
    }

    /// Sets a FAT entry in both copies.
    pub(crate) fn set_fat(&mut self, cluster: u32, to: u32) {
        for copy in 0..2 {
            let at = self.fat_at + copy * self.fat_bytes + u64::from(cluster) * 4;
            self.disk.poke(at, &to.to_le_bytes());
        }
    }

    /// Makes each of `chain` lead to the next.
    pub(crate) fn link(&mut self, chain: &[u32]) {
        for pair in chain.windows(2) {
            self.set_fat(pair[0], pair[1]);
        }
    }

    /// Where the directory entry with this 8.3 name is.
    pub(crate) fn entry_at(&self, short: &str) -> u64 {
        let sectors = self.data_at / 512..self.data_at / 512 + 2000;
        let mut slots = sectors.flat_map(|lba| (0..16).map(move |slot| lba * 512 + slot * 32));
        slots
            .find(|&at| {
                let sector = self.disk.sector(at / 512);
                let raw = &sector[(at % 512) as usize..][..32];
                raw.starts_with(short.as_bytes()) && raw[11] != 0x0f
            })
            .unwrap_or_else(|| panic!("no {short}"))
    }

    /// The first cluster of the file with this 8.3 name.
    pub(crate) fn first(&self, short: &str) -> u32 {
        let at = self.entry_at(short);
        (self.long(at + 20) & 0xffff) << 16 | self.long(at + 24) >> 16
    }
}
