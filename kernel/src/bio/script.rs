// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `disktest` does to a device, and what must be on it afterwards.
//!
//! # Theory
//! All of it follows from a seed: each thread's actions, and every byte that it writes. So whoever has the device's
//! image and the seed knows what the image must hold, without having seen the test run: the host's tests do (`make
//! powercut`, the tests in QEMU).
//!
//! The area is cut into chunks that belong to the threads in turn. A thread stays within its own, so what becomes of
//! them does not depend on who runs when; but its neighbours' chunks are merged with it, and pass it in the queue. Each
//! sector is stamped with the action that wrote it: an image tells how far a thread had come, sector by sector.
//!
//! Actions come in groups that are submitted together: in a group, order holds where they overlap. A flush is a group of its
//! own, so when it has ended, all that its thread did before is on the medium.
use super::SECTOR_BYTES;
use super::load::{SplitMix, mix};
use alloc::vec;
use alloc::vec::Vec;

/// Sectors that belong to one thread, one behind the other.
pub const CHUNK_SECTORS: u64 = 64;
/// Actions of a group.
const GROUP: u64 = 4;
const MAGIC: u64 = u64::from_le_bytes(*b"Orthogon");
const WORDS: usize = SECTOR_BYTES / 8;

/// One thing that a thread does; sectors count from the area's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads, and checks.
    Read {
        /// The first sector.
        lba: u64,
        /// How many.
        sectors: u64,
    },
    /// Writes sectors with its own stamp.
    Write {
        /// The first sector.
        lba: u64,
        /// How many.
        sectors: u64,
        /// To the medium, past its cache.
        through: bool,
    },
    /// Has all that was written before be on the medium.
    Flush,
}

/// A thread's actions, in groups, for ever; none if there is not a chunk for it.
#[derive(Clone, Debug)]
pub struct Script {
    random: SplitMix,
    thread: u64,
    threads: u64,
    chunks: u64,
}

impl Script {
    /// Of thread `thread` of `threads`, on an area of `sectors` sectors.
    pub fn new(seed: u64, thread: u32, threads: u32, sectors: u64) -> Self {
        let (thread, threads) = (u64::from(thread), u64::from(threads));
        let chunks = sectors / CHUNK_SECTORS;
        Self {
            random: SplitMix::new(mix(seed) ^ thread),
            thread,
            threads,
            chunks: (chunks + threads - 1 - thread) / threads,
        }
    }

    fn action(&mut self) -> Action {
        // As many requests of each size: of 1, 2, 4, ... 64 sectors, and less than that.
        let most = 1 << self.random.below(7);
        let sectors = most - self.random.below(most / 2 + 1);
        let chunk = self.random.below(self.chunks) * self.threads + self.thread;
        let lba = chunk * CHUNK_SECTORS + self.random.below(CHUNK_SECTORS - sectors + 1);
        match self.random.below(10) {
            0..4 => Action::Read { lba, sectors },
            kind => Action::Write {
                lba,
                sectors,
                through: kind == 9,
            },
        }
    }
}

impl Iterator for Script {
    type Item = Vec<Action>;

    fn next(&mut self) -> Option<Vec<Action>> {
        if self.chunks == 0 {
            return None;
        }
        if self.random.below(8) == 0 {
            return Some(vec![Action::Flush]);
        }
        let length = 1 + self.random.below(GROUP);
        Some((0..length).map(|_| self.action()).collect())
    }
}

/// What says of a sector who wrote it, and when: its whole content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The test's seed.
    pub seed: u64,
    /// The thread.
    pub thread: u32,
    /// Which of its actions, from 1.
    pub number: u32,
}

impl Stamp {
    fn words(self, lba: u64) -> impl Iterator<Item = u64> {
        let who = u64::from(self.thread) << 32 | u64::from(self.number);
        let head = [MAGIC, self.seed, who, lba];
        let body = SplitMix::new(mix(mix(self.seed ^ who) ^ lba));
        let rest = core::iter::repeat_n((), WORDS - head.len()).scan(body, |b, ()| Some(b.draw()));
        head.into_iter().chain(rest)
    }

