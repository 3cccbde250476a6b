// SPDX-License-Identifier: MIT OR Apache-2.0
//! The buffer cache: byte-wise reads and writes of a device through pages of memory, written back in order.
//!
//! # Theory
//!
//! A command to a card costs about as much as moving several KiB, and file systems ask for 4 bytes of a FAT or 512 of
//! a directory. So everything goes through pages of 4 KiB, of which there are so many and no more; what was used
//! longest ago gives way. Each sector of a page is valid or not, and dirty or not, by itself: a bad sector costs only
//! itself, and a write of whole sectors reads nothing first. Who reads in order is read ahead for ([`ahead`]).
//!
//! **Stages.** What is written waits in memory, and each write says in which [`Stage`] it belongs. Write-back takes
//! the stages in order: all of one is on the medium, the device's own cache flushed, before anything of the next is
//! written ([`writeback`]). So a file system that puts data before the table that refers to them, and the table
//! before the directory, leaves at worst unused space behind when the power goes. A sector that is dirty in one stage
//! and written in another would break the order one way or the other, so what is there is flushed first.
//!
//! **Limit.** At most half the pages are dirty. Who writes beyond that writes back the lowest stage, which is the
//! bulk of it. So a page can always be had, unless the device fails.
//!
//! **Errors.** What could not be written stays dirty, is counted, and is tried again by the next flush, which fails if
//! that fails. Nothing is dirty no more before a flush of the device has succeeded: what a device that fails
//! to flush has swallowed is written again.
//!
//! # Contexts
//!
//! Thread: the owner serialises, by `&mut`, and sleeps while the device works.
//!
//! # Rejected
//!
//! - Large transfers past the pages, into the caller's memory: that memory is not fit for DMA, and two ways to the
//!   medium must be kept from contradicting each other. What was read in order and to its end gives way first instead.
//! - One dirty bit a page: a page at the seam of a FAT and a directory belongs to two stages.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

use super::request::{BlockDevice, Op, Transfer};
use super::{DiskError, SECTOR_BYTES};

mod ahead;
mod pages;
#[cfg(test)]
pub(crate) mod tests;
mod writeback;

use ahead::Ahead;
use pages::Pages;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Sectors of a page.
const SECTORS: usize = PAGE_BYTES / SECTOR_BYTES;
/// The fewest pages that a cache works with.
pub const LEAST_PAGES: usize = 32;
/// How many stages there are.
const STAGES: usize = 5;
/// The most pages of one request that are asked for at once.
const BATCH: u64 = 256;

/// When a write reaches the medium: after all writes of earlier stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(u8);

impl Stage {
    /// The stages, the first to be written first.
    pub const ALL: [Self; STAGES] = [Self(0), Self(1), Self(2), Self(3), Self(4)];
}

/// What went through the cache since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs of sectors asked of the device.
    pub reads: u64,
    /// Sectors that they moved.
    pub sectors_read: u64,
    /// Of them, those that nobody had asked for yet.
    pub sectors_ahead: u64,
    /// Visits of a page that had what was wanted.
    pub hits: u64,
    /// Runs of sectors given to the device.
    pub writes: u64,
    /// Sectors that they moved.
    pub sectors_written: u64,
    /// Flushes of the device.
    pub flushes: u64,
    /// Transfers and flushes that failed.
    pub errors: u64,
}

/// A device that can be read and written at any byte.
pub struct Cache<D> {
    device: D,
    pages: Pages,
    /// The pages that are dirty, by stage.
    dirty: [BTreeSet<u64>; STAGES],
    /// Pages that are dirty in any stage, and how many may be.
    dirty_pages: usize,
    dirty_most: usize,
    ahead: Ahead,
    stats: Stats,
}

impl<D: BlockDevice> Cache<D> {
    /// An empty cache over `device`, of at most `pages` pages (at least [`LEAST_PAGES`]); they are allocated when needed.
    pub fn new(device: D, pages: usize) -> Self {
        let most = pages.max(LEAST_PAGES);
        Self {
            device,
            pages: Pages::new(most),
            dirty: [const { BTreeSet::new() }; STAGES],
            dirty_pages: 0,
            dirty_most: most / 2,
            ahead: Ahead::default(),
            stats: Stats::default(),
        }
    }

    /// The device's size in sectors.
    pub fn sectors(&self) -> u64 {
        self.device.sectors()
    }

