// SPDX-License-Identifier: MIT OR Apache-2.0
//! The disk's speed beside Linux's, and beside what the emulator can do at all.
//!
//! # Theory
//! Three guests, each on a QEMU of its own with the same options, the same device pack and the same card on a file in
//! the host's memory: the kernel with `diskbench`, Debian's Linux with a program that makes the same requests by direct
//! I/O, and a loop that issues commands by ADMA2 and polls, with nothing around it: more than that the emulator does
//! not give. Each operation goes round the three, again and again, and the median counts: a host that is busy for a
//! moment then spoils a round and not a ratio. Who is not measured sleeps.
//!
//! A guest measures by its own clock; all three have the same.
//!
//! The model of the card moves data as fast as the host copies it, which no card does. So there is a second table, in which
//! data takes the time that it takes on a board's bus: there the share of the ceiling says what a board would see.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use tools::card::{Card, Layout};
use tools::figures::Figure;
use tools::judge::guest::{Guest, Setup};

use crate::{Console, Machine};

/// The card: half of it is its data partition, where all this goes on.
const CARD_MIB: u64 = 256;
/// Where it lies: memory.
const MEMORY: &str = "/dev/shm";
/// Boots, and whatever else is no measurement.
const PATIENCE: Duration = Duration::from_secs(120);
/// The board's clock, as the kernel's QEMU has it.
const CLOCK: [&str; 2] = ["-global", "cortex-a72-arm-cpu.cntfrq=54000000"];

/// What four lines at 50 MHz carry, bytes per second.
pub const BUS_RATE: u64 = 25_000_000;

/// An operation that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// `read` or `write`.
    pub direction: &'static str,
    /// Bytes of a request.
    pub bytes: u64,
    /// Anywhere.
    pub random: bool,
    /// Threads that do it at once.
    pub threads: u32,
}

const fn operation(direction: &'static str, bytes: u64, random: bool, threads: u32) -> Operation {
    Operation {
        direction,
        bytes,
        random,
        threads,
    }
}

/// All of them.
pub const OPERATIONS: [Operation; 8] = [
    operation("read", 4096, false, 1),
    operation("read", 65536, false, 1),
    operation("read", 1 << 20, false, 1),
    operation("write", 4096, false, 1),
    operation("write", 65536, false, 1),
    operation("write", 1 << 20, false, 1),
    operation("read", 4096, true, 1),
    operation("read", 4096, true, 4),
];

impl Operation {
    /// The words of `diskbench`, behind the device's.
    fn words(&self, seconds: u32) -> String {
        let random = if self.random { " random" } else { "" };
        let Self {
            direction,
            bytes,
            threads,
            ..
        } = self;
        format!("{direction} {bytes}{random} threads {threads} seconds {seconds}")
    }

    /// The words of the empty loop: a card does one thing at a time.
    fn bare_words(&self, seconds: u32) -> String {
        let order = if self.random { "random" } else { "sequential" };
        format!("{} {} {order} {seconds}", self.direction, self.bytes)
    }

    /// For the table.
    pub fn name(&self) -> String {
        let order = if self.random { "random" } else { "sequential" };
        let size = match self.bytes {
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes => format!("{} KiB", bytes >> 10),
        };
        let threads = match self.threads {
            1 => String::new(),
            threads => format!(", {threads} threads"),
        };
        format!("{order} {} {size}{threads}", self.direction)
    }
}

/// Bytes per second, from the words that all three print, in one line or two; requests that failed fail the measurement.
fn speed(text: &str) -> Result<f64> {
    let words = text.split_once("diskbench: ");
    let (_, line) = words.with_context(|| format!("no figures in {text:?}"))?;
    let fields: BTreeMap<&str, &str> = line
        .split_whitespace()
        .map_while(|word| word.split_once('='))
        .collect();
    let field = |name: &str| -> Result<f64> {
        let value = fields
            .get(name)
            .with_context(|| format!("no {name} in {line:?}"))?;
        Ok(value.parse()?)
    };
    let failed = fields.get("errors").is_some_and(|errors| *errors != "0");
    ensure!(!failed, "requests failed: {line}");
    ensure!(field("requests")? > 0.0, "nothing was done: {line}");
    Ok(field("requests")? * field("bytes")? * 1e9 / field("ns")?)
}

