// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cache against a disk that fails, counts, and loses what was not flushed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{eprintln, vec};

use super::*;
use crate::bio::tests::{Event, MemDisk, Random};

fn disk(sectors: usize) -> MemDisk {
    let bytes = (0..sectors * SECTOR_BYTES).map(|at| (at / 3) as u8);
    let disk = MemDisk::new(bytes.collect());
    disk.state().keep_log = true;
    disk
}

#[test]
fn any_bytes_are_the_devices() {
    let disk = disk(27);
    let mut cache = Cache::new(disk.share(), 0);
    for (offset, len) in [
        (0, 1),
        (511, 2),
        (4095, 4098),
        (512, 8192),
        (13_823, 1),
        (100, 13_724),
        (0, 13_824),
        (13_824, 0),
    ] {
        let mut buf = vec![0; len];
        cache.read_at(offset, &mut buf).unwrap();
        assert_eq!(
            buf,
            disk.base[offset as usize..][..len],
            "{len} at {offset}"
        );
    }
    assert_eq!(cache.stats().reads, disk.reads());
    assert_eq!(
        cache.stats().sectors_read,
        disk.moved.load(Ordering::Relaxed)
    );
}

#[test]
fn beyond_the_end_is_an_error() {
    let mut cache = Cache::new(disk(9), 0);
    for (offset, len) in [
        (4608, 1),
        (4607, 2),
        (5000, 1),
        (u64::MAX, 1),
        (512, 8192),
        (u64::MAX - 511, 8192),
    ] {
        let read = cache.read_at(offset, &mut vec![0; len]);
        assert!(matches!(read, Err(DiskError::OutOfRange { .. })));
        let written = cache.write_at(offset, &vec![0; len], Stage::ALL[0]);
        assert_eq!(written, read, "{len} at {offset}");
    }
}

#[test]
fn small_reads_share_a_command_and_large_ones_take_few() {
    let disk = disk(4096);
    let mut cache = Cache::new(disk.share(), 512);
    for offset in 0..100 {
        cache.read_at(offset * 40 % 4000, &mut [0; 4]).unwrap();
    }
    assert_eq!(disk.reads(), 1);
    cache.read_at(0, &mut vec![0; 1 << 20]).unwrap();
    assert!(disk.reads() <= 6, "{}", disk.reads());
    let before = disk.reads();
    for page in 256..512 {
        cache.read_at(page * 4096, &mut [0; 4096]).unwrap();
    }
    // 1 MiB in windows of at most 128 KiB.
    assert!(disk.reads() - before <= 14, "{}", disk.reads() - before);
    assert!(cache.stats().sectors_ahead > 1800);
}

#[test]
fn a_bad_sector_costs_only_itself() {
    let disk = disk(64);
    disk.state().bad = Some(3);
    let mut cache = Cache::new(disk, 0);
    for _ in 0..2 {
        let result = cache.read_at(3 * 512, &mut [0; 4]);
        assert_eq!(result, Err(DiskError::Medium { lba: 3 }));
        assert_eq!(cache.read_at(2 * 512 + 100, &mut [0; 412]), Ok(()));
        assert_eq!(cache.read_at(4 * 512, &mut [0; 8192]), Ok(()));
        let part = cache.write_at(3 * 512 + 1, &[0], Stage::ALL[0]);
        assert_eq!(part, Err(DiskError::Medium { lba: 3 }));
    }
    cache.write_at(3 * 512, &[5; 512], Stage::ALL[0]).unwrap();
    let mut all = vec![0; 4096];
    cache.read_at(0, &mut all).unwrap();
    assert_eq!(all[1536..2048], [5; 512]);
    assert!(cache.stats().errors > 0);
}

#[test]
fn memory_is_bounded_and_writes_come_in_long_runs() {
    let disk = disk(20_000);
    let mut cache = Cache::new(disk.share(), 100);
    for at in 0..2000 {
        cache
            .write_at(at * 4096, &[at as u8; 4096], Stage::ALL[0])
            .unwrap();
        assert!(cache.dirty_pages() <= 50);
    }
    cache.flush().unwrap();
    let stats = cache.stats();
    assert_eq!((cache.dirty_pages(), stats.writes, stats.reads), (0, 40, 0));
    assert_eq!(cache.pages.frames().count(), 100);
    let runs = disk
        .state()
        .log
        .iter()
        .filter(|e| **e == Event::Flush)
        .count();
    assert_eq!(runs, 40);
}

#[test]
fn what_cannot_be_written_is_told_and_kept() {
    let disk = disk(64);
    let mut cache = Cache::new(disk.share(), 0);
    disk.state().bad_write = Some(20);
    cache.write_at(20 * 512, &[1; 512], Stage::ALL[0]).unwrap();
    cache.write_at(40 * 512, &[2; 512], Stage::ALL[0]).unwrap();
    cache.write_at(0, &[3; 512], Stage::ALL[1]).unwrap();
    for _ in 0..2 {
        assert_eq!(cache.flush(), Err(DiskError::Unwritable { lba: 20 }));
        assert_eq!(disk.sector(40), [2; 512], "the rest of the stage");
        assert_ne!(disk.sector(0), [3; 512], "the next stage waits");
    }
    assert_eq!((cache.dirty_pages(), cache.stats().errors), (2, 2));
    disk.state().bad_write = None;
    disk.state().bad_flush = true;
    assert!(cache.flush().is_err());
    assert_eq!(
        cache.dirty_pages(),
        2,
        "written, but perhaps not on the medium"
    );
    disk.state().bad_flush = false;
    cache.flush().unwrap();
    assert_eq!((disk.sector(20), disk.sector(0)), ([1; 512], [3; 512]));
    assert_eq!(cache.flush(), Ok(()));
}

