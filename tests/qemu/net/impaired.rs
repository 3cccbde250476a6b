// SPDX-License-Identifier: MIT OR Apache-2.0
//! What arrives through a bad path.

use std::time::{Duration, Instant};

use qemu_tests::{Machine, case, claim};
use station::path::Impairment;

use super::Net;

/// Bytes of a transfer, each way; and of those through a path that is bad, where `ORTHOGON_BAD_PATH_MIB` says no other
/// number of MiB.
const BYTES: usize = 16 << 20;
const SOME_BYTES: usize = 4 << 20;

fn bytes_through_bad_path() -> usize {
    let told = std::env::var("ORTHOGON_BAD_PATH_MIB").ok();
    let mib = told.map(|n| n.parse::<usize>().expect("ORTHOGON_BAD_PATH_MIB: a number"));
    mib.map_or(SOME_BYTES, |mib| mib << 20)
}

#[test]
fn streams_survive_a_bad_path() {
    claim(
        "16 MiB go to the kernel and back, and more through loss, delay, reordering, doubling and damage: each byte is right",
    );
    let mut net = Net::start(Machine::new(), "services=echo");
    let delay = Duration::from_micros(500);
    for (name, impairment) in [
        ("clean", Impairment::default()),
        (
            "1 % lost",
            Impairment {
                lost: 10,
                ..Impairment::default()
            },
        ),
        (
            "delayed, 2 % overtaken, 2 % doubled",
            Impairment {
                reordered: 20,
                doubled: 20,
                delay,
                held: delay,
                ..Impairment::default()
            },
        ),
        (
            "all of it, and 0.5 % damaged",
            Impairment {
                lost: 5,
                doubled: 10,
                reordered: 10,
                damaged: 5,
                delay,
                held: delay,
                seed: 1,
            },
        ),
    ] {
        let began = Instant::now();
        let bytes = match impairment == Impairment::default() {
            true => BYTES,
            false => bytes_through_bad_path(),
        };
        net.station
            .ask(move |world| world.cable.impair(Some(&impairment)))
            .expect("the station");
        net.echoes(bytes, Duration::from_secs(600));
        let seconds = began.elapsed().as_secs_f64();
        let mib = bytes >> 20;
        case(&format!("{name}: {mib} MiB each way, {seconds:.1} s"));
    }
}

#[test]
fn streams_are_right_in_dma_truth() {
    claim(
        "where only cache maintenance joins what CPU and GENET see, 4 MiB go to the kernel and back",
    );
    let mut net = Net::start(Machine::new().dma_truth(), "services=echo");
    net.echoes(SOME_BYTES, Duration::from_secs(120));
    let trips = net.station.ping(500, 1400, Duration::from_secs(5));
    let trips = trips.expect("the station");
    assert!(trips.iter().all(Option::is_some), "{trips:?}");
}

#[test]
fn no_echo_is_lost() {
    claim("10,000 echo requests to the kernel, and 10,000 from it: each is answered");
    let mut net = Net::start(Machine::new(), "");
    let trips = net.station.ping(10_000, 56, Duration::from_secs(5));
    let trips = trips.expect("the station");
    let lost = trips.iter().filter(|trip| trip.is_none()).count();
    assert_eq!((trips.len(), lost), (10_000, 0));
    let line = format!("ping {} count 10000 interval 0 quiet", station::IP);
    let said = net.console.command_within(&line, Duration::from_secs(120));
    assert!(said.contains("10000 sent, 10000 answered"), "{said}");
}
