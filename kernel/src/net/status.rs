// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the network stands: what the console shows.
//!
//! # Contexts
//! Threads.
use super::address::Lease;
use super::config::Ip;
use super::device::{self, View};
use super::mbuf::PoolFigures;
use super::port::{Neighbour, PortFigures};
use super::queue::QueueFigures;
use super::stack::{self, POOL, QUEUES};
use crate::cpu::CPUS;
use crate::thread::ThreadCx;
use alloc::vec::Vec;
use core::net::IpAddr;
use drivers::genet::PhyView;
use smoltcp::socket::{Socket, tcp};
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};

/// All of it.
#[derive(Clone, Debug)]
pub struct Status {
    /// The user wants it up.
    pub up: bool,
    /// The station's number.
    pub mac: [u8; 6],
    /// What the user wants of IPv4.
    pub wish: Ip,
    /// The interface's addresses.
    pub addresses: Vec<IpCidr>,
    /// Default routes.
    pub gateways: Vec<IpAddress>,
    /// Name servers, in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// The DHCP lease.
    pub lease: Option<Lease>,
    /// Neighbours that were heard of, newest last.
    pub neighbours: Vec<Neighbour>,
    /// Sockets.
    pub sockets: Vec<Row>,
    /// The controller; none while it is being reset.
    pub device: Option<View>,
    /// The PHY; none while it is looked for.
    pub phy: Option<PhyView>,
    /// Packet buffers.
    pub pool: PoolFigures,
    /// Packet buffers that the stack has.
    pub stack_buffers: usize,
    /// Queues to the soft interrupt, by CPU.
    pub queues: [QueueFigures; CPUS],
    /// What passed the stack.
    pub port: PortFigures,
    /// Half-open connections that were given up for newer ones.
    pub given_up: u64,
    /// Connections that nobody accepted in time.
    pub refused: u64,
    /// How often the stack was turned.
    pub turns: u64,
}

/// A socket.
#[derive(Clone, Debug)]
pub struct Row {
    /// `tcp`, `udp`, `icmp`.
    pub kind: &'static str,
    /// This end.
    pub local: Option<IpEndpoint>,
    /// The other end.
    pub peer: Option<IpEndpoint>,
    /// Of a connection.
    pub state: Option<tcp::State>,
    /// Bytes that wait to be read, and to be sent.
    pub waiting: (usize, usize),
}

/// How it stands; `None`: there is no network.
pub fn status(cx: &mut ThreadCx) -> Option<Status> {
    let pool = POOL.enter(cx).0.figures();
    let queues = core::array::from_fn(|cpu| QUEUES[cpu].enter(cx).0.figures());
    let device = device::view(cx);
    let phy = device::phy(cx);
    stack::with(cx, |stack, _| {
        let routes = stack.iface.routes();
        let gateways = [
            routes.get_default_ipv4_route(),
            routes.get_default_ipv6_route(),
        ];
        Status {
            up: device::is_wanted_up(),
            mac: stack.port.sender.mac.0,
            wish: stack.addresses.wish(),
            addresses: stack.iface.ip_addrs().to_vec(),
            gateways: gateways
                .iter()
                .flatten()
                .map(|route| route.via_router)
                .collect(),
            servers: stack.addresses.servers().collect(),
            lease: stack.addresses.lease,
            neighbours: stack.port.neighbours().to_vec(),
            sockets: stack
                .sockets
                .iter()
                .filter_map(|(_, socket)| row(socket))
                .chain(stack.port.resting.sockets().map(connection))
                .collect(),
            device,
            phy,
            pool,
            stack_buffers: stack.port.buffers(),
            queues,
            port: stack.port.figures(),
            given_up: stack.backlogs.given_up,
            refused: stack.backlogs.refused,
            turns: stack.turns,
        }
    })
}

fn port(at: smoltcp::wire::IpListenEndpoint) -> Option<IpEndpoint> {
    let any = IpAddress::Ipv4(core::net::Ipv4Addr::UNSPECIFIED);
    Some(IpEndpoint::new(at.addr.unwrap_or(any), at.port))
}

fn connection(socket: &tcp::Socket) -> Row {
    Row {
        kind: "tcp",
        local: socket
            .local_endpoint()
            .or_else(|| port(socket.listen_endpoint())),
        peer: socket.remote_endpoint(),
        state: Some(socket.state()),
        waiting: (socket.recv_queue(), socket.send_queue()),
    }
}

fn row(socket: &Socket) -> Option<Row> {
    Some(match socket {
        Socket::Tcp(socket) => connection(socket),
        Socket::Udp(socket) => Row {
            kind: "udp",
            local: port(socket.endpoint()),
            peer: None,
            state: None,
            waiting: (socket.recv_queue(), socket.send_queue()),
        },
        Socket::Icmp(socket) => Row {
            kind: "icmp",
            local: None,
            peer: None,
            state: None,
            waiting: (socket.recv_queue(), socket.send_queue()),
        },
        _ => return None,
    })
}
