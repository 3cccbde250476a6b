// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flavours of interrupts: threaded, legacy, and one that never stops.

use std::time::Duration;

use qemu_tests::{Console, Machine, case, claim};

/// How long a check may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(machine: Machine) -> Console {
    let mut console = machine.deadline(Duration::from_secs(300)).start();
    console.prompt();
    console
}

#[track_caller]
fn check(console: &mut Console, name: &str) {
    let check = console.command_within(&format!("selftest {name}"), PATIENCE);
    assert!(check.ends_with("1 passed, 0 failed"), "{check}");
}

#[test]
fn a_threaded_handler_borrows_until_it_waits() {
    claim("threaded: no switch while it does not wait; if it does, a thread whose source is quiet");
    for policy in ["eager", "lazy", "domain"] {
        case(policy);
        let mut console = start(Machine::new().cmdline(&format!("spl={policy}")));
        check(&mut console, "borrow");
        check(&mut console, "promote");
    }
}

#[test]
fn handlers_that_spin_give_their_cpus_back() {
    claim("two handlers that each spin for a lock whose holder lies under the other both end");
    let mut console = start(Machine::new());
    check(&mut console, "circle");
    assert_eq!(console.command("stress start"), "");
    check(&mut console, "circle");
}

#[test]
fn legacy_handlers_exclude_each_other_in_a_domain() {
    claim("legacy, four cores, under load: never two of a domain at once; two of two domains are");
    let mut console = start(Machine::new());
    assert!(console.cpus().iter().all(|cpu| cpu.state == "online"));
    check(&mut console, "legacy");
    assert_eq!(console.command("stress start"), "");
    check(&mut console, "legacy");
    let end = console.command_within("stress stop", PATIENCE);
    assert!(end.ends_with(" threads ended, nothing lost"), "{end}");
}

#[test]
fn a_line_that_is_stuck_is_throttled_and_named() {
    claim("a line stuck high is named and throttled; its CPU and the console live, until Ctrl-C");
    let mut console = start(Machine::new());
    for flavour in ["direct", "threaded"] {
        case(flavour);
        let word = if flavour == "direct" { "" } else { "threaded " };
        console.send_line(&format!("demo storm {word}3000"));
        console.expect("came 1000 times in a row: throttled", PATIENCE);
        // It goes on, and the console prints that, and hears Ctrl-C by an interrupt of the same CPU.
        let said = console.expect("was throttled", PATIENCE);
        assert!(
            said.contains("is stuck") || said.contains("it came"),
            "{said}"
        );
        console.send(b"\x03");
        let end = console.expect("the console's interrupt was handled ", PATIENCE);
        let counts: Vec<u64> = end
            .split_once("of other lines ")
            .map_or("", |(_, counts)| counts)
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(
            matches!(counts[..], [sent, handled] if sent == handled && sent > 0),
            "{end}"
        );
        let heard = console.prompt();
        assert!(
            !heard.starts_with("0 ") && !heard.contains("FAILED"),
            "{heard}"
        );
        let named = console.command("dmesg");
        let named = named.matches("interrupt 125 (mini uart) came 1000 times in a row");
        assert_eq!(named.count(), 1 + usize::from(flavour == "threaded"));
        assert!(!console.command("intr").contains("mini uart"));
    }
}
