// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's console, and the QEMU behind it.
//!
//! A thread reads what the console prints, without carriage returns and escape sequences. What
//! `expect` found is consumed: the next `expect` looks after it. Whatever goes wrong ends in a
//! panic with what was awaited and the end of the log, so a hanging kernel is a failing test.

use std::io::{Read, Write};
use std::mem;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::gdb::Gdb;
use crate::machine::{GDB_SOCKET, MONITOR_SOCKET, Place};

/// What the shell prints when it waits for a line.
pub const PROMPT: &str = "orthogon> ";
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(90);
/// How long booting may take, also on a busy host.
const BOOT: Duration = Duration::from_secs(60);
/// How long after the prompt the network may be found.
const NET: Duration = Duration::from_secs(2);
/// Characters that are surely shown beside the prompt.
const ROW: usize = 60;
/// How many bytes of the log a failure shows.
const TAIL: usize = 16 * 1024;
/// How many of QEMU's warnings a failure shows.
const WARNINGS: usize = 40;

/// What BL31 does at its start, and QEMU has not: it sets up the local timer and its prescaler.
const OF_BL31: [&str; 2] = [
    "bcm2836_control_write: Unsupported offset 0x0 value 0x0",
    "bcm2836_control_write: Unsupported offset 0x8 value 0x80000000",
];

/// A running QEMU. Dropping it ends it, and fails the test if QEMU warned of something that the
/// kernel did.
#[derive(Debug)]
pub struct Console {
    child: Child,
    output: Receiver<Vec<u8>>,
    text: Cleaner,
    /// What lies before was consumed.
    seen: usize,
    deadline: Instant,
    scratch: TempDir,
    allowed: Vec<&'static str>,
    /// A command was run: what the boot tells has been told.
    settled: bool,
    _place: Place,
}

