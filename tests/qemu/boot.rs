// SPDX-License-Identifier: MIT OR Apache-2.0
//! From whatever starts the kernel to a prompt with four CPUs and a mounted card.

use qemu_tests::{Boot, Console, Gic, Machine, armstub, case, claim};
use tools::card::Card;

/// A file on the card of these tests, and how it is read.
const HELLO: &str = "hello from the card";

fn machine() -> Machine {
    Machine::new().card_with(&Card::new().file("HELLO.TXT", format!("{HELLO}\n")))
}

#[track_caller]
fn assert_card(console: &mut Console) {
    assert_eq!(console.command("cat /boot/HELLO.TXT"), HELLO);
}

#[test]
fn bl31_starts_four_cpus_by_psci() {
    claim("BL31, the board's GIC: prompt, four CPUs by PSCI, the card mounted");
    let mut console = machine().start();
    console.assert_four("2->1", "psci");
    assert_card(&mut console);
}

#[test]
fn bl31_on_a_gic_without_security_extensions() {
    claim("BL31, QEMU's plain GIC: four CPUs by PSCI, the card mounted");
    let mut console = machine().gic(Gic::Plain).start();
    console.assert_four("2->1", "psci");
    assert_card(&mut console);
}

#[test]
fn stock_boot_starts_four_cpus_by_spin_table() {
    claim("stock boot, the board's GIC: four CPUs by spin-table, the card mounted");
    let mut console = machine().boot(Boot::Stock).start();
    console.assert_four("2->1", "spin-table");
    assert_card(&mut console);
}

#[test]
fn stock_boot_on_a_gic_without_security_extensions() {
    claim("stock boot, QEMU's plain GIC: four CPUs by spin-table, the card mounted");
    let mut console = machine().boot(Boot::Stock).gic(Gic::Plain).start();
    console.assert_four("2->1", "spin-table");
    assert_card(&mut console);
}

#[test]
fn kernel_loaded_higher_moves_itself() {
    claim("loaded higher than it is linked it moves itself down");
    for address in [0x20_0000, 0x40_0000] {
        case(&format!("at {address:#x}"));
        let mut console = machine().kernel_addr(address).start();
        console.assert_four("2->1", "psci");
        let memory = console.command("mem");
        let text = memory.lines().find(|l| l.starts_with("text "));
        let text = text.expect("mem names the kernel's text");
        assert!(text.contains(" 0x00000080000 to "), "{text}");
        assert_card(&mut console);
    }
}

#[test]
fn kernel_loaded_over_its_own_new_place_moves_itself() {
    claim("loaded at 0x90000, which its copy at 0x80000 overlaps, it moves itself");
    let mut console = machine().kernel_addr(0x9_0000).start();
    console.assert_four("2->1", "psci");
    assert_card(&mut console);
}

#[test]
fn entered_at_el1_it_starts_four_cpus() {
    claim("entered at EL1 without EL2 or PSCI below it: four CPUs by spin-table");
    for gic in [Gic::Board, Gic::Plain] {
        case(&format!("{gic:?} GIC"));
        let mut console = machine().armstub(&armstub::el1()).gic(gic).start();
        console.assert_four("1->1", "spin-table");
        assert_card(&mut console);
        let selftest = console.command("selftest");
        assert!(selftest.ends_with(" 0 failed"), "{selftest}");
    }
}

#[test]
fn wrong_options_are_named() {
    claim("a wrong value on the command line is named, and the kernel goes on");
    for boot in [Boot::Bl31, Boot::Stock] {
        let line = "panic=maybe log=loud cpuoff=never other=1";
        let mut console = machine().boot(boot).cmdline(line).start();
        console.prompt();
        let log = console.command("dmesg");
        for word in ["panic=maybe", "log=loud", "cpuoff=never"] {
            let complaint = format!("command line: {word} means nothing");
            assert!(log.contains(&complaint), "no {complaint:?}:\n{log}");
        }
        assert!(
            !log.contains("other=1"),
            "others' words are not ours:\n{log}"
        );
        let uptime = console.command("uptime");
        assert!(
            uptime.contains(&format!("\ncommand line: {line}")),
            "{uptime}"
        );
        console.assert_four(
            "2->1",
            if boot == Boot::Bl31 {
                "psci"
            } else {
                "spin-table"
            },
        );
    }
}

#[test]
fn log_option_sets_the_least_severity() {
    claim("log=error keeps the console quiet, and dmesg has it all");
    let mut console = machine().cmdline("log=error").start();
    let boot = console.prompt();
    // What comes before the command line is known cannot follow it.
    let after = boot.split_once("on CPU 0\n").expect("the first line").1;
    assert!(!after.contains(" info "), "{boot}");
    let log = console.command("dmesg");
    assert!(
        log.contains(" info ") && log.contains(" CPUs; prompt "),
        "{log}"
    );
}

#[test]
fn boot_costs_little() {
    claim("under -icount: prompt within 500 ms and 100,000,000 instructions of the entry");
    let mut console = machine().icount().start();
    let boot = console.prompt();
    // The word before `unit`, in the boot messages.
    let number = |unit: &str| -> f64 {
        let line = boot.lines().find(|line| line.contains(unit));
        let line = line.unwrap_or_else(|| panic!("no line with {unit:?}:\n{boot}"));
        let text = line
            .split(unit)
            .next()
            .and_then(|t| t.split(' ').next_back());
        text.and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no number before {unit:?} in {line}"))
    };
    let ms = number(" ms after entry");
    let instructions = number(" instructions on all CPUs");
    case(&format!("{ms} ms, {instructions} instructions"));
    assert!(ms > 0.0 && ms < 500.0, "{boot}");
    assert!(instructions > 100_000.0 && instructions < 100e6, "{boot}");
}

#[test]
fn image_is_small() {
    claim("the kernel image is under 2 MiB");
    let image = tools::out_dir().join("kernel8.img");
    let bytes = std::fs::metadata(image)
        .expect("`make kernel` was run")
        .len();
    assert!(bytes < 2 << 20, "{bytes} bytes");
}
