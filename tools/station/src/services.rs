// SPDX-License-Identifier: MIT OR Apache-2.0
//! The station's TCP services: discard, chargen, echo (RFC 863, 864, 862).

use kernel::netload::{CHARGEN_PORT, DISCARD_PORT};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Duration;

/// The service that gives back what it is given.
pub const ECHO_PORT: u16 = 7;
/// Enough that a guest never waits for a window.
const BUFFER_BYTES: usize = 1 << 20;
/// Connections of each service at a time.
const CONNECTIONS: usize = 4;

/// A socket with the station's habits.
pub fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_BYTES]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    // As most hosts: each second segment is acknowledged at once, a single one soon.
    socket.set_ack_delay(Some(Duration::from_millis(10)));
    socket
}

/// The services' sockets.
pub struct Services {
    sockets: Vec<(u16, SocketHandle)>,
}

impl Services {
    pub fn new(set: &mut SocketSet<'static>) -> Self {
        let ports = [ECHO_PORT, DISCARD_PORT, CHARGEN_PORT];
        let sockets = ports
            .into_iter()
            .flat_map(|port| std::iter::repeat_n(port, CONNECTIONS))
            .map(|port| (port, set.add(socket())))
            .collect();
        Self { sockets }
    }

    /// Does what can be done now; whether something was.
    pub fn serve(&mut self, set: &mut SocketSet<'static>) -> bool {
        let mut moved = false;
        for (port, handle) in &self.sockets {
            let socket = set.get_mut::<tcp::Socket<'_>>(*handle);
            if !socket.is_open() {
                // It listens again; the only error is a port of 0.
                let _ = socket.listen(*port);
            }
            moved |= match *port {
                ECHO_PORT => echo(socket),
                CHARGEN_PORT => give(socket),
                _ => take(socket) > 0,
            };
            // The far end sends no more, and has what there was for it.
            if socket.state() == tcp::State::CloseWait && socket.recv_queue() == 0 {
                socket.close();
                moved = true;
            }
        }
        moved
    }
}

fn take(socket: &mut tcp::Socket<'_>) -> usize {
    if !socket.can_recv() {
        return 0;
    }
    socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0)
}

fn give(socket: &mut tcp::Socket<'_>) -> bool {
    take(socket);
    // Whatever bytes lie in the buffer: nobody looks at them.
    socket.can_send() && socket.send(|room| (room.len(), room.len())).unwrap_or(0) > 0
}

fn echo(socket: &mut tcp::Socket<'_>) -> bool {
    let room = socket.send_capacity() - socket.send_queue();
    if !socket.can_recv() || !socket.can_send() || room == 0 {
        return false;
    }
    let taken = socket.recv(|bytes| {
        let bytes = &bytes[..bytes.len().min(room)];
        (bytes.len(), bytes.to_vec())
    });
    taken
        .map(|bytes| socket.send_slice(&bytes).unwrap_or(0) > 0)
        .unwrap_or(false)
}
