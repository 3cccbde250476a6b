// SPDX-License-Identifier: MIT OR Apache-2.0
//! The block layer on the emulated card: what is written is there, and stays there.

mod faults;
mod memory;
pub(crate) mod power;
mod truth;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use qemu_tests::oracle::DiskTest;
use qemu_tests::{Console, Machine, case, claim, image};
use tempfile::TempDir;
use tools::card::Card;

/// How long a test of a disk may take, on a busy host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// The area's length: `disktest` takes it from the partition's first sector on.
const AREA: u64 = 8 << 20;

/// A card of 128 MiB with some files, its data partition full of noise where tests write.
pub(crate) fn card(folder: &Path) -> PathBuf {
    let path = folder.join("card.img");
    let mut noise = vec![0; AREA as usize];
    Rng::with_seed(1).fill(&mut noise);
    let card = Card::new().file("NOISE.BIN", noise[..1 << 20].to_vec());
    let card = card.file("folder/hello.txt", "hello\n");
    card.write(&path, 128).expect("a card for the test");
    let file = std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("the card");
    let at = area(&path).start;
    std::os::unix::fs::FileExt::write_all_at(&file, &noise, at).expect("the card's end");
    path
}

/// Where `disktest card:3` writes.
pub(crate) fn area(card: &Path) -> std::ops::Range<u64> {
    let start = image::partition(card, 3).expect("a data partition").start;
    start..start + AREA
}

/// Runs `disktest` and checks what it says; returns its digests.
#[track_caller]
fn disktest(console: &mut Console, disk: &str, test: &DiskTest) -> Vec<u64> {
    let DiskTest {
        seed,
        threads,
        requests,
    } = test;
    let words = format!("requests {requests} threads {threads} seed {seed} scratch");
    let said = console.command_within(&format!("disktest {disk} {words}"), PATIENCE);
    assert!(said.contains("errors=0 mismatches=0"), "{said}");
    let digests = said
        .lines()
        .filter_map(|line| line.strip_prefix("digest: 0x"));
    let digests = digests.map(|hex| u64::from_str_radix(hex, 16).expect("a number"));
    digests.collect()
}

/// Runs `disktest` on the data partition, and holds it to what it must have left.
#[track_caller]
fn disktest_checked(console: &mut Console, card: &Path, test: &DiskTest) {
    let before = image::read(card, area(card)).expect("the card");
    let digests = disktest(console, "card:3", test);
    let after = image::read(card, area(card)).expect("the card");
    match test.check(&before, &after, &digests) {
        Ok(sectors) => case(&format!("{sectors} sectors as they must be")),
        Err(error) => panic!("{error}"),
    }
}

/// Has files come, go, and be read back.
#[track_caller]
fn change_files(console: &mut Console) {
    console.command("cp /boot/NOISE.BIN /boot/folder/copy");
    console.command("write /boot/new.txt something");
    console.command("rm /boot/folder/hello.txt");
    assert_eq!(console.command("sync"), "");
    let mut sum = |file: &str| {
        let said = console.command(&format!("sha256 {file}"));
        said.lines().next().unwrap_or_default().to_owned()
    };
    let copy = sum("/boot/folder/copy");
    assert_eq!(copy, sum("/boot/NOISE.BIN"));
    assert_eq!(copy.len(), 64, "{copy}");
    assert_eq!(console.command("cat /boot/new.txt"), "something");
    let gone = console.command("cat /boot/folder/hello.txt");
    assert!(gone.contains("no such file"), "{gone}");
}

#[test]
fn what_was_written_is_on_the_card() {
    claim("10,000 random reads, writes and flushes by four threads: all as the host computes it");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let test = DiskTest {
        seed: 6,
        threads: 4,
        requests: 10_000,
    };
    let mut console = Machine::new().card(&card).deadline(PATIENCE).start();
    disktest_checked(&mut console, &card, &test);
    change_files(&mut console);
    drop(console);
    let (clean, said) = image::fsck(&card).expect("fsck.fat");
    assert!(clean, "{said}");
}

#[test]
fn tests_write_nowhere_else() {
    claim("diskbench and disktest refuse to write where somebody may keep something");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let before = std::fs::read(&card).expect("the card");
    let mut console = Machine::new().card(&card).start();
    for line in ["disktest card scratch", "diskbench card:1 write 4K scratch"] {
        let said = console.command(line);
        assert!(said.contains(" is mounted at /boot"), "{line}: {said}");
    }
    assert_eq!(console.command("umount boot"), "");
    for (line, refusal) in [
        ("disktest card scratch", "card has partitions"),
        ("disktest card:1 scratch", "never written by a test"),
        ("disktest card:3", "say scratch"),
        ("disktest card:4 scratch", "card: there is no partition 4"),
        ("diskbench card write 4K scratch", "card has partitions"),
        (
            "diskbench card:1 write 4K scratch",
            "never written by a test",
        ),
        ("diskbench card:3 write 4K", "say scratch"),
    ] {
        let said = console.command(line);
        assert!(said.contains(refusal), "{line}: {said}");
    }
    let said = console.command("diskbench card read 4K requests 3");
    assert!(said.contains("requests=3 errors=0"), "{said}");
    drop(console);
    assert!(
        std::fs::read(&card).expect("the card") == before,
        "something was written"
    );
}

#[test]
fn who_submits_does_not_wait_for_the_device() {
    claim(
        "2,000 reads by four threads, each done as it begins: hardly one waits for the queue's lock",
    );
    let machine = Machine::new().card_with(&Card::new()).icount();
    let mut console = machine.deadline(PATIENCE).start();
    let said = console.command("diskbench card read 4K random threads 4 requests 500");
    assert!(said.contains("requests=2000 errors=0"), "{said}");
    let locks = console.command("lockstat all");
    let queues = locks.lines().filter(|line| line.starts_with("BioQueue"));
    let waits: Vec<u32> = queues
        .filter_map(|line| line.split_whitespace().nth(4)?.parse().ok())
        .collect();
    assert!(!waits.is_empty(), "{locks}");
    assert!(waits.iter().sum::<u32>() < 100, "{locks}");
    // Interrupts that follow each other at once, and each has its work, are no line that is stuck.
    let log = console.command("dmesg");
    assert!(!log.contains("throttled"), "{log}");
}
