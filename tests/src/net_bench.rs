// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network's speed beside Linux's.
//!
//! # Theory
//! Three guests, each on a QEMU of its own with the same options, the same device pack, and a station of the same kind
//! at the end of its cable ([`station`], which says why): the kernel with `netbench`, Debian's Linux with a program that
//! makes the same load by the same words, and a loop that polls GENET's rings, with nothing around it: more frames than that
//! the emulator and the station do not move. Each measurement goes round the three, again and again, and the median
//! counts: a host that is busy for a moment then spoils a round and not a ratio. Who is not measured stands still.
//!
//! Throughput is of what has arrived: TCP's sender waits until the far end has all and has closed, and datagrams are
//! counted where they come, by the station if the guest sends. The time is the guest's; both have the same clock. The
//! round trip is the station's: from its writing an echo request to its reading the answer.
//!
//! Linux's program runs once on the CPU that takes GENET's interrupts and once wherever Linux likes, and the better
//! of the two counts: on QEMU, two CPUs that wait for each other at the driver's lock are two threads of the host's.
//! TCP is up to forty times faster on the one CPU; a receiver of datagrams is left no time there.
//!
//! # Instructions
//! Counted by the emulator (`-icount`), on all CPUs, from before a load's command to after its end, and divided by its
//! segments, datagrams or echoes. So it has in it what the CPUs do beside it, and what is done for datagrams that are
//! dropped in the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use station::{GUEST_IP, IP, Station};
use tools::figures::Figure;
use tools::judge::guest::{Guest, Setup};
use tools::judge::{network, throughput};

use crate::{Console, Machine};

/// Whatever is no measurement.
const PATIENCE: Duration = Duration::from_secs(120);
/// The board's clock, as the kernel's QEMU has it.
const CLOCK: [&str; 2] = ["-global", "cortex-a72-arm-cpu.cntfrq=54000000"];
/// One instruction is a nanosecond; a guest that waits does so in the host's time, as the station does.
const COUNTED: [&str; 6] = [
    "-accel",
    "tcg,thread=single",
    "-icount",
    "shift=0,sleep=on",
    "-device",
    "pi4-cpus,id=cpus",
];
/// The same, beside [`Machine::icount`].
const AWAKE: [&str; 2] = ["-icount", "sleep=on"];
/// A guest's second with instructions that are counted.
const COUNTING: Duration = Duration::from_secs(300);
/// The CPU that takes GENET's interrupts.
const ON_ITS_CPU: &str = "taskset 1 ";
/// Bytes of an echo, as `ping` has them.
const PING_BYTES: usize = 56;
/// What goes around a datagram of UDP's, and around a segment of TCP's with its time stamps: Ethernet, its check sequence, IP.
const AROUND_DATAGRAM: u64 = 14 + 20 + 8 + 4;
/// A full segment on the wire, and what it carries.
const SEGMENT: u64 = 1518;
const SEGMENT_BYTES: u64 = 1448;
/// Frames that the empty loop receives of each length, if it is given seconds.
const EMPTY_FRAMES: u64 = 40_000;
/// Echoes of a round.
const PINGS: u32 = 1000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measurement {
    /// TCP or UDP, send or receive, and the bytes of a call or a datagram.
    Load(&'static str, &'static str, u64),
    /// Echoes, one after the other.
    Ping,
}

/// All of them.
pub const MEASUREMENTS: [Measurement; 7] = [
    Measurement::Load("tcp", "receive", 65536),
    Measurement::Load("tcp", "send", 65536),
    Measurement::Load("udp", "receive", 64),
    Measurement::Load("udp", "receive", 1472),
    Measurement::Load("udp", "send", 64),
    Measurement::Load("udp", "send", 1472),
    Measurement::Ping,
];

impl Measurement {
    /// The rows that it gives: a name and the unit.
    pub fn rows(self) -> Vec<(String, &'static str)> {
        match self {
            Self::Load("tcp", way, _) => vec![(format!("TCP {way}"), "Mbit/s")],
            Self::Load(_, way, bytes) => vec![(format!("UDP {way}, {bytes} bytes"), "packets/s")],
            Self::Ping => ["median", "99th percentile"]
                .map(|what| (format!("ping, {what}"), "µs"))
                .to_vec(),
        }
    }
}

/// An empty card: the rig wants one.
fn card(scratch: &Path) -> Result<PathBuf> {
    let card = scratch.join("card.img");
    tools::write(&card, &[])?;
    let file = std::fs::File::options().write(true).open(&card)?;
    file.set_len(64 << 20)?;
    Ok(card)
}

