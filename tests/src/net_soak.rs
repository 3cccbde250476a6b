// SPDX-License-Identifier: MIT OR Apache-2.0
//! A long mixed load of disk and network, and what it leaves in the kernel.
//!
//! # Theory
//! Turns follow one another. In each, the console runs a load on the card (reads, writes, in turn), while the station
//! keeps connections to the echo service busy, throws datagrams at the discard service, and asks for echoes, one after
//! the other. Between two turns all of it stands still and the kernel is asked what it holds: so the samples
//! are of what is kept, not of what is under way. What grows from turn to turn is a leak.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use station::{GUEST_IP, IP, MAC, Station, wire};

use crate::{Console, Machine};

/// How long a turn's load lasts.
const TURN_S: u64 = 25;
const PATIENCE: Duration = Duration::from_secs(120);
/// TCP's echo, UDP's discard.
const ECHO: u16 = 7;
const DISCARD: u16 = 9;
/// Bytes of an exchange, and how many go on at once.
const EXCHANGE_BYTES: usize = 256 << 10;
const EXCHANGES: usize = 2;
/// Datagrams of a burst, and the pause after it.
const BURST: usize = 500;
const PAUSE: Duration = Duration::from_millis(100);
/// Echoes that are asked for at a time.
const PINGS: u32 = 50;

/// What a turn showed.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Since the start.
    pub seconds: f64,
    /// Of the kernel's heap.
    pub heap_kib: f64,
    /// Packet buffers that are not free and not in the send ring.
    pub buffers: f64,
    /// Sockets, those that listen among them.
    pub sockets: f64,
    /// Round trips, microseconds.
    pub ping_p50_us: f64,
    /// As above.
    pub ping_p99_us: f64,
    /// Echoes without an answer.
    pub lost: f64,
    /// What went through the echo service and back.
    pub tcp_mib_s: f64,
    /// Requests of the disk's load.
    pub disk_requests_s: f64,
}

impl Sample {
    /// The names of [`Self::values`].
    pub const NAMES: [&str; 9] = [
        "seconds",
        "heap_kib",
        "buffers",
        "sockets",
        "ping_p50_us",
        "ping_p99_us",
        "lost",
        "tcp_mib_s",
        "disk_requests_s",
    ];

    /// All of it, for a line of a table.
    pub fn values(&self) -> [f64; 9] {
        [
            self.seconds,
            self.heap_kib,
            self.buffers,
            self.sockets,
            self.ping_p50_us,
            self.ping_p99_us,
            self.lost,
            self.tcp_mib_s,
            self.disk_requests_s,
        ]
    }

    /// Such a line.
    pub fn line(&self) -> String {
        self.values().map(|value| format!("{value:.1}")).join(",")
    }

    /// What such a line says.
    pub fn parse(line: &str) -> Result<Self> {
        let values: Result<Vec<f64>, _> = line.split(',').map(str::parse).collect();
        let values: [f64; 9] = values?.try_into().ok().context("not nine numbers")?;
        let [
            seconds,
            heap_kib,
            buffers,
            sockets,
            p50,
            p99,
            lost,
            tcp,
            disk,
        ] = values;
        Ok(Self {
            seconds,
            heap_kib,
            buffers,
            sockets,
            ping_p50_us: p50,
            ping_p99_us: p99,
            lost,
            tcp_mib_s: tcp,
            disk_requests_s: disk,
        })
    }
}

/// The kernel under load.
pub struct Soak {
    console: Console,
    station: Station,
    began: Instant,
    turns: u64,
}

impl Soak {
    /// Boots with a card of its own, which the load writes to, for at most so long.
    pub fn start(card: &Path, scratch: &Path, time: Duration) -> Result<Self> {
        let station = Station::open(scratch)?;
        let machine = Machine::new()
            .card(card)
            .net(&station.cable())
            .cmdline(&format!("ip={GUEST_IP}/24 services=echo,discard"))
            .deadline(time + 5 * PATIENCE);
        let mut console = machine.start();
        console.prompt();
        // Its first answer is when the link is up.
        let until = Instant::now() + PATIENCE;
        while station.ping(1, 56, Duration::from_secs(1))?[0].is_none() {
            ensure!(Instant::now() < until, "the kernel does not answer");
        }
        Ok(Self {
            console,
            station,
            began: Instant::now(),
            turns: 0,
        })
    }

    /// One turn.
    pub fn turn(&mut self) -> Result<Sample> {
        let over = AtomicBool::new(false);
        let exchanged = AtomicU64::new(0);
        let began = Instant::now();
        let (station, turns) = (&self.station, self.turns);
        let direction = if turns.is_multiple_of(2) {
            "read"
        } else {
            "write"
        };
        let line = format!(
            "diskbench card:3 {direction} 16K random threads 2 seconds {TURN_S} seed {} scratch",
            turns + 1
        );
        let console = &mut self.console;
        let (disk, trips) = thread::scope(|scope| -> Result<_> {
            let (over, exchanged) = (&over, &exchanged);
            let streams: Vec<_> = (0..EXCHANGES)
                .map(|n| {
                    scope.spawn(move || exchange(station, turns * 2 + n as u64, over, exchanged))
                })
                .collect();
            let datagrams = scope.spawn(move || burst(station, over));
            let pings = scope.spawn(move || ping(station, over));
            let said = console.command_within(&line, PATIENCE);
            over.store(true, Ordering::SeqCst);
            for stream in streams {
                stream.join().expect("no panic")?;
            }
            datagrams.join().expect("no panic")?;
            Ok((said, pings.join().expect("no panic")?))
        })?;
        let took = began.elapsed().as_secs_f64();
        self.turns += 1;
        let mut sample = self.look()?;
        let mut answered: Vec<_> = trips
            .iter()
            .flatten()
            .map(|t| t.as_secs_f64() * 1e6)
            .collect();
        answered.sort_by(f64::total_cmp);
        let percentile = |percent| {
            answered
                .get(answered.len() * percent / 100)
                .copied()
                .unwrap_or(f64::NAN)
        };
        sample.ping_p50_us = percentile(50);
        sample.ping_p99_us = percentile(99);
        sample.lost = (trips.len() - answered.len()) as f64;
        sample.tcp_mib_s = exchanged.load(Ordering::SeqCst) as f64 / f64::from(1 << 20) / took;
        ensure!(
            disk.contains(" errors=0 "),
            "the disk's load failed: {disk}"
        );
        sample.disk_requests_s = after(&disk, "requests=")? / TURN_S as f64;
        Ok(sample)
    }

