// SPDX-License-Identifier: MIT OR Apache-2.0
//! A load for a block device: how much, in which order, and the line that says what came out.
//!
//! `diskbench` uses it in the kernel, and so does the program in the Linux that the kernel is compared with (`make
//! bench-disk`): the same words, the same places, the same line.
use crate::console::words::{WordError, number_in};
use core::fmt;

/// Larger requests than any that is asked for.
pub const BLOCK_BYTES_MAX: u64 = 1 << 20;
/// More threads than anybody needs.
pub const THREADS_MAX: u64 = 16;

/// What is done to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It is read.
    Read,
    /// It is written.
    Write,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each thread through its share of the device, and again.
    Sequential,
    /// Anywhere.
    Random,
}

/// When it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so many requests of each thread.
    Requests(u64),
    /// After so many seconds.
    Seconds(u64),
}

/// A load. Each thread waits for its request before it makes the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Reads or writes.
    pub direction: Direction,
    /// Bytes of a request.
    pub block_bytes: usize,
    /// Which places.
    pub order: Order,
    /// How many do it at once.
    pub threads: usize,
    /// How long.
    pub until: Until,
    /// Other places with another.
    pub seed: u64,
}

/// The caller's words make no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Neither `read` nor `write` comes first, or no size comes second.
    Incomplete,
    /// The size is not whole sectors.
    Misaligned,
    /// A word that means nothing.
    Unknown(alloc::string::String),
    /// A number.
    Number(WordError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("read or write, and then the bytes of a request"),
            Self::Misaligned => f.write_str("a request is whole sectors of 512 bytes"),
            Self::Unknown(word) => write!(f, "\"{word}\" is no part of a load"),
            Self::Number(error) => error.fmt(f),
        }
    }
}

impl From<WordError> for PlanError {
    fn from(error: WordError) -> Self {
        Self::Number(error)
    }
}

impl Plan {
    /// Reads `read|write BYTES [random] [threads N] [requests N | seconds N] [seed N]`: one thread, two seconds, seed 1
    /// unless told.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Self, PlanError> {
        let direction = match words.next() {
            Some("read") => Direction::Read,
            Some("write") => Direction::Write,
            _ => return Err(PlanError::Incomplete),
        };
        let value = |word: Option<&str>, most| -> Result<u64, PlanError> {
            Ok(number_in(word.ok_or(PlanError::Incomplete)?, 1..=most)?)
        };
        let bytes = value(words.next(), BLOCK_BYTES_MAX)?;
        if !bytes.is_multiple_of(super::SECTOR_BYTES as u64) {
            return Err(PlanError::Misaligned);
        }
        let mut plan = Self {
            direction,
            block_bytes: bytes as usize,
            order: Order::Sequential,
            threads: 1,
            until: Until::Seconds(2),
            seed: 1,
        };
        while let Some(word) = words.next() {
            match word {
                "random" => plan.order = Order::Random,
                "threads" => plan.threads = value(words.next(), THREADS_MAX)? as usize,
                "requests" => plan.until = Until::Requests(value(words.next(), u64::MAX)?),
                "seconds" => plan.until = Until::Seconds(value(words.next(), 86_400)?),
                "seed" => plan.seed = value(words.next(), u64::MAX)?,
                word => return Err(PlanError::Unknown(word.into())),
            }
        }
        Ok(plan)
    }

    /// The places of one thread's requests, in blocks, on a device of `bytes` bytes; none if it is too small.
    pub fn places(&self, thread: usize, bytes: u64) -> Places {
        let blocks = bytes / self.block_bytes as u64;
        let (thread, threads) = (thread as u64, self.threads as u64);
        let (first, end) = match self.order {
            Order::Sequential => (blocks * thread / threads, blocks * (thread + 1) / threads),
            Order::Random => (0, blocks),
        };
        Places {
            first,
            length: end - first,
            next: 0,
            random: (self.order == Order::Random).then(|| SplitMix::new(self.seed ^ thread << 32)),
        }
    }
}

