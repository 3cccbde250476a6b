// SPDX-License-Identifier: MIT OR Apache-2.0
//! Order, merging, and that nobody waits for ever.
use super::*;
use std::vec;
use std::vec::Vec;

const LIMITS: Limits = Limits {
    sectors: 128,
    segments: 64,
};

fn place(op: Op, lba: u64, sectors: u64) -> Place {
    Place {
        op,
        lba,
        sectors,
        segments: 1,
    }
}

fn queue(of: &[(Op, u64, u64)]) -> Queue<usize> {
    let mut queue = Queue::new();
    for (number, (op, lba, sectors)) in of.iter().enumerate() {
        queue.push(place(*op, *lba, *sectors), number, 0).unwrap();
    }
    queue
}

/// Whose transfers a command takes; they end.
fn end(queue: &mut Queue<usize>, mut batch: Batch) -> Vec<Entry<usize>> {
    let entries = core::iter::from_fn(|| queue.take_last(&mut batch));
    let mut entries: Vec<_> = entries.collect();
    entries.reverse();
    entries
}

/// Whose transfers each command takes, until nothing waits.
fn drain(queue: &mut Queue<usize>) -> Vec<Vec<usize>> {
    let mut commands = Vec::new();
    while let Some(batch) = queue.next(LIMITS) {
        let (op, mut at, end_of_it) = (batch.op, batch.lba, batch.lba + batch.sectors);
        let entries = end(queue, batch);
        for entry in &entries {
            assert_eq!((entry.place.op, entry.place.lba), (op, at));
            at = entry.place.end();
        }
        assert_eq!(at, end_of_it);
        commands.push(entries.iter().map(|entry| entry.waiter).collect());
    }
    commands
}

use Op::{Flush, Read, Write};

#[test]
fn it_goes_up_and_then_begins_again() {
    let mut q = queue(&[(Read, 50, 1), (Read, 90, 1), (Read, 70, 1)]);
    let first = q.next(LIMITS).unwrap();
    assert_eq!(end(&mut q, first)[0].waiter, 0);
    q.push(place(Read, 10, 1), 3, 0).unwrap();
    q.push(place(Read, 80, 1), 4, 0).unwrap();
    assert_eq!(drain(&mut q), [[2], [4], [1], [3]]);
}

#[test]
fn neighbours_go_together() {
    let mut q = queue(&[(Read, 8, 8), (Read, 0, 8), (Read, 16, 8), (Read, 32, 8)]);
    assert_eq!(drain(&mut q), [vec![1, 0, 2], vec![3]]);
    let mut q = queue(&[(Read, 0, 8), (Write, 8, 8), (Read, 16, 8)]);
    assert_eq!(drain(&mut q), [[0], [1], [2]]);
}

#[test]
fn a_command_is_no_longer_than_the_device_takes() {
    let mut q = queue(&[(Read, 0, 100), (Read, 100, 28), (Read, 128, 1)]);
    assert_eq!(drain(&mut q), [vec![0, 1], vec![2]]);
    let mut q = queue(&[(Read, 0, 8), (Read, 8, 8), (Read, 16, 8)]);
    let two = Limits {
        sectors: 128,
        segments: 2,
    };
    assert_eq!(q.next(two).unwrap().count(), 2);
    let many: Vec<_> = (0..SLOTS as u64).map(|n| (Read, n, 1)).collect();
    assert_eq!(drain(&mut queue(&many)).len(), SLOTS / MERGED);
}

#[test]
fn what_overlaps_keeps_its_order() {
    // The elevator alone would begin with sector 0.
    let mut q = queue(&[(Write, 10, 4), (Read, 8, 4), (Write, 0, 9), (Read, 0, 1)]);
    assert_eq!(drain(&mut q), [[0], [1], [2], [3]]);
    let mut q = queue(&[(Read, 10, 4), (Read, 8, 4)]);
    assert_eq!(drain(&mut q), [[1], [0]]);
}