    /// What it cost so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How many pages hold what the device does not.
    pub fn dirty_pages(&self) -> usize {
        self.dirty_pages
    }

    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// Any [`DiskError`]; `buf` may then be filled in part.
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let bytes = self.check(offset, buf.len())?;
        if buf.is_empty() {
            return Ok(());
        }
        let wanted = page_of(bytes.start)..page_of(bytes.end - 1) + 1;
        let most = (self.pages.most() / 4) as u64;
        let ahead = self.ahead.read(&bytes, &wanted, most);
        let mut asked = wanted.start;
        let mut rest = buf;
        for (page, part) in parts(bytes) {
            if page == asked {
                asked = wanted.end.min(page + BATCH.min(most));
                self.fetch(page..asked, false);
                if let (true, Some(ahead)) = (asked == wanted.end, &ahead) {
                    self.fetch(ahead.clone(), true);
                }
            }
            let at = self.filled(page, sectors(&part))?;
            let (now, later) = rest.split_at_mut(part.len());
            now.copy_from_slice(&self.pages.frame(at).bytes()[part.clone()]);
            rest = later;
            if ahead.is_some() && part.end == PAGE_BYTES {
                self.pages.retire(at);
            }
        }
        Ok(())
    }

    /// Has `buf` written from byte `offset` on, in `stage`.
    ///
    /// # Errors
    /// Any [`DiskError`]; `buf` may then have been taken in part.
    pub fn write_at(&mut self, offset: u64, buf: &[u8], stage: Stage) -> Result<(), DiskError> {
        let bytes = self.check(offset, buf.len())?;
        let mut rest = buf;
        for (page, part) in parts(bytes) {
            let (now, later) = rest.split_at(part.len());
            self.write_page(page, part, now, usize::from(stage.0))?;
            rest = later;
        }
        Ok(())
    }

    fn write_page(
        &mut self,
        page: u64,
        part: Range<usize>,
        bytes: &[u8],
        stage: usize,
    ) -> Result<(), DiskError> {
        let (touched, whole) = (sectors(&part), whole_sectors(&part));
        let mut at = self.filled(page, touched & !whole)?;
        let others = self.pages.frame(at).any_dirty() & !self.pages.frame(at).dirty[stage];
        if others & touched != 0 {
            self.flush()?;
        } else if self.pages.frame(at).any_dirty() == 0 && self.dirty_pages >= self.dirty_most {
            self.write_back()?;
        }
        at = self.filled(page, touched & !whole)?;
        let frame = self.pages.frame(at);
        frame.bytes_mut()[part].copy_from_slice(bytes);
        frame.valid |= touched;
        self.dirty_pages += usize::from(frame.any_dirty() == 0);
        frame.dirty[stage] |= touched;
        self.dirty[stage].insert(page);
        Ok(())
    }

    /// The bytes from `offset` on, if the device has them all.
    fn check(&self, offset: u64, len: usize) -> Result<Range<u64>, DiskError> {
        let sectors = self.sectors();
        match offset.checked_add(len as u64) {
            Some(end) if end <= sectors.saturating_mul(SECTOR_BYTES as u64) => Ok(offset..end),
            _ => Err(DiskError::OutOfRange {
                lba: offset / SECTOR_BYTES as u64,
                count: len.div_ceil(SECTOR_BYTES) as u64,
                sectors,
            }),
        }
    }

    /// The frame of `page`, at rest, with all of the sectors `wanted` valid.
    fn filled(&mut self, page: u64, wanted: u8) -> Result<usize, DiskError> {
        let at = match self.pages.find(page) {
            Some(at) => at,
            None => self.room(page)?,
        };
        self.settle(at);
        self.pages.touch(at);
        let missing = wanted & !self.pages.frame(at).valid;
        if missing == 0 {
            self.stats.hits += 1;
            return Ok(at);
        }
        // All that is missing at once, and where that fails, what is wanted sector by sector.
        let mut rest = !self.pages.frame(at).valid & self.there(page);
        while rest != 0 {
            let run = first_run(rest);
            rest &= !run;
            if run & wanted == 0 || self.read_sectors(at, run).is_ok() {
                continue;
            }
            for sector in bits(run & wanted) {
                self.read_sectors(at, 1 << sector)?;
            }
        }
        Ok(at)
    }

    /// A frame for `page`, which has none.
    fn room(&mut self, page: u64) -> Result<usize, DiskError> {
        for _ in 0..2 {
            if let Some(at) = self.pages.insert(page)? {
                return Ok(at);
            }
            // Those that are not dirty are on their way in, ahead of a reader.
            for at in self.coming() {
                self.settle(at);
            }
        }
        self.write_back()?;
        self.pages.insert(page)?.ok_or(DiskError::NoMemory)
    }

    fn coming(&mut self) -> Vec<usize> {
        let on_the_way =
            |(at, frame): (usize, &mut pages::Frame)| frame.coming.is_some().then_some(at);
        self.pages
            .frames()
            .enumerate()
            .filter_map(on_the_way)
            .collect()
    }

    /// Asks the device for those of `pages` of which nothing is there, as far as there is room, without waiting.
    fn fetch(&mut self, pages: Range<u64>, ahead: bool) {
        let (mut transfers, mut frames) = (Vec::new(), Vec::new());
        let end = self.sectors().div_ceil(SECTORS as u64);
        for page in pages.start..pages.end.min(end) {
            let at = match self.pages.find(page) {
                Some(at) => at,
                None => match self.pages.insert(page) {
                    Ok(Some(at)) => at,
                    _ => break,
                },
            };
            let there = self.there(page);
            let frame = self.pages.frame(at);
            if frame.valid != 0 {
                continue;
            }
            let Some(buffer) = frame.buffer.take() else {
                continue;
            };
            let lba = page * SECTORS as u64;
            transfers.push(Transfer::new(Op::Read, lba, buffer, bytes_of(there)));
            frames.push((at, there));
        }
        if transfers.is_empty() {
            return;
        }
        self.count_reads(&transfers, ahead);
        for ((at, there), ticket) in frames.into_iter().zip(self.device.submit(transfers)) {
            self.pages.frame(at).coming = Some((ticket, there));
        }
    }

    /// The sectors of a page that the device has: all but for its last page.
    fn there(&self, page: u64) -> u8 {
        let left = self.sectors() - page * SECTORS as u64;
        mask(0..left.min(SECTORS as u64) as usize)
    }

    /// Waits for what is on its way into the frame. An error is left to who wants one of the sectors.
    fn settle(&mut self, at: usize) {
        let frame = self.pages.frame(at);
        if let Some((ticket, fetched)) = frame.coming.take() {
            let done = ticket.wait();
            frame.buffer = Some(done.buffer);
            match done.result {
                Ok(()) => frame.valid |= fetched,
                Err(_) => self.stats.errors += 1,
            }
        }
    }

    /// Reads one run of sectors of a frame, and waits.
    fn read_sectors(&mut self, at: usize, run: u8) -> Result<(), DiskError> {
        let (frame, range) = (self.pages.frame(at), bytes_of(run));
        let lba = frame.page * SECTORS as u64 + (range.start / SECTOR_BYTES) as u64;
        let buffer = frame.buffer.take().ok_or(DiskError::NoMemory)?;
        let transfers = alloc::vec![Transfer::new(Op::Read, lba, buffer, range)];
        self.count_reads(&transfers, false);
        for ticket in self.device.submit(transfers) {
            let done = ticket.wait();
            let frame = self.pages.frame(at);
            frame.buffer = Some(done.buffer);
            if let Err(error) = done.result {
                self.stats.errors += 1;
                return Err(error);
            }
            frame.valid |= run;
        }
        Ok(())
    }

    fn count_reads(&mut self, transfers: &[Transfer], ahead: bool) {
        let (runs, sectors) = runs(transfers);
        self.stats.reads += runs;
        self.stats.sectors_read += sectors;
        self.stats.sectors_ahead += if ahead { sectors } else { 0 };
    }
}

