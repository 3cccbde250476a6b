// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random accesses to the pack's devices inside a running QEMU: none may end it or make it hang.
//!
//! QEMU takes accesses from a test socket while its cores sleep, so a million of them need no
//! driver. What is written hits registers, rings, descriptors and tables, whose addresses then lead
//! the device's DMA to memory, to nothing, and to the device itself.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::guest::Setup;

const GENET_AT: u64 = 0xfd58_0000;
const EMMC2_AT: u64 = 0xfe34_0000;
/// Where the tables of EMMC2's DMA are, in memory that nobody uses.
const TABLE: u64 = 0x10_0000;
/// All four cores begin at 0; there they find `wfi` and a branch back to it.
const ASLEEP: &str = "loader,addr=0,data=0x17ffffffd503207f,data-len=8";
/// Accesses on the way at once.
const BATCH: u32 = 100;
/// How long a batch may take: an endless loop, not a slow host.
const ANSWER: Duration = Duration::from_secs(60);

/// What was done.
pub struct Done {
    /// Reads and writes of registers.
    pub accesses: u64,
    /// How long it took.
    pub took: Duration,
}

/// A device, and what hits it.
pub struct Target {
    /// For the verdict.
    pub name: &'static str,
    /// Commands that bring it to where what follows finds something to break.
    ready: fn(&mut fastrand::Rng) -> Vec<String>,
    /// A random command.
    random: fn(&mut fastrand::Rng) -> String,
}

/// The Ethernet controller.
pub const GENET: Target = Target {
    name: "GENET",
    ready: genet_on,
    random: genet,
};

/// The card's controller.
pub const EMMC2: Target = Target {
    name: "EMMC2",
    ready: card_selected,
    random: emmc2,
};

fn genet(random: &mut fastrand::Rng) -> String {
    let offset = match random.u8(0..16) {
        0..4 => 0x2c00 + random.u64(0..0x140) * 4,
        4..8 => 0x4c00 + random.u64(0..0x140) * 4,
        8..10 => 0x2000 + random.u64(0..768) * 4,
        10..12 => 0x4000 + random.u64(0..768) * 4,
        12..14 => 0x800 + random.u64(0..0x200) * 4,
        14 => random.u64(0..0x1_0000),
        _ => 0,
    };
    let at = GENET_AT + offset;
    let value = match random.u8(0..6) {
        0 => random.u64(0..=0xffff_ffff),
        1 => random.u64(0..0x1_0000),
        2 => random.u64(0..800),
        3 => 1 << random.u64(0..32),
        // Addresses of GENET itself, for the DMA.
        4 => GENET_AT + random.u64(0..0x1_0000),
        _ => 0xffff_ffff,
    };
    access(random, at, value)
}

/// A read or a write of some width.
fn access(random: &mut fastrand::Rng, at: u64, value: u64) -> String {
    match random.u8(..) {
        0..140 => format!("writel {at:#x} {value:#x}\n"),
        140..150 => format!("writew {at:#x} {:#x}\n", value & 0xffff),
        150..156 => format!("writeb {at:#x} {:#x}\n", value & 0xff),
        156..160 => format!("writeq {at:#x} {value:#x}\n"),
        160..166 => format!("readw {at:#x}\n"),
        166..170 => format!("readq {at:#x}\n"),
        _ => format!("readl {at:#x}\n"),
    }
}

/// A MAC, rings and DMA that are on, so that what follows finds something to break.
fn genet_on(random: &mut fastrand::Rng) -> Vec<String> {
    let ring = random.u64(0..17);
    let mut commands = vec![(0x004, 3), (0x08c, 1 << 6), (0x808, 2 << 2 | 3)];
    for dma in [0x2000, 0x4000] {
        let at = dma + 0xc00 + 0x40 * ring;
        commands.extend([
            (at + 0x10, 256 << 16 | 2048),
            (at + 0x14, 0),
            (at + 0x1c, 767),
            (dma + 0x1040, 1 << ring),
            (dma + 0x1044, 2 << ring | 1),
        ]);
    }
    let line =
        |(offset, value): (u64, u64)| format!("writel {:#x} {value:#x}\n", GENET_AT + offset);
    commands.into_iter().map(line).collect()
}

/// A card that is selected, on four lines.
fn card_selected(_: &mut fastrand::Rng) -> Vec<String> {
    const R1: u64 = 0x1a;
    // The first address that a card gives itself.
    const RCA: u64 = 0x1357_0000;
    let mut commands = vec![
        (0x2c, 1 << 24),
        (0x28, 0),
        (0x28, 0xf00),
        (0x2c, 1),
        (0x2c, 5),
        (0x34, 0xffff_ffff),
        (0x38, 0xffff_ffff),
    ];
    for (index, response, argument) in [
        (0, 0, 0),
        (8, R1, 0x1aa),
        (55, R1, 0),
        (41, 2, 0x40ff_8000),
        (55, R1, 0),
        (41, 2, 0x40ff_8000),
        (2, 9, 0),
        (3, R1, 0),
        (7, 0x1b, RCA),
        (55, R1, RCA),
        (6, R1, 2),
    ] {
        commands.extend([(0x08, argument), (0x0c, index << 24 | response << 16)]);
    }
    commands.push((0x28, 0xf12));
    let line =
        |(offset, value): (u64, u64)| format!("writel {:#x} {value:#x}\n", EMMC2_AT + offset);
    commands.into_iter().map(line).collect()
}

