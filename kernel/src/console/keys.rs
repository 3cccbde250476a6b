// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes from a serial terminal, decoded into keys.
//!
//! # Theory
//!
//! A VT100 sends a cursor key as `ESC [ A` or `ESC O A`, function keys as longer sequences, and answers
//! and titles as strings (`ESC ]`, `ESC P`). What is not understood is swallowed whole, so that a stray F5
//! never types `15~`. A line end or Ctrl-C always gets through, even inside a sequence that lost its end
//! on a noisy line. CR, LF and CR LF are each one [`Key::Enter`].
//!
//! # References
//!
//! ECMA-48 §5.4 (control sequences), §5.6 (control strings); xterm's `ctlseqs`, "PC-Style Function Keys".

/// What the user pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// CR, LF or CR LF.
    Enter,
    /// Erase to the left.
    Backspace,
    /// Erase under the cursor.
    Delete,
    /// One character left (also Ctrl-B).
    Left,
    /// One character right (also Ctrl-F).
    Right,
    /// Older line (also Ctrl-P).
    Up,
    /// Newer line (also Ctrl-N).
    Down,
    /// Start of the line (also Ctrl-A).
    Home,
    /// End of the line (also Ctrl-E).
    End,
    /// Complete.
    Tab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfFile,
    /// Ctrl-K: erase to the end.
    KillToEnd,
    /// Ctrl-U: erase to the start.
    KillToStart,
    /// Ctrl-W: erase the word to the left.
    KillWord,
    /// Ctrl-L: clear the screen.
    ClearScreen,
}

#[derive(Clone, Copy)]
enum State {
    Ground,
    /// After CR: an LF belongs to it.
    AfterCr,
    Escape,
    /// After `ESC [`: the first parameter so far, and whether it is still being read.
    Csi {
        param: u16,
        first: bool,
    },
    /// One more byte, dropped: the Linux console's `ESC [ [ A` for F1.
    Drop,
    /// After `ESC O`.
    Ss3,
    /// A control string, up to BEL or ESC \.
    Str,
    Utf8 {
        bytes: [u8; 4],
        have: u8,
        want: u8,
    },
}

/// The decoder: one byte in, at most one key out.
pub struct Keys(State);

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys {
    /// A decoder at rest.
    pub const fn new() -> Self {
        Self(State::Ground)
    }

    /// Takes the next byte from the line.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        let state = core::mem::replace(&mut self.0, State::Ground);
        match (state, byte) {
            (State::AfterCr, b'\n') => None,
            (_, b'\r') => {
                self.0 = State::AfterCr;
                Some(Key::Enter)
            }
            (_, b'\n') => Some(Key::Enter),
            (_, 0x03) => Some(Key::Interrupt),
            (_, 0x1b) => {
                self.0 = State::Escape;
                None
            }
            (State::Escape, b'[') => {
                self.0 = State::Csi {
                    param: 0,
                    first: true,
                };
                None
            }
            (State::Escape, b'O') => {
                self.0 = State::Ss3;
                None
            }
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => {
                self.0 = State::Str;
                None
            }
            (State::Escape | State::Drop, _) | (State::Str, 0x07) => None,
            (State::Str, _) => {
                self.0 = State::Str;
                None
            }
            (State::Ss3, _) => cursor_key(byte),
            (State::Csi { param, first }, _) => self.csi(param, first, byte),
            (State::Utf8 { bytes, have, want }, 0x80..=0xbf) => self.utf8(bytes, have, want, byte),
            (State::Ground | State::AfterCr | State::Utf8 { .. }, _) => self.plain(byte),
        }
    }

    fn csi(&mut self, param: u16, first: bool, byte: u8) -> Option<Key> {
        match byte {
            b'[' if first && param == 0 => {
                self.0 = State::Drop;
                None
            }
            b'0'..=b'9' if first => {
                let param = param
                    .saturating_mul(10)
                    .saturating_add((byte - b'0').into());
                self.0 = State::Csi { param, first };
                None
            }
            0x20..=0x3f => {
                self.0 = State::Csi {
                    param,
                    first: false,
                };
                None
            }
            b'~' => match param {
                1 | 7 => Some(Key::Home),
                4 | 8 => Some(Key::End),
                3 => Some(Key::Delete),
                _ => None,
            },
            _ => cursor_key(byte),
        }
    }

    fn utf8(&mut self, mut bytes: [u8; 4], have: u8, want: u8, byte: u8) -> Option<Key> {
        bytes[usize::from(have)] = byte;
        let have = have + 1;
        if have < want {
            self.0 = State::Utf8 { bytes, have, want };
            return None;
        }
        let text = core::str::from_utf8(&bytes[..usize::from(have)]).ok()?;
        text.chars()
            .next()
            .filter(|c| !c.is_control())
            .map(Key::Char)
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        let want = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return control(byte),
        };
        let bytes = [byte, 0, 0, 0];
        self.0 = State::Utf8 {
            bytes,
            have: 1,
            want,
        };
        None
    }
}

