// SPDX-License-Identifier: MIT OR Apache-2.0
//! The line editor against a terminal model: what the user sees must be what runs.
//! (Beside `line.rs`, which would be too long with them.)

use super::*;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// One row of a VT100, enough for what the editor sends.
#[derive(Default)]
struct Terminal {
    row: Vec<char>,
    column: usize,
    rows: Vec<String>,
    bells: usize,
    bytes: usize,
    escape: Option<String>,
}

impl Terminal {
    fn put(&mut self, c: char) {
        if let Some(mut escape) = self.escape.take() {
            escape.push(c);
            if c == '[' || c.is_ascii_digit() {
                self.escape = Some(escape);
                return;
            }
            let count = escape[1..escape.len() - 1].parse().unwrap_or(1);
            match c {
                'C' => self.column += count,
                'D' => self.column = self.column.checked_sub(count).expect("left of the row"),
                'K' => self.row.truncate(self.column),
                'H' => self.column = 0,
                'J' => self.row.clear(),
                _ => panic!("unknown escape {escape:?}"),
            }
            return;
        }
        match c {
            '\x1b' => self.escape = Some(String::new()),
            '\x07' => self.bells += 1,
            '\x08' => self.column = self.column.checked_sub(1).expect("left of the row"),
            '\r' => self.column = 0,
            '\n' => {
                self.rows.push(self.row.drain(..).collect());
            }
            _ => {
                assert!(!c.is_control());
                assert!(self.column < COLUMNS - 1, "the last column would wrap");
                self.row.resize(self.row.len().max(self.column + 1), ' ');
                self.row[self.column] = c;
                self.column += 1;
            }
        }
    }
}

impl Write for Terminal {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes += s.len();
        s.chars().for_each(|c| self.put(c));
        Ok(())
    }
}

struct Session {
    editor: LineEditor,
    terminal: Terminal,
    names: Vec<&'static str>,
}

impl Session {
    fn new() -> Self {
        Self::with_names(&[])
    }

