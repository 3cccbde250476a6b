// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device pack, seen from the kernel's console.

use qemu_tests::{Machine, claim};

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
