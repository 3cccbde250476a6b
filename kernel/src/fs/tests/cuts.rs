// SPDX-License-Identifier: MIT OR Apache-2.0
//! Power cuts: random work, and then every state that the medium may have been in, as far as it was recorded: all
//! that was flushed, and any part of what was written since.
//!
//! What must hold in each: [`super::check`] finds nothing that it does not count; a file that a flush had acknowledged and
//! nobody touched since is whole; one that was touched is what it was at one time since; and `fsck.fat` mends the
//! volume without hurting any of them.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;
use std::{eprintln, format, vec};

use super::super::Mode;
use super::check::{Checked, check};
use super::model::{Model, Tree};
use super::write::{formatted, fsck, mounted};
use crate::bio::SECTOR_BYTES;
use crate::bio::tests::{Event, MemDisk, Random};

type Versions = BTreeMap<String, Vec<Option<Option<Vec<u8>>>>>;

/// What was known when so much of the log had been written.
struct Moment {
    /// The length of the log.
    written: usize,
    /// What the last flush acknowledged.
    acknowledged: Tree,
    /// What each path touched since has been, until the next moment of this kind.
    since: Versions,
}

#[derive(Debug, Default)]
struct Found {
    cuts: usize,
    lost: usize,
    differ: usize,
    excess: usize,
    orphans: usize,
    twins: usize,
    doubles: usize,
    astray: usize,
    miscounted: usize,
    mended: usize,
}

/// Works on `disk` and records what may be asked of each prefix of the log.
fn work(disk: &MemDisk, seed: u64, steps: usize) -> Vec<Moment> {
    let mut model = Model::new(mounted(disk), seed, 8_000);
    let mut moments = vec![];
    let mut acknowledged = Tree::new();
    let mut begun = 0;
    for _ in 0..steps {
        model.step();
        if model.random.below(12) > 0 {
            continue;
        }
        // What reached the medium in this time is judged by all that was done in it.
        let all = model.random.below(3) > 0;
        model.mounts.flush(all).unwrap();
        let since = core::mem::take(&mut model.since);
        let written = begun;
        moments.push(Moment {
            written,
            acknowledged,
            since,
        });
        begun = disk.state().log.len();
        acknowledged = model.tree.clone();
    }
    moments.push(Moment {
        written: begun,
        acknowledged,
        since: model.since,
    });
    moments
}

fn judge(checked: &Checked, moment: &Moment) {
    for (path, contents) in &moment.acknowledged {
        if !moment.since.contains_key(path) {
            let there = checked.files.get(path);
            assert!(there == Some(contents), "{path} was acknowledged");
        }
    }
    for (path, contents) in &checked.files {
        let versions = moment.since.get(path);
        let known = versions.is_none_or(|v| v.contains(&Some(contents.clone())));
        assert!(
            known,
            "{path} never was {:?}",
            contents.as_ref().map(Vec::len)
        );
    }
    // What was only renamed since is there under some name at any time.
    for versions in moment.since.values() {
        let contents = versions.last().cloned().flatten().flatten();
        let Some(contents) = contents.filter(|bytes| bytes.len() > 8).map(Some) else {
            continue;
        };
        if moment.acknowledged.values().any(|old| *old == contents) {
            let there = checked.files.values().any(|new| *new == contents);
            assert!(there, "a renamed file is lost: {:?}", moment.since.keys());
        }
    }
    let renamed = moment.since.len() > 1;
    assert!(renamed || (checked.doubles, checked.astray) == (0, 0));
    for (a, b) in &checked.twins {
        // One of them may have lost its long name.
        let touched = |path: &String| moment.since.contains_key(path.trim_end_matches('/'));
        assert!(touched(a) || touched(b), "{a} and {b}");
    }
}

fn cut(
    name: &str,
    disk: MemDisk,
    seed: u64,
    work: impl FnOnce(&MemDisk) -> Vec<Moment>,
    fsck_each: usize,
) -> Found {
    let mut found = Found::default();
    let mut medium = disk.clone();
    disk.state().keep_log = true;
    let moments = work(&disk);
    let log = disk.state().log.clone();
    let mut random = Random(seed);
    let mut begun = 0;
    let ends = (0..log.len()).filter(|at| log[*at] == Event::Flush);
    for end in ends.chain([log.len()]) {
        let group = &log[begun..end];
        let moment = moments.iter().rev().find(|m| m.written <= begun).unwrap();
        let mut some: Vec<Vec<bool>> = vec![vec![false; group.len()]];
        if group.len() > 1 {
            some.push((0..group.len()).map(|_| random.below(2) == 0).collect());
            let odd = random.below(group.len() as u64) as usize;
            some.push((0..group.len()).map(|at| at == odd).collect());
            some.push((0..group.len()).map(|at| at != odd).collect());
        }
        for kept in some {
            let mut after = medium.clone();
            apply(&mut after, group, &kept);
            let checked = check(&after);
            judge(&checked, moment);
            found.cuts += 1;
            found.lost += usize::from(checked.lost > 0);
            found.differ += usize::from(checked.differ > 0);
            found.excess += usize::from(checked.excess > 0);
            found.orphans += usize::from(checked.orphans > 0);
            found.twins += usize::from(!checked.twins.is_empty());
            found.doubles += usize::from(checked.doubles > 0);
            found.astray += usize::from(checked.astray > 0);
            found.miscounted += usize::from(checked.miscounted);
            if found.cuts % fsck_each == 0 {
                mend(&after, &checked, moment);
                found.mended += 1;
            }
        }
        apply(&mut medium, group, &vec![true; group.len()]);
        begun = end + 1;
    }
    eprintln!("{name}: {found:?}");
    found
}

