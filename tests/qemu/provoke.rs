// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes with locks that are made on purpose are found at the console, by the steps of the guide's chapter.

use std::time::{Duration, Instant};

use qemu_tests::{Console, Machine, claim};

/// How long it may take until a mistake shows.
const SHOWS: Duration = Duration::from_secs(30);
/// How long the hog stays inside, microseconds.
const HOG_US: u64 = 20_000;

/// Looks again and again, until `shows` finds it.
fn until<T>(console: &mut Console, line: &str, shows: impl Fn(&str) -> Option<T>) -> T {
    let end = Instant::now() + SHOWS;
    loop {
        let said = console.command(line);
        if let Some(found) = shows(&said) {
            return found;
        }
        assert!(Instant::now() < end, "{line} does not show it:\n{said}");
    }
}

/// Columns of the row of `threads` that is called so.
fn thread(said: &str, name: &str) -> Option<Vec<String>> {
    let mut rows = said
        .lines()
        .map(|row| row.split_whitespace().map(str::to_owned));
    let mut rows = rows.by_ref().map(Iterator::collect::<Vec<_>>);
    rows.find(|row| row.get(1).is_some_and(|word| word == name))
}

#[test]
fn a_deadlock_is_found_at_the_console() {
    claim("lockdebug names both locks of a deadlock, threads shows who is stuck; it can be ended");
    // A busy host makes holds long; what is found of them would be printed between the replies.
    let mut console = Machine::new().cmdline("panic=exit log=error").start();
    console.command("lockdebug on");
    assert_eq!(console.command("provoke deadlock"), "");
    let order = until(&mut console, "lockdebug", |said| {
        let line = said.lines().find(|line| line.contains("order: Provoke"));
        line.map(str::to_owned)
    });
    for class in ["ProvokeLeft", "ProvokeRight"] {
        assert!(order.contains(class), "{order}");
    }
    for name in ["left", "right"] {
        let state = until(&mut console, "threads", |said| {
            thread(said, name).filter(|row| row[2] == "blocked")
        });
        assert_eq!(state[1], name);
    }
    let again = console.command("provoke hog");
    assert!(again.contains("provoke stop ends it"), "{again}");
    assert_eq!(console.command("provoke stop"), "2 threads ended");
    let said = console.command("threads");
    assert!(thread(&said, "left").is_none(), "{said}");
    assert_eq!(console.command("provoke stop"), "no mistake is being made");
    // And once more: nothing of it is left.
    assert_eq!(console.command("provoke deadlock"), "");
    assert_eq!(console.command("provoke stop"), "2 threads ended");
}

#[test]
fn a_hogged_lock_is_found_at_the_console() {
    claim("lockstat has the hogged lock first, with who waited for it and how long it was held");
    let mut console = Machine::new().start();
    console.command("lockstat on");
    assert_eq!(console.command("provoke hog"), "");
    let row = until(&mut console, "lockstat", |said| {
        let row: Vec<_> = said
            .lines()
            .nth(1)?
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let held_us: u64 = row.get(7)?.parse().ok()?;
        (row[0] == "ProvokeBusy" && row[4] != "0" && held_us >= HOG_US).then_some(row)
    });
    assert_eq!(row[1], "adaptive");
    assert_eq!(console.command("provoke stop"), "3 threads ended");
    // Who waited and how long does not grow any more.
    let waits = |said: &str| {
        let row = said.lines().find(|line| line.starts_with("ProvokeBusy"));
        row.map(|row| row.split_whitespace().nth(4).map(str::to_owned))
    };
    let after = waits(&console.command("lockstat"));
    assert!(after.is_some());
    assert_eq!(waits(&console.command("lockstat")), after);
}
