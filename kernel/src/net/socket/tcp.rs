// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections.
use super::{Held, NetError, buffer};
use crate::net::stack::{self, Stack, Want};
use crate::thread::ThreadCx;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint};

/// What a connection has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    receive_bytes: usize,
    send_bytes: usize,
}

/// For a connection that may have to write while it does not read: the most that a window says without a scale. A
/// scaled window is rounded down, so a full one shrinks, and `smoltcp` takes no acknowledgement that comes with a number
/// beyond it: with both windows shut, neither end would get on.
pub const EITHER_WAY: Buffers = Buffers {
    receive_bytes: 65_535,
    send_bytes: 65_535,
};
/// If data go one way at a time. The window does not shut while the reader waits for the soft interrupt's CPU: a sender that
/// stops for it has to be started again, and that takes as long as half a window of 192 KiB.
pub const ONE_WAY: Buffers = Buffers {
    receive_bytes: 1 << 20,
    send_bytes: 192 << 10,
};
/// A peer that acknowledges nothing for so long is gone.
const PEER_GONE: Duration = Duration::from_secs(60);
/// A connection that is silent for so long is asked whether it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A socket with its own buffers, not yet connected.
///
/// # Errors
/// [`NetError::NoMemory`].
pub(super) fn socket(buffers: Buffers) -> Result<tcp::Socket<'static>, NetError> {
    let (rx, tx) = (buffer(buffers.receive_bytes)?, buffer(buffers.send_bytes)?);
    let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(rx), tcp::SocketBuffer::new(tx));
    socket.set_timeout(Some(PEER_GONE));
    // Before there is a connection: on one, the first probe would be due at once.
    socket.set_keep_alive(Some(KEEP_ALIVE));
    // What is written in pieces goes in pieces: the writer knows best, and turns the stack itself.
    socket.set_nagle_enabled(false);
    Ok(socket)
}

/// Is there an address to reach `to` from?
pub(super) fn is_reachable(stack: &Stack, to: IpAddress) -> bool {
    let addresses = stack.iface.ip_addrs();
    let mut same = addresses
        .iter()
        .filter(|cidr| cidr.address().version() == to.version());
    match to {
        IpAddress::Ipv4(_) => {
            same.clone().any(|cidr| cidr.contains_addr(&to))
                || same.next().is_some() && stack.iface.routes().get_default_ipv4_route().is_some()
        }
        IpAddress::Ipv6(_) => {
            same.clone().any(|cidr| cidr.contains_addr(&to))
                || same.next().is_some() && stack.iface.routes().get_default_ipv6_route().is_some()
        }
    }
}

/// One end of a connection.
pub struct TcpStream {
    held: Held,
    local: IpEndpoint,
    peer: IpEndpoint,
}

impl TcpStream {
    pub(super) fn adopt(stack: &mut Stack, handle: SocketHandle) -> Option<Self> {
        let socket = stack.sockets.get::<tcp::Socket>(handle);
        let (local, peer) = (socket.local_endpoint()?, socket.remote_endpoint()?);
        let held = Held::new(handle, stack.adopt(handle));
        Some(Self { held, local, peer })
    }

    /// Connects to `to`.
    ///
    /// # Errors
    /// [`NetError::Unreachable`], [`NetError::Refused`], [`NetError::TimedOut`] and others.
    pub fn connect(
        cx: &mut ThreadCx,
        to: IpEndpoint,
        buffers: Buffers,
        patience_ns: Option<u64>,
    ) -> Result<Self, NetError> {
        let mut socket = socket(buffers)?;
        let begun = stack::with(cx, |stack, cx| {
            if !is_reachable(stack, to.addr) {
                return Err(NetError::Unreachable);
            }
            let port = stack.ephemeral_port();
            socket
                .connect(stack.iface.context(), to, port)
                .map_err(|_| NetError::Unreachable)?;
            let local = socket.local_endpoint().ok_or(NetError::Unreachable)?;
            let (handle, wake) = stack.add(socket);
            stack.send_now(cx);
            Ok((Held::new(handle, wake), local))
        });
        let (held, local) = begun.ok_or(NetError::Down)??;
        held.until(cx, patience_ns, Want::Connect, |stack, _| {
            let socket = stack.sockets.get_mut::<tcp::Socket>(held.handle);
            match socket.state() {
                State::SynSent | State::SynReceived => None,
                State::Closed => Some(Err(NetError::Refused)),
                _ => Some(Ok(())),
            }
        })??;
        Ok(Self {
            held,
            local,
            peer: to,
        })
    }

