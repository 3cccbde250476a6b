// SPDX-License-Identifier: MIT OR Apache-2.0
//! Crash dumps: a panic at any moment leaves one, and harms nothing else on the card.
//!
//! `make panics` has 50 panics while the disk is busy.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use qemu_tests::image::{self, Volume};
use qemu_tests::oracle::DiskTest;
use qemu_tests::{Console, Machine, PROMPT, Slot, case, claim};
use tempfile::TempDir;
use tools::symbolise::{Input, Kernel};

use crate::bio::power::{Files, number, unallowed};
use crate::bio::{PATIENCE, area, card};

/// How many panics with a busy disk, and others.
const PANICS: &str = "ORTHOGON_PANICS";
const SEED: &str = "ORTHOGON_SEED";
const PANICS_IN_TEST: u64 = 4;
/// With 1, the tests run the kernel in which CPU and devices have memories of their own.
const DMA_TRUTH: &str = "ORTHOGON_DMA_TRUTH";
/// From the command to the panic.
const MOMENTS_MS: std::ops::Range<u64> = 150..2_500;
/// From the panic to the dump's end, on a busy host.
const DUMP: Duration = Duration::from_secs(60);
const TOLD: &str = "the last run ended in a panic: lastpanic shows it";

fn machine(card: &Path) -> Machine {
    Machine::new().card(card).deadline(PATIENCE)
}

/// The bytes of a card's image: before the crash partition, of it, and after it.
fn parts(card: &Path) -> [Vec<u8>; 3] {
    let crash = image::partition(card, 2).expect("a partition for dumps");
    let end = std::fs::metadata(card).expect("the card").len();
    [0..crash.start, crash.clone(), crash.end..end].map(|r| image::read(card, r).expect("the card"))
}

/// Waits for the dump of panic number `sequence`, and switches off.
#[track_caller]
fn dumped(mut console: Console, message: &str, sequence: u64) -> String {
    if !console.log().contains(message) {
        console.expect(&format!("*** PANIC: {message}"), PATIENCE);
    }
    console.expect(&format!("crash dump {sequence}: "), DUMP);
    console.expect("lastpanic shows it\n", DUMP);
    // A card is told to stop, whether it was doing something or not; one that was not does not answer.
    console.allow_warnings("SD: CMD12 in a wrong state: transfer");
    console.cut()
}

/// The next boot tells of panic number `sequence`, and shows it.
#[track_caller]
fn shown(console: &mut Console, message: &str, sequence: u64) {
    let boot = console.prompt();
    assert!(boot.contains(TOLD), "{boot}");
    let said = console.command("lastpanic");
    assert!(said.starts_with(&format!("panic {sequence}, ")), "{said}");
    assert!(said.contains(", by this build\n"), "{said}");
    assert!(said.contains(&format!("*** PANIC: {message}\n")), "{said}");
    for cpu in 0..4 {
        assert!(
            said.contains(&format!("backtrace of CPU {cpu}:\n")),
            "{said}"
        );
    }
    assert!(said.lines().all(|line| line.len() <= 80), "{said}");
}

/// Sectors are written until the panic; those whose flush was acknowledged must be there.
fn with_sectors(mut console: Console, card: &Path, rng: &mut Rng, ms: u64, sequence: u64) {
    let before = image::read(card, area(card)).expect("the card");
    let test = DiskTest {
        seed: rng.u64(1..),
        threads: 4,
        requests: 4_000_000,
    };
    console.command(&format!("panic after {ms}"));
    let words = format!("requests {} seed {} log scratch", test.requests, test.seed);
    console.send_line(&format!("disktest card:3 {words}"));
    let log = dumped(console, &message(ms), sequence);
    // The last one: lastpanic has shown the one before.
    let (before_panic, _) = log.rsplit_once("*** PANIC").expect("a panic");
    let told = before_panic
        .split_inclusive('\n')
        .filter_map(|line| line.strip_prefix("flushed: [")?.strip_suffix("]\n"))
        .next_back();
    let flushed: Vec<u32> = match told {
        Some(list) => list.split(", ").filter_map(|n| n.parse().ok()).collect(),
        None => vec![0; test.threads as usize],
    };
    let after = image::read(card, area(card)).expect("the card");
    match test.check_cut(&before, &after, &flushed) {
        Ok(found) => case(&format!(
            "panic {sequence} after {ms} ms: flushed {flushed:?}, {found:?}"
        )),
        Err(error) => panic!("panic {sequence}, seed {}: {error}", test.seed),
    }
}