#[test]
fn a_flush_waits_for_older_writes_and_younger_ones_for_it() {
    let mut q = queue(&[
        (Write, 50, 1),
        (Write, 40, 1),
        (Flush, 0, 0),
        (Write, 10, 1),
        (Read, 20, 1),
    ]);
    assert_eq!(drain(&mut q), [[4], [1], [0], [2], [3]]);
    assert_eq!(
        drain(&mut queue(&[(Read, 5, 1), (Flush, 0, 0)])),
        [[1], [0]]
    );
    assert_eq!(
        drain(&mut queue(&[(Flush, 0, 0), (Flush, 0, 0), (Write, 1, 1)])),
        [[0], [1], [2]]
    );
}

#[test]
fn a_command_can_be_taken_apart() {
    let mut q = queue(&[(Read, 0, 8), (Read, 8, 4), (Read, 12, 1)]);
    let mut batch = q.next(LIMITS).unwrap();
    let parts: Vec<_> = core::iter::from_fn(|| q.split_last(&mut batch)).collect();
    let places: Vec<_> = parts.iter().map(|part| (part.lba, part.sectors)).collect();
    assert_eq!(places, [(12, 1), (8, 4), (0, 8)]);
    assert_eq!(q.len(), 3);
    for part in parts {
        assert_eq!(end(&mut q, part).len(), 1);
    }
    assert!(q.is_empty());
}

#[test]
fn nobody_is_passed_for_ever() {
    let mut q = queue(&[(Read, 1000, 1), (Read, 0, 1)]);
    let mut passed = 0;
    // Somebody always asks for what is just ahead.
    while let Some(batch) = q.next(LIMITS) {
        let ended = end(&mut q, batch).remove(0);
        if ended.waiter == 0 {
            break;
        }
        passed += 1;
        q.push(place(Read, ended.place.lba + 2, 1), 1, 0).unwrap();
    }
    assert_eq!(passed, PATIENCE);
}

#[test]
fn there_is_room_for_so_many_and_the_next_comes_back() {
    let many: Vec<_> = (0..SLOTS as u64).map(|n| (Read, 2 * n, 1)).collect();
    let mut q = queue(&many);
    assert!(q.is_full());
    assert_eq!(q.push(place(Write, 7, 1), 99, 0), Err(99));
    assert_eq!(drain(&mut q).len(), SLOTS);
    assert!(q.is_empty());
}

/// What a device that does everything at once, in the order of submission, would have.
#[test]
fn any_mix_ends_as_if_in_order() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..500 {
        let mut q = Queue::new();
        // By sector, who wrote it last: as submitted, and as dispatched. Readers note what they saw.
        let (mut expected, mut medium) = ([usize::MAX; 64], [usize::MAX; 64]);
        let (mut want, mut saw) = (Vec::new(), Vec::new());
        let mut unflushed = 0;
        for n in 0..200 {
            if random(3) == 0 || q.is_full() {
                if let Some(batch) = q.next(LIMITS) {
                    step(end(&mut q, batch), &mut medium, &mut saw, &mut unflushed);
                }
                continue;
            }
            let op = [Read, Write, Write, Flush][random(4) as usize];
            let (lba, sectors) = match op {
                Flush => (0, 0),
                _ => (random(56), 1 + random(8)),
            };
            let range = lba as usize..(lba + sectors) as usize;
            match op {
                Read => want.push((n, expected[range].to_vec())),
                Write => expected[range].fill(n),
                _ => {}
            }
            q.push(place(op, lba, sectors), n, 0).unwrap();
        }
        while let Some(batch) = q.next(LIMITS) {
            step(end(&mut q, batch), &mut medium, &mut saw, &mut unflushed);
        }
        saw.sort_by_key(|(n, _): &(usize, Vec<usize>)| *n);
        assert_eq!(saw, want);
        assert_eq!(medium, expected);
    }
}

fn step(
    entries: Vec<Entry<usize>>,
    medium: &mut [usize; 64],
    saw: &mut Vec<(usize, Vec<usize>)>,
    last_flush: &mut usize,
) {
    for entry in entries {
        let range = entry.place.lba as usize..entry.place.end() as usize;
        match entry.place.op {
            Read => saw.push((entry.waiter, medium[range].to_vec())),
            Write | Op::WriteThrough => {
                assert!(entry.waiter > *last_flush || *last_flush == 0);
                medium[range].fill(entry.waiter);
            }
            Flush => *last_flush = entry.waiter,
        }
    }
}
