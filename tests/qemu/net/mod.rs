// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network, with a station at the other end of the cable ([`station`]), or QEMU's user network ([`user`]).

mod commands;
mod domains;
mod impaired;
mod robust;
mod services;
mod truth;
mod user;

use std::time::{Duration, Instant};

use qemu_tests::{Console, Machine};
use station::{GUEST_IP, Station};
use tempfile::TempDir;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// The kernel's services that tests use.
const ECHO: u16 = 7;
const CHARGEN: u16 = 19;

/// A kernel and the station on its cable.
struct Net {
    console: Console,
    station: Station,
    /// The kernel's Ethernet address.
    guest: [u8; 6],
    _folder: TempDir,
}

impl Net {
    /// Boots with a fixed address and these further words, and waits until the station has an answer.
    #[track_caller]
    fn start(machine: Machine, words: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let station = Station::open(folder.path()).expect("a station");
        let machine = machine
            .net(&station.cable())
            .cmdline(&format!("ip={GUEST_IP}/24 {words}"))
            .monitor()
            .deadline(PATIENCE);
        let mut console = machine.start();
        console.prompt();
        let mut net = Self {
            console,
            station,
            guest: [0; 6],
            _folder: folder,
        };
        net.alive();
        net.guest = net
            .station
            .ask(|world| world.guest())
            .expect("the station")
            .expect("the guest has sent a frame");
        net
    }

    /// The kernel answers the station's echo requests again, within a while.
    #[track_caller]
    fn alive(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        self.station
            .ask(|world| world.announce())
            .expect("the station");
        while Instant::now() < until {
            let trips = self.station.ping(1, 56, Duration::from_millis(500));
            if trips.expect("the station")[0].is_some() {
                return;
            }
        }
        let net = self.console.command("net stats");
        panic!("no answer to an echo request: {net}");
    }

    /// Bytes go to the kernel's echo service and come back the same.
    #[track_caller]
    fn echoes(&mut self, bytes: usize, patience: Duration) {
        let data = noise(bytes);
        let back = self.station.exchange(ECHO, data.clone(), patience);
        let back = back.unwrap_or_else(|error| {
            let net = self.console.command("net stats");
            let sockets = self.console.command("sockets");
            panic!("{error:#}: {net}\n{sockets}")
        });
        assert_eq!(back.len(), data.len());
        assert!(back == data, "other bytes came back");
    }

    /// A counter of `net stats`; those that are 0 are not listed.
    #[track_caller]
    fn counter(&mut self, name: &str) -> u64 {
        let stats = self.console.command("net stats");
        counter(&stats, name)
    }
}

fn counter(stats: &str, name: &str) -> u64 {
    let mut words = stats.split_whitespace();
    match words.find(|word| *word == name) {
        Some(_) => words
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {stats}")),
        None => 0,
    }
}

/// Bytes that do not repeat.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    noise
}
