// SPDX-License-Identifier: MIT OR Apache-2.0
//! The queue of a block device: which transfer is next, and what goes with it in one command.
//!
//! # Theory
//! Transfers are dispatched in one direction over the medium (C-LOOK): the next is the first one at or behind the
//! place where the last command ended, and behind the highest it goes on with the lowest. Neighbours of the same kind
//! that wait behind it are merged into its command, up to what the device takes.
//!
//! Order is kept where it matters. A transfer does not overtake an older one that it overlaps, unless both read. A flush
//! waits for all older writes, and no younger write overtakes it. The oldest transfer overtakes nobody, so it may
//! always go; and when [`PATIENCE`] commands have passed it, it does.
//!
//! There is room for [`SLOTS`] transfers, those under way included, so memory is bounded by construction; who finds no room waits.
//!
//! # Contexts
//! Any: pure data. The device's lock is around it.
//!
//! # Rejected
//! A tree by sector: with 64 entries, an array of numbers kept in order is shorter and faster.
//!
//! # References
//! Worthington, Ganger, Patt: Scheduling Algorithms for Modern Disk Drives (1994), for C-LOOK; NetBSD bufq(9).
use super::request::{Op, Transfer};
use alloc::vec::Vec;

/// Transfers that wait or are under way, at most.
pub const SLOTS: usize = 64;
/// Transfers in one command at most.
pub const MERGED: usize = 32;
/// Commands that may pass a transfer before it is next.
pub const PATIENCE: u64 = 32;

/// What a device takes in one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sectors.
    pub sectors: u64,
    /// Pieces of memory.
    pub segments: usize,
}

/// Where a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What to do.
    pub op: Op,
    /// The first sector.
    pub lba: u64,
    /// How many.
    pub sectors: u64,
    /// Pieces of memory of at most 64 KiB, as descriptors have them.
    pub segments: usize,
}

impl Place {
    /// That of `transfer`.
    pub fn of(transfer: &Transfer) -> Self {
        Self {
            op: transfer.op,
            lba: transfer.lba,
            sectors: transfer.sectors(),
            segments: transfer.range.len().div_ceil(1 << 16),
        }
    }

    const fn end(self) -> u64 {
        self.lba + self.sectors
    }
}

/// A transfer that waits or is under way.
#[derive(Debug)]
pub struct Entry<W> {
    /// Where it goes.
    pub place: Place,
    /// Who is told.
    pub waiter: W,
    /// When it was submitted.
    pub submitted_ns: u64,
    /// Its place among all transfers.
    number: u64,
    /// Commands dispatched before it came.
    passed_from: u64,
}

/// One command: transfers of the same kind that lie one behind the other. They stay in the queue's slots.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What to do.
    pub op: Op,
    /// The first sector.
    pub lba: u64,
    /// How many.
    pub sectors: u64,
    slots: heapless::Vec<u8, MERGED>,
}

impl Batch {
    /// How many transfers go with it.
    pub fn count(&self) -> usize {
        self.slots.len()
    }
}

/// What waits.
#[derive(Debug)]
pub struct Queue<W> {
    slots: Vec<Option<Entry<W>>>,
    /// The slots that are free, a bit for each.
    free: u64,
    /// The slots of all but flushes, by first sector, of equals the older first.
    sorted: heapless::Vec<u8, SLOTS>,
    /// The slots of flushes, oldest first.
    flushes: heapless::Vec<u8, SLOTS>,
    /// Those of `sorted` that write.
    writes: usize,
    /// Where the last command ended.
    head: u64,
    submitted: u64,
    dispatched: u64,
}

