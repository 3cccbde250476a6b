// SPDX-License-Identifier: MIT OR Apache-2.0
//! The line editor of the serial console: keys in, lines out, no heap.
//!
//! # Theory
//!
//! The line stays on one row: a line longer than the row is shown through a window that jumps by half its
//! width. Hence the editor never needs to know where the terminal wraps, and never asks it anything. It
//! remembers which column the cursor is in and what is drawn, and sends only what changed: one byte for a
//! character typed at the end, at most a row for anything else. Every character counts as one column wide;
//! after wide or combining ones, Ctrl-L straightens the row.
//!
//! A line over [`LIMIT`] bytes is refused as a whole at Enter. Running its first 256 bytes could be a
//! different command from the one meant.
//!
//! # Contexts
//!
//! Thread, or a stopped machine: it takes no lock and allocates nothing.
//!
//! # Rejected
//!
//! - `noline` 0.5: has no completion; asks the terminal for its size (`ESC [6n`) and waits for the answer,
//!   which a log file or a script on the other end never gives.
//! - `embedded-cli` 0.2: completes command names only, without a list; characters over the limit are
//!   dropped silently and the rest of the line runs; no Home, End, Delete or Ctrl keys.
//! - Wrapping over several rows: a terminal that is not as wide as believed garbles every line.

use core::fmt::{self, Write};

use super::history::{History, Text};
use super::keys::{Key, Keys};

/// The longest line that is accepted, in bytes of UTF-8.
pub const LIMIT: usize = 256;

/// Width of the terminal's row.
const COLUMNS: usize = 80;

/// How many candidates a completion lists.
const LISTED: usize = 200;

const BELL: &str = "\x07";

/// Finds completions. Given the line up to the cursor, it calls the second argument with each candidate and
/// returns the byte offset at which they all begin, that is, what part of the line they replace. Candidates
/// are offered in the order to list them in; one that ends in `/` gets no space after it. It is called again
/// to list them, and must offer the same.
pub type Complete<'a> = dyn FnMut(&str, &mut dyn FnMut(&str)) -> usize + 'a;

/// What a byte from the terminal led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing yet: the line is being edited.
    Pending,
    /// A line was entered. It is in the history already. Call [`LineEditor::prompt`] for the next one.
    Line(&'a str),
    /// A line was entered that must not be run.
    Refused(LineError),
    /// Ctrl-C: the line was dropped.
    Interrupt,
    /// Ctrl-D on an empty line.
    EndOfFile,
}

/// Why a line was refused: the caller, that is the user at the terminal, is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// More was entered than [`LIMIT`].
    TooLong {
        /// The whole line's length in bytes.
        bytes: usize,
        /// All of them are ASCII, so that a byte is a character.
        ascii: bool,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::TooLong { bytes, ascii } = *self;
        let unit = if ascii { "characters" } else { "bytes" };
        write!(f, "line too long ({bytes} {unit}, limit {LIMIT}): ignored")
    }
}

impl core::error::Error for LineError {}

/// The editor. About 9 KiB, nearly all of it the history.
pub struct LineEditor {
    keys: Keys,
    history: History,
    prompt: &'static str,
    line: Text,
    /// Byte offset in `line`.
    cursor: usize,
    /// What was being typed before the history was called up.
    draft: Text,
    /// Which line of the history is shown; 0 is the draft.
    back: usize,
    /// Bytes typed that found no room.
    excess: usize,
    excess_ascii: bool,
    /// Tabs in a row.
    tabs: u8,
    /// The line was handed out: the next key begins a new one.
    done: bool,
    screen: Screen,
}

/// What the terminal shows, in columns after the prompt.
#[derive(Clone, Copy)]
struct Screen {
    /// The first character of the line that is shown.
    from: usize,
    cursor: usize,
    drawn: usize,
}

impl Screen {
    const BLANK: Self = Self {
        from: 0,
        cursor: 0,
        drawn: 0,
    };

    fn go(&mut self, column: usize, out: &mut dyn Write) -> fmt::Result {
        let old = core::mem::replace(&mut self.cursor, column);
        match (old.saturating_sub(column), column.saturating_sub(old)) {
            (0, 0) => Ok(()),
            (left @ 1..=3, _) => (0..left).try_for_each(|_| out.write_char('\x08')),
            (0, right) => write!(out, "\x1b[{right}C"),
            (left, _) => write!(out, "\x1b[{left}D"),
        }
    }
}

impl Default for LineEditor {
    fn default() -> Self {
        Self::new()
    }
}

impl LineEditor {
    /// An editor with an empty history and no prompt.
    pub const fn new() -> Self {
        Self {
            keys: Keys::new(),
            history: History::new(),
            prompt: "",
            line: Text::EMPTY,
            cursor: 0,
            draft: Text::EMPTY,
            back: 0,
            excess: 0,
            excess_ascii: true,
            tabs: 0,
            done: false,
            screen: Screen::BLANK,
        }
    }

