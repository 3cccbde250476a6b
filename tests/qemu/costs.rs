// SPDX-License-Identifier: MIT OR Apache-2.0
//! What interrupts and spl cost: instructions and register accesses, counted by QEMU and the kernel.

use qemu_tests::{Machine, case, claim};

#[test]
fn it_is_not_far_from_an_interrupt_to_its_handler() {
    claim(
        "irqlat: from an interrupt to a direct and a threaded handler, a soft interrupt, a thread",
    );
    let mut console = Machine::new().icount().start();
    let table = console.command("irqlat");
    // path (of several words)  least  median  most  limit
    let rows: Vec<[u64; 4]> = table
        .lines()
        .skip(1)
        .map(|row| {
            let mut numbers = row.split_whitespace().rev().take(4);
            core::array::from_fn(|_| {
                let word = numbers.next().expect("four numbers");
                word.parse().expect("a number")
            })
        })
        .collect();
    for ([limit, _, median, least], most) in rows.iter().zip([200, 600, 400, 1000]) {
        case(&format!("{median} of {limit}"));
        assert_eq!(*limit, most, "{table}");
        assert!(median <= limit, "{table}");
        // An exception's entry alone saves 31 registers.
        assert!(*least > 40, "{table}");
    }
    assert_eq!(rows.len(), 4, "{table}");
}

#[test]
fn only_eager_writes_the_mask_for_nothing() {
    claim("bench spl: PMR writes for a million pairs, and GIC accesses for what is held off");
    let mut console = Machine::new().icount().start();
    let table = console.command("bench spl");
    let row = |policy: &str| -> Vec<String> {
        let row = table.lines().find(|row| row.starts_with(policy));
        let row = row.unwrap_or_else(|| panic!("no {policy}:\n{table}"));
        row.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    // PMR writes for all pairs; accesses with nothing held off, and held off; of these PMR writes.
    for (policy, expected) in [
        ("eager", ["2000000", "4.0", "6.0", "2.0"]),
        ("lazy", ["0", "4.0", "7.0", "2.0"]),
        ("domain", ["0", "4.0", "4.0", "0.0"]),
    ] {
        let row = row(policy);
        let seen = [&row[0], &row[2], &row[3], &row[4]];
        assert_eq!(seen, expected, "{policy}:\n{table}");
    }
}

#[test]
fn irqlat_says_what_it_needs() {
    claim("irqlat without -icount says how to count; words get the usage");
    let mut console = Machine::new().start();
    let reply = console.command("irqlat");
    assert!(reply.contains("make run ARGS=--icount"), "{reply}");
    assert_eq!(
        console.command("irqlat 1"),
        "usage: irqlat [hist|clear|off]"
    );
}
