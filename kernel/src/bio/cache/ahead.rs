// SPDX-License-Identifier: MIT OR Apache-2.0
//! Read-ahead: who reads on where the last read ended gets what follows before asking for it.
//!
//! # Theory
//!
//! A few readers are told apart by where each will read next. A window is what has been asked of the device for a
//! reader but not read yet; when half of it is used up, the next one is asked for, twice as large up to a limit. So
//! the device works while the reader does, and who reads here and there costs nothing.

use core::ops::Range;

/// Readers told apart.
const READERS: usize = 4;
/// The first window, in pages: 16 KiB.
const FIRST_WINDOW: u64 = 4;
/// The largest, in pages: 128 KiB.
const LAST_WINDOW: u64 = 32;

#[derive(Clone, Copy, Default)]
struct Reader {
    /// The byte it is expected to read next.
    next: u64,
    window: u64,
    /// The page after the last that was asked for.
    until: u64,
    used: u64,
}

/// Where each of the last few readers stands.
#[derive(Default)]
pub(super) struct Ahead {
    readers: [Reader; READERS],
    clock: u64,
}

impl Ahead {
    /// Notes that the bytes `read`, on the pages `pages`, are read. Returns the pages to fetch ahead, at most `most`,
    /// if a reader reads on there.
    pub(super) fn read(
        &mut self,
        read: &Range<u64>,
        pages: &Range<u64>,
        most: u64,
    ) -> Option<Range<u64>> {
        self.clock += 1;
        let follows = |r: &&mut Reader| r.used > 0 && r.next == read.start;
        if let Some(reader) = self.readers.iter_mut().find(follows) {
            (reader.next, reader.used) = (read.end, self.clock);
            reader.until = reader.until.max(pages.end);
            if pages.end + reader.window / 2 < reader.until {
                return Some(0..0);
            }
            let from = reader.until;
            reader.until += reader.window;
            reader.window = (reader.window * 2).min(LAST_WINDOW).min(most);
            return Some(from..reader.until);
        }
        if let Some(oldest) = self.readers.iter_mut().min_by_key(|reader| reader.used) {
            *oldest = Reader {
                next: read.end,
                window: FIRST_WINDOW.min(most),
                until: pages.end,
                used: self.clock,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_in_order_is_always_ahead_and_one_without_never() {
        let mut ahead = Ahead::default();
        let (mut fetched, mut windows) = (2, std::vec::Vec::new());
        for page in 0..200 {
            let read = page * 4096..(page + 1) * 4096;
            let more = ahead.read(&read, &(page..page + 1), 1000).unwrap_or(0..0);
            assert!(more.is_empty() || more.start == fetched, "{page}: {more:?}");
            if !more.is_empty() {
                fetched = more.end;
                windows.push(more.end - more.start);
            }
            assert!(page < 1 || fetched > page + 1, "{page}: {fetched}");
            let elsewhere = 1 << 40 | page << 20;
            let other = ahead.read(&(elsewhere..elsewhere + 4096), &(9..10), 1000);
            assert_eq!(other, None);
        }
        assert_eq!(windows[..6], [4, 8, 16, 32, 32, 32]);
    }
}