    /// What the kernel holds, once it stands still.
    fn look(&mut self) -> Result<Sample> {
        thread::sleep(Duration::from_secs(2));
        let mem = self.console.command("mem");
        let net = self.console.command("net");
        let sockets = self.console.command("sockets");
        let before = |text: &str, pattern: &str| -> Result<f64> {
            let word = text
                .split(pattern)
                .next()
                .and_then(|t| t.split_whitespace().last());
            word.unwrap_or("")
                .parse()
                .with_context(|| format!("{pattern:?}: {text}"))
        };
        Ok(Sample {
            seconds: self.began.elapsed().as_secs_f64(),
            heap_kib: before(&mem, " KiB used of")?,
            buffers: after(&net, "buffers   ")? - before(&net, " in the ring, which")?,
            sockets: sockets.lines().count().saturating_sub(1) as f64,
            ..Sample::default()
        })
    }
}

/// The number behind this text.
fn after(text: &str, name: &str) -> Result<f64> {
    let rest = text.split_once(name).map(|(_, rest)| rest);
    let digits: String = rest
        .unwrap_or("")
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().with_context(|| format!("{name:?}: {text}"))
}

fn exchange(station: &Station, seed: u64, over: &AtomicBool, exchanged: &AtomicU64) -> Result<()> {
    let mut data = vec![0; EXCHANGE_BYTES];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    while !over.load(Ordering::SeqCst) {
        let back = station.exchange(ECHO, data.clone(), PATIENCE)?;
        ensure!(back == data, "other bytes came back");
        exchanged.fetch_add(data.len() as u64, Ordering::SeqCst);
    }
    Ok(())
}

fn burst(station: &Station, over: &AtomicBool) -> Result<()> {
    let guest = station.ask(|world| world.guest())?;
    let guest = guest.context("the guest has sent nothing")?;
    let packet = wire::udp(IP, GUEST_IP, [4000, DISCARD], &[0x5a; 64]);
    let frames = vec![wire::ethernet(guest, MAC, wire::IPV4, &packet); BURST];
    while !over.load(Ordering::SeqCst) {
        station.send(frames.clone(), PATIENCE)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn ping(station: &Station, over: &AtomicBool) -> Result<Vec<Option<Duration>>> {
    let mut trips = Vec::new();
    while !over.load(Ordering::SeqCst) {
        trips.extend(station.ping(PINGS, 56, Duration::from_secs(5))?);
        thread::sleep(PAUSE);
    }
    Ok(trips)
}

/// From when on nothing may grow any more.
pub const SETTLED: Duration = Duration::from_secs(600);

/// Whether what the kernel holds is the same at the end as when it had settled, and a line of text about it.
pub fn verdict(samples: &[Sample]) -> Result<String> {
    let settled: Vec<_> = samples
        .iter()
        .filter(|sample| sample.seconds >= SETTLED.as_secs_f64())
        .collect();
    ensure!(
        settled.len() >= 6,
        "too few samples after the {} s that it has to settle",
        SETTLED.as_secs()
    );
    let third = settled.len() / 3;
    let mut text = String::new();
    let mut grew = Vec::new();
    for (n, name) in Sample::NAMES.iter().enumerate().skip(1) {
        let median = |some: &[&Sample]| {
            let mut values: Vec<_> = some.iter().map(|sample| sample.values()[n]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (first, last) = (
            median(&settled[..third]),
            median(&settled[settled.len() - third..]),
        );
        writeln!(
            text,
            "{name:<16} first third {first:>12.1}   last third {last:>12.1}"
        )?;
        let is_held = ["heap_kib", "buffers", "sockets"].contains(name);
        // A thousandth: what is cached differs a little from turn to turn.
        if is_held && last > first * 1.001 + 1.0 {
            grew.push(*name);
        }
    }
    let lost: f64 = samples.iter().map(|sample| sample.lost).sum();
    writeln!(text, "{lost:.0} echoes lost")?;
    ensure!(grew.is_empty(), "{} grew:\n{text}", grew.join(", "));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(grows: f64) -> Vec<Sample> {
        let sample = |n: u32| Sample {
            seconds: f64::from(n) * 30.0,
            heap_kib: 5000.0 + grows * f64::from(n),
            ..Sample::default()
        };
        (0..120).map(sample).collect()
    }

    #[test]
    fn what_grows_is_seen_and_what_does_not_is_not() {
        assert!(verdict(&samples(0.0)).is_ok());
        let said = verdict(&samples(0.5)).unwrap_err().to_string();
        assert!(said.starts_with("heap_kib grew"), "{said}");
        assert!(verdict(&samples(0.0)[..20]).is_err());
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let sample = &samples(0.5)[3];
        assert_eq!(Sample::parse(&sample.line()).unwrap().line(), sample.line());
        assert!(Sample::parse("1,2,3").is_err());
    }
}