/// The three guests.
pub struct Bench {
    kernel: Console,
    linux: Guest,
    bare: PathBuf,
    bare_card: PathBuf,
    rate: Vec<String>,
    seconds: u32,
    _cards: tempfile::TempDir,
}

/// Bytes per second of the three, a column each.
#[derive(Clone, Debug, Default)]
pub struct Speeds {
    /// Ours.
    pub kernel: Vec<f64>,
    /// Its peer's.
    pub linux: Vec<f64>,
    /// The emulator's.
    pub ceiling: Vec<f64>,
}

impl Bench {
    /// Boots the kernel and Linux. `linux_disk` is the program for Linux, `bare` the image of the empty loop, `rate` what the
    /// card's bus carries, bytes per second; 0: all.
    pub fn start(
        linux_disk: &Path,
        bare: &Path,
        scratch: &Path,
        seconds: u32,
        rate: u64,
    ) -> Result<Self> {
        let linux_rate = format!("rate={rate}");
        let rate = vec!["-global".to_owned(), format!("pi4-emmc2.{linux_rate}")];
        let rates = || rate.iter().map(String::as_str);
        let cards = tempfile::TempDir::with_prefix_in("orthogon-bench-", MEMORY)
            .with_context(|| format!("no folder in {MEMORY}"))?;
        ensure_room((3 * CARD_MIB) << 20)?;
        let card = |name: &str| cards.path().join(name);
        make_card(&card("kernel"))?;
        for copy in ["linux", "bare"] {
            std::fs::copy(card("kernel"), card(copy))?;
        }
        let mut linux = Guest::boot_with(
            &Setup {
                scratch,
                card: &card("linux"),
                net: vec!["user,id=net".into()],
                genet: "netdev=net".into(),
                emmc2: &linux_rate,
                nice: false,
            },
            &[linux_disk],
            &CLOCK,
        )?;
        tools::judge::card::found(&mut linux)?;
        linux.monitor("stop")?;
        let machine = Machine::new().card(card("kernel")).args(rates());
        let mut kernel = machine.deadline(Duration::from_secs(3600)).start();
        kernel.prompt();
        Ok(Self {
            kernel,
            linux,
            bare: bare.to_owned(),
            bare_card: card("bare"),
            rate,
            seconds,
            _cards: cards,
        })
    }

    /// What the kernel's own counters say went wrong meanwhile: a measurement with lost interrupts is none.
    pub fn troubles(&mut self) -> String {
        let said = self.kernel.command("disk");
        let line = said.lines().find(|line| line.contains("lost interrupts"));
        line.unwrap_or(&said).trim().to_owned()
    }

    /// One round of an operation.
    pub fn measure(&mut self, operation: &Operation, speeds: &mut Speeds) -> Result<()> {
        let patience = PATIENCE + Duration::from_secs(self.seconds.into());
        let words = operation.words(self.seconds);
        let line = format!("diskbench card:3 {words} scratch");
        let said = self.kernel.command_within(&line, patience);
        speeds.kernel.push(speed(&said).context("the kernel")?);

        self.linux.monitor("cont")?;
        let said = self
            .linux
            .run(&format!("linux-disk /dev/mmcblk0p3 {words}"), patience);
        self.linux.monitor("stop")?;
        speeds.linux.push(speed(&said?).context("Linux")?);

        // It polls its console, so it is started anew each time.
        let machine = Machine::new().kernel(&self.bare).card(&self.bare_card);
        let machine = machine.args(self.rate.iter().map(String::as_str));
        let mut bare = machine.start();
        bare.expect("ready\n", PATIENCE);
        bare.send_line(&operation.bare_words(self.seconds));
        let said = bare.expect("ready\n", patience);
        speeds.ceiling.push(speed(&said).context("the empty loop")?);
        Ok(())
    }
}

