// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUs that go and come back, under load, and the machine's own checks.

use std::time::Duration;

use qemu_tests::{Boot, Console, Gic, Machine, case, claim};

/// How long the end of the load may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a test of many rounds may take.
const DEADLINE: Duration = Duration::from_secs(300);

const WAYS: [(Boot, Gic); 4] = [
    (Boot::Bl31, Gic::Board),
    (Boot::Bl31, Gic::Plain),
    (Boot::Stock, Gic::Board),
    (Boot::Stock, Gic::Plain),
];

fn start(machine: Machine) -> Console {
    let mut console = machine.deadline(DEADLINE).start();
    console.prompt();
    console
}

/// How a CPU goes off, unless the command line says otherwise.
const PARKED: &str = "parked by the kernel";

/// Takes a CPU off and back.
#[track_caller]
fn off_and_on(console: &mut Console, cpu: usize, way: &str) {
    let off = console.command(&format!("cpu off {cpu}"));
    assert_eq!(off, format!("CPU {cpu} is off ({way})"));
    let on = console.command(&format!("cpu on {cpu}"));
    assert_eq!(on, format!("CPU {cpu} is online"));
}

/// Ends the load: nothing was lost.
#[track_caller]
fn stop_load(console: &mut Console) {
    let end = console.command_within("stress stop", PATIENCE);
    let last = end.lines().last().unwrap_or("");
    assert!(
        last.starts_with("all ") && last.ends_with(" threads ended, nothing lost"),
        "{end}"
    );
}

#[test]
fn a_cpu_goes_and_comes_back_100_times_under_load() {
    claim("cpu off 3, cpu on 3, 100 times under load; nothing is lost");
    let mut console = start(Machine::new());
    assert_eq!(console.command("stress start"), "");
    for round in 0..100 {
        off_and_on(&mut console, 3, PARKED);
        if round % 20 == 19 {
            let shown = console.command("stress show");
            assert!(!shown.contains("no progress"), "round {round}:\n{shown}");
        }
    }
    stop_load(&mut console);
    let cpus = console.cpus();
    assert!(cpus.iter().all(|cpu| cpu.state == "online"), "{cpus:?}");
    assert_eq!(cpus[3].starts, 101);
}

#[test]
fn every_cpu_but_the_first_goes_and_comes_back() {
    claim("CPUs 1, 2, 3 go and come back in turn under load; nothing is lost");
    for (boot, gic) in WAYS {
        case(&format!("{boot:?}, {gic:?} GIC"));
        let mut console = start(Machine::new().boot(boot).gic(gic));
        assert_eq!(console.command("stress start"), "");
        for cpu in [1, 2, 3].repeat(5) {
            off_and_on(&mut console, cpu, PARKED);
        }
        stop_load(&mut console);
        assert_eq!(
            console
                .cpus()
                .iter()
                .map(|cpu| cpu.starts)
                .collect::<Vec<_>>(),
            [1, 6, 6, 6]
        );
    }
}

#[test]
fn cpus_go_and_come_back_by_psci() {
    claim("CPUs 1, 2, 3 go off by PSCI, and BL31 starts them again");
    let mut console = start(Machine::new().cmdline("cpuoff=psci"));
    for cpu in [1, 2, 3].repeat(2) {
        off_and_on(&mut console, cpu, "by PSCI");
    }
    let cpus = console.cpus();
    let starts: Vec<_> = cpus.iter().map(|cpu| cpu.starts).collect();
    assert_eq!(starts, [1, 3, 3, 3]);
    let checks = console.command_within("selftest", PATIENCE);
    assert!(checks.ends_with(" passed, 0 failed"), "{checks}");
}

#[test]
fn one_cpu_carries_the_load_alone() {
    claim("CPUs 1, 2, 3 off under load: CPU 0 ends it with nothing lost, and all come back");
    let mut console = start(Machine::new());
    for _ in 0..5 {
        assert_eq!(console.command("stress start"), "");
        for cpu in 1..4 {
            console.command(&format!("cpu off {cpu}"));
        }
        let states: Vec<_> = console.cpus().into_iter().map(|cpu| cpu.state).collect();
        assert_eq!(states, ["online", "parked", "parked", "parked"]);
        let shown = console.command("stress show");
        assert!(!shown.contains("no progress"), "{shown}");
        // What slept on a CPU that is gone must wake all the same, and end.
        stop_load(&mut console);
        for cpu in [3, 1, 2] {
            console.command(&format!("cpu on {cpu}"));
        }
    }
    assert!(console.cpus().iter().all(|cpu| cpu.state == "online"));
}

