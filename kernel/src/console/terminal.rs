// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a person sees: the line being edited, and what is printed above it.
//!
//! One lock makes the log and the shell take turns: a log line that comes while a command line is being typed is
//! printed in its place, and the line redrawn below.
use super::line::{Complete, Event, LineEditor, LineError};
use super::tty;
use crate::thread::wait::SleepLock;
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

struct Terminal {
    editor: LineEditor,
    /// A prompt is shown and a line being typed.
    editing: bool,
}

static TERMINAL: SleepLock<Terminal> = SleepLock::new(Terminal {
    editor: LineEditor::new(),
    editing: false,
});

/// Text to the serial line, newlines with carriage returns.
pub struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (i, part) in text.split('\n').enumerate() {
            if i > 0 {
                tty::write(b"\r\n");
            }
            tty::write(part.as_bytes());
        }
        Ok(())
    }
}

/// As typed and echoed, without translation.
struct Raw;

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        tty::write(text.as_bytes());
        Ok(())
    }
}

/// Prints a line of the log, above the line being typed if there is one.
pub fn print_beside_prompt(line: &[u8]) {
    let mut terminal = TERMINAL.lock();
    if terminal.editing {
        terminal.editor.hide(&mut Raw);
    }
    tty::write(line);
    tty::write(b"\r\n");
    if terminal.editing {
        terminal.editor.redraw(&mut Raw);
    }
}

/// Waits until all is on the line.
pub fn flush() {
    drop(TERMINAL.lock());
    tty::flush();
}

/// Lets the user type a line. `None`: Ctrl-C.
pub fn read_line(
    prompt: &'static str,
    complete: &mut Complete,
) -> Option<Result<String, LineError>> {
    {
        let mut terminal = TERMINAL.lock();
        terminal.editing = true;
        terminal.editor.prompt(prompt, &mut Raw);
    }
    loop {
        let byte = tty::read();
        let mut terminal = TERMINAL.lock();
        let line = match terminal.editor.feed(byte, &mut Raw, complete) {
            Event::Pending | Event::EndOfFile => continue,
            Event::Line(line) => Some(Ok(line.to_owned())),
            Event::Refused(error) => Some(Err(error)),
            Event::Interrupt => None,
        };
        terminal.editing = false;
        if line.is_none() {
            tty::acknowledge_interrupt();
        }
        return line;
    }
}
