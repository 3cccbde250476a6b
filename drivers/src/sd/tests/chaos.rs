// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transfers at random under faults at random: nothing hangs, and what is told to be well is well.
use super::up;
use crate::sd::{Error, Progress};
use crate::sdhci::bench::{Bench, BenchSlot, Data, by_interrupts, carry, pattern};
use embedded_hal::delay::DelayNs;
use sdhci_model::Card as CardModel;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end
    }
}

const FAULTS: [&str; 12] = [
    "read-crc",
    "write-crc",
    "command-crc",
    "command-timeout",
    "data-timeout",
    "adma-error",
    "auto-command",
    "irq-lost",
    "busy",
    "eject",
    "read-only",
    "reset-stuck",
];
/// Those that last.
const LASTING: [&str; 4] = ["data-timeout", "busy", "eject", "reset-stuck"];
const BLOCKS: u64 = 64;
/// The longest that a transfer with its recoveries may take.
const PATIENCE_US: u64 = 120_000_000;

fn plans(random: &mut Random) -> Vec<String> {
    let count = random.below(4);
    let plan = |random: &mut Random| {
        let name = FAULTS[random.below(FAULTS.len() as u64) as usize];
        let (every, times) = (1 + random.below(5), 1 + random.below(3));
        match LASTING.contains(&name) {
            true => format!("{name}/{every}x{times}:{}", 1 + random.below(3000)),
            false => format!("{name}/{every}x{times}"),
        }
    };
    (0..count).map(|_| plan(random)).collect()
}

/// Sixty transfers; how many of them went well at once, after a recovery, and not at all.
fn trial(seed: u64) -> (u32, u32, u32) {
    let mut random = Random(seed);
    let make = [
        CardModel::sd as fn(_) -> _,
        CardModel::sdhc,
        CardModel::emmc,
    ];
    let bench = Bench::with(make[random.below(3) as usize], 64 << 20);
    bench.regulator.set(random.below(2) == 0);
    let host = match random.below(3) {
        0 => bench.host_by_port(),
        _ => bench.host(),
    };
    let mut card = up(host);
    // What is known of the blocks: after a write that failed, nothing.
    let mut known: BTreeMap<u64, Option<Vec<u8>>> = BTreeMap::new();
    let (mut well, mut recovered, mut failed) = (0, 0, 0);
    for turn in 0..60 {
        let planned = plans(&mut random);
        bench.plan(&planned.iter().map(String::as_str).collect::<Vec<_>>());
        let lba = random.below(BLOCKS);
        let blocks = 1 + random.below(BLOCKS - lba) as usize;
        let write = random.below(2) == 0;
        let bytes = pattern(blocks, turn);
        let mut data = match write {
            true => Data::write(&bench, lba, &bytes),
            false => Data::read(&bench, lba, blocks),
        };
        let began_us = bench.clock.now_us();
        let result = match random.below(2) {
            0 => carry(&mut card, &mut data),
            _ => match by_interrupts(&mut card, &bench, &mut data) {
                Progress::Failed(error) => {
                    let _later = card.recover();
                    Err(error)
                }
                _ => Ok(()),
            },
        };
        let took_us = bench.clock.now_us() - began_us;
        assert!(took_us < PATIENCE_US, "{seed} {planned:?}: {took_us} us");
        let caller = |error: &Error| matches!(error, Error::OutOfRange { .. });
        assert!(!result.as_ref().is_err_and(caller), "{seed}: {result:?}");
        for (lba, block) in (lba..).zip(bytes.chunks(512)) {
            match (write, result) {
                (true, Ok(())) => _ = known.insert(lba, Some(block.into())),
                (true, Err(_)) => _ = known.insert(lba, None),
                (false, _) => {}
            }
        }
        if !write && result.is_ok() {
            for (lba, block) in (lba..).zip(data.bytes().chunks(512)) {
                if let Some(Some(bytes)) = known.get(&lba) {
                    assert!(block == bytes, "{seed} {planned:?}: block {lba}");
                }
            }
        }
        match result {
            Ok(()) if took_us < 10_000 => well += 1,
            Ok(()) => recovered += 1,
            Err(_) => failed += 1,
        }
        // What was planned is over: the card is usable again.
        bench.behave();
        BenchSlot(&bench).delay_ms(5_000);
        card.recover()
            .unwrap_or_else(|error| panic!("{seed} {planned:?}: {error}"));
    }
    (well, recovered, failed)
}

#[test]
fn nothing_hangs_and_nothing_is_lost_that_was_told_to_be_kept() {
    let mut sum = (0, 0, 0);
    for seed in 0..16 {
        let (well, recovered, failed) = trial(seed);
        sum = (sum.0 + well, sum.1 + recovered, sum.2 + failed);
    }
    // All three kinds of end were seen often.
    assert!(sum.0 > 150 && sum.1 > 40 && sum.2 > 40, "{sum:?}");
}
