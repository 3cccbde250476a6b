// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must not hurt: wrong frames, floods, peers that do not play by the rules, and faults of the controller.
//!
//! After each, the kernel answers, its service works, its packet buffers are all back, and its counters say what became
//! of the frames.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use qemu_tests::{Machine, case, claim};
use station::fuzz::Fuzzer;
use station::{GUEST_IP, IP, MAC, wire};

use super::{CHARGEN, ECHO, Net, counter};

/// TCP's flags.
const SYN: u8 = 2;
/// IPv4's flag that more fragments follow.
const MORE: u16 = 1 << 13;
const MINUTE: Duration = Duration::from_secs(60);

/// How many wrong frames; `make torture-net` has more of them.
fn frames() -> u64 {
    let told = std::env::var("ORTHOGON_FRAMES").ok();
    told.map_or(50_000, |n| n.parse().expect("ORTHOGON_FRAMES: a number"))
}

fn seed() -> u64 {
    let told = std::env::var("ORTHOGON_SEED").ok();
    told.map_or(1, |n| n.parse().expect("ORTHOGON_SEED: a number"))
}

/// What must be the same afterwards.
#[derive(Debug, PartialEq, Eq)]
struct Level {
    buffers: u64,
    buffers_in_use: u64,
    buffers_of_stack: u64,
    sockets: usize,
}

impl Net {
    fn level(&mut self) -> Level {
        let stats = self.console.command("net stats");
        let sockets = self.console.command("sockets");
        // Frames that were sent leave the ring when the next ones come.
        let net = self.console.command("net");
        let sent = net.split(" in the ring, which").next();
        let sent = sent.and_then(|text| text.split_whitespace().last()?.parse::<u64>().ok());
        let sent = sent.unwrap_or_else(|| panic!("nothing of the ring: {net}"));
        Level {
            buffers: counter(&stats, "buffers"),
            buffers_in_use: counter(&stats, "buffers-in-use") - sent,
            buffers_of_stack: counter(&stats, "buffers-of-stack"),
            sockets: sockets
                .lines()
                .filter(|line| !line.contains("TIME-WAIT"))
                .count(),
        }
    }

