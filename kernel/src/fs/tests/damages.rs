// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a card can come to, one damage a line, and what the user is told.

use super::explore;
use super::image::{self, Image, contents, files};
use crate::bio::tests::{MemDisk, Random};
use std::eprintln;

/// A directory of the greatest length that is followed costs some commands, nothing else does.
const MOST_READS: u64 = 100;

/// Pokes bytes into the image.
type Damage = fn(&mut Image);

/// Each damage, and what at least one of the errors says of it; nothing where all must still read.
#[rustfmt::skip] // a table
const DAMAGES: &[(&str, Damage, &str)] = &[
    ("bytes per sector 0", |i| i.disk.poke(11, &[0, 0]), "bytes per sector is 0, must be 512"),
    ("bytes per sector 513", |i| i.disk.poke(11, &[1, 2]), "bytes per sector is 513"),
    ("bytes per sector 65535", |i| i.disk.poke(11, &[255, 255]), "bytes per sector is 65535"),
    ("sectors per cluster 0", |i| i.disk.poke(13, &[0]), "sectors per cluster is 0"),
    ("sectors per cluster 3", |i| i.disk.poke(13, &[3]), "sectors per cluster is 3"),
    ("sectors per cluster 255", |i| i.disk.poke(13, &[255]), "sectors per cluster is 255"),
    ("cluster of 64 KiB", |i| i.disk.poke(13, &[128]), "bytes per cluster is 65536, must be at most 32768"),
    ("no reserved sectors", |i| i.disk.poke(14, &[0, 0]), "reserved sectors is 0, must be at least 1"),
    ("no FATs", |i| i.disk.poke(16, &[0]), "number of FATs is 0"),
    ("200 FATs", |i| i.disk.poke(16, &[200]), "number of FATs is 200, must be 1 or 2"),
    ("FAT size 0", |i| i.disk.poke(36, &[0; 4]), "sectors per FAT is 0"),
    ("FAT size 1", |i| i.disk.poke(36, &[1, 0, 0, 0]), "sectors per FAT is 1, must be at least"),
    ("FAT size huge", |i| i.disk.poke(36, &[255; 4]), "total sectors is 68000, must be at least"),
    ("total sectors 0", |i| i.disk.poke(32, &[0; 4]), "total sectors is 0, must be at least"),
    ("total sectors huge", |i| i.disk.poke(32, &[255; 4]), "total sectors is 4294967295, must be at most 68000"),
    ("root cluster 0", |i| i.disk.poke(44, &[0; 4]), "root directory cluster is 0, must be 2 to"),
    ("root cluster 1", |i| i.disk.poke(44, &[1, 0, 0, 0]), "root directory cluster is 1"),
    ("root cluster beyond the end", |i| i.disk.poke(44, &[0, 0, 2, 0]), "root directory cluster is 131072"),
    ("root directory loops on itself", |i| i.set_fat(2, 2), "/boot: damaged: its chain of clusters loops at 2"),
    ("root directory in a cycle", |i| i.link(&[2, 9, 10, 9]), "/boot: damaged: its chain of clusters loops"),
    ("no signature", |i| i.disk.poke(510, &[0, 0]), "its first sector ends in 00 00"),
    ("active FAT 1", |i| i.disk.poke(40, &[0x81, 0]), "active FAT is 1"),
    ("version 1.0", |i| i.disk.poke(42, &[0, 1]), "file system version is 256"),
    ("information sector 0", |i| i.disk.poke(48, &[0, 0]), "information sector is 0, must be 1 to 7"),
    ("information sector unsigned", |i| i.disk.poke(512, &[0; 4]), "FSInfo signature"),
    ("exFAT", |i| i.disk.poke(3, b"EXFAT   "), "no FAT file system, but exFAT"),
    ("chain loops on itself", |i| { let c = i.first("FRAGME~1"); i.set_fat(c, c) }, "fragmented.bin: damaged: its chain of clusters loops at"),
    ("chain in a cycle of two", |i| { let c = i.first("FRAGME~1"); i.set_fat(i.fat(c), c) }, "fragmented.bin: damaged: its chain of clusters loops at"),
    ("chain to a free cluster", |i| i.set_fat(i.first("ALONGN~1"), 0), "spaces.txt: damaged: cluster"),
    ("chain to a reserved cluster", |i| i.set_fat(i.first("ALONGN~1"), 1), "leads to 1, which does not exist"),
    ("chain to a bad cluster", |i| i.set_fat(i.first("ALONGN~1"), 0x0fff_fff7), "of it is marked bad"),
    ("chain beyond the end", |i| i.set_fat(i.first("ALONGN~1"), 0x00ff_ffff), "leads to 16777215, which does not exist"),
    ("chain ends early", |i| i.set_fat(i.first("ALONGN~1"), 0x0fff_ffff), "after 1 of 10 clusters"),
    ("chain crosses into a short one", |i| i.set_fat(i.first("ALONGN~1"), i.first("ONECLU~1")), "after 2 of 10 clusters"),
    ("chain longer than the file", |i| i.link(&[i.first("ONECLU~1"), 60_000, 60_001, 0x0fff_ffff]), ""),
    ("chain breaks off after the file", |i| i.link(&[i.first("ONECLU~1"), 60_000, 0]), ""),
    ("subdirectory's chain loops", |i| { let c = i.first("OVERLAYS"); i.set_fat(c, c) }, "/boot/overlays: damaged: its chain of clusters loops"),
    ("subdirectory is free", |i| i.set_fat(i.first("OVERLAYS"), 0), "/boot/overlays: damaged: cluster"),
    ("subdirectory too long", |i| { i.set_fat(i.first("OVERLAYS"), 50_000); (50_000..56_000).for_each(|n| i.set_fat(n, n + 1)); i.set_fat(56_000, 0x0fff_ffff) }, "more than 65536 entries"),
    ("subdirectory at cluster 0", |i| i.disk.poke(i.entry_at("OVERLAYS") + 26, &[0, 0]), "it begins at cluster 0, but clusters are 2 to"),
    ("subdirectory is the root", |i| i.disk.poke(i.entry_at("OVERLAYS") + 26, &[2, 0]), "/boot/overlays: damaged: the directory contains itself"),
    ("subdirectory contains itself", |i| { let c = i.first("OVERLAYS"); i.disk.poke(i.entry_at("DEEPER ") + 26, &(c as u16).to_le_bytes()) }, "deeper: damaged: the directory contains itself"),
    ("file of 4 GiB", |i| i.disk.poke(i.entry_at("ONECLU~1") + 28, &[255; 4]), "damaged: 4294967295 bytes long, on a volume of"),
    ("file of 16 MiB in one cluster", |i| i.disk.poke(i.entry_at("ONECLU~1") + 28, &[0, 0, 0, 1]), "after 1 of 32768 clusters"),
    ("file at a cluster beyond the end", |i| i.disk.poke(i.entry_at("ONECLU~1") + 20, &[255, 255]), "it begins at cluster"),
    ("long name out of order", |i| i.disk.poke(i.entry_at("ALONGN~1") - 32, &[5]), ""),
    ("long name with a wrong checksum", |i| i.disk.poke(i.entry_at("ALONGN~1") - 32 + 13, &[!0]), ""),
    ("short name of control characters", |i| i.disk.poke(i.entry_at("CONFIG"), &[1, 2, 3]), ""),
    ("noise in the FAT", |i| i.disk.poke(i.fat_at, &Random(1).bytes(4096)), "damaged"),
    ("noise in the root directory", |i| i.disk.poke(i.data_at, &Random(2).bytes(512)), ""),
    ("noise for a boot sector", |i| i.disk.poke(0, &Random(3).bytes(510)), "damaged boot sector"),
    ("noise all over", |i| i.disk = MemDisk::new(Random(4).bytes(1 << 20)), "no FAT file system"),
];