fn setup<'a>(scratch: &'a Path, card: &'a Path, station: &Station) -> Setup<'a> {
    Setup {
        scratch,
        card,
        net: Vec::new(),
        genet: station.cable(),
        emmc2: "medium=sd",
        nice: false,
    }
}

/// Who is measured.
enum Who {
    Kernel(Box<Console>),
    Linux(Box<Guest>),
    Emulator(Box<Guest>),
}

/// A guest and the station at the end of its cable.
pub struct Side {
    who: Who,
    station: Station,
}

impl Side {
    /// Boots Linux, with this program in it; `counted`, with instructions that are counted.
    pub fn linux(program: &Path, scratch: &Path, counted: bool) -> Result<Self> {
        let station = Station::open(scratch)?;
        let card = card(scratch)?;
        let setup = setup(scratch, &card, &station);
        let arguments = match counted {
            true => [&CLOCK[..], &COUNTED].concat(),
            false => CLOCK.to_vec(),
        };
        let mut linux = Guest::boot_with(&setup, &[program], &arguments)?;
        network::link(&mut linux)?;
        linux.ask(&format!("ifconfig eth0 {GUEST_IP} netmask 255.255.255.0"))?;
        linux.ask(&format!("ping -c 1 -w 10 {IP}"))?;
        Ok(Self {
            who: Who::Linux(Box::new(linux)),
            station,
        })
    }

    /// Boots the kernel; `counted`, with instructions that are counted.
    pub fn kernel(scratch: &Path, counted: bool) -> Result<Self> {
        let station = Station::open(scratch)?;
        let mut machine = Machine::new();
        if counted {
            machine = machine.icount().args(AWAKE);
        }
        let machine = machine
            .net(&station.cable())
            .cmdline(&format!("ip={GUEST_IP}/24"))
            .monitor()
            .deadline(Duration::from_secs(3600));
        let mut kernel = machine.start();
        kernel.prompt();
        let said = kernel.command(&format!("ping {IP} count 1"));
        let answered = station.ping(1, PING_BYTES, PATIENCE)?;
        ensure!(answered[0].is_some(), "no answer from the kernel: {said}");
        Ok(Self {
            who: Who::Kernel(Box::new(kernel)),
            station,
        })
    }

    /// Boots the empty loop.
    pub fn emulator(scratch: &Path) -> Result<Self> {
        let station = Station::open(scratch)?;
        let card = card(scratch)?;
        let bare = throughput::boot(&setup(scratch, &card, &station))?;
        Ok(Self {
            who: Who::Emulator(Box::new(bare)),
            station,
        })
    }

    fn monitor(&mut self, command: &str) -> Result<()> {
        match &mut self.who {
            Who::Kernel(kernel) => kernel.monitor(command),
            Who::Linux(guest) | Who::Emulator(guest) => guest.monitor(command)?,
        };
        Ok(())
    }

    /// Instructions that all CPUs together have executed.
    fn instructions(&self) -> Result<u64> {
        let ask = "qom-get /machine/peripheral/cpus instructions";
        let said = match &self.who {
            Who::Kernel(kernel) => kernel.monitor(ask),
            Who::Linux(guest) | Who::Emulator(guest) => guest.monitor(ask)?,
        };
        let number = said.trim().trim_matches('"');
        number.parse().with_context(|| said.clone())
    }

    /// Instructions for each segment, datagram or echo of a measurement.
    pub fn count(&mut self, what: Measurement) -> Result<f64> {
        self.monitor("cont")?;
        let before = self.instructions()?;
        let packets = match what {
            Measurement::Load(protocol, way, bytes) => {
                let words = format!("{protocol} {way} {IP} bytes {bytes} seconds 1");
                let discarded = self.station.ask(|world| world.discarded)?;
                let said = self.run("", &words, COUNTING)?;
                let discarded = self.station.ask(|world| world.discarded)? - discarded;
                let fields = fields(&said)?;
                match (protocol, way) {
                    ("tcp", _) => fields["bytes"].div_ceil(SEGMENT_BYTES),
                    (_, "send") => discarded,
                    _ => fields["calls"],
                }
            }
            Measurement::Ping => {
                let trips = self.station.ping(PINGS, PING_BYTES, PATIENCE)?;
                ensure!(trips.iter().all(Option::is_some), "echoes were lost");
                PINGS.into()
            }
        };
        let instructions = self.instructions()? - before;
        self.monitor("stop")?;
        Ok(instructions as f64 / packets as f64)
    }