    /// The level with nothing under way: a connection that was just closed is still there for a while.
    #[track_caller]
    fn level_at_rest(&mut self) -> Level {
        let until = Instant::now() + MINUTE;
        loop {
            let sockets = self.console.command("sockets");
            let mut connections = sockets.lines().filter(|line| line.starts_with("tcp"));
            if connections.all(|line| line.contains("LISTEN") || line.contains("TIME-WAIT")) {
                return self.level();
            }
            assert!(Instant::now() < until, "never at rest:\n{sockets}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until what is used is at its level again: what was half open is given up in time.
    #[track_caller]
    fn returns_to(&mut self, before: &Level) {
        let until = Instant::now() + 3 * MINUTE;
        loop {
            let mut after = self.level();
            // What was on its way before may be there by now.
            if after.buffers_in_use < before.buffers_in_use {
                after.buffers_in_use = before.buffers_in_use;
            }
            if after == *before {
                return;
            }
            if Instant::now() >= until {
                let sockets = self.console.command("sockets");
                panic!("{before:?} before, {after:?} after\n{sockets}");
            }
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    #[track_caller]
    fn send(&mut self, frames: Vec<Vec<u8>>) {
        if let Err(error) = self.station.send(frames, MINUTE) {
            panic!("{error:#}\n{}", self.console.command("net stats"));
        }
    }

    fn packet(&self, packet: &[u8]) -> Vec<u8> {
        wire::ethernet(self.guest, MAC, wire::IPV4, packet)
    }
}

#[test]
fn wrong_frames_do_no_harm() {
    let (frames, seed) = (frames(), seed());
    claim(&format!(
        "{frames} wrong frames of nine kinds (seed {seed}): the kernel goes on as if nothing had been"
    ));
    let mut net = Net::start(Machine::new(), "services=echo,discard,chargen");
    net.echoes(1 << 16, MINUTE);
    let before = net.level_at_rest();
    let received = net.counter("rx-frames");
    let mut fuzzer = Fuzzer::new(seed, net.guest);
    let mut left = frames;
    while left > 0 {
        let some = left.min(4096);
        net.send((0..some).map(|_| fuzzer.frame().1).collect());
        left -= some;
    }
    net.alive();
    let stats = net.console.command("net stats");
    assert!(counter(&stats, "rx-frames") > received, "{stats}");
    assert!(counter(&stats, "bad-checksums") > frames / 100, "{stats}");
    net.echoes(1 << 20, MINUTE);
    net.returns_to(&before);
}

#[test]
fn wrong_answers_of_servers_do_no_harm() {
    claim("a DHCP and DNS server whose answers are wrong: the kernel asks on, and can be used");
    let mut net = Net::start(Machine::new(), "services=echo");
    let before = net.level_at_rest();
    let fuzzer = Fuzzer::new(seed(), net.guest);
    net.station
        .ask(|world| world.hostile = Some(fuzzer))
        .expect("the station");
    net.console
        .command(&format!("net ip {GUEST_IP}/24,dns={IP}"));
    for n in 0..10 {
        let line = format!("dns host{n}.example");
        let said = net.console.command(&line);
        assert!(!said.is_empty(), "{line}");
    }
    net.console.command("net ip dhcp");
    std::thread::sleep(Duration::from_secs(20));
    net.station
        .ask(|world| world.hostile = None)
        .expect("the station");
    net.console.command(&format!("net ip {GUEST_IP}/24"));
    net.alive();
    net.echoes(1 << 20, MINUTE);
    net.returns_to(&before);
}

#[test]
fn a_flood_of_syns_shuts_nobody_out() {
    claim(
        "100,000 SYNs from as many ports and 100 hosts that do not exist: who does exist is served, and no memory is lost",
    );
    let mut net = Net::start(Machine::new(), "services=echo");
    let before = net.level_at_rest();
    let mut rng = Rng::with_seed(2);
    for _ in 0..25 {
        let syns = (0..4000).map(|_| {
            let from = Ipv4Addr::new(10, 0, 2, rng.u8(100..200));
            let ports = [rng.u16(1024..), ECHO];
            let packet = wire::tcp(from, GUEST_IP, ports, [rng.u32(..), 0], SYN, 64_000, &[]);
            net.packet(&packet)
        });
        let syns = syns.collect();
        net.send(syns);
    }
    net.echoes(1 << 16, MINUTE);
    let given_up = net.counter("half-open-given-up");
    assert!(given_up > 0, "{}", net.console.command("net stats"));
    net.returns_to(&before);
}

#[test]
fn fragments_do_no_harm() {
    claim(
        "40,000 fragments that overlap, go beyond the end, or never become a packet: no memory is lost",
    );
    let mut net = Net::start(Machine::new(), "services=echo");
    let before = net.level_at_rest();
    let mut rng = Rng::with_seed(3);
    for _ in 0..10 {
        let fragments = (0..4000).map(|_| {
            let from = Ipv4Addr::new(10, 0, 2, rng.u8(100..104));
            // Eight bytes a step; the last ones reach beyond 64 KiB.
            let offset = if rng.u8(0..8) == 0 {
                rng.u16(..1 << 13)
            } else {
                rng.u16(..200)
            };
            let more = if rng.u8(0..16) == 0 { 0 } else { MORE };
            let bytes = rng.usize(0..185) * 8 + usize::from(more == 0);
            let id = rng.u16(..8);
            let payload = vec![rng.u8(..); bytes];
            let packet = wire::ipv4(from, GUEST_IP, wire::UDP, id, more | offset, &payload);
            net.packet(&packet)
        });
        let fragments = fragments.collect();
        net.send(fragments);
    }
    net.alive();
    net.echoes(1 << 16, MINUTE);
    net.returns_to(&before);
}

#[test]
fn a_peer_that_never_reads_blocks_nobody_else() {
    claim("a connection to chargen whose window stays shut: the others are served");
    let mut net = Net::start(Machine::new(), "services=echo,chargen");
    let before = net.level_at_rest();
    let isn = 1000;
    let from = [4000, CHARGEN];
    let syn = net.packet(&wire::tcp(IP, GUEST_IP, from, [isn, 0], SYN, 0, &[]));
    // The station's own stack knows nothing of this connection, and would reset it: so it is another host's.
    net.send(vec![syn]);
    for n in 0..100 {
        let from = Ipv4Addr::new(10, 0, 2, 100 + n % 4);
        let ports = [5000 + u16::from(n), CHARGEN];
        let syn = wire::tcp(from, GUEST_IP, ports, [isn, 0], SYN, 0, &[]);
        let syn = net.packet(&syn);
        net.send(vec![syn]);
        if n % 20 == 0 {
            net.echoes(1 << 14, MINUTE);
        }
    }
    net.echoes(1 << 20, MINUTE);
    net.returns_to(&before);
}

#[test]
fn waiting_does_not_keep_a_cpu_busy() {
    claim(
        "no IPv6 router, and a connection whose peer does not answer: the stack turns seldom, not each millisecond",
    );
    let mut net = Net::start(Machine::new(), "services=echo");
    let nobody = Ipv4Addr::new(10, 0, 2, 100);
    let syn = wire::tcp(nobody, GUEST_IP, [4000, ECHO], [1000, 0], SYN, 0, &[]);
    let syn = net.packet(&syn);
    net.send(vec![syn]);
    // By then, no router is looked for any more.
    std::thread::sleep(Duration::from_secs(15));
    let before = net.counter("turns");
    std::thread::sleep(Duration::from_secs(2));
    let turns = net.counter("turns") - before;
    let sockets = net.console.command("sockets");
    assert!(sockets.contains("SYN-RECEIVED"), "{sockets}");
    case(&format!("{turns} turns in two seconds"));
    assert!((1..=200).contains(&turns), "{turns} turns");
    net.alive();
}

#[test]
fn a_link_that_flaps_comes_back() {
    claim(
        "a link that goes down and up 50 times, each for 100 ms, in mid-transfer: afterwards all is served",
    );
    let mut net = Net::start(Machine::new(), "services=echo");
    let before = net.level_at_rest();
    let changes = net.counter("link-changes");
    for _ in 0..50 {
        net.console.monitor("set_link pi4-genet off");
        std::thread::sleep(Duration::from_millis(100));
        net.console.monitor("set_link pi4-genet on");
        std::thread::sleep(Duration::from_millis(100));
    }
    net.alive();
    net.echoes(1 << 20, MINUTE);
    assert!(net.counter("link-changes") > changes);
    net.returns_to(&before);
}

#[test]
fn faults_of_the_controller_are_survived() {
    claim(
        "every fault of GENET's: a transfer through it ends well or is told, and afterwards all is served and counted",
    );
    let mut net = Net::start(Machine::new(), "services=echo");
    let before = net.level_at_rest();
    // What counts it; nothing, where a board shows nothing either.
    for (plan, counters) in [
        ("rx-crc/20", &["rx-error-crc"][..]),
        ("rx-align/20", &["rx-error-align"]),
        ("rx-symbol/20", &["rx-error-symbol"]),
        ("rx-overflow/20", &["rx-error-overflow"]),
        ("rx-oversize/50", &["rx-error-too-long"]),
        ("rx-runt/20", &["runt-packets"]),
        ("rx-drop/20", &[]),
        ("rx-delay/20:20", &[]),
        ("tx-stall/10x1", &["stalls"]),
        ("tx-delay/20:20", &[]),
        ("tx-underrun/20", &["tx-underruns"]),
        ("dma-read/100x3", &[]),
        ("dma-write/100x3", &[]),
        ("irq-lost/20", &[]),
        ("link-flap/1x3:100", &["link-changes"]),
        ("phy-dead/1x20", &[]),
    ] {
        let stats = net.console.command("net stats");
        let count = |stats: &str| {
            counters
                .iter()
                .map(|name| counter(stats, name))
                .sum::<u64>()
        };
        let counted = count(&stats);
        let began = Instant::now();
        net.console
            .monitor(&format!("qom-set /machine/peripheral/genet faults {plan}"));
        if plan.starts_with("link-flap") {
            // It strikes when the link comes up.
            net.console.monitor("set_link pi4-genet off");
            std::thread::sleep(Duration::from_millis(200));
            net.console.monitor("set_link pi4-genet on");
        }
        let data = super::noise(1 << 18);
        let through = net.station.exchange(ECHO, data.clone(), MINUTE);
        net.console
            .monitor("qom-set /machine/peripheral/genet faults none");
        let outcome = match through {
            Ok(back) => {
                assert!(back == data, "{plan}: other bytes came back");
                "whole".to_owned()
            }
            Err(error) => format!("{error:#}"),
        };
        net.alive();
        net.echoes(1 << 16, MINUTE);
        // A ring that tells nothing is no hindrance until it is full: it may be found after all is served.
        let (stats, struck) = loop {
            let stats = net.console.command("net stats");
            let struck = count(&stats) - counted;
            if counters.is_empty() || struck > 0 || began.elapsed() > MINUTE {
                break (stats, struck);
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let took = began.elapsed().as_secs_f64();
        case(&format!(
            "{plan}: {outcome}, {took:.1} s, {counters:?} + {struck}"
        ));
        assert!(counters.is_empty() || struck > 0, "{plan}: {stats}");
    }
    net.returns_to(&before);
}
