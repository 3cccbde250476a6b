// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel in which CPU and devices have memories of their own, joined by cache maintenance alone.

use qemu_tests::oracle::DiskTest;
use qemu_tests::{Machine, case, claim, image};
use tempfile::TempDir;

use super::{PATIENCE, card, change_files, disktest_checked};

#[test]
fn all_is_well_with_two_copies_of_each_buffer() {
    claim("two copies of each DMA buffer: integrity, files, and faults as with one");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let machine = Machine::new().dma_truth().card(&card).monitor();
    let mut console = machine.deadline(PATIENCE).start();
    console.prompt();
    let test = DiskTest {
        seed: 8,
        threads: 4,
        requests: 5_000,
    };
    disktest_checked(&mut console, &card, &test);
    for (seed, plan) in (20..).zip([
        "adma-error/40x3",
        "read-crc/300x3",
        "write-crc/300x3",
        "data-timeout/40x3:50",
        "irq-lostx2",
    ]) {
        case(plan);
        console.fault_card(plan);
        let test = DiskTest {
            seed,
            threads: 4,
            requests: 400,
        };
        disktest_checked(&mut console, &card, &test);
        console.fault_card("none");
    }
    change_files(&mut console);
    drop(console);
    let (clean, said) = image::fsck(&card).expect("fsck.fat");
    assert!(clean, "{said}");
}

#[test]
fn what_is_left_out_is_missed() {
    claim("each call of cache maintenance, left out, is missed at once");
    // No partition table, which would be what is missed.
    let folder = TempDir::new().expect("a folder");
    let blank = folder.path().join("blank.img");
    let file = std::fs::File::create(&blank).expect("a card");
    file.set_len(64 << 20).expect("room for it");
    // Before the device reads, before it writes, after it has written.
    let wrong = "sectors were not what had been written";
    let again = "disktest card requests 200 seed 4 scratch";
    // And the table that tells it where: no more than one request, as what the device writes then falls anywhere.
    let table = "diskbench card read 4K requests 1";
    for (call, line, complaint) in [
        ("prewrite", again, wrong),
        ("preread", again, wrong),
        ("postread", again, wrong),
        ("words", table, "the controller does not work"),
    ] {
        case(call);
        let machine = Machine::new().dma_truth().card(&blank);
        let mut console = machine.deadline(PATIENCE).start();
        let said = console.command("disktest card requests 40 seed 3 scratch");
        assert!(said.contains("errors=0 mismatches=0"), "{said}");
        assert_eq!(console.command(&format!("dmaomit {call}")), "");
        let said = console.command(line);
        assert!(said.contains(complaint), "{call}: {said}");
    }
}
