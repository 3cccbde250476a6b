// SPDX-License-Identifier: MIT OR Apache-2.0
//! `trace`: its events agree with the kernel's own counters, and the file with the format.

use std::time::Duration;

use qemu_tests::chrome::{self, Event, Trace};
use qemu_tests::{Console, Machine, case, claim};
use tools::card::Card;

/// How long something that uses all CPUs may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rows of `trace status`: what, events, and what the kernel counted.
fn counts(console: &mut Console) -> Vec<(String, u64, Option<u64>)> {
    let status = console.command("trace status");
    let rows = status.lines().skip(2).take(6);
    rows.map(|row| {
        let (what, numbers) = row.split_at(20);
        let mut numbers = numbers.split_whitespace();
        let events = numbers.next().and_then(|n| n.parse().ok()).expect(row);
        let counted = numbers.next().expect(row);
        (what.trim().to_owned(), events, counted.parse().ok())
    })
    .collect()
}

/// How many records were overwritten, of all CPUs.
fn overwritten(console: &mut Console) -> u64 {
    let status = console.command("trace status");
    let rows = status
        .lines()
        .filter(|line| line.ends_with("were overwritten"));
    rows.map(|row| {
        let words: Vec<_> = row.split_whitespace().collect();
        words[words.len() - 3].parse::<u64>().expect(row)
    })
    .sum()
}

/// The last records of the trace as they come over the serial line, checked.
fn export(console: &mut Console, most: u32) -> Trace {
    let json = console.command_within(&format!("trace export -n {most}"), PATIENCE);
    chrome::check(&json).unwrap_or_else(|error| panic!("{error:#}\n{json}"))
}

