// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of the pack Linux uses: its rates beside those of a driver that does nothing else.
//!
//! The empty driver is a bare program (`tools/bare`) that polls GENET's rings, on the same QEMU, with
//! the same station at the other end. Linux sends with its own generator of packets, straight
//! into the driver, and drops what comes right above it: more than that no program on it gets.
//! Each rate is the best of some: a host with other work makes them lower, never higher.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::flood::Flood;
use super::guest::{Guest, Setup};
use super::linux::MAC;
use super::server::Server;
use super::{Verdict, network};
use crate::qemu::{DTB_ADDRESS, Qemu, loader};

/// Lengths on the wire: the least, and a full one with its check sequence.
const LENGTHS: [usize; 2] = [64, 1518];
/// How long frames are counted that come out, and how many of each length go in.
const TIME: Duration = Duration::from_secs(1);
const FRAMES: [u32; 2] = [96_000, 32_000];
/// How often each rate is measured.
const TIMES: u32 = 4;
/// How long the bare program sends: longer than is measured.
const BARE_SECONDS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);
const BOOT: Duration = Duration::from_secs(60);
/// What an empty driver must reach, in Linux's rates.
const WANTED: f64 = 2.0;
/// The CPU that takes GENET's interrupts. From another one, sender and interrupt wait for each
/// other at the driver's lock, each with a thread of the host's.
const ON_ITS_CPU: &str = "taskset 1";

/// Frames in a second, by length: from the guest, and to it.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    out: [f64; 2],
    into: [f64; 2],
}

/// What there is to compare, as it becomes known.
#[derive(Debug, Default)]
pub struct Measured {
    linux: Rates,
    empty: Rates,
    tcp_out_mbit_s: f64,
    tcp_in_mbit_s: f64,
}

fn raise(best: &mut f64, rate: f64) {
    *best = best.max(rate);
}

fn mbit_s(frames_s: f64, bytes: usize) -> f64 {
    frames_s * bytes as f64 * 8.0 / 1e6
}

impl Rates {
    fn shown(&self) -> String {
        let line = |rates: [f64; 2]| {
            let megabits = mbit_s(rates[1], LENGTHS[1]);
            format!(
                "{:.0}/s of 64 bytes, {megabits:.0} Mbit/s of 1518",
                rates[0]
            )
        };
        format!("out {}; in {}", line(self.out), line(self.into))
    }
}

impl Measured {
    /// TCP to and from a server beyond QEMU's user network.
    pub fn tcp(&mut self, guest: &mut Guest, server: &Server) -> Result<String> {
        network::link(guest)?;
        network::dhcp(guest)?;
        let mut anywhere = 0.0;
        for _ in 0..TIMES {
            let into = network::fetch_file(guest, server)?;
            raise(&mut self.tcp_in_mbit_s, into.mbit_s());
            let out = network::send_file(guest, server, "")?;
            raise(&mut anywhere, out.mbit_s());
            let out = network::send_file(guest, server, ON_ITS_CPU)?;
            raise(&mut self.tcp_out_mbit_s, out.mbit_s());
        }
        Ok(format!(
            "in {:.0} Mbit/s; out {:.0}, from the CPU with the interrupts {:.0}",
            self.tcp_in_mbit_s, anywhere, self.tcp_out_mbit_s
        ))
    }

    /// Linux's driver between its generator and the station.
    pub fn linux(&mut self, guest: &mut Guest, station: &Flood) -> Result<String> {
        network::link(guest)?;
        guest.ask("ifconfig eth0 10.0.2.15 netmask 255.255.255.0")?;
        guest.ask("cd /proc/net/pktgen; echo add_device eth0 >kpktgend_0")?;
        for (n, bytes) in LENGTHS.into_iter().enumerate() {
            guest.ask(&format!(
                "for word in 'count 0' 'pkt_size {}' 'dst 10.0.2.77' 'dst_mac 02:00:00:00:00:77'; do \
                 echo $word >eth0; done; echo start >pgctrl &",
                bytes - 4
            ))?;
            for _ in 0..TIMES {
                raise(&mut self.linux.out[n], station.incoming(bytes, TIME));
            }
            guest.ask("echo stop >pgctrl; wait")?;
            for _ in 0..TIMES {
                raise(&mut self.linux.into[n], taken(guest, station, n)?);
            }
        }
        Ok(self.linux.shown())
    }

