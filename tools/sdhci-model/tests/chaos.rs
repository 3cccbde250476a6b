// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver gone mad: random registers, random values, random tables, random cards.
//!
//! The model must neither panic nor go on for ever, no call may do more than its share, and
//! it must name what is not allowed. `SDHCI_CHAOS_SECONDS` makes it go on for so long with new
//! seeds; without it, it takes some seconds.

mod world;

use std::time::{Duration, Instant};

use sdhci_model::regs::{self, clock, command, intr, mode};
use sdhci_model::{Counters, Fault, Stray};
use world::*;

/// Of one seed.
const STEPS: u32 = 10_000;
const REGISTERS: [u32; 16] = [
    regs::SDMA_ADDRESS,
    regs::BLOCK,
    regs::ARGUMENT,
    regs::COMMAND,
    regs::RESPONSE,
    regs::BUFFER,
    regs::PRESENT_STATE,
    regs::HOST_CONTROL,
    regs::CLOCK,
    regs::STATUS,
    regs::STATUS_ENABLE,
    regs::SIGNAL_ENABLE,
    regs::HOST_CONTROL2,
    regs::FORCE_EVENT,
    regs::ADMA_ERROR,
    regs::ADMA_ADDRESS,
];

fn register(random: &mut fastrand::Rng) -> u32 {
    match random.u8(..) {
        0..240 => REGISTERS[random.usize(0..REGISTERS.len())],
        240..250 => random.u32(0..0x40) * 4,
        _ => random.u32(0..0x104),
    }
}

fn value(random: &mut fastrand::Rng) -> u32 {
    match random.u8(0..7) {
        0 => random.u32(..),
        1 => random.u32(0..0x1_0000),
        2 => 1 << random.u32(0..32),
        3 => u32::MAX,
        4 => random.u32(0..0x20_0000) & !3,
        5 => random.u32(0..64) << 24 | random.u32(..) & 0x3b_003f,
        _ => random.u32(0..5) << 16 | 512,
    }
}

/// Around [`TABLE`], descriptors that lead anywhere, itself not excluded.
fn scribble(random: &mut fastrand::Rng, rig: &mut Rig) {
    for n in 0..random.usize(1..20) {
        let kind = match random.u8(0..8) {
            0 => random.u32(..) & 0xff,
            1 => 0x31,
            2 => 0x01,
            _ => 0x21 | random.u32(0..4) << 1 & 6,
        };
        let length = match random.u8(0..4) {
            0 => random.u32(0..0x1_0000),
            1 => random.u32(0..8),
            _ => 512 * random.u32(0..10),
        };
        let to = match kind & 0x30 {
            0x30 => TABLE + random.u32(0..20) * 8,
            _ if random.u8(..) < 10 => random.u32(..),
            _ => random.u32(0..0x18_0000) & !3,
        };
        rig.descriptor(n, length << 16 | kind, to);
    }
    if random.bool() {
        rig.write(regs::ADMA_ADDRESS, TABLE);
    }
}

/// A transfer that could be somebody's, and may be left alone in the middle.
fn transfer(random: &mut fastrand::Rng, rig: &mut Rig) {
    let by = [By::Pio, By::Sdma, By::Adma][random.usize(0..3)];
    let (read, sector, blocks) = (random.bool(), random.u32(0..20_000), random.u32(0..300));
    if random.bool() {
        let _ = rig.blocks(read, by, sector, blocks.max(1));
        return;
    }
    let index = [17, 18, 24, 25, 6, 8, 51, 13, 19][random.usize(0..9)];
    let bits = random.u32(0..0x40);
    rig.write(regs::BLOCK, blocks << 16 | random.u32(0..8) << 12 | 512);
    let argument = rig.address(sector);
    rig.write(regs::ARGUMENT, argument);
    let word = index << command::INDEX_SHIFT | command::DATA | R1 | bits;
    rig.write(regs::COMMAND, word);
    for _ in 0..random.u32(0..200) {
        if bits & mode::READ != 0 {
            rig.read(regs::BUFFER);
        } else {
            rig.write(regs::BUFFER, random.u32(..));
        }
    }
}

