// SPDX-License-Identifier: MIT OR Apache-2.0
//! What disk and network cost each other, and how much of that is the CPU's time.
//!
//! # Theory
//! A load slows another down in two ways: it takes the CPU's time, which is nobody's fault, and it makes the other wait
//! for what it holds, which is what domains end. To tell them apart each load is measured three times, one right after
//! the other: alone; beside the other load; and beside a thread on each CPU that spins for as much of it as the
//! other load used, alone, of that CPU (`demo share`). The thread comes before all that are not interrupts', as the other
//! load's handlers do, and holds nothing. So the quotient of the second and the third is what is left with the CPU's share taken
//! out: 1 if the other load costs its time and no more. Rounds alternate all of it, and the median over the rounds
//! counts, of figures and of quotients each by itself.
//!
//! The disk's load is four threads that read 4 KiB anywhere; the network's is datagrams of 64 bytes for the discard
//! service, as fast as the guest takes them. What is measured of the network: the round trip of echoes that the station sends, one
//! after the other, and what its TCP gets through to the discard service.
//!
//! # Limits
//! The share is that of the guest's CPUs. The emulator's own work for a device, in other threads of the host, is in the second
//! measurement and not in the third: on a host without processors to spare, that shows as a loss too.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use station::{GUEST_IP, IP, MAC, Station, wire};
use tools::card::Card;
use tools::figures::Figure;

use crate::{Console, Machine};

/// Whatever is no measurement.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much sooner a measurement ends than the load beside it.
const MARGIN: Duration = Duration::from_secs(1);
/// After a load, for what is still on its way.
const SETTLE: Duration = Duration::from_millis(500);
/// Bytes of a connection.
const STREAM_BYTES: usize = 4 << 20;
/// Echoes between two looks at the clock, and bytes of each.
const PINGS: u32 = 50;
const PING_BYTES: usize = 56;
const DISCARD: u16 = 9;
const CPUS: usize = 4;
/// Ports of the flood.
const FLOOD_PORTS: [u16; 2] = [4000, DISCARD];

/// What is measured.
pub const ROWS: [(&str, &str); 3] = [
    ("ping, 99th percentile", "µs"),
    ("TCP to the kernel", "Mbit/s"),
    ("disk", "reads/s"),
];

/// What runs beside a measurement.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    Load,
    Share([u32; CPUS]),
}

/// A kernel with a card, and the station on its cable.
pub struct Bench {
    kernel: Console,
    station: Station,
    guest: [u8; 6],
    seconds: u64,
}

/// Of each row, the figure alone, beside the other load, and beside its share.
pub type Round = [[f64; 3]; ROWS.len()];

impl Bench {
    /// Boots, under the policy of that name.
    ///
    /// # Errors
    /// The station, or a kernel that does not answer it.
    pub fn start(scratch: &std::path::Path, policy: &str, seconds: u64) -> Result<Self> {
        let station = Station::open(scratch)?;
        let words = format!("ip={GUEST_IP}/24 spl={policy} services=discard");
        let machine = Machine::new().card_with(&Card::new()).net(&station.cable());
        let mut kernel = machine
            .cmdline(&words)
            .deadline(Duration::from_secs(3600))
            .start();
        kernel.prompt();
        let said = kernel.command(&format!("ping {IP} count 1"));
        let answered = station.ping(1, PING_BYTES, PATIENCE)?;
        ensure!(answered[0].is_some(), "no answer from the kernel: {said}");
        let guest = station.ask(|world| world.guest())?;
        Ok(Self {
            kernel,
            station,
            guest: guest.context("the kernel has sent nothing")?,
            seconds,
        })
    }

    /// Busy shares of the CPUs since the last call, percent.
    fn busy(&mut self) -> Result<[u32; CPUS]> {
        let said = self.kernel.command("cpus");
        let shares: Vec<u32> = said
            .split_whitespace()
            .filter_map(|word| word.strip_suffix('%')?.parse().ok())
            .collect();
        shares.try_into().ok().context(said)
    }

    /// Starts what runs beside a measurement of the disk (`true`), or of the network.
    fn begin(&mut self, beside: Beside, of_disk: bool) -> Result<()> {
        let seconds = self.seconds;
        match (beside, of_disk) {
            (Beside::Nothing, _) => {}
            (Beside::Share(percent), _) => {
                let [a, b, c, d] = percent;
                self.kernel
                    .command(&format!("demo share {a} {b} {c} {d} {seconds}"));
            }
            (Beside::Load, true) => self.flood()?,
            (Beside::Load, false) => {
                let line = format!("diskbench card read 4096 random threads 4 seconds {seconds}");
                self.kernel.send_line(&line);
                self.kernel.expect("\n", PATIENCE);
            }
        }
        Ok(())
    }

    /// Waits for its end.
    fn end(&mut self, beside: Beside, of_disk: bool) {
        if let (Beside::Load, false) = (beside, of_disk) {
            self.kernel.expect("KiB/s", PATIENCE);
            self.kernel.prompt();
        }
        std::thread::sleep(MARGIN + SETTLE);
    }

