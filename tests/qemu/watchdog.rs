// SPDX-License-Identifier: MIT OR Apache-2.0
//! The watchdog: hung CPUs are named, hung machines reset, and nobody else is.

use std::time::{Duration, Instant};

use qemu_tests::{Console, Machine, PROMPT, case, claim};

/// How long anything may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(90);
/// Most time, the guest's, until a hung CPU is told.
const WITHIN_S: f32 = 10.0;

/// The number of seconds that a line names before "s".
fn seconds(text: &str) -> f32 {
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no time"))
}

/// Milliseconds until the chip resets the board; `None`: it is not armed.
fn chip_ms(console: &Console) -> Option<u32> {
    let said = console.monitor("qom-get /machine/peripheral/pm watchdog");
    let said = said.trim_matches('"');
    (said != "off").then(|| said.parse().unwrap_or_else(|_| panic!("{said}")))
}

/// Waits for the report that a CPU hangs; returns how long it was silent, and the report.
fn report(console: &mut Console, cpu: usize) -> (f32, String) {
    console.expect(&format!("*** CPU {cpu} hangs: "), PATIENCE);
    console.expect("no sign of life for ", PATIENCE);
    let silent = seconds(&console.expect(" s\n", PATIENCE));
    (silent, console.expect("\n\n", PATIENCE))
}

#[test]
fn each_hung_cpu_is_named_with_its_backtrace() {
    claim(
        "watchdog: each CPU hung, masked or at splhigh, is told within 10 s, and when it is back",
    );
    let mut console = Machine::new()
        .cmdline("panic=exit")
        .deadline(Duration::from_secs(400))
        .start();
    console.prompt();
    for (how, function) in [
        ("irq", "kernel::hang::hang_masked"),
        ("spl", "kernel::hang::hang_at_splhigh"),
    ] {
        for cpu in 0..4 {
            case(&format!("CPU {cpu}, {how}"));
            console.send_line(&format!("hang {cpu} {how} 7"));
            let (silent, report) = report(&mut console, cpu);
            assert!((4.0..WITHIN_S).contains(&silent), "{silent} s: {report}");
            assert!(report.contains(&format!("\"hang/{cpu}\"")), "{report}");
            assert!(report.contains(function), "{report}");
            console.expect(&format!("*** CPU {cpu} is back after "), PATIENCE);
            let away = seconds(&console.expect(" s\n", PATIENCE));
            assert!((6.0..20.0).contains(&away), "{away}");
            console.send_line("");
            console.expect(PROMPT, PATIENCE);
        }
    }
    let log = console.command("dmesg");
    for cpu in 0..4 {
        let told = log.matches(&format!("watchdog: CPU {cpu} hangs")).count();
        assert_eq!(told, 2, "once each time:\n{log}");
    }
    console.assert_four("2->1", "psci");
    for check in ["preempt", "sleep", "softint", "spl"] {
        let said = console.command_within(&format!("selftest {check}"), PATIENCE);
        assert!(said.ends_with("1 passed, 0 failed"), "{said}");
    }
}

#[test]
fn three_hung_cpus_are_told_by_the_fourth() {
    claim("watchdog: three CPUs that hang at a time are each told by the last, within 10 s");
    let mut console = Machine::new().cmdline("panic=exit").start();
    console.prompt();
    for cpu in [1, 2, 3] {
        console.send_line(&format!("hang {cpu} irq"));
    }
    let mut told = Vec::new();
    for _ in 0..3 {
        console.expect("*** CPU ", PATIENCE);
        let cpu: usize = console
            .expect(" hangs: ", PATIENCE)
            .parse()
            .expect("a number");
        console.expect("no sign of life for ", PATIENCE);
        let silent = seconds(&console.expect(" s\n", PATIENCE));
        assert!(silent < WITHIN_S, "CPU {cpu}: {silent}");
        told.push(cpu);
    }
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3]);
}

#[test]
fn the_board_is_reset_when_nobody_is_left() {
    claim("watchdog: with all four CPUs hung the chip resets the board, and it comes up again");
    for how in ["irq", "spl"] {
        case(how);
        let machine = Machine::new().cmdline("panic=exit hwwatchdog=on").reboot();
        let mut console = machine.start();
        console.prompt();
        console.send_line(&format!("hang all {how}"));
        console.expect(PROMPT, PATIENCE);
        console.command("uptime");
    }
}

#[test]
fn a_machine_that_works_is_not_reset() {
    claim("watchdog: the chip is fed while all CPUs tick, loaded or idle; ddb stops the chip");
    let machine = Machine::new()
        .monitor()
        .cmdline("panic=exit hwwatchdog=on")
        .reboot();
    let mut console = machine.start();
    console.prompt();
    console.command("cpu off 3");
    console.command("stress start");
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let ms = chip_ms(&console).expect("it is armed");
        assert!(ms > 5_000, "{ms}");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(console.monitor("chardev-send-break serial0"), "");
    console.expect("db> ", PATIENCE);
    assert_eq!(chip_ms(&console), None);
    std::thread::sleep(Duration::from_secs(8));
    console.send_line("c");
    console.expect("continuing", PATIENCE);
    console.send_line("");
    console.expect(PROMPT, PATIENCE);
    console.command("stress stop");
    console.command("cpu on 3");
    assert!(!console.log().contains("hangs:"), "{}", console.log());
    assert!(chip_ms(&console).is_some());
}

#[test]
fn nobody_watches_where_that_is_switched_off() {
    claim("watchdog=off: nothing is told of a CPU that hangs");
    let mut console = Machine::new().cmdline("panic=exit watchdog=off").start();
    console.prompt();
    console.command("hang 2 irq 8");
    let before = console.log().len();
    std::thread::sleep(Duration::from_secs(12));
    console.command("uptime");
    assert!(
        !console.log()[before..].contains("*** CPU"),
        "{}",
        console.log()
    );
}