fn emmc2(random: &mut fastrand::Rng) -> String {
    if random.u8(..) < 40 {
        return descriptor(random);
    }
    let (offset, value) = match random.u8(0..20) {
        0..3 => (
            0x04,
            random.u64(0..400) << 16 | random.u64(0..8) << 12 | 512,
        ),
        3 => (0x04, random.u64(0..0x1_0000_0000)),
        4 => (0x08, 512 * random.u64(0..0x2_0000)),
        5..9 => {
            let index = [17, 18, 24, 25, 6, 13, 51][random.usize(0..7)];
            let mode = random.u64(0..0x40);
            (0x0c, index << 24 | 0x3a << 16 | mode)
        }
        9 => (0x0c, random.u64(0..0x1_0000_0000)),
        10 => (0x0c, 12 << 24 | 0xdb << 16),
        11 => (0x00, random.u64(0..0x4000_0000)),
        12 => (0x58, TABLE + 8 * random.u64(0..64)),
        13..15 => (0x20, random.u64(0..0x1_0000_0000)),
        15 => (0x28, 0xf02 | random.u64(0..4) << 3),
        16 => (
            0x2c,
            5 | [0, 0, 2, 4, 6, 6, 6, 1][random.usize(0..8)] << 24 | random.u64(0..16) << 16,
        ),
        17 => (0x30, 0xffff_ffff),
        18 => (random.u64(0..64) * 4, 1 << random.u64(0..32)),
        _ => (random.u64(0..0x100), random.u64(0..0x1_0000_0000)),
    };
    access(random, EMMC2_AT + offset, value)
}

/// Half a descriptor, or a whole one, of a table that may lead anywhere.
fn descriptor(random: &mut fastrand::Rng) -> String {
    let at = TABLE + 8 * random.u64(0..64);
    let attributes = [0x21, 0x23, 0x25, 0x31, 0x01, 0x00, 0x11][random.usize(0..7)];
    let length = [0, 4, 512, 4096, random.u64(0..0x1_0000)][random.usize(0..5)];
    let to = match random.u8(0..6) {
        0 => EMMC2_AT + random.u64(0..0x40) * 4,
        1 => random.u64(0..0x1_0000_0000),
        2 => TABLE + 8 * random.u64(0..64),
        _ => 0x20_0000 + random.u64(0..0x10_0000) * 4,
    };
    format!(
        "writeq {at:#x} {:#x}\n",
        to << 32 | length << 16 | attributes
    )
}

/// Makes so many random accesses.
pub fn run(setup: &Setup, target: &Target, accesses: u64, seed: u64) -> Result<Done> {
    let socket = setup.scratch.join("qtest");
    // A run that was broken off leaves its socket behind.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    listener.set_nonblocking(true)?;
    let mut at = std::ffi::OsString::from("unix:");
    at.push(&socket);
    let mut q = super::qemu(setup, &["-qtest".as_ref(), &at])?;
    q.args([
        "-monitor",
        "none",
        "-device",
        ASLEEP,
        "-qtest-log",
        "/dev/null",
    ]);
    let mut child = q.stdin(Stdio::null()).spawn().context("QEMU")?;
    let until = Instant::now() + ANSWER;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if Instant::now() < until && child.try_wait()?.is_none() => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error).context("QEMU does not connect");
            }
        }
    };
    let outcome = drive(stream, target, accesses, seed);
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    ensure!(
        ended.is_none(),
        "seed {seed}: QEMU ended with {ended:?}: {outcome:?}"
    );
    outcome.map(|took| Done { accesses, took })
}

fn drive(mut stream: UnixStream, target: &Target, accesses: u64, seed: u64) -> Result<Duration> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut random = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let mut done = 0;
    while done < accesses {
        let mut commands = (target.ready)(&mut random);
        commands.extend((0..BATCH).map(|_| (target.random)(&mut random)));
        stream.write_all(commands.concat().as_bytes())?;
        for asked in &commands {
            let mut answer = String::new();
            loop {
                answer.clear();
                let bytes = answers.read_line(&mut answer);
                let bytes = bytes.with_context(|| format!("seed {seed}: no answer to {asked}"))?;
                ensure!(bytes > 0, "seed {seed}: QEMU ended after {done} accesses");
                // Interrupt lines are reported in between, if anybody asked for it.
                if !answer.starts_with("IRQ") {
                    break;
                }
            }
            ensure!(answer.starts_with("OK"), "{asked}: {answer}");
        }
        done += u64::from(BATCH);
    }
    Ok(began.elapsed())
}
