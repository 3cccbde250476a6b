// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last lines that were entered, in a fixed ring.

use super::line::LIMIT;

/// How many lines are kept.
pub const LINES: usize = 32;

/// A line's bytes in fixed memory; always UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Text {
    bytes: [u8; LIMIT],
    len: usize,
}

impl Text {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; LIMIT],
        len: 0,
    };

    pub(super) fn as_str(&self) -> &str {
        // Only whole characters are ever inserted or removed, so the fallback is never taken.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Replaces the bytes `from..to` with `with`. Says false, and changes nothing, if there is no room.
    /// `from` and `to` must be character boundaries.
    pub(super) fn splice(&mut self, from: usize, to: usize, with: &str) -> bool {
        let len = self.len - (to - from) + with.len();
        if len > LIMIT {
            return false;
        }
        self.bytes.copy_within(to..self.len, from + with.len());
        self.bytes[from..from + with.len()].copy_from_slice(with.as_bytes());
        self.len = len;
        true
    }
}

/// The ring. Line 1 is the newest.
pub struct History {
    lines: [Text; LINES],
    /// Where the next line goes.
    next: usize,
    count: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// An empty history.
    pub const fn new() -> Self {
        Self {
            lines: [Text::EMPTY; LINES],
            next: 0,
            count: 0,
        }
    }

    /// Keeps `line`, unless it is blank, too long, or the same as the last one.
    pub fn push(&mut self, line: &str) {
        if line.trim().is_empty() || line.len() > LIMIT || self.get(1) == Some(line) {
            return;
        }
        let slot = &mut self.lines[self.next];
        *slot = Text::EMPTY;
        slot.splice(0, 0, line);
        self.next = (self.next + 1) % LINES;
        self.count = (self.count + 1).min(LINES);
    }

    /// The line entered `back` lines ago (1 = the last one).
    pub fn get(&self, back: usize) -> Option<&str> {
        ((1..=self.count).contains(&back))
            .then(|| self.lines[(self.next + LINES - back) % LINES].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut history = History::new();
        assert_eq!(history.get(1), None);
        for n in 0..LINES + 3 {
            history.push(&format!("line {n}"));
        }
        assert_eq!(history.get(1), Some("line 34"));
        assert_eq!(history.get(LINES), Some("line 3"));
        assert_eq!(history.get(LINES + 1), None);
        assert_eq!(history.get(0), None);
    }

    #[test]
    fn blanks_and_repeats_are_not_kept() {
        let mut history = History::new();
        for line in ["a", "a", "", "  ", "b", "a"] {
            history.push(line);
        }
        assert_eq!(
            [1, 2, 3, 4].map(|n| history.get(n)),
            [Some("a"), Some("b"), Some("a"), None]
        );
    }
}
