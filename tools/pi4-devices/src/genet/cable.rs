// SPDX-License-Identifier: GPL-2.0-or-later
//! A cable of GENET's own: a stream socket to whatever is at its other end, each frame with its length in front.
//!
//! # Theory
//! A netdev is one too many between a driver and a measurement of it. QEMU's `dgram` goes round the main loop once for
//! each frame, with the big lock given up and taken again. Its `stream` takes many in a call, but goes on reading after
//! each frame that the card takes, not after the last one: its queue grows without an end, and holds seconds of a flood.
//! Here many frames share a call both ways, and nothing is read while the card has no room: who sends is held up.
//!
//! Frames that leave are carried by a thread, which rests a little after each load: so a CPU that sends frame by frame
//! wakes it for the first of them and finds it awake for the rest.
//!
//! # Contexts
//! What comes in: the main loop, with the big lock held, which it gives up after a burst; a CPU that makes room only has the
//! bottom half scheduled. [`Cable::send`]: whoever has the card. The carrier: without the big lock.
//!
//! # Rejected
//! Sending in the main loop: each frame has it woken, and its next pass takes the big lock, for which the CPU then waits at
//! its next register. A guest that sends small datagrams had a third of the rate.

use std::ffi::{CStr, c_int, c_void};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::qemu::qemu;

const LENGTH_BYTES: usize = 4;
/// What a call reads: little waits here for room.
const READ_BYTES: usize = 16 << 10;
/// Frames that come in before the CPUs get the big lock.
const BURST: usize = 32;
/// Longer than any frame: what has such a length is none.
const FRAME_BYTES_MAX: usize = 1 << 14;

/// How long the carrier rests after a load, to which Linux adds 50 us of its own.
const REST: Duration = Duration::from_micros(10);

/// The card's end.
pub struct Cable {
    fd: c_int,
    /// The bottom half that goes on with [`Self::deliver`].
    resume: *mut c_void,
    ends: Mutex<Ends>,
    outbox: Arc<Outbox>,
}

struct Ends {
    stream: UnixStream,
    /// What was read, from `at` on not yet the card's.
    read: Vec<u8>,
    at: usize,
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

/// What waits for the carrier.
#[derive(Default)]
struct Outbox {
    load: Mutex<Load>,
    filled: Condvar,
}

#[derive(Default)]
struct Load {
    /// Frames, as the socket gets them.
    bytes: Vec<u8>,
    /// The carrier waits for the first of them.
    awaited: bool,
    /// There is no carrier any more: what leaves is lost.
    gone: bool,
}

impl Outbox {
    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are frames, and changes them for an empty room.
    fn take(&self, room: &mut Vec<u8>) {
        let mut load = self.load();
        while load.bytes.is_empty() {
            load.awaited = true;
            load = (self.filled.wait(load)).unwrap_or_else(PoisonError::into_inner);
        }
        load.awaited = false;
        std::mem::swap(&mut load.bytes, room);
    }
}

/// The carrier; it ends when the other end is gone.
fn carry(mut stream: UnixStream, outbox: &Outbox) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        outbox.take(&mut bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                // The other end is behind.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(REST),
                Err(error) => return Err(error),
            }
        }
        thread::sleep(REST);
    }
}

impl Cable {
    /// Connects to the socket at `path`.
    pub fn connect(path: &CStr) -> Result<Self, String> {
        let path = path.to_string_lossy();
        let told = |error| format!("cable {path}: {error}");
        let stream = UnixStream::connect(&*path).map_err(told)?;
        stream.set_nonblocking(true).map_err(told)?;
        let outbox = Arc::new(Outbox::default());
        let (theirs, out) = (outbox.clone(), stream.try_clone().map_err(told)?);
        let carrier = thread::Builder::new().name("cable".into());
        let carrier = carrier.spawn(move || {
            // The main loop sees for itself that the other end is gone.
            let _ = carry(out, &theirs);
            theirs.load().gone = true;
        });
        carrier.map_err(told)?;
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
                cut: false,
            }),
            outbox,
        };
        cable.watch(true);
        Ok(cable)
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, read: bool) {
        let read = read.then_some(readable as unsafe extern "C" fn(*mut c_void));
        // SAFETY: the function stays, and so does the socket, which the cable keeps.
        unsafe { (qemu().qemu_set_fd_handler)(self.fd, read, None, std::ptr::null_mut()) };
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
        let cut = ends.cut;
        drop(ends);
        self.watch(pause == Pause::Empty && !cut);
        if pause == Pause::Burst {
            self.resume();
        }
    }

    /// Gives these frames to the carrier.
    pub fn send(&self, frames: &[Vec<u8>]) {
        let mut load = self.outbox.load();
        if load.gone {
            return;
        }
        for frame in frames {
            // A frame is far shorter than 4 GiB.
            load.bytes.extend((frame.len() as u32).to_be_bytes());
            load.bytes.extend(frame);
        }
        let awaited = std::mem::take(&mut load.awaited);
        drop(load);
        if awaited {
            self.outbox.filled.notify_one();
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
}
