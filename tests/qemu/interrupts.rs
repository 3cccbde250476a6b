// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controller: how many priorities it has, and that each class has its own.

use std::collections::BTreeMap;
use std::time::Duration;

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
        // INTID  SOURCE (may have a space)  CLASS  FLAVOUR  PRIORITY  CPU  counts and times
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
        let log = console.command("dmesg");
        assert!(log.contains(" high 0x00\n"), "{log}");
        for class in ["sched", "tty"] {
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

/// Where interrupts of `name` were handled: the counts of `intr cpus`.
#[track_caller]
fn counts(console: &mut Console, name: &str) -> Vec<u64> {
    let table = console.command("intr cpus");
    let row = table.lines().find(|row| row.contains(name));
    let row = row.unwrap_or_else(|| panic!("no {name}:\n{table}"));
    let words: Vec<&str> = row.split_whitespace().collect();
    let counts = words[words.len() - 4..].iter();
    counts.map(|w| w.parse().expect("a count")).collect()
}

#[test]
fn interrupts_are_counted() {
    claim("intr counts the console's interrupts on CPU 0 and the timer's on all CPUs");
    let mut console = Machine::new().start();
    console.command("selftest sleep");
    let uart = counts(&mut console, "uart0");
    assert!(uart[0] > 0 && uart[1..] == [0, 0, 0], "{uart:?}");
    let timer = counts(&mut console, "timer");
    assert!(timer.iter().all(|n| *n > 0), "{timer:?}");
}

#[test]
fn what_spl_masks_waits_and_runs_once() {
    claim("interrupts that spl masks wait, and run once each as soon as they may, by each policy");
    for policy in ["eager", "lazy", "domain"] {
        case(policy);
        let mut console = Machine::new().cmdline(&format!("spl={policy}")).start();
        let check = console.command("selftest spl");
        assert!(check.ends_with("1 passed, 0 failed"), "{check}");
    }
}

/// The CPU that the console's interrupt goes to, by the table of `intr`.
#[track_caller]
fn home(console: &mut Console) -> usize {
    let table = console.command("intr");
    let row = table.lines().find(|row| row.contains("uart0"));
    let row = row.unwrap_or_else(|| panic!("no uart0:\n{table}"));
    let cpu = row.split_whitespace().nth(5).expect("a CPU");
    cpu.parse().unwrap_or_else(|_| panic!("{row}"))
}

#[test]
fn the_console_moves_to_another_cpu() {
    claim("intr move sends the console's interrupts elsewhere at once, and what cannot be is said");
    let mut console = Machine::new().start();
    for cpu in [2, 1, 3, 0] {
        let said = console.command(&format!("intr move 153 {cpu}"));
        assert_eq!(said, format!("interrupt 153 goes to CPU {cpu}"));
        let before = counts(&mut console, "uart0");
        // Who reads may find what was typed before the interrupt is taken: then there is none.
        let grown = (0..20).find_map(|_| {
            let after = counts(&mut console, "uart0");
            let grown: Vec<usize> = (0..4).filter(|n| after[*n] > before[*n]).collect();
            (!grown.is_empty()).then_some(grown)
        });
        assert_eq!(grown.as_deref(), Some(&[cpu][..]), "{before:?}");
    }
    console.command("cpu off 3");
    for (line, reply) in [
        (
            "intr move 27 1",
            "interrupt 27 is not a device's (32 and up)",
        ),
        ("intr move 200 1", "interrupt 200 has no handler"),
        ("intr move 153 3", "CPU 3 is not online"),
    ] {
        assert_eq!(console.command(line), reply, "{line}");
    }
    assert_eq!(home(&mut console), 0);
}

#[test]
fn a_source_that_moves_loses_nothing() {
    claim(
        "sources move over all CPUs while they come: all are handled, and only where they should be",
    );
    let mut console = Machine::new().start();
    for line in ["selftest move", "stress start", "selftest move"] {
        let said = console.command_within(line, Duration::from_secs(60));
        assert!(
            said.is_empty() || said.ends_with("1 passed, 0 failed"),
            "{said}"
        );
    }
}

#[test]
fn a_cpu_that_goes_off_hands_its_sources_over() {
    claim("cpu off sends the console's interrupts to another CPU, and cpu on brings them home");
    let mut console = Machine::new().start();
    assert_eq!(
        console.command("intr move 153 2"),
        "interrupt 153 goes to CPU 2"
    );
    for _ in 0..3 {
        console.command("cpu off 2");
        let away = home(&mut console);
        let before = counts(&mut console, "uart0");
        let after = counts(&mut console, "uart0");
        assert!(
            away != 2 && after[away] > before[away],
            "{before:?}, {after:?}"
        );
        assert_eq!(after[2], before[2]);
        console.command("cpu on 2");
        assert_eq!(home(&mut console), 2);
        let back = counts(&mut console, "uart0");
        assert!(back[2] > after[2], "{after:?}, {back:?}");
    }
}