fn apply(medium: &mut MemDisk, group: &[Event], kept: &[bool]) {
    for (event, kept) in group.iter().zip(kept) {
        if let (Event::Write(lba, sector), true) = (event, kept) {
            medium.poke(lba * SECTOR_BYTES as u64, &sector[..]);
        }
    }
}

/// fsck.fat repairs it, and what was acknowledged is still whole.
fn mend(disk: &MemDisk, before: &Checked, moment: &Moment) {
    let (said, code, mut mended) = fsck(disk, &["-a", "-w"]);
    assert!(code == 0 || code == 1, "{said}");
    if !before.twins.is_empty() {
        // A directory's second name it empties, then removes, then its long name.
        mended = fsck(&mended, &["-a", "-w"]).2;
        mended = fsck(&mended, &["-a", "-w"]).2;
    }
    let (again, code, _) = fsck(&mended, &["-n"]);
    assert_eq!(code, 0, "{said}\nthen {again}");
    let after = check(&mended);
    assert_eq!(
        (after.lost, after.differ, after.twins.len()),
        (0, 0, 0),
        "{said}"
    );
    for (path, contents) in &moment.acknowledged {
        let twin = before.twins.iter().any(|(a, b)| a == path || b == path);
        if !moment.since.contains_key(path) && !twin {
            assert!(after.files.get(path) == Some(contents), "{path}\n{said}");
        }
    }
    // The next boot mounts it and reads all there is.
    let mut seen = super::Seen::default();
    super::explore_dir(&mut mounted(disk), "/boot", &mut seen);
    assert_eq!(seen.errors, [""; 0]);
}

/// Directories and files that grow far from where they began, so that what joins the new to the old is in another sector
/// of the FAT than what is new.
fn grow_far(disk: &MemDisk) -> Vec<Moment> {
    let mut model = Model::new(mounted(disk), 1, 8_000);
    let mut moments = vec![];
    let mut step = |model: &mut Model, act: &dyn Fn(&mut Model)| {
        let (written, acknowledged) = (disk.state().log.len(), model.tree.clone());
        model.since.clear();
        act(model);
        model.mounts.flush(false).unwrap();
        let since = model.since.clone();
        moments.push(Moment {
            written,
            acknowledged,
            since,
        });
    };
    step(&mut model, &|m| m.make_dir("/d"));
    step(&mut model, &|m| {
        m.write("/grows", Mode::Replace, vec![1; 512])
    });
    for number in 0..10u8 {
        step(&mut model, &|m| {
            m.write(
                &format!("/far{number}"),
                Mode::Replace,
                vec![number; 150_000],
            )
        });
        step(&mut model, &|m| {
            m.write("/grows", Mode::Append, vec![number; 700])
        });
        step(&mut model, &|m| {
            m.write(&format!("/d/one of many {number}"), Mode::Replace, vec![])
        });
        step(&mut model, &|m| {
            m.make_dir(&format!("/d/directory {number}"))
        });
    }
    moments
}

/// `ORTHOGON_SEEDS=100` for an hour of it.
#[test]
fn no_power_cut_leaves_more_than_the_design_allows() {
    let sixteen = formatted(9000, &["-F", "16", "-s", "1"]);
    let found = cut("FAT16, far", sixteen, 1, grow_far, 100);
    assert!(found.cuts > 200 && found.lost > 10 && found.excess > 0);
    let seeds = std::env::var("ORTHOGON_SEEDS").map_or(1, |n| n.parse().unwrap());
    for seed in 7..7 + seeds {
        let sixteen = formatted(9000, &["-F", "16", "-s", "1", "-r", "512"]);
        let found = cut("FAT16", sixteen, seed, |disk| work(disk, seed, 700), 60);
        assert!(found.cuts > 1000 && found.lost > 10 && found.differ > 10 && found.orphans > 0);
        let wide = formatted(67_000, &["-F", "32", "-s", "1"]);
        let found = cut("FAT32", wide, seed, |disk| work(disk, seed, 100), 200);
        assert!(found.cuts > 100 && found.lost > 10 && found.differ > 10);
    }
}
