// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel's `disktest` must have left on a card's image: from the seed alone, with no word of the kernel's.
//!
//! A test that ended: each sector holds what was written to it last, and what was read was what had been written until then.
//! A test that was cut off: each sector holds what one of its thread's writes put there, none that is older than the
//! last one before the thread's last acknowledged flush; or it is as it was, if no write lies before that.

use anyhow::{Context, Result, ensure};
use kernel::bio::script::{Action, Ledger, Script, Stamp};

const SECTOR: usize = 512;

/// A run of `disktest`.
#[derive(Clone, Copy, Debug)]
pub struct DiskTest {
    /// What all of it follows from.
    pub seed: u64,
    /// How many did it.
    pub threads: u32,
    /// Actions of all together.
    pub requests: u32,
}

/// What an image tells of a test that was cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Sectors that hold a write that a flush had covered.
    pub flushed: u64,
    /// Sectors that hold a later one.
    pub later: u64,
}

impl DiskTest {
    fn script(&self, thread: u32, area: &[u8]) -> Script {
        Script::new(
            self.seed,
            thread,
            self.threads,
            (area.len() / SECTOR) as u64,
        )
    }

    /// Checks an area after the test: `before` and `after` are its bytes, `digests` what the kernel says that its threads
    /// have read. Returns how many sectors were written.
    pub fn check(&self, before: &[u8], after: &[u8], digests: &[u64]) -> Result<u64> {
        let sectors = (before.len() / SECTOR) as u64;
        let mut must = before.to_vec();
        let mut written = 0;
        for thread in 0..self.threads {
            let mut ledger = Ledger::new(self.seed, thread, sectors);
            let most = self.requests / self.threads;
            for action in self.script(thread, before).flatten().take(most as usize) {
                let stamp = ledger.begin();
                match action {
                    Action::Flush => {}
                    Action::Read { lba, sectors } => {
                        (lba..lba + sectors).for_each(|lba| ledger.digest(sector(&must, lba)));
                    }
                    Action::Write { lba, sectors, .. } => {
                        ledger.wrote(stamp, lba, sectors);
                        for lba in lba..lba + sectors {
                            stamp.put(lba, &mut must[lba as usize * SECTOR..][..SECTOR]);
                        }
                    }
                }
            }
            written += (0..sectors)
                .filter(|lba| ledger.holds(*lba).is_some())
                .count() as u64;
            let said = digests.get(thread as usize);
            let said = said.with_context(|| format!("no digest of thread {thread}"))?;
            let read = ledger.digest;
            ensure!(
                *said == read,
                "thread {thread} read {said:#x}, not {read:#x}"
            );
        }
        let wrong = (0..sectors).find(|lba| sector(&must, *lba) != sector(after, *lba));
        match wrong {
            None => Ok(written),
            Some(lba) => anyhow::bail!(
                "sector {lba} holds {:?}, not {:?}",
                Stamp::read(self.seed, sector(after, lba)),
                Stamp::read(self.seed, sector(&must, lba))
            ),
        }
    }

    /// Checks an area after a power cut; `flushed` is the last flush that each thread was told of.
    pub fn check_cut(&self, before: &[u8], after: &[u8], flushed: &[u32]) -> Result<Cut> {
        let sectors = before.len() / SECTOR;
        let mut cut = Cut::default();
        let stamps: Vec<_> = (0..sectors)
            .map(|lba| Stamp::read(self.seed, sector(after, lba as u64)))
            .collect();
        let mut accounted = vec![false; sectors];
        for thread in 0..self.threads {
            let flushed = flushed.get(thread as usize).copied().unwrap_or(0);
            let found = stamps.iter().flatten().filter(|s| s.thread == thread);
            let last = found.map(|s| s.number).max().unwrap_or(0).max(flushed);
            // Of each sector: the last write that was flushed, and whether the one found is there.
            let (mut least, mut known) = (vec![0; sectors], vec![false; sectors]);
            let actions = self.script(thread, before).flatten();
            for (number, action) in (1..=last).zip(actions) {
                let Action::Write { lba, sectors, .. } = action else {
                    continue;
                };
                for lba in lba as usize..(lba + sectors) as usize {
                    if number <= flushed {
                        least[lba] = number;
                    }
                    let it = stamps[lba].is_some_and(|s| (s.thread, s.number) == (thread, number));
                    known[lba] |= it;
                }
            }
            for lba in 0..sectors {
                match stamps[lba] {
                    Some(stamp) if stamp.thread == thread => {
                        let bytes = sector(after, lba as u64);
                        ensure!(
                            stamp.is_in(lba as u64, bytes),
                            "sector {lba} is torn: {stamp:?}"
                        );
                        ensure!(known[lba], "sector {lba}: {stamp:?} did not write it");
                        let least = least[lba];
                        let lost = format!("sector {lba} lost write {least}, flushed by {flushed}");
                        ensure!(stamp.number >= least, "{lost}: {stamp:?}");
                        cut.flushed += u64::from(stamp.number <= flushed);
                        cut.later += u64::from(stamp.number > flushed);
                        accounted[lba] = true;
                    }
                    _ => ensure!(
                        least[lba] == 0,
                        "sector {lba} lost write {} of thread {thread}, flushed by {flushed}",
                        least[lba]
                    ),
                }
            }
        }
        for (lba, accounted) in accounted.into_iter().enumerate() {
            let lba = lba as u64;
            ensure!(
                accounted || sector(after, lba) == sector(before, lba),
                "sector {lba} was changed, and not by the test"
            );
        }
        Ok(cut)
    }
}

