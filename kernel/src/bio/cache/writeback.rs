// SPDX-License-Identifier: MIT OR Apache-2.0
//! How what is dirty gets to the medium: stage by stage, in ascending runs.
//!
//! # Theory
//!
//! All sectors of a stage are submitted together, in ascending order, so that the device's queue can make long
//! commands of them; then the device is flushed; only then are they clean and the next stage begins. A page gives up
//! its memory to a transfer, so its runs take turns, in rounds. A round that fails does not keep the rest of its stage from being
//! written, but the next stage is not begun.

use alloc::vec::Vec;

use super::{Cache, Op, SECTOR_BYTES, SECTORS, STAGES, Transfer, bytes_of, first_run, runs};
use crate::bio::DiskError;
use crate::bio::request::BlockDevice;
use crate::dma::Buffer;

impl<D: BlockDevice> Cache<D> {
    /// Writes all that is dirty, stage by stage. When it has returned `Ok`, all that was written to the cache is on
    /// the medium.
    ///
    /// # Errors
    /// The first [`DiskError`]; what could not be written is still dirty, and so are the later stages.
    pub fn flush(&mut self) -> Result<(), DiskError> {
        (0..STAGES).try_for_each(|stage| self.write_stage(stage))
    }

    /// Writes what is dirty in the lowest stage.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn write_back(&mut self) -> Result<(), DiskError> {
        let lowest = self.dirty.iter().position(|pages| !pages.is_empty());
        lowest.map_or(Ok(()), |stage| self.write_stage(stage))
    }

    /// Sees to it that `pages` pages can become dirty without anything being written back.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn reserve(&mut self, pages: usize) -> Result<(), DiskError> {
        if self.dirty_pages + pages > self.dirty_most {
            self.flush()?;
        }
        Ok(())
    }

    /// Forgets what is dirty, for a device that is gone. Returns how many sectors are lost.
    pub fn discard(&mut self) -> u64 {
        let mut lost = 0;
        for frame in self.pages.frames() {
            lost += u64::from(frame.any_dirty().count_ones());
            (frame.valid, frame.dirty) = (frame.valid & !frame.any_dirty(), [0; STAGES]);
        }
        self.dirty.iter_mut().for_each(|pages| pages.clear());
        self.dirty_pages = 0;
        lost
    }

    fn write_stage(&mut self, stage: usize) -> Result<(), DiskError> {
        if self.dirty[stage].is_empty() {
            return Ok(());
        }
        let mut todo: Vec<(u64, u8)> = Vec::with_capacity(self.dirty[stage].len());
        for &page in &self.dirty[stage] {
            if let Some(at) = self.pages.find(page) {
                todo.push((page, self.pages.frame(at).dirty[stage]));
            }
        }
        let (mut written, mut result) = (Vec::with_capacity(todo.len()), Ok(()));
        while !todo.is_empty() {
            let ended = self.write_round(&mut todo, &mut written);
            result = result.and(ended);
        }
        if !written.is_empty() {
            let flushed = self.flush_device();
            if flushed.is_ok() {
                self.clean(stage, &written);
            }
            result = result.and(flushed);
        }
        result
    }

    /// Writes the first run of each page of `todo` and takes it out; adds those that the device took to `written`.
    fn write_round(
        &mut self,
        todo: &mut Vec<(u64, u8)>,
        written: &mut Vec<(u64, u8)>,
    ) -> Result<(), DiskError> {
        let (mut transfers, mut sent) = (
            Vec::with_capacity(todo.len()),
            Vec::with_capacity(todo.len()),
        );
        for (page, left) in todo.iter_mut() {
            let run = first_run(*left);
            *left &= !run;
            let Some(at) = self.pages.find(*page) else {
                continue;
            };
            self.settle(at);
            let range = bytes_of(run);
            let lba = *page * SECTORS as u64 + (range.start / SECTOR_BYTES) as u64;
            if let Some(buffer) = self.pages.frame(at).buffer.take() {
                transfers.push(Transfer::new(Op::Write, lba, buffer, range));
                sent.push((at, *page, run));
            }
        }
        todo.retain(|(_, left)| *left != 0);
        let (runs, sectors) = runs(&transfers);
        self.stats.writes += runs;
        self.stats.sectors_written += sectors;
        let mut result = Ok(());
        for ((at, page, run), ticket) in sent.into_iter().zip(self.device.submit(transfers)) {
            let done = ticket.wait();
            self.pages.frame(at).buffer = Some(done.buffer);
            match done.result {
                Ok(()) => written.push((page, run)),
                Err(_) => self.stats.errors += 1,
            }
            result = result.and(done.result);
        }
        result
    }

    fn clean(&mut self, stage: usize, written: &[(u64, u8)]) {
        for &(page, run) in written {
            let Some(at) = self.pages.find(page) else {
                continue;
            };
            let frame = self.pages.frame(at);
            frame.dirty[stage] &= !run;
            if frame.dirty[stage] == 0 {
                self.dirty[stage].remove(&page);
            }
            self.dirty_pages -= usize::from(frame.any_dirty() == 0);
        }
    }

    fn flush_device(&mut self) -> Result<(), DiskError> {
        self.stats.flushes += 1;
        let nothing = Buffer::new(0).map_err(|_| DiskError::NoMemory)?;
        let flush = alloc::vec![Transfer::new(Op::Flush, 0, nothing, 0..0)];
        let mut ended = self.device.submit(flush).into_iter();
        let result = ended.try_for_each(|ticket| ticket.wait().result);
        self.stats.errors += u64::from(result.is_err());
        result
    }
}
