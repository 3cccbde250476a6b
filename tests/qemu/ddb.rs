// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debugger on a stopped machine: it gets in, tells the truth, and lets go, whatever the kernel holds.

use std::time::Duration;

use qemu_tests::{Console, Machine, PROMPT, case, claim};

const DB: &str = "db> ";
/// How long anything may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
const COMMANDS: [&str; 13] = [
    "help",
    "cpus",
    "threads",
    "bt all",
    "locks",
    "lock Tty",
    "regs 1",
    "md 0x80000",
    "dmesg",
    "intr",
    "callouts",
    "bt",
    "dmesg 500",
];

/// The line is held low for longer than a character.
fn send_break(console: &Console) {
    assert_eq!(console.monitor("chardev-send-break serial0"), "");
}

/// Gets in by a break.
fn enter(console: &mut Console) -> String {
    send_break(console);
    console.expect("stopped on CPU ", PATIENCE);
    console.expect(DB, PATIENCE)
}

/// Gives a command at the debugger's prompt.
#[track_caller]
fn db(console: &mut Console, line: &str) -> String {
    console.send_line(line);
    console.expect(&format!("{line}\n"), PATIENCE);
    console.expect(DB, PATIENCE)
}

/// The machine works as before.
fn works(console: &mut Console) {
    console.expect("continuing\n", PATIENCE);
    console.send_line("");
    console.expect(PROMPT, PATIENCE);
    console.assert_four("2->1", "psci");
    let checks = console.command_within("selftest", PATIENCE);
    assert!(checks.ends_with(" passed, 0 failed"), "{checks}");
}

#[test]
fn a_break_stops_the_machine_and_continue_lets_it_go_on() {
    claim("ddb: a break stops all CPUs; each command answers in 80 columns; continue goes on");
    let mut console = Machine::new().monitor().cmdline("panic=exit").start();
    console.prompt();
    console.command("stress start");
    for turn in 0..3 {
        case(&format!("turn {turn}"));
        enter(&mut console);
        for command in COMMANDS {
            let said = db(&mut console, command);
            assert!(said.lines().count() > 0, "{command}");
            for line in said.lines().filter(|_| !command.starts_with("dmesg")) {
                assert!(line.len() <= 80, "{command}: {line}");
            }
        }
        let cpus = db(&mut console, "cpus");
        assert_eq!(cpus.matches("stopped").count(), 3, "{cpus}");
        assert_eq!(cpus.matches("in ddb").count(), 1, "{cpus}");
        console.send_line("c");
        console.expect("continuing\n", PATIENCE);
        console.send_line("");
        console.expect(PROMPT, PATIENCE);
    }
    let stress = console.command("stress stop");
    assert!(
        !stress.contains("lost") || stress.contains("nothing"),
        "{stress}"
    );
    enter(&mut console);
    console.send_line("c");
    works(&mut console);
}

#[test]
fn each_command_is_explained_and_wrong_words_are_answered() {
    claim("ddb: help NAME has an example for each command; wrong words get usage or a reason");
    let mut console = Machine::new().cmdline("panic=exit").start();
    console.prompt();
    console.send_line("ddb");
    console.expect(DB, PATIENCE);
    let list = db(&mut console, "help");
    let names: Vec<_> = list
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert!(names.len() >= 13, "{list}");
    for name in &names {
        let said = db(&mut console, &format!("help {name}"));
        assert!(said.contains("Example: "), "{said}");
    }
    for name in names.iter().filter(|name| **name != "continue") {
        let said = db(&mut console, &format!("{name} zz yy xx ww"));
        assert!(said.contains("usage: "), "{name}: {said}");
    }
    for (line, answer) in [
        ("frobnicate", "no such command"),
        ("bt 9999", "no thread has that number"),
        ("bt cpu 4", "CPUs are 0 to 3"),
        ("regs 4", "CPUs are 0 to 3"),
        ("lock Nonsense", "no lock of that class"),
        ("md 0x10", "0x10: no access"),
        ("md 0xfd5f0000 4", "\n"),
        ("md 0x80001", "not a multiple"),
        ("c now", "usage: continue"),
    ] {
        let said = db(&mut console, line);
        assert!(said.contains(answer), "{line}: {said}");
    }
    console.send_line("c");
    works(&mut console);
}