    fn run(&mut self, prefix: &str, words: &str, patience: Duration) -> Result<String> {
        match &mut self.who {
            Who::Kernel(kernel) => {
                Ok(kernel.command_within(&format!("netbench {words}"), patience))
            }
            Who::Linux(linux) => linux.run(&format!("{prefix}linux-net {words}"), patience),
            Who::Emulator(_) => bail!("an empty loop has no {words}"),
        }
    }

    /// One load's rate: megabits or datagrams per second.
    fn load(&mut self, protocol: &str, way: &str, bytes: u64, seconds: u32) -> Result<f64> {
        let words = format!("{protocol} {way} {IP} bytes {bytes} seconds {seconds}");
        let patience = PATIENCE + Duration::from_secs(seconds.into());
        let prefixes = match self.who {
            Who::Linux(_) => ["", ON_ITS_CPU].as_slice(),
            Who::Kernel(_) => &[""],
            Who::Emulator(_) => return self.frames(protocol, way, bytes, seconds),
        };
        let mut best: f64 = 0.0;
        for prefix in prefixes {
            let before = self.station.ask(|world| world.discarded)?;
            let said = self.run(prefix, &words, patience)?;
            let came = self.station.ask(|world| world.discarded)? - before;
            let fields = fields(&said)?;
            let counted = match (protocol, way) {
                ("tcp", _) => fields["bytes"] as f64 * 8.0 / 1e6,
                (_, "send") => came as f64,
                _ => fields["calls"] as f64,
            };
            best = best.max(counted * 1e9 / fields["ns"] as f64);
        }
        Ok(best)
    }

    /// What the same load would be if frames were all that it is made of.
    fn frames(&mut self, protocol: &str, way: &str, bytes: u64, seconds: u32) -> Result<f64> {
        let Who::Emulator(bare) = &mut self.who else {
            bail!("only the empty loop moves frames");
        };
        let (on_wire, counts) = match protocol {
            "tcp" => (SEGMENT, SEGMENT_BYTES as f64 * 8.0 / 1e6),
            _ => (bytes + AROUND_DATAGRAM, 1.0),
        };
        let frames = EMPTY_FRAMES * u64::from(seconds);
        let began;
        let moved = if way == "send" {
            let before = self.station.ask(|world| world.frames)?;
            bare.type_line(&format!("send {on_wire} {seconds}"))?;
            began = Instant::now();
            throughput::counted(bare)?;
            self.station.ask(|world| world.frames)? - before
        } else {
            bare.type_line(&format!("receive {on_wire} {frames}"))?;
            let mut frame = vec![0xff; 12];
            frame.resize(on_wire as usize - 4, 0);
            self.station
                .ask(move |world| world.flood(frame, PATIENCE))?;
            began = Instant::now();
            throughput::counted(bare)?
        };
        let took = began.elapsed().as_secs_f64();
        self.station
            .ask(|world| world.flood(Vec::new(), Duration::ZERO))?;
        Ok(moved as f64 * counts / took)
    }

    /// One measurement, a figure for each of its rows.
    pub fn measure(&mut self, what: Measurement, seconds: u32) -> Result<Vec<f64>> {
        self.monitor("cont")?;
        let figures = match what {
            Measurement::Load(protocol, way, bytes) => {
                vec![self.load(protocol, way, bytes, seconds)?]
            }
            Measurement::Ping if matches!(self.who, Who::Emulator(_)) => Vec::new(),
            Measurement::Ping => {
                let trips = self.station.ping(PINGS, PING_BYTES, PATIENCE)?;
                let trips: Option<Vec<_>> = trips.into_iter().collect();
                let mut trips = trips.context("echoes were lost")?;
                trips.sort();
                [50, 99]
                    .map(|percent| trips[trips.len() * percent / 100].as_secs_f64() * 1e6)
                    .to_vec()
            }
        };
        self.monitor("stop")?;
        Ok(figures)
    }
}