fn ensure_room(bytes: u64) -> Result<()> {
    let df = Command::new("df")
        .args(["-B1", "--output=avail", MEMORY])
        .output()?;
    let said = String::from_utf8_lossy(&df.stdout).into_owned();
    let free: u64 = said.lines().last().unwrap_or("").trim().parse()?;
    ensure!(
        free > bytes,
        "{MEMORY} has {} MiB left, and the cards take {}",
        free >> 20,
        bytes >> 20
    );
    Ok(())
}

/// A card whose data partition is full of noise.
fn make_card(image: &Path) -> Result<()> {
    Card::new().write(image, CARD_MIB)?;
    let data = Layout::full(CARD_MIB)?.data;
    let mut file = File::options().write(true).open(image)?;
    file.seek(SeekFrom::Start(data.start))?;
    let mut noise = vec![0; 1 << 20];
    let mut rng = Rng::with_seed(6);
    for _ in 0..(data.end - data.start) >> 20 {
        rng.fill(&mut noise);
        std::io::Write::write_all(&mut file, &noise)?;
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table's head.
pub fn head() -> String {
    format!(
        "{:<33}{:>17}{:>17}{:>7}{:>17}{:>7}",
        "", "Orthogon", "Linux", "ratio", "emulator", "share"
    )
}

/// The row for `make bench`; `at` says at which speed of the bus.
pub fn figure(operation: &Operation, speeds: &Speeds, at: &str) -> Figure {
    let (unit, size) = match operation.bytes {
        4096 => ("requests/s", 4096.0),
        _ => ("MiB/s", f64::from(1 << 20)),
    };
    let [ours, peer] = [&speeds.kernel, &speeds.linux].map(|values| median(values) / size);
    Figure::rate(format!("{}{at}", operation.name()), unit, ours, Some(peer))
}

/// A row: medians, Orthogon to Linux, and Orthogon's share of the emulator's ceiling.
pub fn row(operation: &Operation, speeds: &Speeds) -> String {
    let all = [&speeds.kernel, &speeds.linux, &speeds.ceiling].map(|values| median(values));
    let cell = |speed: f64| match operation.bytes {
        4096 => format!("{:.0} requests/s", speed / 4096.0),
        _ => format!("{:.2} MiB/s", speed / f64::from(1 << 20)),
    };
    let [kernel, linux, ceiling] = all;
    format!(
        "{:<33}{:>17}{:>17}{:>7.2}{:>17}{:>6.0}%",
        operation.name(),
        cell(kernel),
        cell(linux),
        kernel / linux,
        cell(ceiling),
        100.0 * kernel / ceiling
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_speed_and_an_error_does_not() {
        let line = "x\ndiskbench: op=read bytes=4096 order=random threads=4\n  requests=100 errors=0 ns=2000000000\n1 s\n";
        assert_eq!(speed(line).unwrap(), 204_800.0);
        assert!(speed("nothing").is_err());
        assert!(speed(&line.replace("errors=0", "errors=1")).is_err());
        assert!(speed(&line.replace("requests=100", "requests=0")).is_err());
    }

    #[test]
    fn a_row_has_medians_ratio_and_share() {
        let speeds = Speeds {
            kernel: vec![4096.0, 2.0 * 4096.0, 9.0 * 4096.0],
            linux: vec![4096.0],
            ceiling: vec![4.0 * 4096.0],
        };
        let row = row(&OPERATIONS[0], &speeds);
        assert!(
            row.contains("2 requests/s") && row.contains(" 2.00 ") && row.ends_with("50%"),
            "{row}"
        );
    }
}
