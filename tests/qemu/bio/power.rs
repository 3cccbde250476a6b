// SPDX-License-Identifier: MIT OR Apache-2.0
//! Power cuts: QEMU is killed at some moment, and the image is held to what the kernel had promised until then.
//!
//! A kill leaves on the image what the card had taken; what the kernel kept back, in a queue or in its cache, is gone. Each round
//! goes on with the image of the last one, unmended, so each also shows that the next boot mounts it.
//!
//! `make powercut` does more of them, also with the kernel in which CPU and devices have memories of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use qemu_tests::image::{self, Volume};
use qemu_tests::oracle::DiskTest;
use qemu_tests::{Console, Machine, PROMPT, case, claim};
use tempfile::TempDir;

use super::{PATIENCE, area, card};

/// How many cuts, and another order of them.
const CUTS: &str = "ORTHOGON_CUTS";
const SEED: &str = "ORTHOGON_SEED";
const CUTS_IN_TEST: u64 = 4;
/// Longest time from the first request to the cut.
const LONGEST_MS: u64 = 1_500;

pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Boots, which must mount what the last cut left.
#[track_caller]
fn boot(card: &Path) -> Console {
    let mut console = Machine::new().card(card).deadline(PATIENCE).start();
    let log = console.prompt();
    assert!(log.contains("/boot: partition 1 of the card"), "{log}");
    console
}

#[test]
fn sectors_that_were_flushed_are_on_the_card() {
    claim("power cut during random writes: no sector is older than its last acknowledged flush");
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let mut rng = Rng::with_seed(number(SEED, 1));
    for cut in 1..=number(CUTS, CUTS_IN_TEST) {
        let before = image::read(&card, area(&card)).expect("the card");
        let test = DiskTest {
            seed: rng.u64(1..),
            threads: 4,
            requests: 4_000_000,
        };
        let mut console = boot(&card);
        let words = format!("requests {} seed {} log scratch", test.requests, test.seed);
        console.send_line(&format!("disktest card:3 {words}"));
        console.expect("flushed: [", PATIENCE);
        console.expect("]\n", PATIENCE);
        std::thread::sleep(Duration::from_millis(rng.u64(..LONGEST_MS)));
        let log = console.cut();
        // A line that was cut, too, tells nothing.
        let whole = log
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix("]\n"));
        let told = whole
            .filter_map(|line| line.strip_prefix("flushed: ["))
            .next_back();
        let list = told.expect("a first line came").split(", ");
        let flushed: Vec<u32> = list.filter_map(|n| n.parse().ok()).collect();
        assert_eq!(flushed.len(), 4, "{told:?}");
        let after = image::read(&card, area(&card)).expect("the card");
        match test.check_cut(&before, &after, &flushed) {
            Ok(found) => case(&format!("cut {cut}: flushed {flushed:?}, {found:?}")),
            Err(error) => panic!("cut {cut}, seed {}: {error}", test.seed),
        }
    }
}

/// What files must be, and what they may be.
#[derive(Default)]
pub(crate) struct Files {
    /// As the last `sync` acknowledged.
    acknowledged: BTreeMap<String, Vec<u8>>,
    now: BTreeMap<String, Vec<u8>>,
    /// Touched since.
    touched: Vec<String>,
}

impl Files {
    /// Something to be done, and what becomes of the files.
    pub(crate) fn step(&mut self, rng: &mut Rng, noise: &[u8]) -> String {
        let name = format!("/cut/file {}.txt", rng.u8(..12));
        let path = format!("\"/boot{name}\"");
        let there = self.now.contains_key(&name);
        let line = match rng.u8(..8) {
            0..3 => {
                let text = format!("{:x}", rng.u128(..)).repeat(rng.usize(1..5));
                self.now
                    .insert(name.clone(), format!("{text}\n").into_bytes());
                format!("write {path} {text}")
            }
            3..5 => {
                self.now.insert(name.clone(), noise.to_vec());
                format!("cp /boot/NOISE.BIN {path}")
            }
            5 if there => {
                self.now.remove(&name);
                format!("rm {path}")
            }
            _ => return "sync".into(),
        };
        self.touched.push(name);
        line
    }

    pub(crate) fn synced(&mut self) {
        self.acknowledged = self.now.clone();
        self.touched.clear();
    }

