// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a person sees: the line being edited, and what is printed above it.
//!
//! One lock makes the log and the shell take turns: a log line that comes while a command line is being typed is
//! printed in its place, and the line redrawn below. One that comes while a command prints waits for the end of its line.
use super::line::{Event, LineEditor, LineError};
use super::tty;
use crate::lock_order;
use crate::thread::{ThreadCx, boundary};
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use sync::domain::{Before, Cx, MaySleep};
use sync::kmutex::KMutex;

struct Terminal {
    editor: LineEditor,
    /// A prompt is shown and a line being typed.
    editing: bool,
}

static TERMINAL: KMutex<Terminal, lock_order::Terminal> = KMutex::new(Terminal {
    editor: LineEditor::new(),
    editing: false,
});

/// Where `fmt` has no room for a token: of a line that goes on, or ends with this.
fn put(bytes: &[u8], in_line: bool) {
    // SAFETY: it leads to the serial line's lock, which may be taken whatever a thread that can sleep holds.
    tty::write(&mut unsafe { boundary() }, bytes, in_line);
}

/// Text to the serial line, newlines with carriage returns.
pub struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (i, part) in text.split('\n').enumerate() {
            if i > 0 {
                put(b"\r\n", false);
            }
            if !part.is_empty() {
                put(part.as_bytes(), true);
            }
        }
        Ok(())
    }
}

/// As typed and echoed, without translation.
struct Raw;

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put(text.as_bytes(), false);
        Ok(())
    }
}

/// Prints a line of the log, above the line being typed if there is one.
pub fn print_beside_prompt<K: Before<lock_order::Terminal>>(cx: &mut Cx<K>, line: &[u8]) {
    let (mut terminal, mut cx) = TERMINAL.enter(cx);
    if terminal.editing {
        terminal.editor.hide(&mut Raw);
    }
    tty::write_line(&mut cx, line);
    if terminal.editing {
        terminal.editor.redraw(&mut Raw);
    }
}

/// Waits until all is on the line.
pub fn flush<K>(cx: &mut Cx<K>)
where
    K: Before<lock_order::Terminal> + Before<lock_order::Tty> + MaySleep,
{
    drop(TERMINAL.enter(cx));
    tty::flush(cx);
}

/// Completes what is typed (see [`super::line::Complete`]), with the terminal locked.
pub type Complete = fn(&mut Cx<lock_order::Terminal>, &str, &mut dyn FnMut(&str)) -> usize;

/// Lets the user type a line. `None`: Ctrl-C.
pub fn read_line(
    cx: &mut ThreadCx,
    prompt: &'static str,
    complete: Complete,
) -> Option<Result<String, LineError>> {
    {
        let (mut terminal, _) = TERMINAL.enter(cx);
        terminal.editing = true;
        terminal.editor.prompt(prompt, &mut Raw);
    }
    loop {
        let byte = tty::read(cx);
        let (mut terminal, mut inside) = TERMINAL.enter(cx);
        let mut complete =
            |before: &str, offer: &mut dyn FnMut(&str)| complete(&mut inside, before, offer);
        let line = match terminal.editor.feed(byte, &mut Raw, &mut complete) {
            Event::Pending | Event::EndOfFile => continue,
            Event::Line(line) => Some(Ok(line.to_owned())),
            Event::Refused(error) => Some(Err(error)),
            Event::Interrupt => None,
        };
        terminal.editing = false;
        if line.is_none() {
            tty::acknowledge_interrupt(&mut inside);
        }
        return line;
    }
}