/// See [`Plan::places`]: without an end, unless there is no block.
pub struct Places {
    first: u64,
    length: u64,
    next: u64,
    random: Option<SplitMix>,
}

impl Iterator for Places {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.length == 0 {
            return None;
        }
        let place = match &mut self.random {
            Some(random) => random.below(self.length),
            None => {
                let next = self.next;
                self.next = (next + 1) % self.length;
                next
            }
        };
        Some(self.first + place)
    }
}

/// What came out of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that ended well.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// How long all of it took.
    pub ns: u64,
}

/// What programs read, `diskbench: op=read bytes=4096 order=random threads=4 requests=1 errors=0 ns=2`, in two lines
/// that fit a terminal.
pub struct Line(pub Plan, pub Figures);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, figures) = self;
        let operation = match plan.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        let order = match plan.order {
            Order::Sequential => "sequential",
            Order::Random => "random",
        };
        write!(
            f,
            "diskbench: op={operation} bytes={} order={order} threads={}\n  requests={} errors={} ns={}",
            plan.block_bytes, plan.threads, figures.requests, figures.errors, figures.ns
        )
    }
}

/// Numbers that look random, and are the same each time (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }
}

/// Each bit of the result depends on all of `z`'s.
pub const fn mix(z: u64) -> u64 {
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::string::ToString;
    use std::vec::Vec;

    fn parse(words: &str) -> Result<Plan, PlanError> {
        Plan::parse(words.split_whitespace())
    }

    #[test]
    fn words_make_a_plan_and_a_line() {
        let plan = parse("read 4K random threads 4 requests 7 seed 9").unwrap();
        assert_eq!((plan.block_bytes, plan.threads, plan.seed), (4096, 4, 9));
        assert_eq!(plan.until, Until::Requests(7));
        let figures = Figures {
            requests: 28,
            errors: 1,
            ns: 5,
        };
        let line =
            "diskbench: op=read bytes=4096 order=random threads=4\n  requests=28 errors=1 ns=5";
        assert_eq!(Line(plan, figures).to_string(), line);
        let plan = parse("write 1M").unwrap();
        assert_eq!(
            (plan.direction, plan.order),
            (Direction::Write, Order::Sequential)
        );
    }

    #[test]
    fn words_that_make_none_are_refused() {
        for words in ["", "read", "erase 512", "read 4K threads"] {
            assert_eq!(parse(words), Err(PlanError::Incomplete), "{words}");
        }
        assert_eq!(parse("read 100"), Err(PlanError::Misaligned));
        assert_eq!(
            parse("read 512 fast"),
            Err(PlanError::Unknown("fast".into()))
        );
        for words in [
            "read 0",
            "read 8M",
            "read 512 threads 17",
            "read 512 seconds x",
        ] {
            assert!(matches!(parse(words), Err(PlanError::Number(_))), "{words}");
        }
    }

    #[test]
    fn sequential_threads_share_the_device_and_begin_anew() {
        let plan = parse("read 512 threads 3").unwrap();
        let places = |thread| {
            plan.places(thread, 10 * 512 + 1)
                .take(5)
                .collect::<Vec<_>>()
        };
        assert_eq!(places(0), [0, 1, 2, 0, 1]);
        assert_eq!(places(1), [3, 4, 5, 3, 4]);
        assert_eq!(places(2), [6, 7, 8, 9, 6]);
        assert_eq!(plan.places(0, 100).next(), None);
    }

    #[test]
    fn random_places_are_anywhere_and_the_same_each_time() {
        let plan = parse("read 512 random threads 2").unwrap();
        let places = |thread| plan.places(thread, 16 * 512).take(200).collect::<Vec<_>>();
        assert_eq!(places(0), places(0));
        assert_ne!(places(0), places(1));
        let seen: BTreeSet<u64> = places(0).into_iter().collect();
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            (0..16).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix::new(1_234_567);
        assert_eq!(random.draw(), 6_457_827_717_110_365_317);
        assert_eq!(random.draw(), 3_203_168_211_198_807_973);
    }
}
