// SPDX-License-Identifier: MIT OR Apache-2.0
//! Run queue: the threads that wait for one CPU, by priority, first come first served within one.
//!
//! Fixed memory, no pointers: threads are small numbers, linked through an array. The best priority is the highest
//! set bit of a word. All operations but [`remove`](RunQueue::remove) take constant time.

/// Number of priorities; a higher number runs first.
pub const PRIORITIES: usize = 32;
/// A thread's place in the thread table.
pub type Slot = u8;
const NONE: Slot = Slot::MAX;

/// Threads `0..N`, each at most once in the queue.
pub struct RunQueue<const N: usize> {
    bitmap: u32,
    heads: [Slot; PRIORITIES],
    tails: [Slot; PRIORITIES],
    next: [Slot; N],
    len: usize,
}

impl<const N: usize> RunQueue<N> {
    /// An empty queue.
    pub const fn new() -> Self {
        assert!(N < NONE as usize);
        Self {
            bitmap: 0,
            heads: [NONE; PRIORITIES],
            tails: [NONE; PRIORITIES],
            next: [NONE; N],
            len: 0,
        }
    }

    /// Number of waiting threads.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The best priority that waits.
    pub fn best(&self) -> Option<u8> {
        self.bitmap.checked_ilog2().map(|p| p as u8)
    }

    /// Adds `slot` behind its equals.
    pub fn push_back(&mut self, slot: Slot, priority: u8) {
        let p = priority as usize;
        match self.tails[p] {
            NONE => self.heads[p] = slot,
            tail => self.next[tail as usize] = slot,
        }
        self.tails[p] = slot;
        self.next[slot as usize] = NONE;
        self.bitmap |= 1 << p;
        self.len += 1;
    }

    /// Adds `slot` before its equals: it was preempted and has not had its share.
    pub fn push_front(&mut self, slot: Slot, priority: u8) {
        let p = priority as usize;
        self.next[slot as usize] = self.heads[p];
        self.heads[p] = slot;
        if self.tails[p] == NONE {
            self.tails[p] = slot;
        }
        self.bitmap |= 1 << p;
        self.len += 1;
    }

    /// Takes the first thread of the best priority.
    #[inline]
    pub fn pop(&mut self) -> Option<Slot> {
        let p = self.best()? as usize;
        let slot = self.heads[p];
        self.heads[p] = self.next[slot as usize];
        if self.heads[p] == NONE {
            self.tails[p] = NONE;
            self.bitmap &= !(1 << p);
        }
        self.len -= 1;
        Some(slot)
    }

    /// Takes `slot` out; false if it does not wait at `priority`.
    pub fn remove(&mut self, slot: Slot, priority: u8) -> bool {
        let p = priority as usize;
        let (mut before, mut at) = (NONE, self.heads[p]);
        while at != slot {
            if at == NONE {
                return false;
            }
            (before, at) = (at, self.next[at as usize]);
        }
        match before {
            NONE => self.heads[p] = self.next[slot as usize],
            _ => self.next[before as usize] = self.next[slot as usize],
        }
        if self.tails[p] == slot {
            self.tails[p] = before;
        }
        if self.heads[p] == NONE {
            self.bitmap &= !(1 << p);
        }
        self.len -= 1;
        true
    }

    /// The waiting threads, best first.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let below = |bitmap: u32| bitmap.checked_ilog2().map(|p| (p, bitmap & !(1 << p)));
        let priorities = core::iter::successors(below(self.bitmap), move |(_, rest)| below(*rest));
        priorities.flat_map(move |(p, _)| {
            let first = self.heads[p as usize];
            core::iter::successors(Some(first), |slot| match self.next[*slot as usize] {
                NONE => None,
                next => Some(next),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn best_priority_first_and_fifo_within() {
        let mut q = RunQueue::<8>::new();
        for (slot, priority) in [(0, 4), (1, 9), (2, 4), (3, 9)] {
            q.push_back(slot, priority);
        }
        q.push_front(4, 9);
        assert_eq!(q.best(), Some(9));
        assert_eq!(q.iter().collect::<Vec<_>>(), [4, 1, 3, 0, 2]);
        assert_eq!(
            core::iter::from_fn(|| q.pop()).collect::<Vec<_>>(),
            [4, 1, 3, 0, 2]
        );
        assert!(q.is_empty() && q.best().is_none());
    }

    #[test]
    fn agrees_with_a_list_under_random_operations() {
        let mut q = RunQueue::<64>::new();
        let mut list: Vec<(u8, u8)> = Vec::new(); // (slot, priority), in order of arrival
        let mut seed = 1u64;
        for _ in 0..100_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let (slot, priority) = ((seed >> 33) as u8 % 64, (seed >> 41) as u8 % 32);
            let waits = list.iter().find(|(s, _)| *s == slot).copied();
            match (seed >> 50) % 4 {
                0 if waits.is_none() => {
                    q.push_back(slot, priority);
                    list.push((slot, priority));
                }
                1 if waits.is_none() => {
                    q.push_front(slot, priority);
                    list.insert(0, (slot, priority));
                }
                2 => {
                    let best = list.iter().map(|(_, p)| *p).max();
                    let expected = best.and_then(|b| list.iter().position(|(_, p)| *p == b));
                    assert_eq!(q.pop(), expected.map(|i| list.remove(i).0));
                }
                _ => {
                    let removed = waits.map(|(_, p)| q.remove(slot, p)).unwrap_or(false);
                    assert_eq!(removed, waits.is_some());
                    list.retain(|(s, _)| *s != slot);
                }
            }
            assert_eq!(q.len(), list.len());
            assert_eq!(q.best(), list.iter().map(|(_, p)| *p).max());
        }
    }
}