    /// Fills a sector.
    pub fn put(self, lba: u64, sector: &mut [u8]) {
        for (bytes, word) in sector.chunks_exact_mut(8).zip(self.words(lba)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Whether a sector is as [`Self::put`] fills it, to the last byte.
    pub fn is_in(self, lba: u64, sector: &[u8]) -> bool {
        words_of(sector).eq(self.words(lba))
    }

    /// Who wrote a sector, if its head says that it was a test with this seed; [`Self::is_in`] then tells whether the rest
    /// is right.
    pub fn read(seed: u64, sector: &[u8]) -> Option<Self> {
        let mut words = words_of(sector);
        let (magic, of_seed, who) = (words.next()?, words.next()?, words.next()?);
        (magic == MAGIC && of_seed == seed).then_some(Self {
            seed,
            thread: (who >> 32) as u32,
            number: who as u32,
        })
    }
}

fn words_of(sector: &[u8]) -> impl Iterator<Item = u64> {
    let words = sector.as_chunks().0.iter();
    words.map(|word| u64::from_le_bytes(*word))
}

/// What a thread's sectors must hold at some time, and a sum of all that it has read.
pub struct Ledger {
    seed: u64,
    thread: u32,
    /// The action that wrote each sector of the area last; 0: none.
    last: Vec<u32>,
    /// Of all that was read, in order.
    pub digest: u64,
    /// Actions so far.
    pub number: u32,
}

impl Ledger {
    /// Nothing was done yet to any of the area's sectors.
    pub fn new(seed: u64, thread: u32, sectors: u64) -> Self {
        Self {
            seed,
            thread,
            last: vec![0; sectors as usize],
            digest: 0,
            number: 0,
        }
    }

    /// The next action's stamp.
    pub fn begin(&mut self) -> Stamp {
        self.number += 1;
        Stamp {
            seed: self.seed,
            thread: self.thread,
            number: self.number,
        }
    }

    /// What a write leaves on its sectors.
    pub fn wrote(&mut self, stamp: Stamp, lba: u64, sectors: u64) {
        self.last[lba as usize..(lba + sectors) as usize].fill(stamp.number);
    }

    /// A write failed: what it left nobody knows, where no later one has written.
    pub fn lost(&mut self, stamp: Stamp, lba: u64, sectors: u64) {
        let theirs = &mut self.last[lba as usize..(lba + sectors) as usize];
        let unknown = theirs.iter_mut().filter(|last| **last == stamp.number);
        unknown.for_each(|last| *last = 0);
    }

    /// What a sector must hold, if the test has written it, and knows.
    pub fn holds(&self, lba: u64) -> Option<Stamp> {
        let number = self.last[lba as usize];
        (number != 0).then_some(Stamp {
            seed: self.seed,
            thread: self.thread,
            number,
        })
    }

    /// Adds a sector to the sum of what was read.
    pub fn digest(&mut self, sector: &[u8]) {
        self.digest = words_of(sector).fold(self.digest, |sum, word| mix(sum ^ word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_stay_in_their_own_chunks_and_use_all_of_them() {
        let sectors = 10 * CHUNK_SECTORS + 7;
        let mut owner = vec![None; sectors as usize];
        for thread in 0..3 {
            let script = Script::new(1, thread, 3, sectors);
            for action in script.take(3000).flatten() {
                let (Action::Read { lba, sectors: n }
                | Action::Write {
                    lba, sectors: n, ..
                }) = action
                else {
                    continue;
                };
                assert!((1..=CHUNK_SECTORS).contains(&n));
                for lba in lba..lba + n {
                    let owner = &mut owner[lba as usize];
                    assert!(owner.is_none_or(|owner| owner == thread), "{lba}");
                    *owner = Some(thread);
                }
            }
        }
        let used = owner.iter().filter(|owner| owner.is_some()).count() as u64;
        assert_eq!(used, 10 * CHUNK_SECTORS);
        assert_eq!(Script::new(1, 2, 3, 2 * CHUNK_SECTORS).next(), None);
    }

    #[test]
    fn equal_seeds_do_the_same_and_a_flush_stands_alone() {
        let actions = |seed| Script::new(seed, 0, 4, 4096).take(500).collect::<Vec<_>>();
        assert_eq!(actions(1), actions(1));
        assert_ne!(actions(1), actions(2));
        for group in actions(1) {
            assert!(group.len() == 1 || !group.contains(&Action::Flush));
        }
        let count = |f: fn(&Action) -> bool| actions(1).iter().flatten().filter(|a| f(a)).count();
        assert!(count(|a| *a == Action::Flush) > 30);
        assert!(count(|a| matches!(a, Action::Write { through: true, .. })) > 30);
        assert!(count(|a| matches!(a, Action::Write { through: false, .. })) > 300);
        assert!(count(|a| matches!(a, Action::Read { .. })) > 300);
    }

    #[test]
    fn a_stamp_is_known_and_each_byte_counts() {
        let stamp = Stamp {
            seed: 5,
            thread: 3,
            number: 9,
        };
        let mut sector = vec![0; SECTOR_BYTES];
        stamp.put(77, &mut sector);
        assert_eq!(Stamp::read(5, &sector), Some(stamp));
        assert_eq!(Stamp::read(6, &sector), None);
        assert!(stamp.is_in(77, &sector));
        assert!(!stamp.is_in(78, &sector), "another sector's");
        for byte in 0..SECTOR_BYTES {
            sector[byte] ^= 1;
            assert!(!stamp.is_in(77, &sector), "byte {byte}");
            sector[byte] ^= 1;
        }
    }

    #[test]
    fn a_ledger_knows_who_wrote_last() {
        let mut ledger = Ledger::new(1, 2, 100);
        let first = ledger.begin();
        ledger.wrote(first, 10, 5);
        let second = ledger.begin();
        ledger.wrote(second, 12, 1);
        assert_eq!(
            [9, 10, 12, 14].map(|lba| ledger.holds(lba)),
            [None, Some(first), Some(second), Some(first)]
        );
        let digest = |ledger: &mut Ledger, text: &[u8; 8]| {
            ledger.digest(&text.repeat(WORDS));
            ledger.digest
        };
        let (a, b) = (
            digest(&mut ledger, b"abcdefgh"),
            digest(&mut ledger, b"abcdefgh"),
        );
        assert!(a != 0 && a != b);
    }
}
