// SPDX-License-Identifier: MIT OR Apache-2.0
//! A station that takes frames as fast as they come, and gives many at once.
//!
//! It is a stream netdev's other end: each frame has its length in front, and many share a read or
//! a write. What it gives, QEMU keeps until the card takes it, so how fast that is shows only at
//! the card.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The frame check sequence, which a netdev leaves out, and the length in front, which it adds.
const FCS_BYTES: usize = 4;
const LENGTH_BYTES: usize = 4;
/// Our address and an experimental EtherType: nothing above a driver knows it.
const HEADER: [u8; 8] = [2, 0, 0, 0, 0, 0x77, 0x88, 0xb5];
/// Frames in a write.
const CHUNK: u32 = 32;
const WARM_UP: Duration = Duration::from_millis(500);

/// A chunk, and how often it is written.
type Order = (Vec<u8>, u32);

/// The station.
pub struct Flood {
    socket: PathBuf,
    orders: Sender<Order>,
    /// Bytes that came.
    taken: Arc<AtomicU64>,
}

impl Flood {
    /// Listens in `scratch` for one QEMU.
    pub fn open(scratch: &Path) -> Result<Self> {
        let socket = scratch.join("flood");
        // A run that was broken off leaves its socket behind.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).context("the station's socket")?;
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&taken);
        let (orders, to_do) = channel();
        thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept()
                && let Ok(reader) = stream.try_clone()
            {
                thread::spawn(move || take(reader, &counted));
                give(stream, &to_do);
            }
        });
        Ok(Self {
            socket,
            orders,
            taken,
        })
    }

    /// QEMU's netdev that leads here.
    pub fn netdev(&self) -> String {
        let path = self.socket.display();
        format!("stream,id=net,server=off,addr.type=unix,addr.path={path}")
    }

    /// Frames that come in a second, all of this length on the wire.
    pub fn incoming(&self, bytes: usize, time: Duration) -> f64 {
        thread::sleep(WARM_UP);
        let (began, before) = (Instant::now(), self.taken.load(Ordering::SeqCst));
        thread::sleep(time);
        let came = self.taken.load(Ordering::SeqCst) - before;
        let frames = came as f64 / (bytes - FCS_BYTES + LENGTH_BYTES) as f64;
        frames / began.elapsed().as_secs_f64()
    }

    /// Gives so many frames of this length to the guest.
    pub fn give(&self, guest: [u8; 6], bytes: usize, frames: u32) -> Result<()> {
        ensure!(frames.is_multiple_of(CHUNK), "{frames} frames");
        let mut frame = [&guest[..], &HEADER].concat();
        frame.resize(bytes - FCS_BYTES, 0);
        let length = u32::try_from(frame.len())?;
        let chunk = [&length.to_be_bytes()[..], &frame].concat();
        let order = (chunk.repeat(CHUNK as usize), frames / CHUNK);
        self.orders.send(order).context("QEMU is gone")
    }
}

fn take(mut stream: UnixStream, taken: &AtomicU64) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
        taken.fetch_add(bytes as u64, Ordering::SeqCst);
    }
}

fn give(mut stream: UnixStream, orders: &Receiver<Order>) {
    for (chunk, times) in orders {
        for _ in 0..times {
            if stream.write_all(&chunk).is_err() {
                return; // QEMU ended
            }
        }
    }
}
