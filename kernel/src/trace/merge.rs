// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CPUs' records in the order of time; no memory is asked for, no lock taken.
use super::event::Record;
use super::ring::Ring;
use core::fmt::{self, Write};
use core::ops::Range;

/// The records of several rings, oldest first, each with its ring's place.
pub struct Merged<'a, const N: usize> {
    rings: &'a [Ring<N>],
    /// Numbers that are left, of each ring; more than four rings are not.
    left: [Range<u64>; 4],
    /// The next record of each.
    heads: [Option<Record>; 4],
}

impl<'a, const N: usize> Merged<'a, N> {
    /// All records.
    pub fn all(rings: &'a [Ring<N>]) -> Self {
        let left = core::array::from_fn(|n| rings.get(n).map_or(0..0, Ring::numbers));
        Self::of(rings, left)
    }

    /// The last `most` of all.
    pub fn last(rings: &'a [Ring<N>], most: usize) -> Self {
        let all: [Range<u64>; 4] =
            core::array::from_fn(|n| rings.get(n).map_or(0..0, Ring::numbers));
        let mut left = all.clone().map(|range| range.end..range.end);
        for _ in 0..most {
            // Back over the newest of those that are not in yet.
            let candidates = (0..rings.len().min(4)).filter(|n| left[*n].start > all[*n].start);
            let time = |n: &usize| rings[*n].read(left[*n].start - 1).map(|r| r.ticks);
            let Some(newest) = candidates.max_by_key(time) else {
                break;
            };
            left[newest].start -= 1;
        }
        Self::of(rings, left)
    }

    fn of(rings: &'a [Ring<N>], left: [Range<u64>; 4]) -> Self {
        let mut merged = Self {
            rings,
            left,
            heads: [None; 4],
        };
        (0..rings.len().min(4)).for_each(|n| merged.advance(n));
        merged
    }

    /// Reads the next record of a ring; those that were overwritten meanwhile are passed over.
    fn advance(&mut self, n: usize) {
        let ring = &self.rings[n];
        self.heads[n] = self.left[n].find_map(|number| ring.read(number));
    }
}

impl<const N: usize> Iterator for Merged<'_, N> {
    type Item = (usize, Record);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.heads.iter().enumerate();
        let (n, record) = heads
            .filter_map(|(n, head)| Some((n, (*head)?)))
            .min_by_key(|(_, head)| head.ticks)?;
        self.advance(n);
        Some((n, record))
    }
}

/// Writes a record as a line of at most 80 columns: when (ns), where, who, what.
pub fn write_line(
    out: &mut dyn Write,
    at_ns: u64,
    cpu: usize,
    record: &Record,
    name: &dyn Fn(&mut dyn Write, u32) -> fmt::Result,
) -> fmt::Result {
    let (seconds, ns) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
    write!(out, "{seconds:>5}.{ns:09}  {cpu}  ")?;
    let mut who = heapless::String::<24>::new();
    name(&mut who, record.thread)?;
    write!(out, "{who:<21}  ")?;
    record.event.write(out, name)?;
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Event;
    use std::vec::Vec;

    fn rings() -> [Ring<8>; 3] {
        let rings = [const { Ring::new() }; 3];
        for (ring, times) in [(0, &[1, 4, 9][..]), (1, &[2, 3, 10]), (2, &[])] {
            for ticks in times {
                rings[ring].write(&Record {
                    ticks: *ticks,
                    thread: ring as u32,
                    event: Event::Return { intid: 1 },
                });
            }
        }
        rings
    }

    fn times(merged: Merged<8>) -> Vec<(usize, u64)> {
        merged.map(|(n, record)| (n, record.ticks)).collect()
    }

    #[test]
    fn the_oldest_comes_first() {
        let all = [(0, 1), (1, 2), (1, 3), (0, 4), (0, 9), (1, 10)];
        assert_eq!(times(Merged::all(&rings())), all);
        for most in 0..=7 {
            let expected = &all[all.len().saturating_sub(most)..];
            assert_eq!(times(Merged::last(&rings(), most)), expected, "{most}");
        }
    }

    #[test]
    fn a_line_says_when_where_who_and_what() {
        let record = Record {
            ticks: 0,
            thread: 12,
            event: Event::Wake { thread: 7 },
        };
        let mut line = std::string::String::new();
        let name = |out: &mut dyn Write, id: u32| write!(out, "thread{id}({id})");
        write_line(&mut line, 1_000_000_002, 3, &record, &name).unwrap();
        assert_eq!(
            line,
            "    1.000000002  3  thread12(12)           wakes thread7(7)\n"
        );
    }
}