fn cursor_key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    })
}

fn control(byte: u8) -> Option<Key> {
    Some(match byte {
        b' '..=b'~' => Key::Char(byte.into()),
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x04 => Key::EndOfFile,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        0x09 => Key::Tab,
        0x0b => Key::KillToEnd,
        0x0c => Key::ClearScreen,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::KillToStart,
        0x17 => Key::KillWord,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Keys::new();
        bytes.iter().filter_map(|&b| decoder.feed(b)).collect()
    }

    #[test]
    fn every_line_end_counts_once() {
        use Key::Enter;
        assert_eq!(keys(b"\r"), [Enter]);
        assert_eq!(keys(b"\n"), [Enter]);
        assert_eq!(keys(b"\r\n"), [Enter]);
        assert_eq!(keys(b"\r\r\n\n"), [Enter, Enter, Enter]);
    }

    #[test]
    fn cursor_keys_in_both_dialects() {
        assert_eq!(
            keys(b"\x1b[A\x1bOA\x1b[1;5C"),
            [Key::Up, Key::Up, Key::Right]
        );
        assert_eq!(
            keys(b"\x1b[3~\x1b[1~\x1b[8~"),
            [Key::Delete, Key::Home, Key::End]
        );
    }

    #[test]
    fn unknown_sequences_type_nothing() {
        for sequence in [
            &b"\x1b[15~"[..],
            b"\x1b[[A",
            b"\x1b[?25;1$y",
            b"\x1b]0;title\x07",
            b"\x1bP1$r0m\x1b\\",
            b"\x1bx",
            b"\x1b[200~",
            b"\x1bOP",
            b"\x00\x07\x80\xff\xc0\xc1",
        ] {
            assert_eq!(keys(sequence), [], "{sequence:x?}");
            let mut then_x = sequence.to_vec();
            then_x.push(b'x');
            assert_eq!(keys(&then_x), [Key::Char('x')], "{sequence:x?}");
        }
    }

    #[test]
    fn a_line_end_escapes_from_a_broken_sequence() {
        assert_eq!(keys(b"\x1b]never ended\rx"), [Key::Enter, Key::Char('x')]);
        assert_eq!(keys(b"\x1b[12\x03x"), [Key::Interrupt, Key::Char('x')]);
    }

    #[test]
    fn utf8_is_one_key_and_bad_utf8_none() {
        assert_eq!(
            keys("é€😀".as_bytes()),
            [Key::Char('é'), Key::Char('€'), Key::Char('😀')]
        );
        assert_eq!(keys(b"\xe2\x82x"), [Key::Char('x')]);
        assert_eq!(keys(b"\xed\xa0\x80x"), [Key::Char('x')]); // a surrogate
        assert_eq!(keys("\u{85}x".as_bytes()), [Key::Char('x')]); // a C1 control
    }
}
