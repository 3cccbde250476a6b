// SPDX-License-Identifier: MIT OR Apache-2.0
//! The far end of the guest's TCP connections: hands out one file, and takes one.
//!
//! QEMU's user network turns a connection to its gateway into one to this host, so a server on the
//! loopback is all that it takes. It speaks as much HTTP as busybox's wget does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// What moved, and how long it took, as the server saw it.
#[derive(Debug)]
pub struct Moved {
    /// Bytes of the body.
    pub bytes: u64,
    /// From the request to the last byte.
    pub took: Duration,
}

impl Moved {
    /// Millions of bits in a second.
    pub fn mbit_s(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.took.as_secs_f64()
    }
}

/// A server with a file of pseudo-random bytes.
pub struct Server {
    /// Where it listens, on the loopback.
    pub port: u16,
    /// The sum of the file that it hands out.
    pub sha256: String,
    taken: PathBuf,
    moved: Receiver<Moved>,
}

impl Server {
    /// Makes the file and begins to listen.
    pub fn start(scratch: &Path, bytes: usize) -> Result<Self> {
        let file = scratch.join("data");
        crate::write(&file, &noise(bytes))?;
        let sha256 = sha256(&file)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let taken = scratch.join("taken");
        let (sender, moved) = channel();
        let to = taken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks is a transfer whose sum is wrong: the judge sees it there.
                if let Ok(moved) = serve(stream, &file, &to)
                    && sender.send(moved).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self {
            port,
            sha256,
            taken,
            moved,
        })
    }

    /// The last transfer's figures.
    pub fn moved(&self) -> Result<Moved> {
        let moved = self.moved.recv_timeout(Duration::from_secs(20));
        moved.context("the server saw no transfer come to its end")
    }

    /// The sum of the file that the guest sent.
    pub fn taken_sha256(&self) -> Result<String> {
        sha256(&self.taken)
    }
}

fn serve(stream: TcpStream, file: &Path, taken: &Path) -> Result<Moved> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(n) = header.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse()?;
        }
    }
    let began = Instant::now();
    let bytes = if request.starts_with("POST") {
        let mut to = File::create(taken)?;
        let bytes = std::io::copy(&mut reader.take(length), &mut to)?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        bytes
    } else {
        let mut from = File::open(file)?;
        let bytes = from.metadata()?.len();
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
        std::io::copy(&mut from, &mut stream)?
    };
    let took = began.elapsed();
    Ok(Moved { bytes, took })
}

/// A port of the loopback that nobody listens on, for QEMU to forward.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Bytes that do not repeat in a way that a lost or doubled block would hide.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// The file's SHA-256, by the program that everybody has.
pub fn sha256(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg(file).output()?;
    ensure!(output.status.success(), "sha256sum {}", file.display());
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