fn sector(area: &[u8], lba: u64) -> &[u8] {
    &area[lba as usize * SECTOR..][..SECTOR]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: DiskTest = DiskTest {
        seed: 11,
        threads: 3,
        requests: 600,
    };

    /// A disk that does what it is told, as far as each thread comes.
    fn play(area: &mut [u8], most: [u32; 3]) -> Vec<u64> {
        let sectors = (area.len() / SECTOR) as u64;
        let each = |thread: u32| {
            let mut ledger = Ledger::new(TEST.seed, thread, sectors);
            let script = TEST.script(thread, area);
            for action in script.flatten().take(most[thread as usize] as usize) {
                let stamp = ledger.begin();
                match action {
                    Action::Read { lba, sectors } => {
                        (lba..lba + sectors).for_each(|lba| ledger.digest(sector(area, lba)));
                    }
                    Action::Write { lba, sectors, .. } => (lba..lba + sectors).for_each(|lba| {
                        stamp.put(lba, &mut area[lba as usize * SECTOR..][..SECTOR])
                    }),
                    Action::Flush => {}
                }
            }
            ledger.digest
        };
        (0..3).map(each).collect()
    }

    fn before() -> Vec<u8> {
        vec![0x55; 1024 * SECTOR]
    }

    #[test]
    fn what_was_done_right_is_right_and_a_changed_byte_is_not() {
        let mut after = before();
        let digests = play(&mut after, [200; 3]);
        assert!(TEST.check(&before(), &after, &digests).unwrap() > 900);
        assert!(TEST.check(&before(), &after, &digests[..2]).is_err());
        let other = [digests[0], digests[2], digests[1]];
        assert!(TEST.check(&before(), &after, &other).is_err());
        after[77 * SECTOR + 500] ^= 1;
        let error = TEST
            .check(&before(), &after, &digests)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("sector 77 holds"), "{error}");
    }

    #[test]
    fn a_cut_may_lose_what_no_flush_covers_and_nothing_else() {
        let mut after = before();
        play(&mut after, [200, 100, 50]);
        let cut = TEST.check_cut(&before(), &after, &[150, 100, 0]).unwrap();
        assert!(cut.flushed > 100 && cut.later > 100, "{cut:?}");
        let error = TEST
            .check_cut(&before(), &after, &[150, 190, 0])
            .unwrap_err();
        assert!(error.to_string().contains(" lost write "), "{error}");
        // An older write that a flush has covered a newer one of.
        let mut older = before();
        play(&mut older, [20, 100, 50]);
        assert!(TEST.check_cut(&before(), &older, &[150, 100, 0]).is_err());
        assert!(TEST.check_cut(&before(), &older, &[20, 100, 0]).is_ok());
    }

    #[test]
    fn a_cut_neither_tears_nor_strays() {
        let mut after = before();
        play(&mut after, [200; 3]);
        let flushed = [0; 3];
        assert!(TEST.check_cut(&before(), &after, &flushed).is_ok());
        let mut torn = after.clone();
        let stamped = |lba: &usize| Stamp::read(TEST.seed, sector(&after, *lba as u64)).is_some();
        let written = (0..1024).find(stamped).unwrap();
        torn[written * SECTOR + 300] ^= 1;
        assert!(TEST.check_cut(&before(), &torn, &flushed).is_err());
        let mut strayed = after.clone();
        let free = (0..1024).find(|lba| !stamped(lba)).unwrap();
        strayed[free * SECTOR] ^= 1;
        assert!(TEST.check_cut(&before(), &strayed, &flushed).is_err());
        let mut swapped = after;
        let foreign = Stamp {
            seed: TEST.seed,
            thread: 0,
            number: 1,
        };
        foreign.put(free as u64, &mut swapped[free * SECTOR..][..SECTOR]);
        assert!(TEST.check_cut(&before(), &swapped, &flushed).is_err());
    }
}
