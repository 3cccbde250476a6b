// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports where connections are accepted.
//!
//! # Theory
//! In `smoltcp` a listening socket becomes the connection. So a port keeps a few: one at least listens, others are in the middle
//! of the handshake, and those that are through it wait to be accepted. When a request has taken the one that listened, another is
//! made; and when the port has as many half-open ones as it may, the oldest of them is given up for it. So a flood of
//! requests that are never followed up takes bounded memory, and a peer that follows up gets through as long as it
//! answers before so many others have asked.
//!
//! # Contexts
//! [`Backlogs`]: inside the stack's lock. [`TcpListener`]: threads.
//!
//! References: RFC 4987 (oldest half-open TCB recycled, 3.4).
use super::tcp::{self, TcpStream};
use super::{Buffers, NetError, deadline};
use crate::net::stack::{self, Abandoned};
use crate::thread::{Kernel, ThreadCx};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, State};
use sync::kcondvar::KCondvar;

/// Half-open connections of a port at most.
const HALF_OPEN: usize = 16;

struct Backlog {
    port: u16,
    /// Listening and half-open, oldest first.
    pending: VecDeque<SocketHandle>,
    /// Through the handshake.
    ready: VecDeque<SocketHandle>,
    limit: usize,
    buffers: Buffers,
    wake: Arc<KCondvar<Kernel>>,
}

/// All ports.
pub struct Backlogs {
    ports: Vec<Backlog>,
    /// Half-open connections that were given up for newer ones.
    pub given_up: u64,
    /// Connections that nobody accepted in time, and that were cut.
    pub refused: u64,
}

impl Backlogs {
    /// None.
    pub fn new() -> Self {
        Self {
            ports: Vec::new(),
            given_up: 0,
            refused: 0,
        }
    }

    /// After a request for a connection: one socket listens at each port.
    pub fn replenish(&mut self, sockets: &mut SocketSet<'static>) {
        for backlog in &mut self.ports {
            backlog.pending.retain(|handle| {
                let state = sockets.get::<Socket>(*handle).state();
                match state {
                    State::Listen | State::SynReceived => return true,
                    State::Closed => {
                        sockets.remove(*handle);
                    }
                    _ if backlog.ready.len() < backlog.limit => backlog.ready.push_back(*handle),
                    _ => {
                        self.refused += 1;
                        sockets.remove(*handle);
                    }
                }
                false
            });
            let listens =
                |handle: &SocketHandle| sockets.get::<Socket>(*handle).state() == State::Listen;
            if backlog.pending.iter().any(listens) {
                continue;
            }
            if backlog.pending.len() >= HALF_OPEN
                && let Some(oldest) = backlog.pending.pop_front()
            {
                self.given_up += 1;
                // It listens in its turn: a flood makes no buffers, which would have to be cleared each time.
                let socket = sockets.get_mut::<Socket>(oldest);
                socket.abort();
                let _closed_and_the_port_not_0 = socket.listen(backlog.port);
                backlog.pending.push_back(oldest);
            } else if let Ok(mut socket) = tcp::socket(backlog.buffers)
                && socket.listen(backlog.port).is_ok()
            {
                backlog.pending.push_back(sockets.add(socket));
            }
        }
    }

    /// Marks the ports where there is somebody to accept.
    pub fn look(&mut self, woken: &mut Vec<Arc<KCondvar<Kernel>>>) {
        for backlog in self.ports.iter().filter(|b| !b.ready.is_empty()) {
            woken.push(backlog.wake.clone());
        }
    }

    /// True if connections are accepted at this port.
    pub fn has(&self, port: u16) -> bool {
        self.ports.iter().any(|backlog| backlog.port == port)
    }

    /// Nobody accepts connections there any more; who waited to be accepted is cut.
    pub fn close(&mut self, port: u16, sockets: &mut SocketSet<'static>) {
        if let Some(at) = self.ports.iter().position(|b| b.port == port) {
            let backlog = self.ports.swap_remove(at);
            for handle in backlog.pending.into_iter().chain(backlog.ready) {
                sockets.remove(handle);
            }
        }
    }

    fn accept(&mut self, port: u16) -> Option<SocketHandle> {
        let backlog = self.ports.iter_mut().find(|b| b.port == port)?;
        backlog.ready.pop_front()
    }
}

/// Accepts connections at a port.
pub struct TcpListener {
    port: u16,
    wake: Arc<KCondvar<Kernel>>,
}

impl TcpListener {
    /// Takes the port; `backlog` connections may wait to be accepted.
    ///
    /// # Errors
    /// [`NetError::InUse`], [`NetError::Down`].
    pub fn bind(
        cx: &mut ThreadCx,
        port: u16,
        backlog: usize,
        buffers: Buffers,
    ) -> Result<Self, NetError> {
        let bound = stack::with(cx, |stack, _| {
            if stack.backlogs.has(port) {
                return Err(NetError::InUse);
            }
            let wake = Arc::new(KCondvar::new());
            stack.backlogs.ports.push(Backlog {
                port,
                pending: VecDeque::new(),
                ready: VecDeque::new(),
                limit: backlog,
                buffers,
                wake: wake.clone(),
            });
            stack.backlogs.replenish(&mut stack.sockets);
            Ok(Self { port, wake })
        });
        bound.ok_or(NetError::Down)?
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection.
    ///
    /// # Errors
    /// [`NetError::TimedOut`], [`NetError::Cancelled`].
    pub fn accept(
        &self,
        cx: &mut ThreadCx,
        patience_ns: Option<u64>,
    ) -> Result<TcpStream, NetError> {
        let accepted = stack::wait(cx, &self.wake, deadline(patience_ns), |stack, _| {
            loop {
                let handle = stack.backlogs.accept(self.port)?;
                // One whose peer has gone already is none.
                match TcpStream::adopt(stack, handle) {
                    Some(stream) => return Some(stream),
                    None => drop(stack.sockets.remove(handle)),
                }
            }
        });
        Ok(accepted?)
    }

    /// Gives the port up; who waited to be accepted is cut.
    pub fn close(self, cx: &mut ThreadCx) {
        drop(self);
        stack::with(cx, |stack, cx| stack.send_now(cx));
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        stack::abandon(Abandoned::Port(self.port));
    }
}
