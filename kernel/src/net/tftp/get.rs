// SPDX-License-Identifier: MIT OR Apache-2.0
//! The transfer: what is sent when, and again when nothing comes.
//!
//! # Theory
//! The server answers the request from a port of its own, which names the transfer from then on; whatever comes from
//! elsewhere is told so, and changes nothing. What was sent last is sent again when nothing came for a while, each time a
//! longer one. When the last block was acknowledged nobody knows whether the server has heard it; that is its matter: it
//! has sent everything.
//!
//! # Contexts
//! Threads. No lock is held while `take` has the bytes.
use super::protocol::{self, BLOCK_BYTES, PORT, Receiver, Step, TftpError};
use crate::net::socket::{IpAddress, IpEndpoint, NetError, UdpSocket};
use crate::thread::ThreadCx;
use alloc::vec;
use alloc::vec::Vec;
use bsp::timer::now_ns;

/// The first wait for an answer; each next one is twice as long.
const PATIENCE_NS: u64 = 1_000_000_000;
/// How often the same is sent.
const ATTEMPTS: u32 = 6;
/// How often `take` is asked whether it still wants the file.
const POLL_NS: u64 = 250_000_000;

/// Gets `file` from `server` and hands it to `take` piece by piece; nothing at all is handed to it now and then, while
/// it is waited for. Returns how many bytes there were.
///
/// # Errors
/// Those of the network, of the server, and of `take`.
pub fn get<E: From<NetError> + From<TftpError>>(
    cx: &mut ThreadCx,
    server: IpAddress,
    file: &str,
    take: impl FnMut(&mut ThreadCx, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let socket = UdpSocket::bind(cx, 0)?;
    let mut transfer = Transfer {
        socket: &socket,
        peer: IpEndpoint::new(server, PORT),
        known: false,
        last: protocol::request(file),
    };
    let result = transfer.run(cx, take);
    if result.is_err() && transfer.known {
        // It may not come through, and then the server gives up by itself.
        let _heard_or_not = socket.send_to(cx, &protocol::give_up(), transfer.peer);
    }
    socket.close(cx);
    result
}

struct Transfer<'a> {
    socket: &'a UdpSocket,
    /// Whom the next datagram goes to.
    peer: IpEndpoint,
    /// The peer has answered from its own port.
    known: bool,
    /// What was sent last.
    last: Vec<u8>,
}

impl Transfer<'_> {
    fn run<E: From<NetError> + From<TftpError>>(
        &mut self,
        cx: &mut ThreadCx,
        mut take: impl FnMut(&mut ThreadCx, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut receiver = Receiver::new();
        let mut buffer = vec![0; BLOCK_BYTES + 64];
        let mut send = true;
        loop {
            let bytes = self.send_and_wait(cx, send, &mut buffer, &mut take)?;
            send = true;
            let answer = match receiver.take(&buffer[..bytes]) {
                Ok(Step::Ignore) => {
                    send = false; // an answer to what is late would be late for ever
                    take(cx, &[])?;
                    continue;
                }
                Ok(Step::Acknowledge(answer)) => answer,
                Ok(Step::Data(data, answer)) => {
                    take(cx, data)?;
                    answer
                }
                Ok(Step::Last(data, answer)) => {
                    take(cx, data)?;
                    self.socket.send_to(cx, &answer, self.peer)?;
                    return Ok(receiver.received_bytes());
                }
                Err(error) => {
                    // One that the server reports is not answered.
                    self.known &= !matches!(error, TftpError::Refused { .. });
                    return Err(error.into());
                }
            };
            self.last = answer.to_vec();
        }
    }

    /// Sends what is to be sent, at once or only when nothing comes, until something comes of the peer. Returns how many
    /// bytes.
    fn send_and_wait<E: From<NetError>>(
        &mut self,
        cx: &mut ThreadCx,
        send: bool,
        buffer: &mut [u8],
        take: &mut impl FnMut(&mut ThreadCx, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        for attempt in 0..ATTEMPTS {
            if send || attempt > 0 {
                self.socket.send_to(cx, &self.last, self.peer)?;
            }
            let deadline_ns = now_ns() + (PATIENCE_NS << attempt);
            while let left_ns @ 1.. = deadline_ns.saturating_sub(now_ns()) {
                let (bytes, from) =
                    match self.socket.receive(cx, buffer, Some(left_ns.min(POLL_NS))) {
                        Ok(received) => received,
                        Err(NetError::TimedOut) => {
                            take(cx, &[])?;
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    };
                if from.addr == self.peer.addr && !self.known {
                    (self.peer, self.known) = (from, true);
                }
                if from == self.peer {
                    return Ok(bytes);
                }
                let _heard_or_not = self.socket.send_to(cx, &protocol::unknown_transfer(), from);
            }
        }
        Err(NetError::TimedOut.into())
    }
}