/// Files come and go until the panic; what `sync` acknowledged must be whole.
fn with_files(
    mut console: Console,
    noise: &[u8],
    rng: &mut Rng,
    files: &mut Files,
    ms: u64,
    sequence: u64,
) {
    console.command(&format!("panic after {ms}"));
    let panicked = format!("*** PANIC: {}", message(ms));
    let mut steps = 0;
    'steps: loop {
        let line = files.step(rng, noise);
        console.send_line(&line);
        while !console.comes(
            &format!("\n{PROMPT}"),
            Instant::now() + Duration::from_millis(50),
        ) {
            if console.log().contains(&panicked) {
                break 'steps;
            }
        }
        steps += 1;
        if line == "sync" {
            files.synced();
        }
    }
    dumped(console, &message(ms), sequence);
    case(&format!("panic {sequence} after {ms} ms: {steps} steps"));
}

fn message(ms: u64) -> String {
    format!("asked for {ms} ms before")
}

#[test]
fn a_panic_at_any_moment_leaves_a_dump_and_harms_nothing() {
    claim(
        "panic while the disk is busy: the next boot shows it, what was acknowledged is there, fsck.fat finds no lie",
    );
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let noise = Volume::of(&card).and_then(|volume| volume.file("/NOISE.BIN"));
    let noise = noise.expect("the card").expect("its file");
    let mut rng = Rng::with_seed(number(SEED, 3));
    let mut files = Files::default();
    let mut last = None;
    let panics = number(PANICS, PANICS_IN_TEST);
    for sequence in 1..=panics {
        // On one controller for two panics, by one load each, then on the other.
        let slot = [Slot::Emmc2, Slot::Arasan][(sequence / 2 % 2) as usize];
        let mut console = machine(&card).slot(slot).start();
        match last {
            Some(ms) => shown(&mut console, &message(ms), sequence - 1),
            None => {
                console.command("mkdir /boot/cut");
                console.command("sync");
            }
        }
        let ms = rng.u64(MOMENTS_MS);
        let [_, crash, _] = parts(&card);
        match sequence % 2 {
            0 => with_sectors(console, &card, &mut rng, ms, sequence),
            _ => with_files(console, &noise, &mut rng, &mut files, ms, sequence),
        }
        last = Some(ms);
        assert!(parts(&card)[1] != crash, "a dump was written");
        let volume = Volume::of(&card).expect("the card");
        files.check(&volume, sequence);
        let (_, said) = volume.check().expect("fsck.fat");
        let others = unallowed(&said);
        assert!(others.is_empty(), "panic {sequence}: {others:?} of\n{said}");
        let mended = volume.mend();
        mended.unwrap_or_else(|error| panic!("panic {sequence}: {error:#}"));
        files.check(&volume, sequence);
        files.resume(&Volume::of(&card).expect("the card"));
    }
    let mut console = machine(&card).start();
    shown(&mut console, &message(last.expect("a panic")), panics);
    let boot = {
        drop(console);
        machine(&card).start().prompt()
    };
    assert!(!boot.contains(TOLD), "told twice: {boot}");
}

/// The host's tool shows where it was, from the card as from what the console said, and not by another kernel's ELF file.
#[track_caller]
fn symbolised(card: &Path, log: &str) {
    let elf = match number(DMA_TRUTH, 0) {
        0 => tools::kernel_elf(),
        _ => tools::root().join("target/dma/aarch64-unknown-none-softfloat/release/kernel"),
    };
    let kernel = Kernel::open(&elf).expect("the kernel");
    let of_card = Input::open(card).expect("a dump");
    let (_, report) = log.rsplit_once("*** PANIC").expect("a report");
    for mut input in [of_card, Input::text(report.as_bytes())] {
        assert!(kernel.fits(&input).expect("its ELF file"));
        let shown = kernel.symbolise(&input.text);
        let place = "in_card_driver  kernel/src/panic/provoke.rs:";
        assert!(shown.contains(place), "{shown}");
        input.text += &format!("build {}\n", "0".repeat(40));
        let error = kernel.fits(&input).expect_err("another build").to_string();
        assert!(error.contains("give the ELF file"), "{error}");
    }
}

