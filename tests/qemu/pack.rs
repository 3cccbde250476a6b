// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device pack, seen from the kernel's console.

use std::time::Duration;

use qemu_tests::{Console, Machine, claim};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_missing_devices_are_there() {
    claim("the pack adds GENET v5 and puts the card on EMMC2; without it, neither is so");
    let image = tools::out_dir().join("card.img");
    for pack in [true, false] {
        let machine = Machine::new().card(&image).args(["-snapshot"]);
        let machine = if pack { machine } else { machine.no_pack() };
        let mut console = machine.start();
        console.prompt();
        let revision = console.command("md 0xfd580000 1 w");
        assert_eq!(revision.contains("06000000"), pack, "{revision}");
        let disk = console.command("disk").to_lowercase();
        assert_eq!(disk.contains("emmc2"), pack, "{disk}");
    }
}

#[test]
fn unknown_registers_are_named() {
    claim("with a planned fault, too: reading an unknown register of GENET's is in QEMU's log");
    let mut console = Machine::new().fault("rx-crc/10x3").start();
    console.prompt();
    console.command("md 0xfd580008 1 w");
    assert_eq!(console.warnings(), "");
    console.command("md 0xfd587000 1 w");
    let named = "pi4-genet: read of unknown register GENET+0x7000";
    assert_eq!(console.warnings(), named);
    console.allow_warnings(named);
}

/// Starts the watchdog with so many ticks of 1/65536 s.
fn arm(console: &mut Console, ticks: u32) {
    console.command(&format!("mw 0xfe100024 {:#x}", 0x5a00_0000 | ticks));
    console.command("mw 0xfe10001c 0x5a000122");
}

#[test]
fn the_watchdog_counts() {
    claim(
        "the pack's watchdog resets a machine that does not feed it, in the machine's own time, and no other",
    );
    let machine = Machine::new().cmdline("hwwatchdog=off").reboot().monitor();
    let mut console = machine.start();
    console.prompt();
    arm(&mut console, 0xf_ffff);
    assert_ne!(
        console.monitor("qom-get /machine/peripheral/pm watchdog"),
        "\"off\""
    );
    let left = console.command("md 0xfe100024 1");
    let left = left.split_whitespace().last().expect("a count");
    let left = u32::from_str_radix(left, 16).expect("a count");
    assert!((1..0xf_ffff).contains(&left), "{left:#x} ticks are left");
    arm(&mut console, 0x1_0000);
    console.expect("Orthogon 0.1", PATIENCE);
    console.prompt();
    // RSTS remembers what it was.
    assert!(console.command("md 0xfe100020 1").contains("00001020"));
    arm(&mut console, 0xf_ffff);
    console.command("mw 0xfe10001c 0x5a000102");
    assert_eq!(
        console.monitor("qom-get /machine/peripheral/pm watchdog"),
        "\"off\""
    );
}
