// SPDX-License-Identifier: MIT OR Apache-2.0
//! The locks in the running kernel: what they cost, and that they hold.

use std::time::Duration;

use qemu_tests::{Boot, Gic, Machine, case, claim};

/// Most instructions that a round trip by condition variable may take: on one CPU, and across two.
const MOST: [u64; 2] = [1000, 2500];

#[test]
fn a_condition_variable_round_trip_costs_little() {
    claim("bench cv: a round trip takes 1,000 instructions or less on one CPU, 2,500 across two");
    let mut console = Machine::new().icount().start();
    let table = console.command("bench cv");
    let counts: Vec<u64> = table
        .lines()
        .skip(2)
        .map(|row| row.split_whitespace().last().expect("a count"))
        .map(|word| word.parse().expect("a number"))
        .collect();
    case(&format!("instructions: {counts:?}"));
    assert_eq!(counts.len(), 2, "{table}");
    for (count, most) in counts.iter().zip(MOST) {
        // Two switches and two signals are not to be had for nothing.
        assert!((200..=most).contains(count), "{table}");
    }
}

#[test]
fn bench_says_what_it_needs() {
    claim("bench cv without -icount says how to count; other words get the usage");
    let mut console = Machine::new().start();
    let reply = console.command("bench cv");
    assert!(
        reply.starts_with("no instructions are counted here"),
        "{reply}"
    );
    for line in ["bench", "bench it", "bench cv cv"] {
        assert_eq!(console.command(line), "usage: bench cv|spl", "{line}");
    }
}

/// How long a torture may take on a busy host, beyond the seconds asked for.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn the_locks_hold_under_torture() {
    claim("torture: locks of every kind hold, everybody gets on, lockstat counts the same");
    for (boot, gic) in [(Boot::Bl31, Gic::Board), (Boot::Stock, Gic::Plain)] {
        case(&format!("{boot:?}, {gic:?} GIC"));
        let mut console = Machine::new().boot(boot).gic(gic).start();
        let report = console.command_within("torture 4", PATIENCE);
        assert!(report.ends_with("\ntorture: passed"), "{report}");
        let rows: Vec<Vec<&str>> = report
            .lines()
            .map(|row| row.split_whitespace().collect())
            .collect();
        // Every lock was entered: from interrupts, too, where they may; and some waits were given up.
        let row = |class: &str| {
            let row = rows.iter().find(|row| row[0] == class);
            row.unwrap_or_else(|| panic!("no {class}:\n{report}"))
        };
        let number = |class, column: usize| -> u64 { row(class)[column].parse().expect("a count") };
        for class in [
            "Plain",
            "Inner",
            "Shared",
            "SharedToo",
            "Ring",
            "Bell",
            "Never",
        ] {
            assert!(number(class, 2) > 0 && number(class, 4) > 0, "{report}");
        }
        for class in ["Bio", "Net", "Tty", "Vm", "Sched", "High"] {
            assert!(number(class, 5) > 0, "no interrupt at {class}:\n{report}");
            let entries = number(class, 2) + number(class, 3);
            assert!(
                entries > number(class, 5),
                "no thread at {class}:\n{report}"
            );
        }
        assert!(number("Outer", 6) > 0, "no wait was given up:\n{report}");
        assert!(!report.contains("meanwhile 0 CPUs"), "{report}");
        assert!(report.lines().all(|line| line.len() <= 80), "{report}");
        assert!(console.cpus().iter().all(|cpu| cpu.state == "online"));
    }
}

#[test]
fn a_broken_lock_fails_the_torture() {
    claim("torture broken: a lock that lets two in is noticed, and the others are not blamed");
    let mut console = Machine::new().start();
    let report = console.command_within("torture broken 3", PATIENCE);
    assert!(
        report.ends_with("torture: FAILED: a lock does not hold: see the table"),
        "{report}"
    );
    assert_eq!(report.matches("WRONG").count(), 1, "{report}");
    let wrong = report
        .lines()
        .position(|row| row.contains("WRONG: two were inside"));
    let row = wrong.and_then(|n| report.lines().nth(n - 1));
    assert!(
        row.is_some_and(|row| row.starts_with("Broken ")),
        "{report}"
    );
    // Only that lock was broken.
    let report = console.command_within("torture 1", PATIENCE);
    assert!(report.ends_with("\ntorture: passed"), "{report}");
}
