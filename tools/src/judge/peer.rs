// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second station on the emulated Ethernet, made of the judge itself.
//!
//! It joins QEMU's hub by a datagram socket that carries one frame each. It answers ARP for
//! its own address, sends echo requests of any size, and holds what comes back against what it
//! sent, byte by byte: from the Ethernet header to the last byte of the payload.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const IP: [u8; 4] = [10, 0, 2, 77];
const GUEST_IP: [u8; 4] = [10, 0, 2, 15];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const ICMP: u8 = 1;
/// Echo payloads from nothing to a full frame.
pub const PAYLOAD_MAX: usize = 1472;
const HEADERS: usize = 14 + 20 + 8;
const ANSWER: Duration = Duration::from_secs(2);

/// The station.
pub struct Peer {
    socket: UnixDatagram,
    qemu: PathBuf,
}

impl Peer {
    /// Opens the judge's end in `scratch`.
    pub fn open(scratch: &Path) -> Result<Self> {
        let here = scratch.join("peer.judge");
        // A run that was broken off leaves its socket behind.
        let _ = std::fs::remove_file(&here);
        let socket = UnixDatagram::bind(&here).context("the peer's socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let qemu = scratch.join("peer.qemu");
        let _ = std::fs::remove_file(&qemu);
        Ok(Self { socket, qemu })
    }

    /// QEMU's arguments: a hub with the controller, the user network and this station on it.
    pub fn netdevs(&self, scratch: &Path) -> Vec<String> {
        let here = scratch.join("peer.judge");
        vec![
            "hubport,id=card,hubid=0".into(),
            "user,id=user".into(),
            "hubport,id=hub-user,hubid=0,netdev=user".into(),
            format!(
                "dgram,id=peer,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                self.qemu.display(),
                here.display()
            ),
            "hubport,id=hub-peer,hubid=0,netdev=peer".into(),
        ]
    }

    /// Any frame to the guest.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.socket.send_to(frame, &self.qemu)?;
        Ok(())
    }

    /// The next frame that is for this station, ARP answered on the way.
    fn next(&self, until: Instant) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 0x4000];
        while Instant::now() < until {
            let Ok(bytes) = self.socket.recv(&mut buffer) else {
                continue; // the read's own time limit
            };
            let frame = &buffer[..bytes];
            if bytes >= 42 && frame[12..14] == ARP && frame[20..22] == [0, 1] {
                if frame[38..42] == IP {
                    self.send(&arp_reply(frame))?;
                }
            } else if bytes >= 14 && frame[..6] == MAC {
                return Ok(Some(frame.to_vec()));
            }
        }
        Ok(None)
    }

    /// Sends an echo request with this payload and holds the answer against it.
    pub fn echo(&self, guest: [u8; 6], sequence: u16, payload: &[u8]) -> Result<()> {
        self.send(&echo(guest, sequence, payload))?;
        self.expect_echo(sequence, payload)
    }

    fn expect_echo(&self, sequence: u16, payload: &[u8]) -> Result<()> {
        let until = Instant::now() + ANSWER;
        while let Some(frame) = self.next(until)? {
            let wanted = HEADERS + payload.len();
            let is_reply = frame.len() >= wanted
                && frame[12..14] == IPV4
                && frame[23] == ICMP
                && frame[34] == 0
                && frame[40..42] == sequence.to_be_bytes();
            if !is_reply {
                continue;
            }
            let bytes = payload.len();
            ensure!(
                frame.len() == wanted.max(60),
                "{bytes}: {} bytes came",
                frame.len()
            );
            ensure!(
                frame[HEADERS..wanted] == *payload,
                "{bytes}: other bytes came back"
            );
            ensure!(
                sum(&frame[34..wanted]) == 0xffff,
                "{bytes}: wrong ICMP checksum"
            );
            return Ok(());
        }
        anyhow::bail!("no answer to an echo of {} bytes", payload.len())
    }

    /// Sends echo requests, `window` of them on the way at once: frames in a second, both ways.
    pub fn rate(&self, guest: [u8; 6], count: u16, window: u16, bytes: usize) -> Result<f64> {
        let payload = vec![0x5a; bytes];
        let began = Instant::now();
        for sequence in 0..count {
            self.send(&echo(guest, sequence, &payload))?;
            if sequence >= window {
                self.expect_echo(sequence - window, &payload)?;
            }
        }
        for sequence in count - window..count {
            self.expect_echo(sequence, &payload)?;
        }
        Ok(2.0 * f64::from(count) / began.elapsed().as_secs_f64())
    }
}

fn arp_reply(request: &[u8]) -> Vec<u8> {
    let mut reply = request[6..12].to_vec();
    reply.extend(MAC);
    reply.extend(ARP);
    reply.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend(MAC);
    reply.extend(IP);
    reply.extend(&request[22..32]);
    reply.resize(60, 0);
    reply
}

fn echo(guest: [u8; 6], sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0, 0x77];
    icmp.extend(sequence.to_be_bytes());
    icmp.extend(payload);
    let check = (!sum(&icmp)).to_be_bytes();
    icmp[2..4].copy_from_slice(&check);
    let total = u16::try_from(20 + icmp.len()).unwrap_or(u16::MAX);
    let mut ip = vec![0x45, 0];
    ip.extend(total.to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, ICMP, 0, 0]);
    ip.extend(IP);
    ip.extend(GUEST_IP);
    let check = (!sum(&ip)).to_be_bytes();
    ip[10..12].copy_from_slice(&check);
    [&guest[..], &MAC, &IPV4, &ip, &icmp].concat()
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let sum: u32 = words
        .map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_checksums_that_add_up() {
        for payload in [&b""[..], b"odd", &[0xff; PAYLOAD_MAX]] {
            let frame = echo([1; 6], 7, payload);
            assert_eq!(frame.len(), HEADERS + payload.len());
            assert_eq!(sum(&frame[14..34]), 0xffff);
            assert_eq!(sum(&frame[34..]), 0xffff);
        }
    }
}
