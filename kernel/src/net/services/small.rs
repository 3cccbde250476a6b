// SPDX-License-Identifier: MIT OR Apache-2.0
//! echo, discard, chargen: what each does with a connection, and with a datagram.
//!
//! References: RFC 862, 863, 864. CERT CA-1996-01: two such services that answer each other never end; so a datagram
//! from a port below 1024 gets no answer.
use super::Service;
use super::open::{Opened, POLL_NS};
use crate::net::socket::{NetError, TcpStream, UdpSocket};
use crate::thread::ThreadCx;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes that a connection's thread moves at once.
const BLOCK_BYTES: usize = 32 << 10;
/// The most bytes of a datagram over IPv4.
const DATAGRAM_BYTES: usize = 65_507;
/// Ports of services.
const SYSTEM_PORTS: core::ops::Range<u16> = 0..1024;

/// Characters of chargen's line, behind which come CR and LF.
const LINE_CHARS: usize = 72;
/// What is written over and over: all lines, each a character on from the one before.
fn pattern() -> Vec<u8> {
    let printable: Vec<u8> = (b' '..=b'~').collect();
    let lines = (0..printable.len()).flat_map(|first| {
        let line = printable.iter().cycle().skip(first).take(LINE_CHARS);
        line.copied().chain(*b"\r\n").collect::<Vec<u8>>()
    });
    lines.collect()
}

/// Serves a connection until its peer closes it, or the service is closed.
///
/// # Errors
/// How it ended otherwise.
pub(super) fn serve(
    cx: &mut ThreadCx,
    service: Service,
    stream: &TcpStream,
    opened: &Opened,
) -> Result<(), NetError> {
    if service == Service::Chargen {
        let pattern = pattern();
        let whole = pattern.repeat(BLOCK_BYTES / pattern.len());
        loop {
            opened.write_all(cx, stream, &whole)?;
        }
    }
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        let bytes = opened.read(cx, stream, &mut buffer)?;
        if bytes == 0 {
            return Ok(());
        }
        if service == Service::Echo {
            opened.write_all(cx, stream, &buffer[..bytes])?;
        }
    }
}

/// Answers datagrams until the service is closed.
///
/// # Errors
/// How it ended otherwise.
pub(super) fn answer(
    cx: &mut ThreadCx,
    service: Service,
    socket: &UdpSocket,
    opened: &Opened,
) -> Result<(), NetError> {
    let (mut buffer, line) = (vec![0; DATAGRAM_BYTES], pattern());
    while !opened.is_closing() {
        let (bytes, from) = match socket.receive(cx, &mut buffer, Some(POLL_NS)) {
            Ok(received) => received,
            Err(NetError::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        opened.count();
        if SYSTEM_PORTS.contains(&from.port) {
            continue;
        }
        let answer = match service {
            Service::Echo => &buffer[..bytes],
            Service::Chargen => &line[..LINE_CHARS + 2],
            Service::Discard | Service::Iperf3 => continue,
        };
        // Who cannot be reached gets none.
        let _lost = socket.send_to(cx, answer, from);
    }
    Ok(())
}