fn machine() -> Console {
    let card = Card::new().file("DATA.BIN", "0123456789abcdef".repeat(4096));
    let mut console = Machine::new()
        .card_with(&card)
        .net("user")
        .deadline(Duration::from_secs(300))
        .start();
    console.prompt();
    // Until it answers, something of the network's beginnings is left to come.
    for _ in 0..100 {
        let reply = console.command_within("ping 10.0.2.2 count 1", PATIENCE);
        if reply.contains("1 answered") {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    console
}

#[test]
fn events_agree_with_the_counters() {
    claim(
        "trace: interrupts, switches, disk requests and packets are as many as the kernel counts",
    );
    let mut console = machine();
    console.command("trace on");
    for line in [
        "ping 10.0.2.2 count 3",
        "stress start",
        "sha256 /boot/DATA.BIN",
        "cp /boot/DATA.BIN /boot/COPY.BIN",
        "sync",
        "intr",
        "stress stop",
        "sync",
    ] {
        console.command_within(line, PATIENCE);
    }
    console.command("trace off");
    let seen = counts(&mut console);
    assert_eq!(seen.len(), 6, "{seen:?}");
    for (what, events, counted) in seen {
        case(&format!("{what}: {events}"));
        assert_eq!(Some(events), counted, "{what}");
        assert!(events > 0, "{what}");
    }
    // What is off is neither recorded nor compared.
    console.command("trace on bio");
    console.command("stress start");
    console.command_within("stress stop", PATIENCE);
    console.command("trace off");
    for (what, events, counted) in counts(&mut console) {
        let is_bio = what.starts_with("disk");
        assert_eq!(counted, is_bio.then_some(events), "{what}");
        assert!(is_bio || events == 0, "{what}: {events}");
    }
}

#[test]
fn the_export_is_of_the_format() {
    claim("trace export: JSON that Perfetto's importer takes, its entries as many as the events");
    let mut console = machine();
    console.command("trace on");
    console.command("sha256 /boot/DATA.BIN");
    console.command("ping 10.0.2.2 count 2");
    console.command("trace off");
    assert_eq!(overwritten(&mut console), 0, "the interval is too long");
    let counts = counts(&mut console);
    let count = |what: &str| {
        let row = counts.iter().find(|(name, _, _)| name == what);
        row.unwrap_or_else(|| panic!("no {what}")).1
    };
    let trace = export(&mut console, 16384);
    let direct = trace.slices(1, "intr").count() as u64;
    let threaded = trace
        .events
        .iter()
        .filter(|event| match event {
            Event::Instant(i) => {
                i.cat == "intr" && i.args.len() == 1 && i.args.contains_key("intid")
            }
            _ => false,
        })
        .count() as u64;
    assert_eq!(direct + threaded, count("interrupts handled"));
    assert_eq!(trace.instants("start ", None), count("disk commands"));
    let transfers = trace.instants("transfer ", None);
    assert_eq!(transfers, count("disk transfers"));
    let received = trace.instants("receive", Some("frames"));
    assert_eq!(received, count("frames received"));
    let sent = trace.instants("transmit", Some("frames"));
    assert_eq!(sent, count("frames sent"));
    let shell = trace.slices(1, "sched").any(|slice| slice.name == "shell");
    assert!(shell, "the shell was never seen to run");
    // The same to the card, and back.
    let said = console.command_within("trace export /boot/TRACE.JSN", PATIENCE);
    assert!(said.starts_with("/boot/TRACE.JSN: "), "{said}");
    let file = console.command_within("cat /boot/TRACE.JSN", PATIENCE);
    let again = chrome::check(&file).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(again.events.len(), trace.events.len());
}

#[test]
fn a_full_ring_keeps_the_newest() {
    claim(
        "trace: a ring that overflows overwrites the oldest, says how many, and is still well-formed",
    );
    let mut console = machine();
    console.command("trace on");
    console.command("stress start");
    let mut lost = 0;
    for _ in 0..60 {
        lost = overwritten(&mut console);
        if lost > 4096 {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    console.command_within("stress stop", PATIENCE);
    assert!(lost > 4096, "{lost}");
    let trace = export(&mut console, 1000);
    let told = trace.other["lost"]
        .as_str()
        .and_then(|n| n.parse::<u64>().ok());
    assert_eq!(told, Some(overwritten(&mut console)));
    for (what, events, counted) in counts(&mut console) {
        assert_eq!(Some(events), counted, "{what}: overwritten, but counted");
    }
    let last = console.command("trace show 5");
    assert_eq!(last.lines().count(), 6, "{last}");
}

#[test]
fn waits_for_locks_are_seen() {
    claim("trace: waits for locks are slices of their own, from spinning or blocking to their end");
    let mut console = machine();
    console.command("trace on lock");
    console.command_within("torture 1", PATIENCE);
    let is_wait = |trace: &Trace| {
        let of = |kind: &str| {
            let events = trace.events.iter();
            let waits = events.filter(|event| match event {
                Event::Begin(wait) => wait.cat == "lock" && wait.name.starts_with(kind),
                _ => false,
            });
            waits.count()
        };
        (of("spin "), of("block "))
    };
    console.command("trace off");
    let trace = export(&mut console, 3000);
    let (spins, blocks) = is_wait(&trace);
    case(&format!("{spins} spins, {blocks} blocks"));
    assert!(spins + blocks > 10, "the torture contends");
}

#[test]
fn words_that_are_wrong_get_the_usage() {
    claim("trace refuses words that it does not know, and numbers that are none");
    let mut console = Machine::new().start();
    let usage = "usage: trace [on [CLASS]...|off|status|clear|show [N]|export [-n N] [FILE]]";
    for line in [
        "trace sideways",
        "trace on disk",
        "trace off now",
        "trace show 1 2",
        "trace export -x",
        "trace export -n",
    ] {
        assert_eq!(console.command(line), usage, "{line}");
    }
    for line in ["trace show 0", "trace export -n 0 /boot/X"] {
        let reply = console.command(line);
        assert!(reply.contains("out of range"), "{line}: {reply}");
    }
    assert!(console.command("trace show x").contains("is no number"));
    let reply = console.command("trace status");
    assert!(reply.starts_with("nothing was traced"), "{reply}");
}
