// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware's data: the Pi's own device tree, ATAGs, and trees that are broken.

use qemu_tests::{Boot, Console, Gic, Machine, case, claim};
use tools::card::Card;
use tools::dtb;

fn machine() -> Machine {
    Machine::new().card_with(&Card::new().file("HELLO.TXT", "hello from the card\n"))
}

#[track_caller]
fn assert_card(console: &mut Console) {
    assert_eq!(
        console.command("cat /boot/HELLO.TXT"),
        "hello from the card"
    );
}

#[test]
fn the_firmwares_own_tree_serves() {
    claim("the Pi firmware's own device tree: four CPUs and the card, by BL31 and by stock boot");
    let tree = tools::firmware_dir().join("bcm2711-rpi-4-b.dtb");
    for (boot, method) in [(Boot::Bl31, "psci"), (Boot::Stock, "spin-table")] {
        let mut console = machine().boot(boot).dtb(&tree).start();
        console.assert_four("2->1", method);
        assert_card(&mut console);
        let uptime = console.command("uptime");
        assert!(uptime.contains("on Raspberry Pi 4 Model B"), "{uptime}");
        // QEMU's own loader fills no address in.
        let address = uptime.contains("ethernet address 52:54:00:12:34:57");
        assert_eq!(address, boot == Boot::Bl31, "{uptime}");
    }
}

#[test]
fn atags_serve() {
    claim("stock boot without a device tree: ATAGs, four CPUs, command line, the card");
    for gic in [Gic::Board, Gic::Plain] {
        let stock = machine().boot(Boot::Stock).gic(gic).no_dtb();
        let mut console = stock.cmdline("log=debug x=1").start();
        console.assert_four("2->1", "spin-table");
        assert_card(&mut console);
        let uptime = console.command("uptime");
        assert!(uptime.contains("firmware data at 0x100,"), "{uptime}");
        assert!(uptime.contains("\ncommand line: log=debug x=1"), "{uptime}");
        let log = console.command("dmesg");
        assert!(log.contains("ATAGs instead of a device tree"), "{log}");
    }
}

/// What the firmware would hand over, had nothing happened to it.
fn good_tree() -> Vec<u8> {
    let tree = std::fs::read(tools::out_dir().join("orthogon-rpi4.dtb")).expect("`make image`");
    dtb::as_firmware_would(&tree, &dtb::QEMU_MEMORY, Some("panic=halt"), [2; 6]).expect("a tree")
}

/// Boots with this tree: the kernel warns of it, and goes on.
#[track_caller]
fn goes_on(what: &str, tree: &[u8], warning: &str) {
    let mut console = machine().raw_dtb(tree).start();
    console.prompt();
    let log = console.command("dmesg");
    let mut warnings = log.lines().filter(|l| l.contains(" warn "));
    assert!(
        warnings.any(|l| l.contains(warning)),
        "{what}: no {warning:?}:\n{log}"
    );
    assert!(console.command("cpus").contains(" of 4 online"));
    assert_card(&mut console);
}

#[test]
fn truncated_trees_are_named() {
    claim("a device tree that is cut off is named, and the kernel goes on");
    let tree = good_tree();
    let used = tree.iter().rposition(|b| *b != 0).expect("a tree") + 1;
    for bytes in [4, 8, 40, 56, 100, 1000, used / 2, used - 8] {
        case(&format!("cut to {bytes} bytes"));
        goes_on(&format!("{bytes} bytes"), &tree[..bytes], "device tree");
    }
}

#[test]
fn absurd_sizes_are_named() {
    claim("a device tree with an absurd size is named, and the kernel goes on");
    let tree = good_tree();
    for (field, at) in [
        ("totalsize", 4),
        ("off_dt_struct", 8),
        ("off_dt_strings", 12),
        ("size_dt_struct", 36),
    ] {
        case(&format!("{field} 0x7fffffff"));
        let mut tree = tree.clone();
        tree[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
        goes_on(field, &tree, "device tree");
    }
}

#[test]
fn zeros_for_a_tree_are_named() {
    claim("zeros instead of a device tree are named, and the kernel goes on");
    goes_on("zeros", &[0; 16384], "no device tree from the firmware");
}

#[test]
fn noise_for_a_tree_is_survived() {
    claim("a device tree with noise in its structure is survived");
    let mut tree = good_tree();
    let mut random = fastrand::Rng::with_seed(7);
    let start = 0x200;
    for byte in &mut tree[start..start + 2000] {
        if random.u8(..8) == 0 {
            *byte = random.u8(..);
        }
    }
    let mut console = machine().raw_dtb(&tree).start();
    assert!(console.command("cpus").contains(" of 4 online"));
    assert_card(&mut console);
}