#[test]
fn a_device_that_is_gone_loses_what_was_dirty_and_no_more() {
    let disk = disk(64);
    let mut cache = Cache::new(disk.share(), 0);
    cache.write_at(100, &[9; 1000], Stage::ALL[0]).unwrap();
    assert_eq!(cache.discard(), 3);
    let mut byte = [0];
    cache.read_at(101, &mut byte).unwrap();
    assert_eq!((byte[0], cache.dirty_pages()), (33, 0));
}

/// Writes of whole sectors that hold their own number, in all stages; then all that a power cut could leave.
#[test]
fn no_stage_gets_to_the_medium_before_an_earlier_one() {
    let (mut random, mut cuts) = (Random(11), 0);
    for round in 0..40 {
        let disk = MemDisk::new(vec![0; 300 * 512]);
        disk.state().keep_log = true;
        let mut cache = Cache::new(disk.share(), 32);
        // (sector, stage), by number from 1; and how many had been written at each flush, by place in the log.
        let (mut writes, mut acknowledged) = (vec![(0, 0)], BTreeMap::new());
        for _ in 0..400 {
            let (lba, stage) = (random.below(300), random.below(1 + round % 4) as usize);
            let mut sector = [0; 512];
            sector[..8].copy_from_slice(&(writes.len() as u64).to_le_bytes());
            cache
                .write_at(lba * 512, &sector, Stage::ALL[stage])
                .unwrap();
            writes.push((lba as usize, stage));
            if random.below(60) == 0 {
                cache.flush().unwrap();
                acknowledged.insert(disk.state().log.len(), writes.len());
            }
        }
        let log = disk.state().log.clone();
        let mut medium = vec![0u64; 300];
        let mut begun = 0;
        for (end, event) in log.iter().enumerate() {
            if *event != Event::Flush {
                continue;
            }
            let group = &log[begun..end];
            for _ in 0..4 {
                let mut after = medium.clone();
                apply(&mut after, group, |_| random.below(2) == 0);
                check_order(&after, &writes);
                cuts += 1;
            }
            apply(&mut medium, group, |_| true);
            check_order(&medium, &writes);
            begun = end + 1;
            if let Some(&count) = acknowledged.get(&begun) {
                for (number, (lba, _)) in writes[..count].iter().enumerate() {
                    assert!(medium[*lba] >= number as u64);
                }
            }
        }
        assert!(!acknowledged.is_empty());
    }
    eprintln!("{cuts} cuts");
}

fn apply(medium: &mut [u64], group: &[Event], mut keep: impl FnMut(u64) -> bool) {
    for event in group {
        if let Event::Write(lba, sector) = event
            && keep(*lba)
        {
            medium[*lba as usize] = u64::from_le_bytes(sector[..8].try_into().unwrap());
        }
    }
}

fn check_order(medium: &[u64], writes: &[(usize, usize)]) {
    // Going back in time: the lowest stage of which nothing may be missing.
    let mut highest_there = 0;
    for (number, &(lba, stage)) in writes.iter().enumerate().skip(1).rev() {
        let there = medium[lba] >= number as u64;
        assert!(
            there || stage >= highest_there,
            "write {number}, stage {stage}"
        );
        if medium[lba] == number as u64 {
            highest_there = highest_there.max(stage);
        }
    }
}

#[test]
fn random_reads_and_writes_agree_with_an_array() {
    let mut random = Random(5);
    for pages in [0, 40, 400] {
        let disk = disk(1500);
        let mut cache = Cache::new(disk.share(), pages);
        let mut model = (*disk.base).clone();
        for _ in 0..4000 {
            let len = [1, 32, 512, 700, 4096, 20_000][random.below(6) as usize];
            let offset = random.below((model.len() - len) as u64);
            let offset = offset & [!0, !511, !4095][random.below(3) as usize];
            let there = &mut model[offset as usize..][..len];
            if random.below(2) == 0 {
                let bytes = random.bytes(len);
                there.copy_from_slice(&bytes);
                let stage = Stage::ALL[random.below(4) as usize];
                cache.write_at(offset, &bytes, stage).unwrap();
            } else {
                let mut buf = vec![0; len];
                cache.read_at(offset, &mut buf).unwrap();
                assert!(buf == *there, "{len} at {offset}");
            }
        }
        cache.flush().unwrap();
        assert!(disk.contents() == model);
        assert_eq!(cache.pages.frames().count(), pages.clamp(LEAST_PAGES, 188));
        assert_eq!(Arc::strong_count(&disk.reads), 2);
    }
}