    fn with_names(names: &[&'static str]) -> Self {
        let (mut editor, mut terminal) = (LineEditor::new(), Terminal::default());
        editor.prompt("# ", &mut terminal);
        Self {
            editor,
            terminal,
            names: names.to_vec(),
        }
    }

    /// Types, and returns the events other than `Pending`, as text.
    fn type_in(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        let mut events = vec![];
        for &byte in bytes.as_ref() {
            let names = &self.names;
            let mut complete = |before: &str, offer: &mut dyn FnMut(&str)| {
                let start = before.rfind(' ').map_or(0, |at| at + 1);
                let found = names
                    .iter()
                    .filter(|name| name.starts_with(&before[start..]));
                found.for_each(|name| offer(name));
                start
            };
            let again = match self.editor.feed(byte, &mut self.terminal, &mut complete) {
                Event::Pending => continue,
                Event::Line(line) => {
                    events.push(line.to_string());
                    true
                }
                Event::Refused(error) => {
                    events.push(format!("refused: {error}"));
                    true
                }
                Event::Interrupt => {
                    events.push("interrupt".into());
                    true
                }
                Event::EndOfFile => {
                    events.push("end".into());
                    false
                }
            };
            if again {
                self.editor.prompt("# ", &mut self.terminal);
            }
        }
        events
    }

    fn row(&self) -> String {
        self.terminal.row.iter().collect()
    }
}

const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";

#[test]
fn a_line_is_entered_once_however_it_ends() {
    assert_eq!(Session::new().type_in("ls\r\nls\rls\n"), ["ls", "ls", "ls"]);
}

#[test]
fn typing_at_the_end_echoes_one_byte_a_character() {
    let mut session = Session::new();
    session.type_in("cat /boot/config.txt");
    assert_eq!(session.terminal.bytes, "# cat /boot/config.txt".len());
    session.type_in("\x7f");
    assert_eq!(session.row(), "# cat /boot/config.tx");
    assert_eq!(session.terminal.bytes, "# cat /boot/config.txt".len() + 4);
}

#[test]
fn every_editing_key() {
    for (keys, line) in [
        (format!("ac{LEFT}b"), "abc"),
        (format!("abc{LEFT}{LEFT}\x7f"), "bc"),
        (format!("abc{LEFT}\x1b[3~"), "ab"),
        ("bc\x01a\x05d".into(), "abcd"),
        ("bc\x1b[Ha\x1b[Fd".into(), "abcd"),
        ("abc\x02\x02\x06X".into(), "abXc"),
        ("abc\x02\x02\x0b".into(), "a"),
        ("abc\x02\x15".into(), "c"),
        ("one two  \x17X".into(), "one X"),
        ("abc\x01\x04".into(), "bc"),
        ("ab\x0cc".into(), "abc"),
        ("aé€".to_string() + LEFT + "\x7f😀", "a😀€"),
    ] {
        let mut session = Session::new();
        session.type_in(&keys);
        assert_eq!(session.row(), format!("# {line}"), "shown after {keys:?}");
        assert_eq!(session.type_in("\r"), [line], "entered after {keys:?}");
    }
}

#[test]
fn history_goes_up_and_down_and_keeps_the_draft() {
    let mut session = Session::new();
    session.type_in("first\rsecond\rsecond\rdra");
    session.type_in(UP);
    assert_eq!(session.row(), "# second");
    session.type_in(UP);
    assert_eq!(session.row(), "# first");
    session.type_in(UP);
    assert_eq!(
        (session.row(), session.terminal.bells),
        ("# first".into(), 1)
    );
    session.type_in(DOWN);
    session.type_in(DOWN);
    assert_eq!(session.row(), "# dra");
    assert_eq!(session.type_in("\x10\x10\r"), ["first"]);
}

#[test]
fn a_line_over_the_limit_is_refused_whole() {
    let mut session = Session::new();
    session.type_in("x".repeat(LIMIT));
    assert_eq!(session.terminal.bells, 0);
    assert_eq!(session.type_in("\r"), ["x".repeat(LIMIT)]);
    let events = session.type_in("y".repeat(10_000) + "\rls\r");
    assert_eq!(
        events,
        [
            "refused: line too long (10000 characters, limit 256): ignored",
            "ls"
        ]
    );
    assert_eq!(session.terminal.bells, 1);
    assert_eq!(session.editor.history().get(2), Some(&*"x".repeat(LIMIT)));
}

#[test]
fn an_overlong_line_can_be_shortened_or_dropped() {
    let mut session = Session::new();
    session.type_in("x".repeat(LIMIT + 2));
    assert_eq!(session.type_in("\x7f\x7f\r"), ["x".repeat(LIMIT)]);
    session.type_in("x".repeat(LIMIT + 2));
    assert_eq!(session.type_in("\x15ls\r"), ["ls"]);
    let euros = session.type_in("€".repeat(86) + "\r");
    assert_eq!(
        euros,
        ["refused: line too long (258 bytes, limit 256): ignored"]
    );
}

#[test]
fn control_c_drops_the_line_and_control_d_ends_only_an_empty_one() {
    let mut session = Session::new();
    assert_eq!(
        session.type_in("rm -r\x03\x04ls\x04\r"),
        ["interrupt", "end", "ls"]
    );
    assert_eq!(session.terminal.rows[0], "# rm -r^C");
}

#[test]
fn one_tab_completes_and_two_list() {
    let mut session =
        Session::with_names(&["config.txt", "cmdline.txt", "kernel8.img", "overlays/"]);
    session.type_in("cat k\t");
    assert_eq!(session.row(), "# cat kernel8.img ");
    session.type_in("ov\t");
    assert_eq!(session.row(), "# cat kernel8.img overlays/");
    session.type_in("\x15c\t");
    assert_eq!((session.row(), session.terminal.bells), ("# c".into(), 1));
    session.type_in("\t");
    assert_eq!(session.terminal.rows[1], "config.txt   cmdline.txt");
    assert_eq!(session.row(), "# c");
    assert_eq!(session.type_in("m\t-v\r"), ["cmdline.txt -v"]);
    session.type_in("zzz\t");
    assert_eq!((session.row(), session.terminal.bells), ("# zzz".into(), 2));
}

#[test]
fn a_hostile_name_is_not_offered() {
    let mut session = Session::with_names(&["evil\x1b[2J", "even"]);
    session.type_in("e\t");
    assert_eq!(session.row(), "# even ");
}

#[test]
fn hide_and_redraw_leave_room_for_a_message() {
    let mut session = Session::new();
    session.type_in(format!("abc{LEFT}"));
    session.editor.hide(&mut session.terminal);
    assert_eq!(session.row(), "");
    write!(session.terminal, "[ 1.0] card removed\r\n").unwrap();
    session.editor.redraw(&mut session.terminal);
    session.type_in("X");
    assert_eq!(session.row(), "# abXc");
}

/// Random keys against a plain model of the line; the terminal must show the window around the cursor.
#[test]
fn random_keys_show_what_is_entered() {
    let mut seed = 1u64;
    let mut random = |n: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % n
    };
    for _ in 0..300 {
        let (mut session, mut model, mut cursor) = (Session::new(), Vec::<char>::new(), 0);
        for _ in 0..400 {
            match random(12) {
                0 if cursor > 0 => {
                    session.type_in(LEFT);
                    cursor -= 1;
                }
                1 if cursor < model.len() => {
                    session.type_in("\x06");
                    cursor += 1;
                }
                2 if cursor > 0 => {
                    session.type_in("\x7f");
                    cursor -= 1;
                    model.remove(cursor);
                }
                3 if cursor < model.len() => {
                    session.type_in("\x04");
                    model.remove(cursor);
                }
                4 if random(8) == 0 => {
                    session.type_in("\x01");
                    cursor = 0;
                }
                5 if random(8) == 0 => {
                    session.type_in("\x05");
                    cursor = model.len();
                }
                6 if random(30) == 0 => {
                    session.type_in("\x0b");
                    model.truncate(cursor);
                }
                7.. if model.len() < 200 => {
                    let c = ['a', 'Z', '0', 'é'][random(4)];
                    session.type_in(c.to_string());
                    model.insert(cursor, c);
                    cursor += 1;
                }
                _ => {}
            }
            let from = session.editor.screen.from;
            let shown: String = model[from..].iter().take(COLUMNS - 3).collect();
            assert_eq!(session.row(), format!("# {shown}"));
            assert_eq!(session.terminal.column, 2 + cursor - from);
        }
        assert_eq!(session.type_in("\r"), [String::from_iter(model)]);
    }
}
