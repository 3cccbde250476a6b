// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring of records, written by one CPU, read by anybody at any time.
//!
//! # Theory
//! A record is three words and a head. Who writes first takes a number (`next`), which names the slot; then it spoils the head, writes
//! the words, and writes the head: the number, and with it that the record is whole. So an interrupt, or a fault, in the
//! middle of writing takes another number and another slot, and both records are whole in the end.
//! A reader believes a slot only if its head is that of the number it wants, before and after it read the words.
//!
//! # Contexts
//! Any. Numbers are taken in the order of time if the writer masks IRQ; each is well-formed if not.
//!
//! # Memory ordering
//! (1) The head is spoilt before a word changes (Release fence), and who read a changed word sees that (Acquire
//! fence before the head is read again). (2) The words come before the head (Release), and who sees it sees them (Acquire).
//! (3) `next` is Relaxed: a number whose record is not whole yet is skipped by its head.
use super::event::{Event, Record};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// In a head: the record is whole.
const WHOLE: u64 = 1 << 63;

struct Slot {
    /// Zero while it is written; else [`WHOLE`], 31 bits of the record's number, and the thread.
    head: AtomicU64,
    words: [AtomicU64; 3],
}

/// A ring of `N` records.
pub struct Ring<const N: usize> {
    next: AtomicU64,
    /// Those before it were cleared.
    first: AtomicU64,
    slots: [Slot; N],
}

/// The head of record `number`, without the thread.
fn head_of(number: u64) -> u64 {
    WHOLE | (number & 0x7FFF_FFFF) << 32
}

impl<const N: usize> Ring<N> {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            first: AtomicU64::new(0),
            slots: [const {
                Slot {
                    head: AtomicU64::new(0),
                    words: [const { AtomicU64::new(0) }; 3],
                }
            }; N],
        }
    }

    /// Adds a record; the oldest goes if the ring is full.
    pub fn write(&self, record: &Record) {
        let number = self.reserve();
        self.fill(number, record);
    }

    fn reserve(&self) -> u64 {
        // ORDERING: (3).
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn fill(&self, number: u64, record: &Record) {
        let slot = &self.slots[number as usize % N];
        slot.head.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // ORDERING: (1).
        let [what, large] = record.event.encode();
        for (word, value) in slot.words.iter().zip([record.ticks, what, large]) {
            word.store(value, Ordering::Relaxed);
        }
        let head = head_of(number) | u64::from(record.thread);
        // ORDERING: (2).
        slot.head.store(head, Ordering::Release);
    }

    /// Record `number`, if it is there, and whole.
    pub fn read(&self, number: u64) -> Option<Record> {
        let slot = &self.slots[number as usize % N];
        // ORDERING: (2).
        let head = slot.head.load(Ordering::Acquire);
        if head >> 32 != head_of(number) >> 32 {
            return None;
        }
        let [ticks, what, large] = slot.words.each_ref().map(|w| w.load(Ordering::Relaxed));
        fence(Ordering::Acquire); // ORDERING: (1).
        if slot.head.load(Ordering::Relaxed) != head {
            return None;
        }
        Some(Record {
            ticks,
            thread: head as u32,
            // SAFETY: the head says that these words are one record's, which `fill` encoded.
            event: unsafe { Event::decode([what, large]) }?,
        })
    }

    /// The numbers of the records that are there.
    pub fn numbers(&self) -> core::ops::Range<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let kept = next.saturating_sub(N as u64);
        kept.max(self.first.load(Ordering::Relaxed)).min(next)..next
    }

    /// How many were written since the last [`clear`](Ring::clear).
    pub fn written(&self) -> u64 {
        let next = self.next.load(Ordering::Relaxed);
        next.saturating_sub(self.first.load(Ordering::Relaxed))
    }

    /// Forgets all records.
    pub fn clear(&self) {
        let next = self.next.load(Ordering::Relaxed);
        self.first.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::vec::Vec;

    fn record(n: u32) -> Record {
        Record {
            ticks: u64::from(n) * 3,
            thread: n,
            event: Event::Submit {
                id: n,
                op: 0,
                lba: n.into(),
                sectors: n & 0xFFFF,
            },
        }
    }

    fn all<const N: usize>(ring: &Ring<N>) -> Vec<u32> {
        let numbers = ring.numbers();
        numbers.filter_map(|n| Some(ring.read(n)?.thread)).collect()
    }

    #[test]
    fn the_oldest_is_overwritten_and_counted() {
        let ring = Ring::<4>::new();
        assert_eq!(all(&ring), [0_u32; 0]);
        (1..=6).for_each(|n| ring.write(&record(n)));
        assert_eq!(all(&ring), [3, 4, 5, 6]);
        assert_eq!((ring.written(), ring.numbers()), (6, 2..6));
        assert_eq!(ring.read(1), None, "its slot is another's");
        ring.clear();
        assert_eq!((all(&ring), ring.written()), (Vec::new(), 0));
        ring.write(&record(7));
        assert_eq!((all(&ring), ring.written()), (Vec::from([7]), 1));
    }

    #[test]
    fn an_interrupt_in_the_middle_spoils_nothing() {
        let ring = Ring::<4>::new();
        let outer = ring.reserve();
        ring.write(&record(2)); // of the interrupt
        assert_eq!(all(&ring), [2], "the outer one is not whole");
        ring.fill(outer, &record(1));
        assert_eq!(all(&ring), [1, 2]);
        assert_eq!(ring.read(outer), Some(record(1)));
    }

    #[test]
    fn a_record_that_is_being_overwritten_is_not_believed() {
        let ring = Ring::<2>::new();
        (1..=3).for_each(|n| ring.write(&record(n)));
        let slot = &ring.slots[0];
        slot.head.store(0, Ordering::Relaxed); // as in the middle of `fill`
        slot.words[0].store(99, Ordering::Relaxed);
        assert_eq!(all(&ring), [2]);
    }

    #[test]
    fn readers_see_whole_records_only() {
        static RING: Ring<8> = Ring::new();
        static STOP: AtomicBool = AtomicBool::new(false);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                std::thread::spawn(|| {
                    let mut seen = 0_u64;
                    while !STOP.load(Ordering::Relaxed) {
                        for number in RING.numbers() {
                            if let Some(found) = RING.read(number) {
                                assert_eq!(found, record(number as u32));
                                seen += 1;
                            }
                        }
                    }
                    seen
                })
            })
            .collect();
        for n in 0..200_000 {
            RING.write(&record(n));
        }
        STOP.store(true, Ordering::Relaxed);
        for reader in readers {
            let _seen = reader.join().expect("no record was torn");
        }
    }
}