/// Runs one seed: what the model did.
fn run(seed: u64, steps: u32) -> Counters {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults = Vec::new();
    for fault in Fault::ALL {
        if random.u8(..) < 40 {
            faults.push(format!("{}/{}", fault.name(), random.u32(1..50)));
        }
    }
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    let kind = [Kind::Standard, Kind::High, Kind::Emmc][random.usize(0..3)];
    let mut rig = Rig::new(kind, 8 << 20, &faults);
    for _ in 0..steps {
        match random.u8(..) {
            0..100 => {
                let (at, value) = (register(&mut random), value(&mut random));
                rig.write(at & !3, value);
            }
            100..150 => {
                let at = register(&mut random);
                rig.read(at);
            }
            150..170 => scribble(&mut random, &mut rig),
            170..190 => transfer(&mut random, &mut rig),
            190..200 => rig.pass(random.u64(0..400_000_000)),
            200..204 => {
                let (at, bytes) = (register(&mut random), [1, 2, 8][random.usize(0..3)]);
                rig.bounded(|sdhci, world| sdhci.read(at, bytes, world));
                rig.bounded(|sdhci, world| sdhci.write(at, bytes, 1, world));
            }
            204..206 => {
                let mut medium = rig.medium();
                let at = random.u64(0..4 << 20);
                medium.bad_reads = random.bool().then_some((at, at + 4096));
                medium.bad_writes = random.bool().then_some((at, at + 4096));
            }
            206 => rig.bounded(|sdhci, world| sdhci.reset(world)),
            207..212 => {
                rig.bounded(|sdhci, world| sdhci.reset(world));
                rig.bring_up();
                let _ = rig.try_identify();
            }
            212..222 => rig.recover(),
            222..240 => {
                let response = [NONE, R1, R1B, R2, R3][random.usize(0..5)];
                let argument = match random.u8(0..3) {
                    0 => rig.rca,
                    1 => random.u32(0..0x4000),
                    _ => random.u32(..),
                };
                let _ = rig.command(random.u32(0..64), argument, response);
            }
            240..250 => {
                let clocked = clock::INTERNAL | clock::CARD | 0xe << 16;
                rig.write(regs::HOST_CONTROL, 0xf << 8 | random.u32(0..0x40));
                rig.write(regs::CLOCK, clocked);
                rig.write(regs::STATUS_ENABLE, u32::MAX);
                rig.write(regs::SIGNAL_ENABLE, intr::NORMAL);
            }
            _ => {
                let argument = random.u32(..);
                let _ = rig.app_command(random.u32(0..64), argument, R1);
            }
        }
    }
    let named = rig.sdhci.strays().iter().count();
    assert!(named > 0 || steps < 10_000, "seed {seed} named nothing");
    rig.sdhci.counters()
}

#[test]
fn nonsense_neither_panics_nor_hangs() {
    let seconds = std::env::var("SDHCI_CHAOS_SECONDS");
    let seconds: u64 = seconds.map_or(0, |s| s.parse().expect("a number of seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut commands, mut blocks, mut descriptors) = (0, 0, 0);
    let mut seeds = 0;
    while seeds < 3 || Instant::now() < until {
        seeds += 1;
        let did = run(seeds, STEPS);
        commands += did.commands;
        blocks += did.blocks_read + did.blocks_written;
        descriptors += did.descriptors;
    }
    println!(
        "{} steps of {seeds} seeds: {commands} commands, {blocks} blocks, {descriptors} descriptors",
        seeds * u64::from(STEPS)
    );
    assert!(
        commands > 0 && blocks > 0 && descriptors > 0,
        "it never got anywhere"
    );
}

#[test]
fn what_is_not_allowed_is_named_and_counted() {
    let mut rig = Rig::bare(Kind::High, 8 << 20, &[]);
    assert_eq!(rig.read(0x80), 0);
    rig.read(0x80);
    rig.write(regs::PRESENT_STATE, 1);
    rig.sdhci.write(regs::HOST_CONTROL, 1, 0, &mut rig.world);
    rig.sdhci.read(regs::BLOCK + 3, 2, &mut rig.world);
    assert_eq!(rig.sdhci.strays().of(Stray::Read(0x80)), 2);
    assert_eq!(
        rig.stray_names(),
        [
            "read of unknown register SDHCI (0x80)",
            "write to unknown register PRESENT_STATE (0x24)",
            "write of other than 32 bits to HOST_CONTROL (0x28), dropped",
            "read across words at BLOCK_SIZE (0x7)",
        ]
    );
    assert_eq!(
        rig.read(regs::HOST_CONTROL) >> 8 & 0xf,
        0xf,
        "it was dropped"
    );
}

#[test]
fn a_table_that_leads_to_itself_costs_a_share_of_each_call() {
    let mut rig = Rig::new(Kind::High, 8 << 20, &[]);
    rig.descriptor(0, 0x31, TABLE);
    rig.write(regs::HOST_CONTROL, 0xf << 8 | 1 << 1 | 2 << 3);
    rig.write(regs::ADMA_ADDRESS, TABLE);
    rig.start(17, 0, 1 << 16 | 512, mode::READ | mode::DMA)
        .unwrap();
    for _ in 0..10 {
        let due_ns = rig.sdhci.deadline_ns().unwrap();
        assert!(due_ns > rig.world.now_ns, "it lets the others work");
        rig.world.now_ns = due_ns;
        rig.pass(0);
    }
    assert_eq!(rig.stray_names(), ["ADMA table that goes on without data"]);
    rig.recover();
    assert_eq!(rig.status() >> 9 & 0xf, 4, "and can be stopped");
}