#[test]
fn firmware_that_cannot_start_a_cpu_again_is_named() {
    claim("without the pack: cpuoff=psci loses CPU 3, which is said, and parks the others");
    let mut console = start(Machine::new().no_pack().cmdline("cpuoff=psci"));
    assert_eq!(console.command("stress start"), "");
    assert_eq!(console.command("cpu off 3"), "CPU 3 is off (by PSCI)");
    assert_eq!(console.cpus()[3].state, "off");
    let on = console.command("cpu on 3");
    assert!(on.starts_with("CPU 3 did not answer within 1 s"), "{on}");
    let again = console.command("cpu on 3");
    assert!(again.contains("CPU 3"), "{again}");
    let states: Vec<_> = console.cpus().into_iter().map(|cpu| cpu.state).collect();
    assert_eq!(states, ["online", "online", "online", "off"]);
    off_and_on(&mut console, 2, PARKED);
    stop_load(&mut console);
}

#[test]
fn an_emulator_that_loses_cpus_parks_them() {
    claim("without the pack and without a word on the command line, CPUs are parked and come back");
    let mut console = start(Machine::new().no_pack());
    for cpu in [1, 2, 3] {
        off_and_on(&mut console, cpu, "parked by the kernel");
    }
}

#[test]
fn what_cannot_be_done_to_a_cpu_is_said() {
    claim("cpu off 0, off twice, on twice, and numbers of no CPU: each is said");
    let mut console = start(Machine::new());
    for (line, reply) in [
        (
            "cpu off 0",
            "CPU 0 takes over what the others leave, and stays",
        ),
        ("cpu on 0", "CPU 0 is online already"),
        ("cpu on 3", "CPU 3 is online already"),
        ("cpu off 3", "CPU 3 is off (parked by the kernel)"),
        ("cpu off 3", "CPU 3 is off already"),
        ("cpu on 3", "CPU 3 is online"),
    ] {
        assert_eq!(console.command(line), reply, "{line}");
    }
    for line in ["cpu off 4", "cpu on 4", "cpu on 0xffffffffffffffff"] {
        let reply = console.command(line);
        assert!(reply.contains("out of range (0"), "{line}: {reply}");
    }
}

#[test]
fn the_machine_passes_its_own_checks() {
    claim("selftest passes, in every way of booting");
    for (boot, gic) in WAYS {
        case(&format!("{boot:?}, {gic:?} GIC"));
        let mut console = start(Machine::new().boot(boot).gic(gic));
        let checks = console.command_within("selftest", PATIENCE);
        assert!(checks.ends_with(" passed, 0 failed"), "{checks}");
        assert!(checks.matches("... ok").count() >= 11, "{checks}");
    }
}

#[test]
fn the_checks_pass_under_load() {
    claim("selftest passes under load, but for the one that wants an idle machine");
    let mut console = start(Machine::new());
    let list = console.command("selftest nosuch");
    let names = list.split_once("there are:").expect("the checks' names").1;
    assert_eq!(console.command("stress start"), "");
    for name in names.split_whitespace().filter(|name| *name != "tickless") {
        let check = console.command_within(&format!("selftest {name}"), PATIENCE);
        assert!(check.ends_with("1 passed, 0 failed"), "{check}");
    }
    stop_load(&mut console);
}

#[test]
fn the_checks_pass_with_cpus_off_and_back() {
    claim("selftest passes with CPU 2 off, and once it is back");
    let mut console = start(Machine::new());
    for line in ["cpu off 2", "cpu on 2"] {
        console.command(line);
        let checks = console.command_within("selftest", PATIENCE);
        assert!(checks.ends_with(" passed, 0 failed"), "{line}:\n{checks}");
    }
}

#[test]
fn an_idle_machine_takes_no_ticks() {
    claim("a console that waits costs nothing: no timer interrupts on idle CPUs, all of them idle");
    let mut console = start(Machine::new());
    for _ in 0..3 {
        let check = console.command("selftest tickless");
        assert!(check.ends_with("1 passed, 0 failed"), "{check}");
    }
    let threads = console.command("threads");
    let running = threads.lines().filter(|row| row.contains(" running "));
    let busy: Vec<_> = running.filter(|row| !row.contains(" idle/")).collect();
    assert!(
        matches!(busy[..], [row] if row.contains(" shell ")),
        "{threads}"
    );
}

#[test]
fn load_is_refused_twice_and_missed_when_there_is_none() {
    claim("stress: start twice, stop or show without start: each is said");
    let mut console = start(Machine::new());
    for (line, reply) in [
        ("stress stop", "stress does not run; stress start starts it"),
        ("stress show", "stress does not run; stress start starts it"),
        ("stress start", ""),
        ("stress start", "stress runs already; stress stop ends it"),
    ] {
        assert_eq!(console.command(line), reply, "{line}");
    }
    stop_load(&mut console);
}
