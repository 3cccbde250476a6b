// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a block device did: counts, and how long transfers took.
use super::DiskError;
use super::queue::{Batch, Place};
use super::request::Op;
use crate::octave::octave;

/// Powers of two that latencies are sorted by: below 1 us, below 2 us, ... , below 2 s, and longer.
pub const BUCKETS: usize = 23;

/// Latencies of one kind of transfer, from submission to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// How many there were of each [`octave`].
    pub buckets: [u32; BUCKETS],
    /// The longest, ns.
    pub worst_ns: u64,
}

impl Latencies {
    const fn new() -> Self {
        Self {
            buckets: [0; BUCKETS],
            worst_ns: 0,
        }
    }

    fn add(&mut self, ns: u64) {
        self.buckets[octave(ns, BUCKETS)] += 1;
        self.worst_ns = self.worst_ns.max(ns);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|n| u64::from(*n)).sum()
    }

    /// An upper bound, in us, of the latency that `percent` of the transfers did not exceed; none if there were none.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let mut left = (self.count() * percent).div_ceil(100);
        if left == 0 {
            return None;
        }
        for (bucket, n) in self.buckets.iter().enumerate() {
            left = left.saturating_sub(u64::from(*n));
            if left == 0 {
                return Some(1 << bucket);
            }
        }
        None
    }
}

/// Since the medium came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Reads.
    pub reads: Latencies,
    /// Writes.
    pub writes: Latencies,
    /// Flushes.
    pub flushes: Latencies,
    /// Sectors that were read.
    pub sectors_read: u64,
    /// Sectors that were written.
    pub sectors_written: u64,
    /// Commands that were sent to the device, retries not counted.
    pub commands: u64,
    /// Transfers that went with another's command.
    pub merged: u64,
    /// The most that waited at once.
    pub deepest: usize,
    /// Commands that were tried again.
    pub retries: u64,
    /// Transfers that ended with an error.
    pub errors: u64,
    /// Commands whose end no interrupt told.
    pub lost_interrupts: u64,
    /// Commands that did not end in time.
    pub timeouts: u64,
}

impl Statistics {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            reads: Latencies::new(),
            writes: Latencies::new(),
            flushes: Latencies::new(),
            sectors_read: 0,
            sectors_written: 0,
            commands: 0,
            merged: 0,
            deepest: 0,
            retries: 0,
            errors: 0,
            lost_interrupts: 0,
            timeouts: 0,
        }
    }

    /// A command starts.
    pub fn started(&mut self, command: &Batch) {
        self.commands += 1;
        self.merged += command.count() as u64 - 1;
    }

    /// How many transfers have ended, with an error or without.
    pub fn transfers(&self) -> u64 {
        [&self.reads, &self.writes, &self.flushes]
            .map(Latencies::count)
            .iter()
            .sum::<u64>()
            + self.errors
    }

    /// So many wait.
    pub fn depth(&mut self, waiting: usize) {
        self.deepest = self.deepest.max(waiting);
    }

    /// A transfer has ended, so long after it was submitted.
    pub fn ended(&mut self, place: Place, result: Result<(), DiskError>, ns: u64) {
        if result.is_err() {
            self.errors += 1;
            return;
        }
        match place.op {
            Op::Read => {
                self.reads.add(ns);
                self.sectors_read += place.sectors;
            }
            Op::Write | Op::WriteThrough => {
                self.writes.add(ns);
                self.sectors_written += place.sectors;
            }
            Op::Flush => self.flushes.add(ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_sorted_by_powers_of_two() {
        let mut latencies = Latencies::new();
        for us in [0, 1, 2, 3, 4, 1023, 1024, 10_000_000] {
            latencies.add(us * 1_000);
        }
        let at = |n: usize| latencies.buckets[n];
        assert_eq!(
            [at(0), at(1), at(2), at(3), at(10), at(11)],
            [1, 1, 2, 1, 1, 1]
        );
        assert_eq!(at(BUCKETS - 1), 1);
        assert_eq!(latencies.worst_ns, 10_000_000_000);
        assert_eq!(latencies.percentile_us(50), Some(4));
        assert_eq!(latencies.percentile_us(75), Some(1024));
        assert_eq!(Latencies::new().percentile_us(99), None);
    }
}
