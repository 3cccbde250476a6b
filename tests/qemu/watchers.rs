// SPDX-License-Identifier: MIT OR Apache-2.0
//! lockstat and lockdebug in the running kernel.

use std::time::Duration;

use qemu_tests::{Console, Machine, case, claim};

/// How long something that uses all CPUs may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

/// What lockdebug has found, without how often.
fn findings(console: &mut Console) -> Vec<String> {
    let reply = console.command("lockdebug");
    let rows = reply.lines().filter_map(|line| line.split_once("x  "));
    rows.map(|(_, finding)| finding.to_owned()).collect()
}

/// Times that locks of a class were entered, as `lockstat all` has it.
fn entered(console: &mut Console, class: &str) -> u64 {
    let table = console.command("lockstat all");
    let rows = table.lines().filter(|row| {
        let name = row.split_whitespace().next().unwrap_or("");
        name == class || name.starts_with(&format!("{class}."))
    });
    rows.map(|row| {
        row.split_whitespace()
            .nth(3)
            .unwrap_or("")
            .parse::<u64>()
            .expect(row)
    })
    .sum()
}

#[test]
fn lockdebug_finds_what_was_done_wrong() {
    claim(
        "lockdebug finds an inverted order, a wrong context, a long hold; logs each once; goes on",
    );
    // A busy host makes holds long; what is found meanwhile would be printed between the replies.
    let mut console = Machine::new().cmdline("panic=exit log=error").start();
    console.prompt();
    let refused = console.command("lockdebug try");
    assert_eq!(refused, "lockdebug is off; lockdebug on switches it on");
    assert_eq!(console.command("lockdebug on"), "lockdebug is on");
    for _ in 0..2 {
        console.command("lockdebug try");
        let found = findings(&mut console);
        let expected = [
            "order: Trial entered holding Trial, and before the other way round",
            "context: Trial may sleep, entered with interrupts masked",
            "held: TrialBio longer than the limit",
        ];
        for text in expected {
            assert!(
                found.iter().any(|f| f.starts_with(text)),
                "{text}: {found:?}"
            );
        }
    }
    let log = console.command("dmesg");
    let logged = log
        .lines()
        .filter(|line| line.contains("lockdebug: order: Trial"));
    assert_eq!(logged.count(), 1, "{log}");
    console.command("lockdebug limit 10000000");
    console.command("lockdebug clear");
    assert_eq!(findings(&mut console), [""; 0]);
}

#[test]
fn the_kernel_uses_its_locks_as_it_says() {
    claim(
        "with lockdebug=on from the start, everything the kernel does breaks no rule of its locks",
    );
    let mut console = Machine::new()
        .cmdline("panic=exit lockdebug=on lockstat=on")
        .deadline(Duration::from_secs(300))
        .start();
    console.prompt();
    // An emulated CPU may be taken away by the host at any time, so how long locks are held says nothing.
    console.command("lockdebug limit 10000000");
    console.command("lockdebug clear");
    console.command("stress start");
    for line in [
        "ls /boot",
        "sha256 /boot/bl31.bin",
        "disk",
        "threads",
        "intr",
        "cpu off 2",
        "mount",
        "cpu on 2",
    ] {
        case(line);
        console.command_within(line, PATIENCE);
    }
    let end = console.command_within("stress stop", PATIENCE);
    assert!(end.ends_with("nothing lost"), "{end}");
    console.command_within("selftest", PATIENCE);
    // Handlers of all domains on several CPUs, each on top of other domains' holders.
    let torture = console.command_within("torture 2", 2 * PATIENCE);
    assert!(torture.ends_with("torture: passed"), "{torture}");
    assert_eq!(findings(&mut console), [""; 0]);
    assert!(entered(&mut console, "RunQueue") > 10_000);
}

#[test]
fn lockstat_counts_while_it_is_on() {
    claim("lockstat counts entries while it is on, and none while it is off");
    let mut console = Machine::new().start();
    console.prompt();
    console.command("lockstat clear");
    console.command("sha256 /boot/config.txt");
    assert_eq!(
        entered(&mut console, "Heap"),
        0,
        "off: only waits are counted"
    );
    assert_eq!(console.command("lockstat on"), "lockstat is on");
    console.command("sha256 /boot/config.txt");
    let (heap, tty) = (entered(&mut console, "Heap"), entered(&mut console, "Tty"));
    assert!(heap > 0 && tty > 0, "heap {heap}, tty {tty}");
    assert_eq!(console.command("lockstat off"), "lockstat is off");
    let after = entered(&mut console, "Tty");
    console.command("sha256 /boot/config.txt");
    assert_eq!(entered(&mut console, "Tty"), after);
}

#[test]
fn wrong_words_are_refused() {
    claim("lockstat and lockdebug refuse words that they do not know");
    let mut console = Machine::new().start();
    console.prompt();
    for line in ["lockstat maybe", "lockstat on off", "lockstat 5"] {
        assert_eq!(
            console.command(line),
            "usage: lockstat [on|off|clear|[-w] [all] [contention|spin|block|hold]]",
            "{line}"
        );
    }
    let usage = "usage: lockdebug [on|off|clear|order|limit US|try [domains]]";
    for line in [
        "lockdebug perhaps",
        "lockdebug on 1",
        "lockdebug limit",
        "lockdebug try it",
    ] {
        assert_eq!(console.command(line), usage, "{line}");
    }
    let reply = console.command("lockdebug limit 0");
    assert!(reply.contains("0"), "{reply}");
}
