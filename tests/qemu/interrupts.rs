// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controller: how many priorities it has, and that each class has its own.

use std::collections::BTreeMap;

use qemu_tests::{Boot, Console, Gic, Machine, case, claim};

/// The hardware classes, most urgent first, as `intr` spells them.
const CLASSES: [&str; 5] = ["high", "sched", "tty", "net", "bio"];

/// The priority of each class that has a source, and the bits that the GIC has.
#[track_caller]
fn priorities(console: &mut Console) -> (BTreeMap<usize, u8>, u8) {
    let table = console.command("intr");
    let hex = |word: &str| u8::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let mut classes = BTreeMap::new();
    for row in table.lines() {
        // INTID  SOURCE (may have a space)  CLASS  PRIORITY  four counts
        let words: Vec<&str> = row.split_whitespace().collect();
        let class = words
            .iter()
            .find_map(|w| CLASSES.iter().position(|c| c.eq_ignore_ascii_case(w)));
        if let (Some(class), Some(priority)) = (
            class,
            words
                .iter()
                .find_map(|w| w.starts_with("0x").then(|| hex(w))?),
        ) {
            let before = classes.insert(class, priority);
            assert!(
                before.is_none_or(|p| p == priority),
                "two priorities for a class:\n{table}"
            );
        }
    }
    let bits = table
        .split("priority bits ")
        .nth(1)
        .and_then(|rest| hex(rest.get(..4)?));
    assert!(table.contains(" unexpected 0"), "{table}");
    (classes, bits.unwrap_or_else(|| panic!("no bits:\n{table}")))
}

#[test]
fn classes_have_priorities_of_their_own() {
    claim("the priority bits are found, and each class has a priority of its own");
    // The board's GIC has 5 bits; whoever is not secure sees the upper half, so 4 of them.
    for (boot, gic, extra, expected) in [
        (Boot::Bl31, Gic::Board, "", 0xf0),
        (Boot::Stock, Gic::Board, "", 0xf0),
        (Boot::Bl31, Gic::Plain, "", 0xff),
        (Boot::Stock, Gic::Plain, "", 0xff),
        (Boot::Bl31, Gic::Board, "arm_gic.num-priority-bits=8", 0xfe),
        (Boot::Stock, Gic::Plain, "arm_gic.num-priority-bits=5", 0xf8),
    ] {
        case(&format!("{boot:?}, {gic:?} GIC {extra}: {expected:#x}"));
        let mut machine = Machine::new().boot(boot).gic(gic);
        if !extra.is_empty() {
            machine = machine.args(["-global", extra]);
        }
        let mut console = machine.start();
        let checks = console.command("selftest");
        assert!(checks.ends_with(" passed, 0 failed"), "{checks}");
        let (classes, bits) = priorities(&mut console);
        assert_eq!(bits, expected);
        for class in ["high", "sched", "tty"] {
            let class = CLASSES.iter().position(|c| *c == class).expect("a class");
            assert!(
                classes.contains_key(&class),
                "no source of class {}",
                CLASSES[class]
            );
        }
        let seen: Vec<u8> = classes.values().map(|p| p & bits).collect();
        assert!(seen.is_sorted_by(|a, b| a < b), "{classes:x?}");
    }
}

#[test]
fn interrupts_are_counted() {
    claim("intr counts the console's interrupts on CPU 0 and the timer's on all CPUs");
    let mut console = Machine::new().start();
    console.command("selftest sleep");
    let table = console.command("intr");
    let counts = |name: &str| -> Vec<u64> {
        let row = table.lines().find(|row| row.contains(name));
        let row = row.unwrap_or_else(|| panic!("no {name}:\n{table}"));
        let words: Vec<&str> = row.split_whitespace().collect();
        words[words.len() - 4..]
            .iter()
            .map(|w| w.parse().expect("a count"))
            .collect()
    };
    let uart = counts("uart0");
    assert!(uart[0] > 0 && uart[1..] == [0, 0, 0], "{table}");
    assert!(counts("timer").iter().all(|n| *n > 0), "{table}");
}

#[test]
fn what_spl_masks_is_deferred_and_runs_once() {
    claim("interrupts that spl masks are deferred, run once each, and intr counts both");
    let mut console = Machine::new().start();
    let check = console.command("selftest spl");
    assert!(check.ends_with("1 passed, 0 failed"), "{check}");
    let table = console.command("intr");
    // The check sets each line pending so often: with nothing held, or with something that masks it.
    for (name, deferred, handled) in [
        ("trial bio", "3", "4"),
        ("trial net", "2", "3"),
        ("trial tty", "1", "1"),
    ] {
        let row = table.lines().find(|row| row.contains(name));
        let row = row.unwrap_or_else(|| panic!("no {name}:\n{table}"));
        let words: Vec<&str> = row.split_whitespace().rev().take(5).collect();
        assert_eq!(words, ["0", "0", "0", handled, deferred], "{table}");
    }
}
