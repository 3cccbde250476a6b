// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at once: random frames, faults, cables, stops and starts, by seed.
//!
//! Whatever happens, a frame that arrives is one that was sent, whole, once, and (but for those that are delayed) in
//! order; every buffer comes back; and when the faults are over, service goes on.
//! `GENET_CHAOS_SEEDS` says how many seeds; without it there are a few.
use super::bench::{Bench, Pauses};
use super::rig::{OWN, Rig, SECOND_NS, frame};
use crate::genet::{Coalescing, MAX_FRAME, Phy, PhyMode};
use fastrand::Rng;
use genet_model::Fault;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Frame number `number`, whose bytes follow from it.
fn numbered(number: u32) -> Vec<u8> {
    let mut random = Rng::with_seed(number.into());
    let bytes = match random.bool() {
        true => random.usize(60..100),
        false => random.usize(60..=MAX_FRAME),
    };
    let mut frame = frame(bytes, random.u8(..));
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The number of a frame that came; it has to be that frame, bit by bit.
fn number_of(frame: &[u8]) -> u32 {
    let number = u32::from_be_bytes([14, 15, 16, 17].map(|i| frame[i]));
    assert_eq!(frame, numbered(number), "frame {number} was spoilt");
    number
}

/// Whether the driver obeys, and what passed.
struct Chaos<'a> {
    rig: Rig<'a>,
    random: Rng,
    fed: u32,
    queued: u32,
    came: Vec<u32>,
    recoveries: u32,
}

impl Chaos<'_> {
    fn step(&mut self) {
        let (bench, random) = (self.rig.bench, &mut self.random);
        match random.u8(..) {
            0..80 => {
                for _ in 0..random.u32(1..40) {
                    bench.feed(&numbered(self.fed));
                    self.fed += 1;
                }
            }
            80..140 => {
                for _ in 0..random.u32(1..60) {
                    self.rig.queue(&numbered(self.queued));
                    self.queued += 1;
                }
                if random.u8(..) < 200 {
                    self.rig.genet.kick();
                }
            }
            140..160 => drop(self.rig.reclaim()),
            160..170 => drop(self.rig.genet.want_room()),
            170..215 => bench.pass(random.u64(0..SECOND_NS / 100)),
            215..230 => self.keep(),
            230..232 => {
                let plugged = random.bool();
                bench.set_cable(plugged);
            }
            232..238 => self.rig.has_buffers = random.u8(..) < 128,
            238..242 => {
                let fixed = Coalescing {
                    frames: random.u16(0..300),
                    usecs: random.u32(0..1_000),
                };
                self.rig
                    .genet
                    .set_coalescing(random.bool().then_some(fixed));
            }
            242..246 => {
                let groups = [[1, 0, 0x5e, 0, 0, random.u8(..)]; 3];
                self.rig.genet.set_filter(&groups, random.bool());
            }
            246..247 => {
                // While it stands still, nothing that is asked of it does harm.
                self.rig.stop().expect("stops");
                self.rig.send(&numbered(self.queued));
                self.queued += 1;
                self.rig.pass();
                self.rig.start().expect("starts");
            }
            247 => self.rig.recover().expect("recovers"),
            248 => self.rig.genet.silence(),
            _ => {
                let now_ns = bench.clock.now_ns();
                self.rig.genet.adapt(now_ns);
            }
        }
        self.rig.serve();
        let came = self.rig.got.drain(..);
        self.came.extend(came.map(|(frame, _)| number_of(&frame)));
    }

    /// What the link's thread does: asks the PHY, or makes a lost one ready again; asks the watchdog.
    fn keep(&mut self) {
        let bench = self.rig.bench;
        let pauses = &mut Pauses(bench);
        if self.rig.phy.is_none() || self.rig.poll().is_err() {
            self.rig.phy = Phy::attach(bench, PhyMode::RgmiiRxId, pauses).ok();
        }
        bench.pass(self.random.u64(0..SECOND_NS));
        let recovered = self.rig.genet.counters().recoveries;
        self.rig.watch(SECOND_NS / 5);
        let now = self.rig.genet.counters().recoveries;
        self.recoveries += (now - recovered) as u32;
    }
}

fn run(seed: u64) -> (usize, usize, u32) {
    let mut random = Rng::with_seed(seed);
    let mut plans = Vec::new();
    for fault in Fault::ALL {
        if random.u8(..) < 80 {
            let every = match fault {
                Fault::TxStall => random.u32(50..1_000),
                Fault::LinkFlap => 1,
                _ => random.u32(2..100),
            };
            plans.push(format!("{}/{every}", fault.name()));
        }
    }
    let delays = plans.iter().any(|plan| plan.starts_with("rx-delay"));
    let plans: Vec<&str> = plans.iter().map(String::as_str).collect();
    let bench = Bench::new(&[]);
    let mut chaos = Chaos {
        rig: Rig::up(&bench),
        random,
        fed: 0,
        queued: 0,
        came: Vec::new(),
        recoveries: 0,
    };
    bench.plan(&plans);
    for _ in 0..1_500 {
        chaos.step();
    }
    bench.plan(&[]);
    bench.set_cable(true);
    chaos.rig.has_buffers = true;
    chaos.rig.genet.set_filter(&[], false);
    // Whatever was lost, forgotten or masked, is found by those who look once in a while.
    for _ in 0..12 {
        chaos.keep();
        bench.pass(SECOND_NS);
        chaos.rig.serve();
    }
    let Chaos {
        mut rig,
        mut came,
        queued,
        fed,
        recoveries,
        ..
    } = chaos;
    came.extend(rig.got.drain(..).map(|(frame, _)| number_of(&frame)));
    rig.recover().unwrap();
    bench.feed(&numbered(fed));
    // However long it may wait for others.
    bench.pass(SECOND_NS / 100);
    rig.serve();
    assert_eq!(
        rig.take().map(|frame| number_of(&frame)),
        Some(fed),
        "seed {seed}"
    );
    assert!(rig.send(&numbered(queued)), "seed {seed}");
    let sent = bench.sent.take();
    let is_pause = |frame: &&Vec<u8>| frame[6..12] == OWN && frame[12..14] == [0x88, 8];
    let sent: Vec<u32> = sent
        .iter()
        .filter(|frame| !is_pause(frame))
        .map(|f| number_of(f))
        .collect();
    assert!(
        sent.is_sorted_by(|a, b| a < b),
        "seed {seed}: sent out of order"
    );
    assert_eq!(sent.last(), Some(&queued));
    assert_eq!(came.len() as u64 + 1, rig.genet.counters().rx_frames);
    if delays {
        came.sort_unstable();
    }
    assert!(
        came.is_sorted_by(|a, b| a < b),
        "seed {seed}: received out of order"
    );
    rig.end();
    (came.len(), sent.len(), recoveries)
}

#[test]
fn whatever_happens_frames_are_whole_and_buffers_come_back() {
    let seeds = std::env::var("GENET_CHAOS_SEEDS");
    let seeds: u64 = seeds.map_or(12, |seeds| seeds.parse().expect("a number of seeds"));
    let (mut came, mut sent, mut recoveries) = (0, 0, 0);
    for seed in 1..=seeds {
        let passed = run(seed);
        came += passed.0;
        sent += passed.1;
        recoveries += passed.2;
    }
    std::println!(
        "{seeds} seeds: {came} frames received, {sent} sent, {recoveries} stalls recovered from"
    );
    assert!(came > 1_000 && sent > 1_000);
}
