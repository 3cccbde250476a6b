// SPDX-License-Identifier: MIT OR Apache-2.0
//! Panics: each names its fault, thread and CPU, with backtraces, and ends as the command line says.

use std::time::Duration;

use qemu_tests::{Boot, Console, Gic, Machine, PROMPT, case, claim};

/// How long a report may take.
const REPORT: Duration = Duration::from_secs(60);

/// Runs `panic KIND` until QEMU ends with status 1; the report.
#[track_caller]
fn report(mut console: Console, kind: &str) -> String {
    let boot = console.prompt();
    assert!(boot.contains(" 4 CPUs; prompt "), "{boot}");
    console.send_line(format!("panic {kind}").trim_end());
    let status = console.wait_exit(REPORT);
    let log = console.log().to_owned();
    assert_eq!(status.code(), Some(1), "{kind}: QEMU's status\n{log}");
    let from = log
        .find("*** PANIC: ")
        .unwrap_or_else(|| panic!("no report:\n{log}"));
    let report = log[from..].to_owned();
    assert_eq!(
        report.matches("*** PANIC").count(),
        1,
        "{kind}: one report:\n{report}"
    );
    report
}

/// The functions of a CPU's backtrace, innermost first.
#[track_caller]
fn backtrace(report: &str, cpu: usize) -> Vec<&str> {
    let title = format!("backtrace of CPU {cpu}:\n");
    let (_, rest) = report
        .split_once(&title)
        .unwrap_or_else(|| panic!("no {title}:\n{report}"));
    let rows = rest.lines().take_while(|row| row.starts_with("  "));
    // "  12  0x000a43a4  function+0xa4", or "... 37 frames"
    let names = rows.filter_map(|row| row.split_once("  0x")?.1.split_once("  "));
    names
        .map(|(_, name)| name.rsplit_once('+').map_or(name, |(function, _)| function))
        .collect()
}

/// The report names cause, thread and CPU, has symbols, and shows what all CPUs did.
#[track_caller]
fn complete(report: &str, cause: &str, function: &str) {
    let first = report.lines().next().unwrap_or("");
    assert!(first.contains(cause), "{cause}: {first}");
    let cpu = report
        .split("    CPU ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let cpu: usize = cpu
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("no CPU:\n{report}"));
    assert!(report.contains("\"shell\""), "the thread's name:\n{report}");
    let own = backtrace(report, cpu);
    let shell = "kernel::console::shell::run";
    assert!(
        own.contains(&shell),
        "no {shell} in the backtrace:\n{report}"
    );
    // A jump to nowhere leaves its place in the link register only.
    let named = own.contains(&function) || report.contains(&format!(" {function}+"));
    assert!(named, "no {function}:\n{report}");
    for other in (0..4).filter(|n| *n != cpu) {
        let frames = backtrace(report, other);
        assert!(
            frames.iter().any(|name| name.contains("kernel::")),
            "CPU {other}:\n{report}"
        );
    }
}

#[test]
fn a_panic_names_its_place() {
    claim("panic: the message, its source line, thread, CPU, backtraces of all CPUs; status 1");
    let report = report(Machine::new().cmdline("panic=exit").start(), "");
    complete(
        &report,
        "asked for at the console",
        "core::panicking::panic_fmt",
    );
    assert!(report.contains("commands/machine.rs:"), "{report}");
}

/// A fault's name in `panic NAME`, its cause in the report, and the function where it happens.
const FAULTS: [(&str, &str, &str); 4] = [
    (
        "stack",
        "stack overflow",
        "kernel::panic::provoke::stack_overflow",
    ),
    ("null", "null", "kernel::panic::provoke::null_dereference"),
    (
        "text",
        "write to read-only",
        "kernel::panic::provoke::write_text",
    ),
    (
        "data",
        "not executable",
        "kernel::panic::provoke::jump_to_data",
    ),
];

#[test]
fn faults_name_their_cause() {
    claim("each fault: its cause, thread, CPU, backtraces of all CPUs; QEMU ends with status 1");
    for (kind, cause, function) in FAULTS {
        case(&format!("panic {kind}"));
        let report = report(Machine::new().cmdline("panic=exit").start(), kind);
        complete(&report, cause, function);
    }
}

#[test]
fn faults_are_reported_in_stock_boot_too() {
    claim("stock boot, plain GIC: a stack overflow's report stops and shows all CPUs; status 1");
    let machine = Machine::new().boot(Boot::Stock).gic(Gic::Plain);
    let report = report(machine.cmdline("panic=exit").start(), "stack");
    complete(&report, FAULTS[0].1, FAULTS[0].2);
}

#[test]
fn a_panic_under_load_is_complete() {
    claim("panic under load, with one CPU off: the report is complete, the CPU left out");
    let mut console = Machine::new().cmdline("panic=exit").start();
    console.prompt();
    console.command("stress start");
    console.command("cpu off 2");
    console.send_line("panic null");
    assert_eq!(console.wait_exit(REPORT).code(), Some(1));
    let log = console.log();
    let report = &log[log.find("*** PANIC: ").expect("a report")..];
    for cpu in [0, 1, 3] {
        assert!(!backtrace(report, cpu).is_empty(), "CPU {cpu}:\n{report}");
    }
    assert!(!report.contains("backtrace of CPU 2"), "{report}");
    assert!(!report.contains("does not answer"), "{report}");
}

#[test]
fn halting_stays() {
    claim("panic=halt, the default: the report stays, nothing runs any more");
    for cmdline in ["panic=halt", ""] {
        let mut console = Machine::new().cmdline(cmdline).start();
        console.prompt();
        console.send_line("panic");
        console.expect("*** PANIC: asked for at the console", REPORT);
        console.expect("halted", REPORT);
        console.expect("\n", REPORT);
        console.send_line("cpus");
        console.silent(Duration::from_secs(2));
    }
}

#[test]
fn exit_without_semihosting_halts() {
    claim("panic=exit where nothing listens (as on a board): one report, then it halts");
    let mut console = Machine::new()
        .cmdline("panic=exit")
        .no_semihosting()
        .start();
    console.prompt();
    console.send_line("panic");
    console.expect("*** PANIC: asked for at the console", REPORT);
    console.expect("halted", REPORT);
    console.expect("\n", REPORT);
    console.silent(Duration::from_secs(2));
    assert!(console.log().len() < 20_000, "{}", console.log());
}

#[test]
fn rebooting_comes_back() {
    claim("panic=reboot: the report, then a prompt and four CPUs that pass selftest");
    for (boot, method) in [(Boot::Bl31, "psci"), (Boot::Stock, "spin-table")] {
        case(&format!("{boot:?}"));
        let mut console = Machine::new()
            .boot(boot)
            .cmdline("panic=reboot")
            .reboot()
            .start();
        console.allow_warnings("bcm2835_powermgt_write: ");
        console.prompt();
        console.send_line("panic stack");
        console.expect("*** PANIC: stack overflow", REPORT);
        console.expect(&format!("\n{PROMPT}"), REPORT);
        console.assert_four("2->1", method);
        // The panic left an interrupt active on every other CPU: none may be deaf now.
        let checks = console.command_within("selftest", REPORT);
        assert!(checks.ends_with(" passed, 0 failed"), "{checks}");
    }
}