    /// Starts a new line: shows `prompt`, which must be at most 40 columns and without escapes.
    pub fn prompt(&mut self, prompt: &'static str, out: &mut dyn Write) {
        self.reset();
        self.prompt = prompt;
        let _ = out.write_str(prompt);
    }

    /// The lines entered so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Wipes the row, so that something else (a log message) can be printed there. Then call
    /// [`Self::redraw`].
    pub fn hide(&mut self, out: &mut dyn Write) {
        let _ = out.write_str("\r\x1b[K");
    }

    /// Shows prompt and line again on an empty row.
    pub fn redraw(&mut self, out: &mut dyn Write) {
        self.screen.cursor = 0;
        self.screen.drawn = 0;
        let _ = out.write_str(self.prompt);
        let _ = self.refresh(0, out);
    }

    /// Takes the next byte from the terminal, and echoes to `out`, whose errors are ignored: there is
    /// nobody to tell.
    pub fn feed(
        &mut self,
        byte: u8,
        out: &mut dyn Write,
        complete: &mut Complete<'_>,
    ) -> Event<'_> {
        let Some(key) = self.keys.feed(byte) else {
            return Event::Pending;
        };
        if self.done {
            self.reset();
        }
        self.tabs = if key == Key::Tab {
            self.tabs.saturating_add(1)
        } else {
            0
        };
        match key {
            Key::Enter => {
                let _ = out.write_str("\r\n");
                self.done = true;
                if self.excess > 0 {
                    return Event::Refused(LineError::TooLong {
                        bytes: self.line.len() + self.excess,
                        ascii: self.excess_ascii && self.line.as_str().is_ascii(),
                    });
                }
                self.history.push(self.line.as_str());
                return Event::Line(self.line.as_str());
            }
            Key::Interrupt => {
                let _ = out.write_str("^C\r\n");
                self.done = true;
                return Event::Interrupt;
            }
            Key::EndOfFile if self.line.len() == 0 => return Event::EndOfFile,
            _ => {}
        }
        let _ = self.edit(key, out, complete);
        Event::Pending
    }

    fn reset(&mut self) {
        self.line = Text::EMPTY;
        self.cursor = 0;
        self.back = 0;
        self.excess = 0;
        self.excess_ascii = true;
        self.tabs = 0;
        self.done = false;
        self.screen = Screen::BLANK;
    }

    fn edit(&mut self, key: Key, out: &mut dyn Write, complete: &mut Complete<'_>) -> fmt::Result {
        let (start, here, end) = (0, self.cursor, self.line.len());
        let left = self.line.as_str()[..here]
            .char_indices()
            .next_back()
            .map_or(0, |(at, _)| at);
        let right = self.line.as_str()[here..]
            .chars()
            .next()
            .map_or(end, |c| here + c.len_utf8());
        match key {
            Key::Char(c) => self.insert(c, out),
            Key::Backspace if self.excess > 0 => {
                self.excess -= 1;
                Ok(())
            }
            Key::KillToStart if self.excess > 0 => {
                self.excess = 0;
                self.excess_ascii = true;
                self.replace(start, end, "", out)
            }
            _ if self.excess > 0 => out.write_str(BELL),
            Key::Backspace => self.replace(left, here, "", out),
            Key::Delete | Key::EndOfFile => self.replace(here, right, "", out),
            Key::KillToEnd => self.replace(here, end, "", out),
            Key::KillToStart => self.replace(start, here, "", out),
            Key::KillWord => {
                let kept = self.line.as_str()[..here].trim_end_matches(' ');
                let word = kept.rfind(' ').map_or(0, |space| space + 1);
                self.replace(word, here, "", out)
            }
            Key::Left => self.go(left, out),
            Key::Right => self.go(right, out),
            Key::Home => self.go(start, out),
            Key::End => self.go(end, out),
            Key::Up => self.recall(self.back + 1, out),
            Key::Down if self.back > 0 => self.recall(self.back - 1, out),
            Key::Tab => self.complete(out, complete),
            Key::ClearScreen => {
                out.write_str("\x1b[H\x1b[2J")?;
                self.redraw(out);
                Ok(())
            }
            Key::Down | Key::Enter | Key::Interrupt => out.write_str(BELL),
        }
    }

    fn insert(&mut self, c: char, out: &mut dyn Write) -> fmt::Result {
        let mut utf8 = [0; 4];
        let text = c.encode_utf8(&mut utf8);
        if self.excess == 0 && self.line.len() + text.len() <= LIMIT {
            return self.replace(self.cursor, self.cursor, text, out);
        }
        let first = self.excess == 0;
        self.excess += text.len();
        self.excess_ascii &= c.is_ascii();
        if first { out.write_str(BELL) } else { Ok(()) }
    }

    /// Replaces the bytes `from..to` and puts the cursor after them. Rings if nothing would change, or if
    /// there is no room.
    fn replace(&mut self, from: usize, to: usize, with: &str, out: &mut dyn Write) -> fmt::Result {
        if from == to && with.is_empty() || !self.line.splice(from, to, with) {
            return out.write_str(BELL);
        }
        self.cursor = from + with.len();
        self.refresh(from, out)
    }

    fn go(&mut self, to: usize, out: &mut dyn Write) -> fmt::Result {
        if to == self.cursor {
            return out.write_str(BELL);
        }
        self.cursor = to;
        self.refresh(self.line.len(), out)
    }

    fn recall(&mut self, back: usize, out: &mut dyn Write) -> fmt::Result {
        if self.back == 0 {
            self.draft = self.line;
        }
        let mut recalled = self.draft;
        if back > 0 {
            let Some(line) = self.history.get(back) else {
                return out.write_str(BELL);
            };
            recalled = Text::EMPTY;
            recalled.splice(0, 0, line);
        }
        self.back = back;
        self.line = recalled;
        self.cursor = self.line.len();
        self.screen.from = 0;
        self.refresh(0, out)
    }

    fn complete(&mut self, out: &mut dyn Write, complete: &mut Complete<'_>) -> fmt::Result {
        let before = &self.line.as_str()[..self.cursor];
        let (mut common, mut count, mut widest) = (Text::EMPTY, 0, 0);
        let mut start = complete(before, &mut |candidate| {
            if !printable(candidate) {
                return;
            }
            if count == 0 {
                common.splice(0, 0, candidate);
            } else {
                let same = common_prefix(common.as_str(), candidate);
                common.splice(same, common.len(), "");
            }
            count += 1;
            widest = widest.max(candidate.chars().count());
        });
        start = start.min(self.cursor);
        if count == 0 || !before.is_char_boundary(start) {
            return out.write_str(BELL);
        }
        let spaced = count == 1
            && !common.as_str().ends_with('/')
            && !self.line.as_str()[self.cursor..].starts_with(' ');
        if spaced {
            common.splice(common.len(), common.len(), " ");
        }
        if count == 1 || common.len() > self.cursor - start {
            return self.replace(start, self.cursor, common.as_str(), out);
        }
        if self.tabs < 2 {
            return out.write_str(BELL);
        }
        self.list(count, widest, out, complete)?;
        self.redraw(out);
        Ok(())
    }

    fn list(
        &self,
        count: usize,
        widest: usize,
        out: &mut dyn Write,
        complete: &mut Complete<'_>,
    ) -> fmt::Result {
        let per_row = (COLUMNS / (widest + 2)).max(1);
        let before = &self.line.as_str()[..self.cursor];
        let (mut shown, mut result) = (0, Ok(()));
        complete(before, &mut |candidate| {
            if shown == LISTED || !printable(candidate) || result.is_err() {
                return;
            }
            let gap = if shown % per_row == 0 { "\r\n" } else { "  " };
            let last = shown % per_row == per_row - 1;
            let width = if last { 0 } else { widest };
            result = write!(out, "{gap}{candidate:width$}");
            shown += 1;
        });
        result?;
        if count > shown {
            write!(out, "\r\n... and {} more", count - shown)?;
        }
        out.write_str("\r\n")
    }

    /// Brings the terminal up to date. What is before byte `stale` of the line is drawn already.
    fn refresh(&mut self, stale: usize, out: &mut dyn Write) -> fmt::Result {
        let (text, screen) = (self.line.as_str(), &mut self.screen);
        let width = COLUMNS
            .saturating_sub(self.prompt.chars().count() + 1)
            .max(8);
        let cursor = text[..self.cursor].chars().count();
        let mut stale = text[..stale].chars().count();
        if cursor < screen.from || cursor > screen.from + width {
            screen.from = if cursor <= width {
                0
            } else {
                cursor - width / 2
            };
            stale = 0;
        }
        let stale = stale.saturating_sub(screen.from);
        let end = (text.chars().count() - screen.from).min(width);
        if stale < end {
            screen.go(stale, out)?;
            let fresh = text.chars().skip(screen.from + stale).take(end - stale);
            fresh.into_iter().try_for_each(|c| out.write_char(c))?;
            screen.cursor = end;
        }
        if end < screen.drawn {
            screen.go(end, out)?;
            out.write_str("\x1b[K")?;
        }
        screen.drawn = end;
        screen.go(cursor - screen.from, out)
    }
}

/// File names come from a medium that anyone may have written: a control character would drive the terminal.
fn printable(candidate: &str) -> bool {
    candidate.len() <= LIMIT && !candidate.chars().any(char::is_control)
}

/// Length in bytes of the characters that both begin with.
fn common_prefix(a: &str, b: &str) -> usize {
    let differ = a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y);
    differ.map_or(a.len().min(b.len()), |((at, _), _)| at)
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