/// The good image after the damage of that name.
fn damaged(wanted: &str) -> Image {
    let (_, damage, _) = DAMAGES.iter().find(|(name, ..)| *name == wanted).unwrap();
    let mut image = image::small();
    damage(&mut image);
    image
}

#[test]
fn every_damage_ends_in_an_error_that_names_it() {
    for (name, _, says) in DAMAGES {
        let image = damaged(name);
        let seen = explore(&image.disk);
        let said = seen.errors.iter().any(|error| error.contains(says));
        assert!(said || says.is_empty(), "{name}: {:?}", seen.errors);
        assert_eq!(
            seen.errors.is_empty(),
            says.is_empty(),
            "{name}: {:?}",
            seen.errors
        );
        assert!(
            image.disk.reads() <= MOST_READS,
            "{name}: {}",
            image.disk.reads()
        );
    }
    eprintln!("{} damages", DAMAGES.len());
}

#[test]
fn damaged_names_fall_back_or_are_counted() {
    for damage in ["long name out of order", "long name with a wrong checksum"] {
        let seen = explore(&damaged(damage).disk);
        assert_eq!(seen.files["/boot/ALONGN~1.TXT"], contents(2, 5000));
    }
    assert!(explore(&damaged("noise in the root directory").disk).damaged > 0);
    let seen = explore(&damaged("short name of control characters").disk);
    assert_eq!((seen.damaged, seen.files.len()), (1, files().len()));
}
