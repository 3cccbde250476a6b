// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages of a cache: which part of the device each holds, and which was used longest ago.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{PAGE_BYTES, STAGES};
use crate::bio::DiskError;
use crate::bio::request::Ticket;
use crate::dma::Buffer;

const NONE: u32 = u32::MAX;

/// A page of memory and what is known of it. One bit of a mask is one sector.
pub(super) struct Frame {
    /// Which page of the device it holds.
    pub(super) page: u64,
    /// The memory; with the device while a transfer goes on.
    pub(super) buffer: Option<Buffer>,
    /// Sectors that hold what the device holds or will.
    pub(super) valid: u8,
    /// Sectors that the device does not hold yet, by stage; a sector is in one stage at most.
    pub(super) dirty: [u8; STAGES],
    /// A read that goes on, and the sectors that it fetches.
    pub(super) coming: Option<(Ticket, u8)>,
    newer: u32,
    older: u32,
}

impl Frame {
    pub(super) fn any_dirty(&self) -> u8 {
        self.dirty.iter().fold(0, |all, mask| all | mask)
    }

    /// Its memory. No transfer may go on.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::bytes)
    }

    /// As [`Self::bytes`], to be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map_or(&mut [], Buffer::bytes_mut)
    }
}

/// At most so many frames, found by page.
pub(super) struct Pages {
    frames: Vec<Frame>,
    most: usize,
    by_page: BTreeMap<u64, u32>,
    newest: u32,
    oldest: u32,
}

impl Pages {
    pub(super) fn new(most: usize) -> Self {
        Self {
            frames: Vec::new(),
            most,
            by_page: BTreeMap::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The frame that holds `page`.
    pub(super) fn find(&self, page: u64) -> Option<usize> {
        self.by_page.get(&page).map(|&at| at as usize)
    }

    pub(super) fn frame(&mut self, at: usize) -> &mut Frame {
        &mut self.frames[at]
    }

    /// All frames.
    pub(super) fn frames(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.frames.iter_mut()
    }

    /// A frame for `page`, which has none: a new one, or the one used longest ago of those that are clean. None if
    /// all are dirty.
    ///
    /// # Errors
    /// [`DiskError::NoMemory`] if the heap has nothing left for the first of them.
    pub(super) fn insert(&mut self, page: u64) -> Result<Option<usize>, DiskError> {
        let fresh = if self.frames.len() < self.most {
            Buffer::new(PAGE_BYTES).ok()
        } else {
            None
        };
        let at = if let Some(buffer) = fresh {
            self.frames.push(Frame {
                page,
                buffer: Some(buffer),
                valid: 0,
                dirty: [0; STAGES],
                coming: None,
                newer: NONE,
                older: NONE,
            });
            self.frames.len() - 1
        } else if self.frames.is_empty() {
            return Err(DiskError::NoMemory);
        } else {
            let Some(at) = self.victim() else {
                return Ok(None);
            };
            self.unlink(at);
            let frame = &mut self.frames[at];
            self.by_page.remove(&frame.page);
            (frame.page, frame.valid) = (page, 0);
            at
        };
        self.by_page.insert(page, at as u32);
        self.link_newest(at);
        Ok(Some(at))
    }

    fn victim(&self) -> Option<usize> {
        let mut at = self.oldest;
        while at != NONE {
            let frame = &self.frames[at as usize];
            if frame.any_dirty() == 0 && frame.buffer.is_some() {
                return Some(at as usize);
            }
            at = frame.newer;
        }
        None
    }

    /// The frame was used.
    pub(super) fn touch(&mut self, at: usize) {
        if self.newest != at as u32 {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    /// The frame will hardly be used again: it gives way first.
    pub(super) fn retire(&mut self, at: usize) {
        if self.oldest == at as u32 {
            return;
        }
        self.unlink(at);
        let next = self.oldest;
        self.frames[at].newer = next;
        match next {
            NONE => self.newest = at as u32,
            next => self.frames[next as usize].older = at as u32,
        }
        self.oldest = at as u32;
    }

    fn unlink(&mut self, at: usize) {
        let frame = &mut self.frames[at];
        let (newer, older) = (frame.newer, frame.older);
        (frame.newer, frame.older) = (NONE, NONE);
        match newer {
            NONE => self.newest = older,
            newer => self.frames[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.frames[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, at: usize) {
        let before = self.newest;
        self.frames[at].older = before;
        match before {
            NONE => self.oldest = at as u32,
            before => self.frames[before as usize].newer = at as u32,
        }
        self.newest = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clean_one_used_longest_ago_gives_way() {
        let mut pages = Pages::new(3);
        let at: std::vec::Vec<_> = (0..3).map(|p| pages.insert(p).unwrap().unwrap()).collect();
        pages.touch(at[0]);
        pages.frame(at[1]).dirty[2] = 4;
        assert_eq!(pages.insert(7), Ok(Some(at[2])));
        assert_eq!((pages.find(2), pages.find(7)), (None, Some(at[2])));
        pages.retire(at[2]);
        assert_eq!(pages.insert(8), Ok(Some(at[2])));
        assert_eq!(pages.insert(9), Ok(Some(at[0])));
        for frame in pages.frames() {
            frame.dirty[0] = 1;
        }
        assert_eq!(pages.insert(10), Ok(None));
        assert_eq!(pages.find(9), Some(at[0]));
    }
}