impl Console {
    pub(crate) fn new(
        mut child: Child,
        scratch: TempDir,
        deadline: Duration,
        place: Place,
    ) -> Self {
        let (sender, output) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("stdout is piped")),
            Box::new(child.stderr.take().expect("stderr is piped")),
        ];
        for mut stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if sender.send(buffer[..n].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        Self {
            child,
            output,
            text: Cleaner::default(),
            seen: 0,
            deadline: Instant::now() + deadline,
            scratch,
            allowed: Vec::new(),
            settled: false,
            _place: place,
        }
    }

    /// Waits until the console prints `pattern`, and returns what it printed before that.
    #[track_caller]
    pub fn expect(&mut self, pattern: &str, timeout: Duration) -> String {
        let until = self.deadline.min(Instant::now() + timeout);
        match self.find(pattern, until) {
            Ok(before) => before,
            Err(RecvTimeoutError::Timeout) if until == self.deadline => {
                self.fail(&format!("the test's time is over; awaited {pattern:?}"))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.fail(&format!("no {pattern:?} within {timeout:?}"))
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.fail(&format!("QEMU ended; awaited {pattern:?}"))
            }
        }
    }

    /// Waits for `pattern` until some time: true if it came. What lies before is consumed.
    #[track_caller]
    pub fn comes(&mut self, pattern: &str, until: Instant) -> bool {
        match self.find(pattern, self.deadline.min(until)) {
            Ok(_) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                self.fail(&format!("QEMU ended; awaited {pattern:?}"))
            }
        }
    }

    fn find(&mut self, pattern: &str, until: Instant) -> Result<String, RecvTimeoutError> {
        loop {
            if let Some(at) = self.text.clean[self.seen..].find(pattern) {
                let before = self.text.clean[self.seen..self.seen + at].to_owned();
                self.seen += at + pattern.len();
                return Ok(before);
            }
            let left = until.saturating_duration_since(Instant::now());
            self.text.push(&self.output.recv_timeout(left)?);
        }
    }

    /// Cuts the power: QEMU is killed, wherever it is. Returns everything that was printed.
    pub fn cut(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        while let Ok(bytes) = self.output.recv() {
            self.text.push(&bytes);
        }
        std::mem::take(&mut self.text.clean)
    }

    /// Waits for the first prompt, and returns the boot messages before it.
    #[track_caller]
    pub fn prompt(&mut self) -> String {
        self.expect(PROMPT, BOOT)
    }

    /// Sends raw bytes, such as control characters.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        if let Err(error) = stdin.write_all(bytes).and_then(|()| stdin.flush()) {
            self.fail(&format!("cannot send {} bytes: {error}", bytes.len()));
        }
    }

    /// Sends a line as the Enter key ends it.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(line.as_bytes());
        self.send(b"\r");
    }

    /// Runs a command at the prompt, waiting for the first one if need be; returns what it
    /// printed between its own echo and the next prompt.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> String {
        self.command_within(line, COMMAND)
    }

    /// [`Self::command`] with a time limit of its own.
    #[track_caller]
    pub fn command_within(&mut self, line: &str, timeout: Duration) -> String {
        if self.seen == 0 {
            self.prompt();
        }
        // The network is looked for while the shell runs already, and what was found is told below its prompt.
        let told = self.text.clean.contains(" net: ");
        if !mem::replace(&mut self.settled, true)
            && !told
            && self.comes(" net: ", Instant::now() + NET)
        {
            self.prompt();
        }
        // What was logged meanwhile, with the prompts that it was followed by, is not this command's.
        while let Ok(bytes) = self.output.try_recv() {
            self.text.push(&bytes);
        }
        self.seen = self.text.clean.len();
        self.send_line(line);
        // A log line that comes meanwhile has the prompt drawn again, with what was typed behind it; a line that does
        // not fit the row is not echoed as it was typed.
        let is_plain = line.chars().count() < ROW && !line.contains(char::is_control);
        let echo = if is_plain { line } else { "" };
        self.expect(&format!("{echo}\n"), timeout);
        let next = format!("\n{PROMPT}");
        // A command without output: the prompt follows its echo directly.
        self.seen -= 1;
        self.expect(&next, timeout)
            .trim_start_matches('\n')
            .to_owned()
    }

    /// Waits for QEMU to end by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let until = self.deadline.min(Instant::now() + timeout);
        loop {
            if let Some(status) = self.child.try_wait().expect("QEMU is our child") {
                while let Ok(bytes) = self.output.recv() {
                    self.text.push(&bytes);
                }
                return status;
            }
            if Instant::now() >= until {
                self.fail("QEMU did not end");
            }
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(20)) {
                self.text.push(&bytes);
            } else {
                thread::sleep(Duration::from_millis(5)); // closed streams return at once
            }
        }
    }

    /// Sees that nothing is printed for so long, and that QEMU runs.
    #[track_caller]
    pub fn silent(&mut self, time: Duration) {
        match self.output.recv_timeout(time) {
            Ok(bytes) => {
                self.text.push(&bytes);
                self.fail(&format!("silence for {time:?} expected"));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.fail("QEMU ended"),
        }
    }

    /// Everything printed so far.
    pub fn log(&self) -> &str {
        &self.text.clean
    }

    /// What QEMU warned of so far (`-d guest_errors,unimp`), without what BL31 causes and what
    /// the test allows.
    pub fn warnings(&self) -> String {
        let log = std::fs::read(self.scratch.path().join("qemu.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let allowed = |line: &str| self.allowed.iter().any(|start| line.starts_with(start));
        let ours = log.lines().filter(|l| !OF_BL31.contains(l) && !allowed(l));
        ours.collect::<Vec<_>>().join("\n")
    }

    /// Allows warnings that begin so: the test provokes them on purpose.
    pub fn allow_warnings(&mut self, start: &'static str) {
        self.allowed.push(start);
    }

    /// Stops the machine, which was started [with a stub](crate::Machine::gdb).
    #[track_caller]
    pub fn debugger(&self) -> Gdb {
        Gdb::connect(&self.scratch.path().join(GDB_SOCKET))
    }

    /// Gives a command to the monitor of a machine that was started [with one](crate::Machine::monitor).
    #[track_caller]
    pub fn monitor(&self, command: &str) -> String {
        let socket = self.scratch.path().join(MONITOR_SOCKET);
        tools::monitor::ask(&socket, command).unwrap_or_else(|error| panic!("{command}: {error:#}"))
    }

    /// Has the card and its controller misbehave from now on, by a plan of `pi4-emmc2`'s; `none` for no more.
    #[track_caller]
    pub fn fault_card(&self, plan: &str) {
        let said = self.monitor(&format!("qom-set /machine/peripheral/emmc2 faults {plan}"));
        assert_eq!(said, "", "{plan}");
    }

    /// The folder with this run's files; gone with the console.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let log = &self.text.clean;
        let from = log.ceil_char_boundary(log.len().saturating_sub(TAIL));
        let warnings = self.warnings();
        let (console, warnings) = (&log[from..], warnings.lines().take(WARNINGS));
        let warnings = warnings.collect::<Vec<_>>().join("\n");
        panic!("{what}\n---- console\n{console}\n---- QEMU's warnings\n{warnings}\n----");
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let warnings = self.warnings();
        if !warnings.is_empty() && !thread::panicking() {
            self.fail("the kernel did what QEMU warns of");
        }
    }
}

/// Text without carriage returns and escape sequences (ESC [ … letter, ESC letter), in pieces as
/// they come.
#[derive(Debug, Default)]
struct Cleaner {
    clean: String,
    state: State,
    rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Cleaner {
    fn push(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.state = match (self.state, b) {
                (State::Text, 0x1b) => State::Escape,
                (State::Escape, b'[') => State::Sequence,
                (State::Escape, _) => State::Text,
                (State::Sequence, 0x40..=0x7e) => State::Text,
                (State::Text, _) => {
                    if b != b'\r' {
                        self.rest.push(b);
                    }
                    State::Text
                }
                (state, _) => state,
            };
        }
        // A character may be cut at the end of a piece; what is no UTF-8 at all is replaced.
        let valid = match str::from_utf8(&self.rest) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => self.rest.len(),
        };
        self.clean
            .push_str(&String::from_utf8_lossy(&self.rest[..valid]));
        self.rest.drain(..valid);
    }
}

#[cfg(test)]
mod tests {
    use super::Cleaner;

    fn clean(pieces: &[&[u8]]) -> String {
        let mut cleaner = Cleaner::default();
        pieces.iter().for_each(|p| cleaner.push(p));
        cleaner.clean
    }

    #[test]
    fn escapes_and_returns_go_also_across_pieces() {
        assert_eq!(
            clean(&[b"a\x1b", b"[1;3", b"2mb\r", b"\nc\x1bMd"]),
            "ab\ncd"
        );
    }

    #[test]
    fn characters_cut_in_two_survive() {
        assert_eq!(clean(&[b"\xc3", b"\xa9 \xff!"]), "é \u{fffd}!");
    }
}