    /// The bare program between nothing and the station.
    pub fn empty(&mut self, setup: &Setup, station: &Flood) -> Result<String> {
        let mut guest = boot(setup)?;
        for (n, bytes) in LENGTHS
            .into_iter()
            .enumerate()
            .cycle()
            .take(2 * TIMES as usize)
        {
            guest.type_line(&format!("send {bytes} {BARE_SECONDS}"))?;
            raise(&mut self.empty.out[n], station.incoming(bytes, TIME));
            counted(&mut guest)?;
            guest.type_line(&format!("receive {bytes} {}", FRAMES[n]))?;
            raise(&mut self.empty.into[n], taken(&guest, station, n)?);
            let seen = counted(&mut guest)?;
            ensure!(seen == u64::from(FRAMES[n]), "{seen} frames were seen");
        }
        Ok(self.empty.shown())
    }

    /// The empty driver's rates in Linux's, one check each.
    pub fn compare(&self, verdict: &mut Verdict) {
        let [out, into] = [self.empty.out[1], self.empty.into[1]].map(|f| mbit_s(f, LENGTHS[1]));
        for (name, linux, empty) in [
            ("64 bytes out", self.linux.out[0], self.empty.out[0]),
            ("64 bytes in", self.linux.into[0], self.empty.into[0]),
            ("1518 bytes out", self.linux.out[1], self.empty.out[1]),
            ("1518 bytes in", self.linux.into[1], self.empty.into[1]),
            ("TCP out", self.tcp_out_mbit_s, out),
            ("TCP in", self.tcp_in_mbit_s, into),
        ] {
            verdict.check(&format!("ceiling over Linux, {name}"), || {
                ensure!(linux > 0.0, "Linux moved nothing");
                let ratio = empty / linux;
                ensure!(ratio >= WANTED, "{ratio:.1}: {empty:.0} against {linux:.0}");
                Ok(format!("{ratio:.1}"))
            });
        }
    }
}

/// How many frames of this length the card takes in a second, as its own counter says.
fn taken(guest: &Guest, station: &Flood, n: usize) -> Result<f64> {
    let received = || -> Result<u32> {
        let counters = guest.property("genet", "counters")?;
        let counter = counters
            .split(' ')
            .find_map(|c| c.strip_prefix("RxPackets="));
        // The model lists only what is not zero.
        Ok(counter.unwrap_or("0").parse()?)
    };
    let before = received()?;
    let began = Instant::now();
    station.give(MAC, LENGTHS[n], FRAMES[n])?;
    while received()?.wrapping_sub(before) < FRAMES[n] {
        ensure!(began.elapsed() < PATIENCE, "the card takes no frames");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(f64::from(FRAMES[n]) / began.elapsed().as_secs_f64())
}

/// Starts the bare program as the kernel is started.
pub fn boot(setup: &Setup) -> Result<Guest> {
    let firmware = Qemu::default();
    let program = crate::out_dir().join("bare-ethernet.img");
    ensure!(
        program.exists(),
        "there is no {}; `make judge` builds it",
        program.display()
    );
    let bl31 = setup.scratch.join("bl31.bin");
    crate::write(&bl31, &firmware.patched_bl31()?)?;
    let mut q = super::qemu(setup, &[])?;
    for (file, address) in [
        (&bl31, 0),
        (&program, crate::kimage::LOAD_ADDRESS),
        (&firmware.dtb, DTB_ADDRESS.into()),
    ] {
        q.arg("-device").arg(loader(file, address));
    }
    let mut guest = Guest::start(q, setup.scratch)?;
    guest.expect("ready\n", BOOT)?;
    Ok(guest)
}

/// How many frames the bare program says that it moved.
pub fn counted(guest: &mut Guest) -> Result<u64> {
    let said = guest.expect(" frames\n", BOOT)?;
    guest.expect("ready\n", BOOT)?;
    let last = said.lines().last().context("no count")?;
    Ok(last.trim().parse()?)
}