    /// The power went, and some of what was touched may be as it was, as it is, or in between: from what the card has now.
    pub(crate) fn resume(&mut self, volume: &Volume) {
        for name in std::mem::take(&mut self.touched) {
            match volume.file(&name).expect("the volume") {
                Some(bytes) => self.now.insert(name, bytes),
                None => self.now.remove(&name),
            };
        }
        self.acknowledged = self.now.clone();
    }

    #[track_caller]
    pub(crate) fn check(&self, volume: &Volume, cut: u64) -> usize {
        let untouched = |name: &&String| !self.touched.contains(name);
        let names: Vec<_> = self.acknowledged.keys().filter(untouched).collect();
        for name in &names {
            let found = volume.file(name).expect("the volume");
            let bytes = found.as_ref().map(Vec::len);
            let must = &self.acknowledged[*name];
            let whole = found.as_ref() == Some(must);
            assert!(
                whole,
                "cut {cut}: {name} has {bytes:?} bytes, not its {}",
                must.len()
            );
        }
        for name in (0..12).map(|n| format!("/cut/file {n}.txt")) {
            if untouched(&&name) && !self.acknowledged.contains_key(&name) {
                let found = volume.file(&name).expect("the volume");
                assert!(found.is_none(), "cut {cut}: {name} was removed");
            }
        }
        names.len()
    }
}

/// What `fsck.fat` may say after a power cut. The volume was not unmounted: a mark in the boot sector and not in its copy.
/// The copies of the FAT differ, as one is written after the other. Clusters are marked and belong to nobody, a chain is
/// longer than its file, a name was cut off, as each is made before what leads to it. The count of free clusters is a
/// hint. No cross-linked, bad or missing clusters: those would be lies.
const ALLOWED: [&str; 16] = [
    "fsck.fat ",
    "Dirty bit is set",
    "Automatically removing dirty bit",
    "There are differences between boot sector and its backup",
    "This is mostly harmless. Differences:",
    "65:01/00",
    "Not automatically fixing this",
    "FATs differ",
    "Using first FAT",
    "Free cluster summary wrong",
    "Auto-correcting",
    "Reclaim",
    "Leaving filesystem unchanged",
    "Orphaned long file name part",
    "Auto-deleting",
    "File size is ",
];

/// The lines that are none of these, nor a file's name or the sum.
pub(crate) fn unallowed(said: &str) -> Vec<&str> {
    let known = |line: &str| {
        let line = line.trim();
        let named = line.is_empty() || line.starts_with('/');
        named || ALLOWED.iter().any(|allowed| line.starts_with(allowed))
    };
    said.lines().filter(|line| !known(line)).collect()
}

#[test]
fn files_that_were_synced_are_whole() {
    claim(
        "power cut while files come and go: what sync acknowledged is whole, fsck.fat mends the rest",
    );
    let folder = TempDir::new().expect("a folder");
    let card = card(folder.path());
    let noise = Volume::of(&card).and_then(|volume| volume.file("/NOISE.BIN"));
    let noise = noise.expect("the card").expect("its file");
    let mut rng = Rng::with_seed(number(SEED, 2));
    let mut files = Files::default();
    for cut in 1..=number(CUTS, CUTS_IN_TEST) {
        let mut console = boot(&card);
        if cut == 1 {
            console.command("mkdir /boot/cut");
            console.command("sync");
        }
        let end = Instant::now() + Duration::from_millis(rng.u64(..LONGEST_MS));
        let mut steps = 0;
        loop {
            let line = files.step(&mut rng, &noise);
            console.send_line(&line);
            if !console.comes(&format!("\n{PROMPT}"), end) {
                break;
            }
            steps += 1;
            if line == "sync" {
                files.synced();
            }
        }
        let log = console.cut();
        assert!(!log.contains("PANIC"), "{log}");
        let volume = Volume::of(&card).expect("the card");
        let whole = files.check(&volume, cut);
        let (_, said) = volume.check().expect("fsck.fat");
        let others = unallowed(&said);
        assert!(others.is_empty(), "cut {cut}: {others:?} of\n{said}");
        let kinds = [
            "FATs differ",
            "Reclaim",
            "Orphaned",
            "File size",
            "Free cluster",
        ];
        let kinds: Vec<_> = kinds
            .into_iter()
            .filter(|kind| said.contains(kind))
            .collect();
        case(&format!(
            "cut {cut} after {steps} steps: {whole} files whole; {kinds:?}"
        ));
        volume
            .mend()
            .unwrap_or_else(|error| panic!("cut {cut}: {error:#}"));
        files.check(&volume, cut);
        files.resume(&Volume::of(&card).expect("the card"));
    }
}
