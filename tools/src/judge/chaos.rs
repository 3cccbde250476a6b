// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random accesses to GENET inside a running QEMU: none may end it or make it hang.
//!
//! QEMU takes accesses from a test socket while its cores sleep, so a million of them need no
//! driver. What is written hits registers, rings and descriptors, whose addresses then lead
//! the device's DMA to memory, to nothing, and to the device itself. EMMC2 is QEMU's own SDHCI,
//! which may be told to move 256 MiB byte by byte before it answers, and is left alone here.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::guest::Setup;

const GENET: u64 = 0xfd58_0000;
/// All four cores begin at 0; there they find `wfi` and a branch back to it.
const ASLEEP: &str = "loader,addr=0,data=0x17ffffffd503207f,data-len=8";
/// Accesses on the way at once.
const BATCH: u32 = 500;
/// How long a batch may take: an endless loop, not a slow host.
const ANSWER: Duration = Duration::from_secs(60);

/// What was done.
pub struct Done {
    /// Reads and writes of registers.
    pub accesses: u64,
    /// How long it took.
    pub took: Duration,
}

fn command(random: &mut fastrand::Rng) -> String {
    let offset = match random.u8(0..16) {
        0..4 => 0x2c00 + random.u64(0..0x140) * 4,
        4..8 => 0x4c00 + random.u64(0..0x140) * 4,
        8..10 => 0x2000 + random.u64(0..768) * 4,
        10..12 => 0x4000 + random.u64(0..768) * 4,
        12..14 => 0x800 + random.u64(0..0x200) * 4,
        14 => random.u64(0..0x1_0000),
        _ => 0,
    };
    let at = GENET + offset;
    let value = match random.u8(0..6) {
        0 => random.u64(0..=0xffff_ffff),
        1 => random.u64(0..0x1_0000),
        2 => random.u64(0..800),
        3 => 1 << random.u64(0..32),
        // Addresses of GENET itself, for the DMA.
        4 => GENET + random.u64(0..0x1_0000),
        _ => 0xffff_ffff,
    };
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
fn switch_on(random: &mut fastrand::Rng) -> Vec<String> {
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
    let line = |(offset, value): (u64, u64)| format!("writel {:#x} {value:#x}\n", GENET + offset);
    commands.into_iter().map(line).collect()
}

/// Makes so many random accesses.
pub fn run(setup: &Setup, accesses: u64, seed: u64) -> Result<Done> {
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
    let outcome = drive(stream, accesses, seed);
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    ensure!(
        ended.is_none(),
        "seed {seed}: QEMU ended with {ended:?}: {outcome:?}"
    );
    outcome.map(|took| Done { accesses, took })
}

fn drive(mut stream: UnixStream, accesses: u64, seed: u64) -> Result<Duration> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut random = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let mut done = 0;
    while done < accesses {
        let mut commands = switch_on(&mut random);
        commands.extend((0..BATCH).map(|_| command(&mut random)));
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