/// The numbers of the line that both print.
fn fields(text: &str) -> Result<BTreeMap<&str, u64>> {
    let line = text.lines().find(|line| line.starts_with("netbench: "));
    let line = line.with_context(|| format!("no figures in {text:?}"))?;
    let fields: BTreeMap<&str, u64> = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    for name in ["calls", "bytes", "ns"] {
        let value = fields.get(name).copied();
        ensure!(value.is_some_and(|value| value > 0), "no {name}: {line}");
    }
    Ok(fields)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table's head.
pub fn head() -> String {
    format!(
        "{:<26}{:>18}{:>18}{:>7}{:>18}",
        "", "Orthogon", "Linux", "ratio", "emulator"
    )
}

/// The same rows for `make bench`.
pub fn figures(what: Measurement, rounds: &Rounds) -> Vec<Figure> {
    let rows = what.rows().into_iter().enumerate();
    let figure = |(n, (name, unit)): (usize, (String, &'static str))| {
        let column = |rounds: &[Vec<f64>]| {
            let figures: Vec<_> = rounds.iter().filter_map(|r| r.get(n)).copied().collect();
            median(&figures)
        };
        let (ours, peer) = (column(&rounds.kernel), column(&rounds.linux));
        let mut figure = Figure::rate(name, unit, ours, Some(peer));
        figure.less = what == Measurement::Ping;
        figure
    };
    rows.map(figure).collect()
}

/// A row of instructions for `make bench`.
pub fn counted(what: Measurement, kernel: f64, linux: f64) -> Figure {
    let name = match what.rows().swap_remove(0) {
        (name, _) if what != Measurement::Ping => name,
        _ => "ping".to_owned(),
    };
    let mut figure = Figure::instructions(format!("{name}, each"), kernel, Some(linux));
    figure.counted = false; // how packets fall into batches differs from run to run
    figure
}

/// A row of instructions.
pub fn counts(what: Measurement, kernel: f64, linux: f64) -> String {
    let (name, each) = match what {
        Measurement::Load("tcp", way, _) => (format!("TCP {way}"), "segment"),
        Measurement::Load(_, way, bytes) => (format!("UDP {way}, {bytes} bytes"), "datagram"),
        Measurement::Ping => ("ping".to_owned(), "echo"),
    };
    format!(
        "{name:<26}{kernel:>18.0}{linux:>18.0}{:>7.2}  a {each}\n",
        linux / kernel
    )
}

/// What came of the rounds of a measurement: of each, a figure for each row.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Ours.
    pub kernel: Vec<Vec<f64>>,
    /// Its peer's.
    pub linux: Vec<Vec<f64>>,
    /// The empty loop's.
    pub emulator: Vec<Vec<f64>>,
}

/// A measurement's rows: medians over the rounds, and how many times better Orthogon is.
pub fn rows(what: Measurement, rounds: &Rounds) -> String {
    let mut text = String::new();
    for (n, (name, unit)) in what.rows().into_iter().enumerate() {
        let column = |rounds: &[Vec<f64>]| {
            let figures: Vec<_> = rounds.iter().filter_map(|r| r.get(n)).copied().collect();
            median(&figures)
        };
        let [ours, theirs, most] =
            [&rounds.kernel, &rounds.linux, &rounds.emulator].map(|r| column(r));
        let cell = |value: f64| match value.is_nan() {
            true => "-".to_owned(),
            false => format!("{value:.0} {unit}"),
        };
        let ratio = match what {
            Measurement::Ping => theirs / ours,
            Measurement::Load(..) => ours / theirs,
        };
        text += &format!(
            "{name:<26}{:>18}{:>18}{ratio:>7.2}{:>18}\n",
            cell(ours),
            cell(theirs),
            cell(most)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_figures_and_none_is_an_error() {
        let line = "x\nnetbench: op=udp-send block=64 calls=3 bytes=192 ns=5\n";
        assert_eq!(fields(line).unwrap()["calls"], 3);
        assert!(fields("nothing").is_err());
        assert!(fields(&line.replace("calls=3", "calls=0")).is_err());
    }

    #[test]
    fn rows_have_medians_and_a_ratio_that_is_better_when_it_is_greater() {
        let rounds = Rounds {
            kernel: vec![vec![30.0], vec![1.0], vec![40.0]],
            linux: vec![vec![15.0]],
            emulator: Vec::new(),
        };
        let row = rows(Measurement::Load("tcp", "send", 65536), &rounds);
        assert!(row.contains("30 Mbit/s") && row.contains(" 2.00 "), "{row}");
        let rounds = Rounds {
            kernel: vec![vec![50.0, 60.0]],
            linux: vec![vec![100.0, 240.0]],
            emulator: vec![Vec::new()],
        };
        let both = rows(Measurement::Ping, &rounds);
        let ratios = [" 2.00 ", " 4.00 "];
        assert!(
            both.lines()
                .zip(ratios)
                .all(|(row, ratio)| row.contains(ratio)),
            "{both}"
        );
    }
}
