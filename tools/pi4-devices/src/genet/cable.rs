// SPDX-License-Identifier: GPL-2.0-or-later
//! A cable of GENET's own: a stream socket to whatever is at its other end, each frame with its length in front.
//!
//! # Theory
//! A netdev is one too many between a driver and a measurement of it. QEMU's `dgram` goes round the main loop once for
//! each frame, with the big lock given up and taken again. Its `stream` takes many in a call, but goes on reading after
//! each frame that the card takes, not after the last one: its queue grows without an end, and holds seconds of a flood.
//! Here many frames share a call both ways, and nothing is read while the card has no room: who sends is held up.
//!
//! # Contexts
//! All of it runs in the main loop, with the big lock held, which it gives up after a burst. A CPU that makes room only has
//! the bottom half scheduled.

use std::collections::VecDeque;
use std::ffi::{CStr, c_int, c_void};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::qemu::qemu;

const LENGTH_BYTES: usize = 4;
/// What a call reads: little waits here for room.
const READ_BYTES: usize = 16 << 10;
/// Frames that come in before the CPUs get the big lock.
const BURST: usize = 32;
/// Longer than any frame: what has such a length is none.
const FRAME_BYTES_MAX: usize = 1 << 14;

/// The card's end.
pub struct Cable {
    fd: c_int,
    /// The bottom half that goes on with [`Self::deliver`].
    resume: *mut c_void,
    ends: Mutex<Ends>,
}

struct Ends {
    stream: UnixStream,
    /// What was read, from `at` on not yet the card's.
    read: Vec<u8>,
    at: usize,
    leaving: Vec<u8>,
    written: usize,
    /// The other end is gone.
    cut: bool,
}

/// What keeps the card's end from going on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// No frame is there.
    Empty,
    /// The card has no room.
    Full,
    /// It was enough for once.
    Burst,
}

unsafe extern "C" fn readable(_: *mut c_void) {
    super::with_cable(Cable::deliver);
}

unsafe extern "C" fn writable(_: *mut c_void) {
    super::with_cable(|cable| cable.send(&mut VecDeque::new()));
}

impl Cable {
    /// Connects to the socket at `path`.
    pub fn connect(path: &CStr) -> Result<Self, String> {
        let path = path.to_string_lossy();
        let told = |error| format!("cable {path}: {error}");
        let stream = UnixStream::connect(&*path).map_err(told)?;
        stream.set_nonblocking(true).map_err(told)?;
        let nothing = std::ptr::null_mut();
        // SAFETY: the function and the name stay; the big lock is held.
        let resume =
            unsafe { (qemu().qemu_bh_new_full)(readable, nothing, c"pi4-genet".as_ptr(), nothing) };
        let cable = Self {
            fd: stream.as_raw_fd(),
            resume,
            ends: Mutex::new(Ends {
                stream,
                read: Vec::new(),
                at: 0,
                leaving: Vec::new(),
                written: 0,
                cut: false,
            }),
        };
        cable.watch(true, false);
        Ok(cable)
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, read: bool, write: bool) {
        let read = read.then_some(readable as unsafe extern "C" fn(*mut c_void));
        let write = write.then_some(writable as unsafe extern "C" fn(*mut c_void));
        // SAFETY: the functions stay, and so does the socket, which the cable keeps.
        unsafe { (qemu().qemu_set_fd_handler)(self.fd, read, write, std::ptr::null_mut()) };
    }

    /// There is room again, or there will be after this.
    pub fn resume(&self) {
        // SAFETY: the bottom half stays.
        unsafe { (qemu().qemu_bh_schedule)(self.resume) };
    }

    /// Gives the card what there is and what it has room for.
    fn deliver(&self) {
        let mut ends = self.ends();
        let mut left = BURST;
        let pause = loop {
            let pause = ends.give(&mut left);
            if pause != Pause::Empty || !ends.read_more() {
                break pause;
            }
        };
        let (cut, waiting) = (ends.cut, ends.written < ends.leaving.len());
        drop(ends);
        self.watch(pause == Pause::Empty && !cut, waiting && !cut);
        if pause == Pause::Burst {
            self.resume();
        }
    }

    /// Sends these frames, and empties their queue: those that the socket does not take wait here.
    pub fn send(&self, frames: &mut VecDeque<Vec<u8>>) {
        let mut ends = self.ends();
        for frame in frames.drain(..) {
            // A frame is far shorter than 4 GiB.
            ends.leaving.extend((frame.len() as u32).to_be_bytes());
            ends.leaving.extend(frame);
        }
        let waited = ends.written > 0;
        let waits = !ends.write();
        let full = ends.read.len() > ends.at;
        drop(ends);
        if waits || waited {
            self.watch(!full, waits);
        }
    }
}

impl Ends {
    fn give(&mut self, left: &mut usize) -> Pause {
        loop {
            let rest = &self.read[self.at..];
            let Some((length, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
                return Pause::Empty;
            };
            let bytes = u32::from_be_bytes(*length) as usize;
            self.cut |= bytes > FRAME_BYTES_MAX;
            let Some(frame) = rest.get(..bytes) else {
                return Pause::Empty;
            };
            if *left == 0 {
                return Pause::Burst;
            }
            if !super::take(frame) {
                return Pause::Full;
            }
            *left -= 1;
            self.at += LENGTH_BYTES + bytes;
        }
    }

    /// Whether there was anything.
    fn read_more(&mut self) -> bool {
        if self.cut {
            return false;
        }
        self.read.drain(..self.at);
        self.at = 0;
        let before = self.read.len();
        self.read.resize(before + READ_BYTES, 0);
        let read = match self.stream.read(&mut self.read[before..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof),
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.kind()),
        };
        self.cut |= read.is_err();
        let bytes = read.unwrap_or(0);
        self.read.truncate(before + bytes);
        bytes > 0
    }

    /// Whether all is written, or never will be.
    fn write(&mut self) -> bool {
        while self.written < self.leaving.len() && !self.cut {
            match self.stream.write(&self.leaving[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => self.cut = true,
            }
        }
        self.leaving.clear();
        self.written = 0;
        true
    }
}