impl<W> Queue<W> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self {
            slots: core::iter::repeat_with(|| None).take(SLOTS).collect(),
            free: u64::MAX,
            sorted: heapless::Vec::new(),
            flushes: heapless::Vec::new(),
            writes: 0,
            head: 0,
            submitted: 0,
            dispatched: 0,
        }
    }

    /// How many wait or are under way.
    pub fn len(&self) -> usize {
        self.free.count_zeros() as usize
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.free == u64::MAX
    }

    /// True if there is no room.
    pub fn is_full(&self) -> bool {
        self.free == 0
    }

    /// Puts a transfer in.
    ///
    /// # Errors
    /// Gives the waiter back if there is no room.
    pub fn push(&mut self, place: Place, waiter: W, submitted_ns: u64) -> Result<(), W> {
        if self.is_full() {
            return Err(waiter);
        }
        let slot = self.free.trailing_zeros() as usize;
        self.free &= !(1 << slot);
        self.slots[slot] = Some(Entry {
            place,
            waiter,
            submitted_ns,
            number: self.submitted,
            passed_from: self.dispatched,
        });
        self.submitted += 1;
        // There is room: a slot was free.
        if place.op == Op::Flush {
            let _ = self.flushes.push(slot as u8);
        } else {
            let at = self.behind(place.lba + 1);
            let _ = self.sorted.insert(at, slot as u8);
            self.writes += usize::from(place.op.writes());
        }
        Ok(())
    }

    /// The next command; none if nothing waits.
    pub fn next(&mut self, limits: Limits) -> Option<Batch> {
        let oldest = self.oldest()?;
        self.dispatched += 1;
        let impatient = self.dispatched - self.entry(oldest).passed_from > PATIENCE;
        if self.entry(oldest).place.op == Op::Flush {
            let slot = self.flushes.remove(0);
            return Some(self.batch_of(slot));
        }
        let start = if impatient {
            self.sorted.iter().position(|slot| *slot == oldest)?
        } else {
            self.elevator()?
        };
        Some(self.gather(start, limits))
    }

    /// Whose transfers go with a command, in order.
    pub fn waiters(&self, batch: &Batch) -> impl Iterator<Item = &W> {
        (batch.slots.iter()).map(|slot| &self.entry(*slot).waiter)
    }

    /// Takes the last transfer of a command out; none if there is none left.
    pub fn take_last(&mut self, batch: &mut Batch) -> Option<Entry<W>> {
        let slot = batch.slots.pop()?;
        self.free |= 1 << slot;
        self.slots[usize::from(slot)].take()
    }

    /// Takes the last transfer of a command out of it, to be a command of its own.
    pub fn split_last(&self, batch: &mut Batch) -> Option<Batch> {
        batch.slots.pop().map(|slot| self.batch_of(slot))
    }

    fn entry(&self, slot: u8) -> &Entry<W> {
        self.slots[usize::from(slot)]
            .as_ref()
            .expect("a slot in a list is taken")
    }

    /// The first place in `sorted` whose transfer begins at `lba` or behind.
    fn behind(&self, lba: u64) -> usize {
        self.sorted
            .partition_point(|slot| self.entry(*slot).place.lba < lba)
    }

    /// The oldest transfer; of a flush and others, the flush if it need not wait.
    fn oldest(&self) -> Option<u8> {
        let number = |slot: &u8| self.entry(*slot).number;
        let oldest = self.sorted.iter().copied().min_by_key(number);
        let Some(flush) = self.flushes.first().copied() else {
            return oldest;
        };
        if self.writes == 0 {
            return Some(flush);
        }
        let writes = self.sorted.iter().copied();
        let mut writes = writes.filter(|slot| self.entry(*slot).place.op.writes());
        if writes.any(|slot| number(&slot) < number(&flush)) {
            oldest
        } else {
            Some(flush)
        }
    }

    /// The first transfer at or behind the head that may go, else the first of all.
    fn elevator(&self) -> Option<usize> {
        let from = self.behind(self.head);
        (from..self.sorted.len())
            .chain(0..from)
            .find(|place| self.may_go(self.sorted[*place]))
    }

    /// Does it overtake nobody that it must not?
    fn may_go(&self, slot: u8) -> bool {
        if self.writes == 0 {
            return true;
        }
        let this = self.entry(slot);
        let (lba, end, writes) = (this.place.lba, this.place.end(), this.place.op.writes());
        let behind_flush =
            writes && (self.flushes.iter()).any(|flush| self.entry(*flush).number < this.number);
        // Sorted by their beginnings: those from `end` on do not overlap.
        let behind_overlap = self.sorted.iter().map(|slot| self.entry(*slot));
        let behind_overlap = behind_overlap
            .take_while(|other| other.place.lba < end)
            .any(|other| {
                other.number < this.number
                    && other.place.end() > lba
                    && (writes || other.place.op.writes())
            });
        !behind_flush && !behind_overlap
    }

    /// The command of what is at `start` of the order, with its neighbours.
    fn gather(&mut self, start: usize, limits: Limits) -> Batch {
        let mut batch = self.batch_of(self.sorted[start]);
        let mut segments = self.entry(self.sorted[start]).place.segments;
        while let Some(slot) = self.sorted.get(start + batch.count()).copied() {
            let next = self.entry(slot).place;
            let sectors = batch.sectors + next.sectors;
            segments += next.segments;
            let fits = sectors <= limits.sectors && segments <= limits.segments;
            let neighbour = next.lba == batch.lba + batch.sectors && next.op == batch.op;
            if !neighbour || !fits || !self.may_go(slot) || batch.slots.push(slot).is_err() {
                break;
            }
            batch.sectors = sectors;
        }
        let (mut place, end) = (0, start + batch.count());
        self.sorted.retain(|_| {
            place += 1;
            !(start..end).contains(&(place - 1))
        });
        if batch.op.writes() {
            self.writes -= batch.count();
        }
        self.head = batch.lba + batch.sectors;
        batch
    }

    /// A command for what is in one slot.
    fn batch_of(&self, slot: u8) -> Batch {
        let Place {
            op, lba, sectors, ..
        } = self.entry(slot).place;
        Batch {
            op,
            lba,
            sectors,
            slots: core::iter::once(slot).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