    /// This end.
    pub fn local(&self) -> IpEndpoint {
        self.local
    }

    /// The other end.
    pub fn peer(&self) -> IpEndpoint {
        self.peer
    }

    /// Reads what there is, at least a byte; 0 if the peer has closed.
    ///
    /// # Errors
    /// [`NetError::Reset`], [`NetError::TimedOut`], [`NetError::Cancelled`].
    pub fn read(
        &self,
        cx: &mut ThreadCx,
        into: &mut [u8],
        patience_ns: Option<u64>,
    ) -> Result<usize, NetError> {
        self.held.until(cx, patience_ns, Want::Read, |stack, cx| {
            let socket = stack.sockets.get_mut::<tcp::Socket>(self.held.handle);
            match socket.recv_slice(into) {
                Ok(0) if !into.is_empty() => None,
                Ok(bytes) => {
                    // The peer may be waiting for the room that this made.
                    stack.send_now(cx);
                    Some(Ok(bytes))
                }
                Err(tcp::RecvError::Finished) => Some(Ok(0)),
                Err(tcp::RecvError::InvalidState) => Some(Err(NetError::Reset)),
            }
        })?
    }

    /// Writes as much as there is room for, at least a byte.
    ///
    /// # Errors
    /// [`NetError::Reset`], [`NetError::Closed`], [`NetError::TimedOut`], [`NetError::Cancelled`].
    pub fn write(
        &self,
        cx: &mut ThreadCx,
        from: &[u8],
        patience_ns: Option<u64>,
    ) -> Result<usize, NetError> {
        self.held.until(cx, patience_ns, Want::Write, |stack, cx| {
            let socket = stack.sockets.get_mut::<tcp::Socket>(self.held.handle);
            match socket.send_slice(from) {
                Ok(0) if !from.is_empty() => None,
                Ok(bytes) => {
                    stack.send_now(cx);
                    Some(Ok(bytes))
                }
                Err(tcp::SendError::InvalidState) => Some(Err(match socket.state() {
                    State::Closed => NetError::Reset,
                    _ => NetError::Closed,
                })),
            }
        })?
    }

    /// Writes all of it; patience is for each piece.
    ///
    /// # Errors
    /// As for [`write`](TcpStream::write).
    pub fn write_all(
        &self,
        cx: &mut ThreadCx,
        mut from: &[u8],
        patience_ns: Option<u64>,
    ) -> Result<(), NetError> {
        while !from.is_empty() {
            let written = self.write(cx, from, patience_ns)?;
            from = &from[written..];
        }
        Ok(())
    }

    /// Nothing more will be written; what the peer still sends can be read.
    pub fn shutdown(&self, cx: &mut ThreadCx) {
        stack::with(cx, |stack, cx| {
            stack
                .sockets
                .get_mut::<tcp::Socket>(self.held.handle)
                .close();
            stack.send_now(cx);
        });
    }

    /// Gives it up: what was written is still sent.
    pub fn close(self, cx: &mut ThreadCx) {
        self.held.leave(cx, |stack, handle| {
            stack.sockets.get_mut::<tcp::Socket>(handle).close();
        });
    }

    /// Cuts it.
    pub fn abort(self, cx: &mut ThreadCx) {
        self.held.leave(cx, |stack, handle| {
            stack.sockets.get_mut::<tcp::Socket>(handle).abort();
        });
    }
}
