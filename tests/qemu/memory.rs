// SPDX-License-Identifier: MIT OR Apache-2.0
//! `md` and `mw`: memory and registers, and addresses where there are none.

use qemu_tests::{Console, Gic, Machine, claim};

/// RAM that is nobody's: the heap is in the first GiB.
const SPARE: u64 = 0x5000_0000;

fn start() -> Console {
    let mut console = Machine::new().start();
    console.prompt();
    console
}

/// The first address of a row of `mem`.
#[track_caller]
fn region(console: &mut Console, name: &str) -> u64 {
    let table = console.command("mem");
    let row = table
        .lines()
        .find(|l| l.split_whitespace().next() == Some(name));
    let row = row.unwrap_or_else(|| panic!("no {name}:\n{table}"));
    let address = row.split_whitespace().nth(1).expect("an address");
    u64::from_str_radix(address.trim_start_matches("0x"), 16).expect("an address")
}

/// The values that `md` shows.
#[track_caller]
fn md(console: &mut Console, arguments: &str) -> Vec<u64> {
    let text = console.command(&format!("md {arguments}"));
    let values = text.lines().flat_map(|row| row.split_whitespace().skip(1));
    let value = |word| u64::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{text}"));
    values.map(value).collect()
}

#[test]
fn what_cannot_be_read_is_an_error() {
    claim("md and mw of unmapped addresses and guard pages: errors; the kernel goes on");
    let mut console = start();
    let stacks = region(&mut console, "stacks");
    let holes = [
        0,
        8,
        0x7_fff8,
        stacks,
        stacks + 0xff8,
        stacks + 0x8000 * 127,
        0xc000_0000,
        0x7f_ffff_fff8,
        0x80_0000_0000,
        0xffff_0000_0008_0000,
        0x8000_0000_0008_0000,
        u64::MAX - 7,
    ];
    for hole in holes {
        for line in [
            format!("md {hole:#x} 1 d"),
            format!("md {hole:#x} 1 b"),
            format!("mw {hole:#x} 0 d"),
        ] {
            let reply = console.command(&line);
            assert!(
                reply.contains(&format!("{hole:#x}: no access")),
                "{line}: {reply}"
            );
        }
    }
    let across = console.command(&format!("md {:#x} 4 d", stacks - 16));
    assert!(
        across.contains(&format!("{stacks:#x}: no access")),
        "{across}"
    );
    console.assert_four("2->1", "psci");
}

#[test]
fn text_and_constants_cannot_be_written() {
    claim("mw to the kernel's text, constants and symbols: errors; they stay as they were");
    let mut console = start();
    for name in ["text", "constants", "symbols"] {
        let at = region(&mut console, name);
        let before = md(&mut console, &format!("{at:#x} 2 d"));
        for width in ["b", "h", "w", "d"] {
            let reply = console.command(&format!("mw {at:#x} 0 {width}"));
            assert!(
                reply.contains(&format!("{at:#x}: no access")),
                "{name} {width}: {reply}"
            );
        }
        assert_eq!(md(&mut console, &format!("{at:#x} 2 d")), before, "{name}");
    }
}

#[test]
fn misaligned_accesses_are_errors() {
    claim("md and mw of addresses that are no multiple of the width: errors");
    let mut console = start();
    for (at, width) in [(1, "h"), (1, "w"), (2, "w"), (1, "d"), (4, "d"), (7, "d")] {
        let at = SPARE + at;
        for line in [
            format!("md {at:#x} 1 {width}"),
            format!("mw {at:#x} 0 {width}"),
        ] {
            let reply = console.command(&line);
            assert!(reply.contains("is not a multiple of"), "{line}: {reply}");
        }
    }
}

#[test]
fn absent_devices_are_errors() {
    claim("md and mw of device blocks that this machine has not: errors; the kernel goes on");
    for gic in [Gic::Board, Gic::Plain] {
        let mut console = Machine::new().gic(gic).no_pack().start();
        // GENET, RNG200, PCIe, thermal sensor
        for block in [0xfd58_0000_u64, 0xfe10_4000, 0xfd50_0000, 0xfd5d_2200] {
            for line in [format!("md {block:#x}"), format!("mw {block:#x} 1")] {
                let reply = console.command(&line);
                assert!(
                    reply.contains(&format!("{block:#x}: no access")),
                    "{line}: {reply}"
                );
            }
        }
        console.assert_four("2->1", "psci");
    }
}

#[test]
fn registers_are_shown() {
    claim("md shows the PL011's registers");
    let mut console = start();
    let id = md(&mut console, "0xfe201fe0 8");
    assert_eq!(
        id,
        [0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1],
        "its identification"
    );
    let flags = md(&mut console, "0xfe201018 1")[0];
    assert_eq!(
        flags & 0x18,
        0x10,
        "receive FIFO empty, not busy: {flags:#x}"
    );
}

#[test]
fn memory_is_written_and_shown_in_all_widths() {
    claim("mw and md of spare memory agree in all four widths, little endian");
    let mut console = start();
    assert_eq!(
        console.command(&format!("mw {SPARE:#x} 0x8877665544332211 d")),
        ""
    );
    assert_eq!(console.command(&format!("mw {:#x} 0 d", SPARE + 8)), "");
    for (width, values) in [
        ("d", vec![0x8877_6655_4433_2211]),
        ("w", vec![0x4433_2211, 0x8877_6655]),
        ("h", vec![0x2211, 0x4433, 0x6655, 0x8877]),
        ("b", vec![0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]),
    ] {
        let count = values.len();
        assert_eq!(
            md(&mut console, &format!("{SPARE:#x} {count} {width}")),
            values,
            "{width}"
        );
    }
    for (at, value, width, all) in [
        (7, 0xff, "b", 0xff77_6655_4433_2211_u64),
        (2, 0xabcd, "h", 0xff77_6655_abcd_2211),
        (4, 0x1234_5678, "w", 0x1234_5678_abcd_2211),
    ] {
        assert_eq!(
            console.command(&format!("mw {:#x} {value:#x} {width}", SPARE + at)),
            ""
        );
        assert_eq!(
            md(&mut console, &format!("{SPARE:#x} 2 d")),
            [all, 0],
            "{width}"
        );
    }
    assert_eq!(
        console.command(&format!("mw {SPARE:#x} 7")),
        "",
        "words by default"
    );
    assert_eq!(md(&mut console, &format!("{SPARE:#x} 2")), [7, 0x1234_5678]);
}
