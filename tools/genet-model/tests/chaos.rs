// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver gone mad: random registers, random values, random descriptors, random frames.
//!
//! The model must neither panic nor go on for ever, and it must name what it does not know.
//! `GENET_CHAOS_SECONDS` makes it go on for so long with new seeds; without it, it takes some seconds.

mod world;

use std::time::{Duration, Instant};

use genet_model::{Fault, Stray};
use world::*;

/// Registers around which accidents are likely.
fn offset(random: &mut fastrand::Rng) -> u32 {
    let block = match random.u8(0..10) {
        0..3 => 0x2c00 + random.u32(0..0x500),
        3..6 => 0x4c00 + random.u32(0..0x500),
        6 => 0x2000 + random.u32(0..0x2000),
        7 => 0x4000 + random.u32(0..0x2000),
        8 => random.u32(0..0x1000),
        _ => random.u32(0..0x1_0000),
    };
    if random.u8(..) < 250 {
        block & !3
    } else {
        block
    }
}

fn value(random: &mut fastrand::Rng) -> u32 {
    match random.u8(0..6) {
        0 => random.u32(..),
        1 => random.u32(0..0x1_0000),
        2 => random.u32(0..800),
        3 => 1 << random.u32(0..32),
        4 => u32::MAX,
        _ => CMD_ON,
    }
}

/// Runs one seed: how many accesses there were.
fn run(seed: u64, steps: u32) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults = Vec::new();
    for fault in Fault::ALL {
        if random.u8(..) < 40 {
            faults.push(format!("{}/{}", fault.name(), random.u32(1..50)));
        }
    }
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    let mut rig = Rig::new(&faults);
    for step in 0..steps {
        let began = Instant::now();
        match random.u8(..) {
            0..120 => {
                let (at, value) = (offset(&mut random), value(&mut random));
                rig.write(at, value);
            }
            120..180 => {
                let at = offset(&mut random);
                rig.read(at);
            }
            180..200 => {
                let bytes = random.usize(0..3000);
                let mut bytes = frame(bytes, random.u8(..));
                if random.bool() && !bytes.is_empty() {
                    let at = random.usize(0..bytes.len());
                    bytes[at] = random.u8(..);
                }
                rig.receive(&bytes);
            }
            200..220 => rig.send(&frame(random.usize(0..2000), 0)),
            220..240 => rig.pass(random.u64(0..10_000_000)),
            240..244 => {
                let (at, bytes) = (offset(&mut random), [1, 2, 8][random.usize(0..3)]);
                rig.genet.read(at, bytes, &mut rig.world);
            }
            244..248 => rig.genet.set_cable(random.bool(), &mut rig.world),
            248 => rig.genet.reset(&mut rig.world),
            249 => rig.bring_up(random.u32(0..17), 0, 8),
            _ => {
                let at = [RDMA, TDMA][random.usize(0..2)];
                let descriptor = random.u32(0..768) * 4;
                rig.write(at + descriptor, random.u32(..));
            }
        }
        rig.world.sent.clear();
        // Order of magnitude only: an endless loop, not a slow machine.
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "seed {seed} step {step}"
        );
    }
    let named = rig.genet.strays().iter().count();
    assert!(named > 0 || steps < 10_000, "seed {seed} named nothing");
    steps
}

#[test]
fn nonsense_neither_panics_nor_hangs() {
    let seconds = std::env::var("GENET_CHAOS_SECONDS");
    let seconds: u64 = seconds.map_or(0, |s| s.parse().expect("a number of seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut accesses = 0_u64;
    let mut seed = 1;
    while seed <= 2 || Instant::now() < until {
        accesses += u64::from(run(seed, 20_000));
        seed += 1;
    }
    println!("{accesses} accesses, {} seeds", seed - 1);
}

#[test]
fn unknown_registers_are_named_and_counted() {
    let mut rig = Rig::bare(&[]);
    assert_eq!(rig.read(0x7000), 0);
    rig.read(0x7000);
    rig.write(0xd00, 1);
    rig.genet.read(0x801, 2, &mut rig.world);
    assert_eq!(rig.genet.strays().of(Stray::Read(0x7000)), 2);
    assert_eq!(
        rig.stray_names(),
        [
            "read of unknown register GENET+0x7000",
            "write to unknown register UMAC+0x500",
            "access of other than 32 bits to UMAC+0x1",
        ]
    );
}

#[test]
fn reset_forgets_the_driver_and_keeps_the_cable() {
    let mut rig = Rig::new(&[]);
    rig.send(&frame(60, 0));
    assert!(rig.world.lines[0]);
    rig.genet.reset(&mut rig.world);
    assert!(!rig.world.lines[0], "the line falls");
    assert_eq!(rig.read(CMD), 0);
    assert_eq!(rig.read(0x20c), u32::MAX, "everything is masked");
    assert_eq!(rig.genet.link(), None);
    rig.pass(genet_model::AUTONEG_NS);
    assert!(rig.genet.link().is_some());
}
