// SPDX-License-Identifier: MIT OR Apache-2.0
//! Echo requests.
use super::tcp::is_reachable;
use super::{Held, NetError, buffer, most_bytes};
use crate::net::stack::{self, Want};
use crate::thread::ThreadCx;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, SendError, Socket};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};

/// Packets that wait each way at most.
const PACKETS: usize = 16;
const BUFFER_BYTES: usize = 64 << 10;

/// Sends echo requests and gets the answers.
pub struct Ping {
    held: Held,
    identifier: u16,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Who answered.
    pub from: IpAddress,
    /// The request's number.
    pub sequence: u16,
    /// Bytes of payload.
    pub bytes: usize,
}

fn packets() -> Result<PacketBuffer<'static>, NetError> {
    let marks = alloc::vec![PacketMetadata::EMPTY; PACKETS];
    Ok(PacketBuffer::new(marks, buffer(BUFFER_BYTES)?))
}

impl Ping {
    /// One with an identifier of its own.
    ///
    /// # Errors
    /// [`NetError::NoMemory`], [`NetError::Down`].
    pub fn new(cx: &mut ThreadCx) -> Result<Self, NetError> {
        let mut socket = Socket::new(packets()?, packets()?);
        let made = stack::with(cx, |stack, _| {
            let identifier = stack.ephemeral_port();
            socket
                .bind(Endpoint::Ident(identifier))
                .map_err(|_| NetError::InUse)?;
            let (handle, wake) = stack.add(socket);
            Ok(Self {
                held: Held::new(handle, wake),
                identifier,
            })
        });
        made.ok_or(NetError::Down)?
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`NetError::Unreachable`], [`NetError::TooLong`], [`NetError::Cancelled`].
    pub fn send(
        &self,
        cx: &mut ThreadCx,
        to: IpAddress,
        sequence: u16,
        payload: &[u8],
    ) -> Result<(), NetError> {
        if payload.len() > most_bytes(to, 8) {
            return Err(NetError::TooLong);
        }
        self.held.until(cx, None, Want::Write, |stack, cx| {
            if !is_reachable(stack, to) {
                return Some(Err(NetError::Unreachable));
            }
            let from = stack.iface.get_source_address(&to);
            let socket = stack.sockets.get_mut::<Socket>(self.held.handle);
            let sent = match (to, from) {
                (IpAddress::Ipv4(_), _) => {
                    let request = Icmpv4Repr::EchoRequest {
                        ident: self.identifier,
                        seq_no: sequence,
                        data: payload,
                    };
                    socket.send(request.buffer_len(), to).map(|packet| {
                        let mut packet = Icmpv4Packet::new_unchecked(packet);
                        request.emit(&mut packet, &ChecksumCapabilities::default());
                    })
                }
                (IpAddress::Ipv6(to6), Some(IpAddress::Ipv6(from6))) => {
                    let request = Icmpv6Repr::EchoRequest {
                        ident: self.identifier,
                        seq_no: sequence,
                        data: payload,
                    };
                    socket.send(request.buffer_len(), to).map(|packet| {
                        let mut packet = Icmpv6Packet::new_unchecked(packet);
                        let checksum = ChecksumCapabilities::default();
                        request.emit(&from6, &to6, &mut packet, &checksum);
                    })
                }
                _ => return Some(Err(NetError::Unreachable)),
            };
            stack.send_now(cx);
            match sent {
                Ok(()) => Some(Ok(())),
                Err(SendError::BufferFull) => None,
                Err(SendError::Unaddressable) => Some(Err(NetError::Unreachable)),
            }
        })?
    }

    /// The next answer; its payload goes to `into`, as much of it as that takes.
    ///
    /// # Errors
    /// [`NetError::TimedOut`], [`NetError::Cancelled`].
    pub fn receive(
        &self,
        cx: &mut ThreadCx,
        into: &mut [u8],
        patience_ns: Option<u64>,
    ) -> Result<Echo, NetError> {
        self.held.until(cx, patience_ns, Want::Read, |stack, _| {
            let socket = stack.sockets.get_mut::<Socket>(self.held.handle);
            loop {
                let (packet, from) = socket.recv().ok()?;
                // Type, code, checksum, identifier, number: 8 bytes in both versions.
                let (head, payload) = packet.split_at_checked(8)?;
                let is_reply = match from {
                    IpAddress::Ipv4(_) => head[0] == 0,
                    IpAddress::Ipv6(_) => head[0] == 129,
                };
                if !is_reply {
                    continue;
                }
                let bytes = payload.len().min(into.len());
                into[..bytes].copy_from_slice(&payload[..bytes]);
                return Some(Echo {
                    from,
                    sequence: u16::from_be_bytes([head[6], head[7]]),
                    bytes: payload.len(),
                });
            }
        })
    }

    /// Gives it up.
    pub fn close(self, cx: &mut ThreadCx) {
        self.held.leave(cx, |_, _| {});
    }
}
