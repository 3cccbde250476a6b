// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log's memory: lines of text in a ring; the oldest give way.
//!
//! Readers keep their own place, a count of bytes ever written, so that several can read at their own pace.
use core::fmt;

/// A ring of `N` bytes. Each line is stored as its severity (one byte, 1 to 5), its text, and a newline.
pub struct LogRing<const N: usize> {
    bytes: [u8; N],
    written: u64,
}

/// Writes one line into the ring; newlines inside it become blanks.
pub struct LineWriter<'a, const N: usize>(&'a mut LogRing<N>);

impl<const N: usize> LogRing<N> {
    /// An empty ring.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            written: 0,
        }
    }

    fn put(&mut self, byte: u8) {
        self.bytes[(self.written % N as u64) as usize] = byte;
        self.written += 1;
    }

    fn get(&self, at: u64) -> u8 {
        self.bytes[(at % N as u64) as usize]
    }

    /// Appends a line of severity `level`.
    pub fn push(&mut self, level: u8, line: fmt::Arguments) {
        self.put(level);
        let _ = fmt::Write::write_fmt(&mut LineWriter(self), line);
        self.put(b'\n');
    }

    /// True if there is nothing from `place` on.
    pub fn is_at_end(&self, place: u64) -> bool {
        place == self.written
    }

    /// The place behind the last line.
    pub fn end(&self) -> u64 {
        self.written
    }

    /// Copies the next line from `place` on into `line` (cut to its length), moves `place` behind it, and returns
    /// the line's severity and length; `None` when there is no more. A reader that fell behind goes on with the
    /// oldest whole line.
    pub fn next(&self, place: &mut u64, line: &mut [u8]) -> Option<(u8, usize)> {
        let oldest = self.written.saturating_sub(N as u64);
        if *place < oldest {
            *place = oldest;
            while *place < self.written && self.get(*place) != b'\n' {
                *place += 1;
            }
            *place = (*place + 1).min(self.written);
        }
        if *place == self.written {
            return None;
        }
        let level = self.get(*place);
        *place += 1;
        let mut length = 0;
        // The last line has no end yet where its writer was stopped in the middle of it.
        while *place < self.written {
            let byte = self.get(*place);
            *place += 1;
            if byte == b'\n' {
                break;
            }
            if length < line.len() {
                line[length] = byte;
                length += 1;
            }
        }
        Some((level, length))
    }
}

impl<const N: usize> fmt::Write for LineWriter<'_, N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0.put(if byte == b'\n' { b' ' } else { byte });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn read<const N: usize>(ring: &LogRing<N>, place: &mut u64) -> Vec<(u8, String)> {
        let mut line = [0; 32];
        core::iter::from_fn(|| {
            let (level, n) = ring.next(place, &mut line)?;
            Some((level, String::from_utf8(line[..n].to_vec()).unwrap()))
        })
        .collect()
    }

    #[test]
    fn lines_come_back_in_order_to_each_reader() {
        let mut ring = LogRing::<64>::new();
        ring.push(3, format_args!("one {}", 1));
        ring.push(1, format_args!("two\nlines"));
        let (mut a, mut b) = (0, 0);
        assert_eq!(
            read(&ring, &mut a),
            [(3, "one 1".into()), (1, "two lines".into())]
        );
        ring.push(2, format_args!(""));
        assert_eq!(read(&ring, &mut a), [(2, "".into())]);
        assert_eq!(read(&ring, &mut b).len(), 3);
    }

    #[test]
    fn a_slow_reader_resumes_at_a_whole_line() {
        let mut ring = LogRing::<64>::new();
        let mut place = 0;
        for n in 0..100 {
            ring.push(3, format_args!("line number {n}"));
        }
        let lines = read(&ring, &mut place);
        assert_eq!(lines.last().unwrap().1, "line number 99");
        assert!(
            lines
                .iter()
                .all(|(level, text)| *level == 3 && text.starts_with("line number ")),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_line_that_breaks_off_ends_with_the_log() {
        let mut ring = LogRing::<64>::new();
        ring.push(3, format_args!("whole"));
        ring.put(1);
        ring.put(b'h');
        let mut place = 0;
        assert_eq!(
            read(&ring, &mut place),
            [(3, "whole".into()), (1, "h".into())]
        );
    }

    #[test]
    fn a_line_longer_than_the_ring_is_no_line() {
        let mut ring = LogRing::<16>::new();
        let mut place = 0;
        ring.push(3, format_args!("{:>40}", "x"));
        assert_eq!(read(&ring, &mut place), []);
        ring.push(3, format_args!("short"));
        assert_eq!(read(&ring, &mut place), [(3, "short".into())]);
    }
}
