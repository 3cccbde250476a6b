// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets for the kernel's threads: calls that block, with a deadline, and end when the thread is cancelled.
//!
//! # Theory
//! A socket is a number in the stack's set, and a condition variable that is signalled after a turn of the stack in which it
//! could go on. What a thread reads or writes is copied under the stack's lock; how long a call may block is its
//! `patience`, in nanoseconds: `None` is for ever, 0 does not block.
//!
//! A socket is given up by `close`, which lets a connection see its end through, or `abort`. One that is dropped
//! without is aborted.
//!
//! # Contexts
//! Threads that hold no lock of an interrupt's domain.
pub mod listener;
mod ping;
mod resolve;
mod tcp;
mod udp;

use super::stack::{self, Abandoned, Ended, Stack, Want};
use crate::lock_order::NetStack;
use crate::thread::{Kernel, ThreadCx};
use alloc::sync::Arc;
use bsp::timer::now_ns;
use core::fmt;
pub use listener::TcpListener;
pub use ping::{Echo, Ping};
pub use resolve::resolve;
use smoltcp::iface::SocketHandle;
pub use smoltcp::wire::{IpAddress, IpEndpoint};
use sync::domain::Cx;
use sync::kcondvar::KCondvar;
pub use tcp::{Buffers, EITHER_WAY, ONE_WAY, TcpStream};
pub use udp::UdpSocket;

/// `smoltcp`'s feature fragmentation-buffer-size, a multiple of 8 for each fragment.
const FRAGMENTED_BYTES: usize = 4096;

/// Why a call on a socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetError {
    /// There is no network: no interface was found.
    Down,
    /// The interface has no address of the kind, or there is no route.
    Unreachable,
    /// The peer refused the connection.
    Refused,
    /// The peer has cut the connection.
    Reset,
    /// The time that the caller gave has passed.
    TimedOut,
    /// The thread was cancelled.
    Cancelled,
    /// Another socket has the port.
    InUse,
    /// There is no memory for buffers.
    NoMemory,
    /// The connection is closed for writing.
    Closed,
    /// More than a datagram may have.
    TooLong,
    /// The name does not exist, or has no address.
    NoSuchName,
    /// No name server is known.
    NoServer,
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "there is no network interface",
            Self::Unreachable => "no route to host",
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by peer",
            Self::TimedOut => "no answer in time",
            Self::Cancelled => "cancelled",
            Self::InUse => "the port is in use",
            Self::NoMemory => "no memory for the socket's buffers",
            Self::Closed => "the connection is closed",
            Self::TooLong => "too long for a datagram",
            Self::NoSuchName => "no such name",
            Self::NoServer => "no name server is known",
        })
    }
}

impl core::error::Error for NetError {}

impl From<Ended> for NetError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::TimedOut => Self::TimedOut,
            Ended::Cancelled => Self::Cancelled,
            Ended::Down => Self::Down,
        }
    }
}

/// Bytes that go to `to` in one packet at most, behind `header_bytes` of the protocol's: of IPv4 it may be sent in fragments,
/// as many as `smoltcp` keeps.
fn most_bytes(to: IpAddress, header_bytes: usize) -> usize {
    match to {
        IpAddress::Ipv4(_) => FRAGMENTED_BYTES - 20 - header_bytes,
        IpAddress::Ipv6(_) => 1500 - 40 - header_bytes,
    }
}

/// When patience ends.
fn deadline(patience_ns: Option<u64>) -> Option<u64> {
    patience_ns.map(|patience| now_ns().saturating_add(patience))
}

/// Memory for a socket's buffer.
fn buffer(bytes: usize) -> Result<alloc::vec::Vec<u8>, NetError> {
    let mut buffer = alloc::vec::Vec::new();
    buffer
        .try_reserve_exact(bytes)
        .map_err(|_| NetError::NoMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// A socket in the set, of a thread.
struct Held {
    handle: SocketHandle,
    wake: Arc<KCondvar<Kernel>>,
    /// It was given up in order.
    left: bool,
}

impl Held {
    fn new(handle: SocketHandle, wake: Arc<KCondvar<Kernel>>) -> Self {
        Self {
            handle,
            wake,
            left: false,
        }
    }

    /// Lets `act` at the stack until it has a result, or patience ends; `want` is what it waits for.
    fn until<R>(
        &self,
        cx: &mut ThreadCx,
        patience_ns: Option<u64>,
        want: Want,
        mut act: impl FnMut(&mut Stack, &mut Cx<NetStack>) -> Option<R>,
    ) -> Result<R, NetError> {
        let result = stack::wait(cx, &self.wake, deadline(patience_ns), |stack, cx| {
            let result = act(stack, cx);
            if result.is_none() {
                stack.want(self.handle, want);
            }
            result
        });
        Ok(result?)
    }

    /// Gives it up; `end` first says how.
    fn leave(mut self, cx: &mut ThreadCx, end: impl FnOnce(&mut Stack, SocketHandle)) {
        self.left = true;
        stack::with(cx, |stack, cx| {
            end(stack, self.handle);
            stack.leave(self.handle);
            stack.send_now(cx);
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.left {
            stack::abandon(Abandoned::Socket(self.handle));
        }
    }
}
