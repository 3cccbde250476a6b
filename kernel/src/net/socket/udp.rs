// SPDX-License-Identifier: MIT OR Apache-2.0
//! Datagrams.
use super::tcp::is_reachable;
use super::{Held, NetError, buffer, most_bytes};
use crate::net::stack::{self, Stack, Want};
use crate::thread::ThreadCx;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, RecvError, SendError, Socket};
use smoltcp::wire::IpEndpoint;

/// Datagrams that wait each way at most.
const DATAGRAMS: usize = 256;
/// Their bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// A port for datagrams.
pub struct UdpSocket {
    held: Held,
    port: u16,
}

fn packets() -> Result<PacketBuffer<'static>, NetError> {
    let marks = alloc::vec![PacketMetadata::EMPTY; DATAGRAMS];
    Ok(PacketBuffer::new(marks, buffer(BUFFER_BYTES)?))
}

impl UdpSocket {
    /// Takes the port; 0 takes any that is free.
    ///
    /// # Errors
    /// [`NetError::InUse`], [`NetError::NoMemory`], [`NetError::Down`].
    pub fn bind(cx: &mut ThreadCx, port: u16) -> Result<Self, NetError> {
        let mut socket = Socket::new(packets()?, packets()?);
        let bound = stack::with(cx, |stack, _| {
            let port = match port {
                0 => stack.ephemeral_port(),
                port if stack.has_udp_port(port) => return Err(NetError::InUse),
                port => port,
            };
            socket.bind(port).map_err(|_| NetError::InUse)?;
            let (handle, wake) = stack.add(socket);
            let held = Held::new(handle, wake);
            Ok(Self { held, port })
        });
        bound.ok_or(NetError::Down)?
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a datagram; waits for room if there is none.
    ///
    /// # Errors
    /// [`NetError::Unreachable`], [`NetError::TooLong`], [`NetError::Cancelled`].
    pub fn send_to(&self, cx: &mut ThreadCx, data: &[u8], to: IpEndpoint) -> Result<(), NetError> {
        if data.len() > most_bytes(to.addr, 8) {
            return Err(NetError::TooLong);
        }
        self.held.until(cx, None, Want::Write, |stack, cx| {
            if to.port == 0 || to.addr.is_unspecified() || !is_reachable(stack, to.addr) {
                return Some(Err(NetError::Unreachable));
            }
            let socket = stack.sockets.get_mut::<Socket>(self.held.handle);
            match socket.send_slice(data, to) {
                Ok(()) => {
                    stack.send_now(cx);
                    Some(Ok(()))
                }
                Err(SendError::BufferFull) => {
                    stack.send_now(cx);
                    None
                }
                Err(SendError::Unaddressable) => Some(Err(NetError::Unreachable)),
            }
        })?
    }

    /// The next datagram, cut to what `into` takes, and who sent it.
    ///
    /// # Errors
    /// [`NetError::TimedOut`], [`NetError::Cancelled`].
    pub fn receive(
        &self,
        cx: &mut ThreadCx,
        into: &mut [u8],
        patience_ns: Option<u64>,
    ) -> Result<(usize, IpEndpoint), NetError> {
        self.held
            .until(cx, patience_ns, Want::Read, |stack: &mut Stack, _| {
                let socket = stack.sockets.get_mut::<Socket>(self.held.handle);
                match socket.recv() {
                    Ok((data, from)) => {
                        let bytes = data.len().min(into.len());
                        into[..bytes].copy_from_slice(&data[..bytes]);
                        Some((bytes, from.endpoint))
                    }
                    Err(RecvError::Exhausted | RecvError::Truncated) => None,
                }
            })
    }

    /// Gives it up.
    pub fn close(self, cx: &mut ThreadCx) {
        self.held.leave(cx, |_, _| {});
    }
}
