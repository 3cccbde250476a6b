// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images with random bytes in the places that matter: whatever comes of them, it comes soon.

use super::explore;
use super::image::{self, Image};
use crate::bio::tests::{MemDisk, Random};
use std::eprintln;
use std::sync::Arc;

/// No mutant may cost more read commands than this to mount, list and read.
const MOST_READS: u64 = 200;

/// Writes 1 to 6 values into regions given as (start, bytes).
fn mutate(disk: &mut MemDisk, regions: &[(u64, u64)], random: &mut Random) {
    for _ in 0..1 + random.below(6) {
        let (start, bytes) = regions[random.below(regions.len() as u64) as usize];
        let at = start + random.below(bytes);
        let value = match random.below(6) {
            0 => 0,
            1 => u32::MAX,
            2 => random.below(200) as u32,
            3 => 0x0fff_fff7 + random.below(2) as u32,
            _ => random.below(1 << 31) as u32 * 2 + 1,
        };
        let width = [1, 1, 2, 4][random.below(4) as usize];
        disk.poke(at, &value.to_le_bytes()[..width]);
    }
}

fn run(name: &str, count: usize, good: &Image, regions: &[(u64, u64)]) {
    let mut random = Random(20_261);
    let (mut refused, mut told, mut clean, mut most) = (0, 0, 0, 0);
    for number in 0..count {
        let mut disk = good.disk.clone();
        disk.reads = Arc::default();
        mutate(&mut disk, regions, &mut random);
        let seen = explore(&disk);
        assert!(
            disk.reads() <= MOST_READS,
            "mutant {number}: {} reads",
            disk.reads()
        );
        most = most.max(disk.reads());
        match (seen.files.is_empty(), seen.errors.is_empty()) {
            (true, _) => refused += 1,
            (_, false) => told += 1,
            _ => clean += 1,
        }
    }
    eprintln!(
        "{name}: {count} mutants: {refused} refused, {told} with errors, {clean} without; \
         at most {most} reads"
    );
    assert!(
        [refused, told, clean]
            .iter()
            .all(|&kind| kind > count / 100)
    );
}

#[test]
fn twenty_thousand_fat32_mutants_neither_panic_nor_hang() {
    let good = image::small();
    let directory = |short| (good.cluster_at(good.first(short)), 512);
    let regions = [
        (11, 53),
        (512, 512),
        (good.fat_at, 600),
        (good.fat_at, 600),
        (good.fat_at + good.fat_bytes, 600),
        (good.cluster_at(2), 512),
        (good.cluster_at(2), 512),
        directory("OVERLAYS"),
        directory("DEEPER "),
    ];
    run("FAT32", 20_000, &good, &regions);
}

#[test]
fn fat12_and_fat16_mutants_neither_panic_nor_hang() {
    for (name, kind, sectors) in [
        ("FAT12", fatfs::FatType::Fat12, 4_000),
        ("FAT16", fatfs::FatType::Fat16, 40_000),
    ] {
        let good = image::of_kind(kind, sectors);
        let boot = good.disk.sector(0);
        let fat_bytes = u64::from(boot[22]) * 512;
        let root = 512 + 2 * fat_bytes;
        run(
            name,
            2_000,
            &good,
            &[(11, 20), (512, 200), (root, 1024), (root + 512 * 32, 4096)],
        );
    }
}