    fn flood(&self) -> Result<()> {
        let datagram = wire::udp(IP, GUEST_IP, FLOOD_PORTS, &[0; 64]);
        let packet = wire::ipv4(IP, GUEST_IP, wire::UDP, 0, 0, &datagram);
        let frame = wire::ethernet(self.guest, MAC, wire::IPV4, &packet);
        let time = Duration::from_secs(self.seconds);
        self.station.ask(move |world| world.flood(frame, time))
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds) - MARGIN
    }

    fn ping(&mut self, beside: Beside) -> Result<f64> {
        self.begin(beside, false)?;
        let (until, mut trips) = (Instant::now() + self.time(), Vec::new());
        while Instant::now() < until {
            trips.extend(self.station.ping(PINGS, PING_BYTES, PATIENCE)?);
        }
        self.end(beside, false);
        let trips: Option<Vec<_>> = trips.into_iter().collect();
        let mut trips = trips.context("echoes were lost")?;
        trips.sort();
        Ok(trips[trips.len() * 99 / 100].as_secs_f64() * 1e6)
    }

    fn tcp(&mut self, beside: Beside) -> Result<f64> {
        self.begin(beside, false)?;
        let (began, mut bytes) = (Instant::now(), 0);
        while began.elapsed() < self.time() {
            let sent = self
                .station
                .exchange(DISCARD, vec![0; STREAM_BYTES], PATIENCE);
            sent.map_err(|error| anyhow::anyhow!("{error:#}"))?;
            bytes += STREAM_BYTES;
        }
        let rate = bytes as f64 * 8.0 / 1e6 / began.elapsed().as_secs_f64();
        self.end(beside, false);
        Ok(rate)
    }

    fn disk(&mut self, beside: Beside) -> Result<f64> {
        self.begin(beside, true)?;
        let seconds = self.time().as_secs();
        let line = format!("diskbench card read 4096 random threads 4 seconds {seconds}");
        let said = self.kernel.command_within(&line, PATIENCE);
        self.end(beside, true);
        let rate = said
            .split_once(" requests/s")
            .map_or("", |(before, _)| before);
        let rate = rate.lines().last().unwrap_or_default().parse();
        rate.with_context(|| said.clone())
    }

    /// All of it once.
    ///
    /// # Errors
    /// What was lost or failed.
    pub fn round(&mut self) -> Result<(Round, [[u32; CPUS]; 2])> {
        self.busy()?;
        let disk = self.disk(Beside::Nothing)?;
        let by_disk = self.scaled_busy()?;
        self.flood()?;
        std::thread::sleep(Duration::from_secs(self.seconds));
        let by_flood = self.busy()?;
        std::thread::sleep(SETTLE);
        let beside = [Beside::Nothing, Beside::Load, Beside::Share(by_disk)];
        let mut ping = [0.0; 3];
        let mut tcp = [0.0; 3];
        for (n, beside) in beside.into_iter().enumerate() {
            ping[n] = self.ping(beside)?;
        }
        for (n, beside) in beside.into_iter().enumerate() {
            tcp[n] = self.tcp(beside)?;
        }
        let flooded = self.disk(Beside::Load)?;
        let shared = self.disk(Beside::Share(by_flood))?;
        Ok(([ping, tcp, [disk, flooded, shared]], [by_disk, by_flood]))
    }

    /// The shares while the disk was busy: `cpus` was last asked when it began, and it has idled since it ended.
    fn scaled_busy(&mut self) -> Result<[u32; CPUS]> {
        let (busy, idle) = (self.time(), MARGIN + SETTLE);
        let factor = (busy + idle).as_secs_f64() / busy.as_secs_f64();
        let shares = self.busy()?;
        Ok(shares.map(|share| ((f64::from(share) * factor).round() as u32).min(100)))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table's quotients for `make bench`: what a load on one domain leaves of the other, its share of the CPUs taken out.
pub fn figures(rounds: &[Round]) -> Vec<Figure> {
    let rows = ROWS.iter().enumerate();
    let figure = |(n, (name, unit)): (usize, &(&str, &str))| {
        let of = |column: usize| median(rounds.iter().map(|round| round[n][column]).collect());
        let mut figure = Figure::rate(format!("{name} beside the other"), unit, of(1), Some(of(2)));
        figure.less = n == 0;
        figure
    };
    rows.map(figure).collect()
}

/// The table: medians over the rounds.
pub fn table(rounds: &[Round]) -> String {
    let mut text = format!(
        "{:<30}{:>9}{:>12}{:>10}{:>12}\n",
        "", "alone", "beside load", "share", "load/share"
    );
    for (n, (name, unit)) in ROWS.into_iter().enumerate() {
        let of = |column: usize| median(rounds.iter().map(|round| round[n][column]).collect());
        let quotient = median(
            rounds
                .iter()
                .map(|round| round[n][1] / round[n][2])
                .collect(),
        );
        let [alone, load, share] = [0, 1, 2].map(of);
        text += &format!(
            "{:<30}{alone:>9.0}{load:>12.0}{share:>10.0}{quotient:>12.2}\n",
            format!("{name}, {unit}")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_of_figures_and_of_quotients() {
        let round = |figures: [f64; 3]| [figures; ROWS.len()];
        let rounds = [
            round([100.0, 50.0, 50.0]),
            round([300.0, 30.0, 60.0]),
            round([200.0, 90.0, 100.0]),
        ];
        let table = table(&rounds);
        let row: Vec<_> = table.lines().nth(3).unwrap().split_whitespace().collect();
        assert_eq!(row, ["disk,", "reads/s", "200", "50", "60", "0.90"]);
        assert!(table.lines().all(|line| line.chars().count() <= 80));
    }
}