#[test]
fn a_panic_inside_the_cards_driver_leaves_a_dump_and_nothing_else() {
    claim(
        "panic with the queue locked and a command under way: a dump on each controller, no other byte changed",
    );
    for slot in [Slot::Emmc2, Slot::Arasan] {
        let folder = TempDir::new().expect("a folder");
        let card = card(folder.path());
        let [before, _, after] = parts(&card);
        let mut console = machine(&card).slot(slot).start();
        console.prompt();
        console.send_line("panic card");
        let log = dumped(console, "in the card's driver, ", 1);
        let what = log.split("*** PANIC: ").nth(1).expect("a panic");
        let what = what.lines().next().expect("a line");
        assert!(what.ends_with(" under way"), "{what}");
        let [before_now, _, after_now] = parts(&card);
        assert!(before == before_now && after == after_now, "{slot:?}");
        symbolised(&card, &log);
        let mut console = machine(&card).slot(slot).start();
        shown(&mut console, what, 1);
        for (part, holds) in [
            ("machine", "Raspberry Pi 4 Model B"),
            ("cpus", "registers of CPU "), // of all but the one that panicked
            ("locks", "BioQueue"),
            ("threads", "shell"),
            ("interrupts", "emmc"),
            ("log", "storage: card on"),
        ] {
            let said = console.command(&format!("lastpanic {part}"));
            assert!(said.contains(holds), "{part}: {said}");
        }
        assert!(
            console
                .command("lastpanic nothing")
                .contains("usage: lastpanic")
        );
        assert_eq!(
            console.command("lastpanic clear"),
            "the crash dump is cleared"
        );
        let none = "there is no crash dump on the card";
        assert!(console.command("lastpanic").contains(none));
        assert!(console.command("lastpanic clear").contains(none));
        case(&format!("{slot:?}: {what}"));
    }
}

/// Changes a byte of the card's image, also under a running kernel.
fn poke(card: &Path, at: u64, byte: u8) {
    let file = std::fs::File::options()
        .write(true)
        .open(card)
        .expect("the card");
    file.write_all_at(&[byte], at).expect("the card");
}

#[test]
fn where_a_place_is_not_proved_nothing_is_written() {
    claim(
        "panic with a foreign, changed or unlabelled card: the console says why there is no dump, no byte changed",
    );
    const KIND: u64 = 446 + 16 + 4;
    const START: u64 = 446 + 16 + 8;
    const SIGNATURE: u64 = 440;
    let none = "there is no place for it on a card";
    let table = "the card's partition table is not what it was";
    let label = "its partition is not labelled";
    for (running, what, why) in [
        (false, "kind", none),
        (false, "label", none),
        (true, "kind", table),
        (true, "start", table),
        (true, "signature", table),
        (true, "label", label),
    ] {
        let folder = TempDir::new().expect("a folder");
        let card = card(folder.path());
        let label_at = image::partition(&card, 2).expect("a partition").start;
        let change = || match what {
            "kind" => poke(&card, KIND, 0x83),
            "start" => poke(&card, START, 8),
            "signature" => poke(&card, SIGNATURE, b'o'),
            _ => poke(&card, label_at + 3, b'x'),
        };
        if !running {
            change();
        }
        let mut console = machine(&card).start();
        console.prompt();
        if running {
            change();
        }
        let before = std::fs::read(&card).expect("the card");
        console.send_line("panic");
        console.expect("*** PANIC: asked for at the console", PATIENCE);
        console.expect(&format!("no crash dump: {why}\n"), DUMP);
        console.cut();
        assert!(std::fs::read(&card).expect("the card") == before, "{what}");
        case(&format!("{what}, running {running}: {why}"));
    }
    let mut console = Machine::new().start();
    console.prompt();
    console.send_line("panic");
    console.expect(&format!("no crash dump: {none}\n"), DUMP);
}