#[test]
fn every_lock_of_the_machine_may_be_held() {
    claim("ddb: a break gets in, and all is told, with every lock held by one CPU");
    let machine = Machine::new().monitor().cmdline("panic=exit watchdog=60");
    let mut console = machine.start();
    console.prompt();
    console.command("uptime"); // the network has come
    console.send_line("hang locks");
    let before = console.expect(" locks taken\n", PATIENCE);
    // "N of M", perhaps behind a prompt.
    let mut numbers = before
        .split_whitespace()
        .rev()
        .filter_map(|word| word.parse().ok());
    let all: usize = numbers.next().expect("how many there are");
    let taken: usize = numbers.next().expect("how many were taken");
    assert_eq!(taken, all, "all of them");
    assert!(all > 20, "{all}");
    enter(&mut console);
    let locks = db(&mut console, "locks");
    assert!(
        locks.contains(&format!("{all} of {all} locks are held")),
        "{locks}"
    );
    for class in [
        "Heap", "Log", "Tty", "RunQueue", "Callouts", "Terminal", "Gic",
    ] {
        let of_class = locks.lines().filter(|line| line.starts_with(class));
        let mut of_class = of_class.peekable();
        assert!(of_class.peek().is_some(), "{class}: {locks}");
        of_class.for_each(|line| assert!(line.contains(" hang/3 on CPU 3"), "{line}"));
    }
    for command in COMMANDS {
        db(&mut console, command);
    }
    let trace = db(&mut console, "bt cpu 3");
    assert!(
        trace.contains("kernel::hang::hang_with_all_locks"),
        "{trace}"
    );
}

#[test]
fn a_cpu_that_hangs_with_interrupts_masked_keeps_nobody_out() {
    claim("ddb: a break gets in with any CPU hung, interrupts masked or at splhigh; it is shown");
    for (how, function, state) in [
        ("irq", "kernel::hang::hang_masked", "no answer"),
        ("spl", "kernel::hang::hang_at_splhigh", "stopped"),
    ] {
        // 0 is the CPU that takes the UART's interrupt.
        for cpu in [0, 2] {
            case(&format!("CPU {cpu}, {how}"));
            let machine = Machine::new().monitor().cmdline("panic=exit watchdog=60");
            let mut console = machine.start();
            let intr = console.command("intr");
            let uart = intr
                .lines()
                .find(|line| line.contains("uart0"))
                .expect("uart0");
            assert_eq!(uart.split_whitespace().nth(5), Some("0"), "{intr}");
            console.send_line(&format!("hang {cpu} {how}"));
            console.expect(&format!("CPU {cpu} hangs"), PATIENCE);
            std::thread::sleep(Duration::from_secs(1));
            enter(&mut console);
            let cpus = db(&mut console, "cpus");
            // With splhigh the tick of the hung CPU itself may be the one that sees the break.
            let row = cpus.lines().nth(cpu + 1).expect("a row").to_owned();
            assert!(
                row.contains(state) || how == "spl" && row.contains("in ddb"),
                "{cpus}"
            );
            assert!(row.contains(&format!("hang/{cpu}")), "{cpus}");
            let trace = db(&mut console, &format!("bt cpu {cpu}"));
            assert!(trace.contains(function), "{trace}");
            if how == "spl" {
                let regs = db(&mut console, &format!("regs {cpu}"));
                assert!(regs.contains("x30 "), "{regs}");
            }
        }
    }
}

#[test]
fn a_panic_in_the_consoles_driver_ends_in_the_debugger() {
    claim("panic=ddb: a panic in the UART's handler, its lock held, leads to a prompt that works");
    let mut console = Machine::new().cmdline("panic=ddb").start();
    console.command("panic tty");
    console.send(b"y");
    console.expect("*** PANIC: asked for in the console's driver", PATIENCE);
    console.expect(DB, PATIENCE);
    console.send(b"\x15"); // the key is still in the UART
    let lock = db(&mut console, "lock Tty");
    assert!(lock.contains("uart0 on CPU"), "{lock}");
    let trace = db(&mut console, "bt");
    assert!(trace.contains("kernel::console::tty::interrupt"), "{trace}");
    for command in COMMANDS {
        db(&mut console, command);
    }
    console.send_line("c");
    console.expect("there is nothing to continue", PATIENCE);
    console.expect(DB, PATIENCE);
}
