// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory: a large card and many requests take no more of it than a small one and few.

use std::time::Duration;

use qemu_tests::{Console, Machine, case, claim};
use tools::card::Card;

/// 64 GiB: a sparse file.
const CARD_MIB: u64 = 64 << 10;
/// How many requests; `make soak-disk` makes a million.
const REQUESTS: &str = "ORTHOGON_REQUESTS";
const REQUESTS_IN_TEST: u64 = 100_000;
/// Slower than this it does not go on any host.
const REQUESTS_PER_S: u64 = 100;
/// What may come and go meanwhile: a line of the log, a thread's name.
const SLACK_KIB: u64 = 64;

/// KiB of the heap that are in use, and the most that ever were.
#[track_caller]
fn heap(console: &mut Console) -> (u64, u64) {
    let said = console.command("mem");
    let line = said.lines().find(|line| line.starts_with("heap: "));
    let line = line.unwrap_or_else(|| panic!("no heap: {said}"));
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [used, _, most, ..] = numbers[..] else {
        panic!("no figures: {line}")
    };
    (used, most)
}

#[test]
fn many_requests_to_a_large_card_leave_no_trace() {
    claim("64 GiB, 100,000 requests by one thread and by four: the heap is as it was before");
    let requests: u64 = std::env::var(REQUESTS).map_or(REQUESTS_IN_TEST, |text| {
        text.parse().expect("a number of requests")
    });
    let patience = Duration::from_secs(requests / REQUESTS_PER_S);
    let machine = Machine::new().card_sized(&Card::new(), CARD_MIB);
    let mut console = machine.deadline(patience).start();
    console.command("diskbench card read 4K random threads 4 requests 100");
    let (before, _) = heap(&mut console);
    // Each thread makes as many; four of them are slow on a host with two CPUs.
    let (alone, four) = (requests * 9 / 10, requests / 40);
    for (threads, requests) in [(1, alone), (4, four)] {
        let words = format!("read 4K random threads {threads} requests {requests}");
        let said = console.command_within(&format!("diskbench card {words}"), patience);
        let outcome = format!("requests={} errors=0", threads * requests);
        assert!(said.contains(&outcome), "{said}");
        let (after, most) = heap(&mut console);
        case(&format!(
            "{words}: {before} KiB before, {after} KiB after, at most {most} KiB"
        ));
        assert!(
            after <= before + SLACK_KIB,
            "{before} KiB before, {after} KiB after"
        );
        assert!(
            most <= before + 16 * SLACK_KIB,
            "{before} KiB before, at most {most} KiB"
        );
    }
}