/// How many runs of neighbours there are in `transfers`, and how many sectors.
fn runs(transfers: &[Transfer]) -> (u64, u64) {
    let seams = transfers
        .windows(2)
        .filter(|pair| pair[0].end() != pair[1].lba);
    let runs = seams.count() + usize::from(!transfers.is_empty());
    (runs as u64, transfers.iter().map(Transfer::sectors).sum())
}

fn page_of(offset: u64) -> u64 {
    offset / PAGE_BYTES as u64
}

/// The pages that `bytes` of the device touch, and which bytes of each.
fn parts(bytes: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut at = bytes.start;
    core::iter::from_fn(move || {
        let start = (at % PAGE_BYTES as u64) as usize;
        let len = (bytes.end - at).min((PAGE_BYTES - start) as u64);
        let part = (page_of(at), start..start + len as usize);
        at += len;
        (len > 0).then_some(part)
    })
}

/// The sectors that a part of a page touches.
fn sectors(part: &Range<usize>) -> u8 {
    mask(part.start / SECTOR_BYTES..part.end.div_ceil(SECTOR_BYTES))
}

/// The sectors that a part of a page covers.
fn whole_sectors(part: &Range<usize>) -> u8 {
    let (start, end) = (part.start.div_ceil(SECTOR_BYTES), part.end / SECTOR_BYTES);
    mask(start..end.max(start))
}

fn mask(sectors: Range<usize>) -> u8 {
    ((1u16 << sectors.end) - (1u16 << sectors.start)) as u8
}

fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..SECTORS).filter(move |bit| mask & 1 << bit != 0)
}

/// The lowest sectors of `mask`, which has some, that follow each other.
fn first_run(mask: u8) -> u8 {
    let first = mask.trailing_zeros() as usize;
    let length = (mask >> first).trailing_ones() as usize;
    self::mask(first..first + length)
}

/// The bytes of a page that a run of sectors are.
fn bytes_of(run: u8) -> Range<usize> {
    let first = run.trailing_zeros() as usize;
    first * SECTOR_BYTES..(first + run.count_ones() as usize) * SECTOR_BYTES
}
