// SPDX-License-Identifier: MIT OR Apache-2.0
//! The station's end of the cable: a stream, frames in and out, and what the path does to frames.
//!
//! Each frame has its length in front. Many share a read or a write, on both ends. The socket holds little, so that who is
//! first in it is soon out of it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_send_buffer_size;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};

use crate::path::{Impairment, Path};

/// A frame's length in front of it.
const LENGTH_BYTES: usize = 4;
/// Without its check sequence, with which it has 1518 bytes.
pub const FRAME_BYTES_MAX: usize = 1514;
/// What a read takes at most.
const READ_BYTES: usize = 256 << 10;
/// What the socket holds.
const SOCKET_BYTES: usize = 64 << 10;
/// What may wait to be written before the station's own senders pause.
const WAITING_BYTES: usize = 256 << 10;
/// What a sender without an end leaves there.
const LOAD_BYTES: usize = 16 << 10;

/// The end of the cable.
pub struct Cable {
    listener: UnixListener,
    /// QEMU, if it is there.
    stream: Option<UnixStream>,
    /// Room for a read, at whose beginning is what was read and is no whole frame yet, of so many bytes.
    read: Vec<u8>,
    partial: usize,
    /// Frames for the station's stack.
    pub(crate) arrived: VecDeque<Vec<u8>>,
    leaving: Vec<u8>,
    written: usize,
    /// What happens to frames from the guest, and to those for it.
    from_guest: Option<Path>,
    to_guest: Option<Path>,
}

impl Cable {
    /// Listens for QEMU at `here`; when one has ended, for the next one.
    pub(crate) fn open(here: &std::path::Path) -> Result<Self> {
        // A run that was broken off leaves its socket behind.
        let _ = std::fs::remove_file(here);
        let listener = UnixListener::bind(here).context("the station's socket")?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            stream: None,
            read: vec![0; READ_BYTES],
            partial: 0,
            arrived: VecDeque::new(),
            leaving: Vec::new(),
            written: 0,
            from_guest: None,
            to_guest: None,
        })
    }

    /// For those who wait for QEMU, or for frames of its.
    pub(crate) fn wakes(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Some(stream) => stream.as_fd(),
            None => self.listener.as_fd(),
        }
    }

    /// From now on, frames suffer this on their way, each direction by itself; `None`: nothing. What is on its way
    /// is lost.
    pub fn impair(&mut self, impairment: Option<&Impairment>) {
        let path = |seed| impairment.map(|impairment| Path::new(impairment, seed));
        self.to_guest = path(1);
        self.from_guest = path(2);
    }

    fn accept(&mut self) -> Result<()> {
        if let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            set_socket_send_buffer_size(&stream, SOCKET_BYTES)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    fn hang_up(&mut self) {
        self.stream = None;
        self.partial = 0;
        self.leaving.clear();
        self.written = 0;
    }

    /// Reads what QEMU has, and hands each frame to `take`, which says whether it was its own; the others are for the
    /// stack.
    pub(crate) fn read(&mut self, now: Instant, mut take: impl FnMut(&[u8]) -> bool) -> Result<()> {
        if self.stream.is_none() {
            self.accept()?;
        }
        if let Some(stream) = &mut self.stream {
            match stream.read(&mut self.read[self.partial..]) {
                Ok(bytes @ 1..) => self.partial += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => self.hang_up(),
            }
        }
        let mut deliver = |frame: &[u8]| {
            if !take(frame) {
                self.arrived.push_back(frame.to_vec());
            }
        };
        let mut at = 0;
        while let Some((length, rest)) =
            self.read[at..self.partial].split_first_chunk::<LENGTH_BYTES>()
        {
            let Some(frame) = rest.get(..u32::from_be_bytes(*length) as usize) else {
                break;
            };
            at += LENGTH_BYTES + frame.len();
            match &mut self.from_guest {
                Some(path) => path.enter(now, frame),
                None => deliver(frame),
            }
        }
        self.read.copy_within(at..self.partial, 0);
        self.partial -= at;
        while let Some(frame) = self.from_guest.as_mut().and_then(|path| path.leave(now)) {
            deliver(&frame);
        }
        Ok(())
    }

    /// Whether a sender may go on.
    pub fn has_room(&self) -> bool {
        self.leaving.len() - self.written < WAITING_BYTES
    }

    /// The same for a sender without an end, which is not to keep the others waiting.
    pub(crate) fn has_room_for_load(&self) -> bool {
        self.leaving.len() - self.written < LOAD_BYTES
    }

    /// A frame for the guest.
    pub fn send(&mut self, frame: &[u8]) {
        match &mut self.to_guest {
            Some(path) => path.enter(Instant::now(), frame),
            None => append(&mut self.leaving, frame),
        }
    }

    /// Writes what QEMU takes; whether that was all.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        while let Some(frame) = self.to_guest.as_mut().and_then(|path| path.leave(now)) {
            append(&mut self.leaving, &frame);
        }
        while let (Some(stream), true) = (&mut self.stream, self.written < self.leaving.len()) {
            match stream.write(&self.leaving[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => self.hang_up(),
            }
        }
        // Without QEMU, the cable's end hangs in the air.
        self.leaving.clear();
        self.written = 0;
        true
    }

    /// When a frame on its way is there.
    pub(crate) fn next(&self) -> Option<Instant> {
        let paths = [&self.to_guest, &self.from_guest];
        paths.into_iter().flatten().filter_map(Path::next).min()
    }
}

fn append(leaving: &mut Vec<u8>, frame: &[u8]) {
    // No frame is longer than what the card takes, which is far below 4 GiB.
    leaving.extend((frame.len() as u32).to_be_bytes());
    leaving.extend(frame);
}

/// A frame that came.
pub struct Came(Vec<u8>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, look: F) -> R {
        look(&self.0)
    }
}

/// A place for one that goes.
pub struct Goes<'a>(&'a mut Cable);

impl TxToken for Goes<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        let mut frame = vec![0; bytes];
        let result = write(&mut frame);
        self.0.send(&frame);
        result
    }
}

impl Device for Cable {
    type RxToken<'a> = Came;
    type TxToken<'a> = Goes<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Came, Goes<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Came(frame), Goes(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Goes<'_>> {
        self.has_room().then_some(Goes(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        capabilities
    }
}
