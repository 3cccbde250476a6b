// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that are over, and stay to answer what of them is still under way (TIME-WAIT).
//!
//! # Theory
//! `smoltcp` looks at each socket of its set for each frame that goes; so those that have nothing to say rest here. A
//! segment for one of them puts it back into the set before `smoltcp` gets the segment: the frame waits in the port, and the
//! stack's owner asks for who was called. It is known by its two ports alone; another peer's segment with the same ports wakes
//! it for nothing, and it comes back.
//!
//! # Contexts
//! Inside the stack's lock.
//!
//! References: RFC 9293, 3.6.1 (a FIN that comes again is acknowledged).
use alloc::collections::VecDeque;
use smoltcp::socket::tcp::Socket;
use smoltcp::time::Instant;

/// This end's port, and the other's.
pub type Ports = [u16; 2];

struct Connection {
    socket: Socket<'static>,
    ports: Ports,
    until: Instant,
}

/// Those that rest; oldest first.
#[derive(Default)]
pub struct Resting {
    connections: VecDeque<Connection>,
    called: Option<Ports>,
}

impl Resting {
    /// Lets a connection rest until then; with more than `most`, the oldest is forgotten.
    pub fn put(&mut self, socket: Socket<'static>, until: Instant, most: usize) {
        let (Some(local), Some(peer)) = (socket.local_endpoint(), socket.remote_endpoint()) else {
            return; // it is over altogether
        };
        if self.connections.len() == most {
            self.connections.pop_front();
        }
        self.connections.push_back(Connection {
            socket,
            ports: [local.port, peer.port],
            until,
        });
    }

    /// Forgets those whose time has passed.
    pub fn expire(&mut self, now: Instant) {
        self.connections.retain(|connection| now < connection.until);
    }

    /// When there is one to forget.
    pub fn next(&self) -> Option<Instant> {
        self.connections
            .iter()
            .map(|connection| connection.until)
            .min()
    }

    /// True if a segment from the second of these ports to the first is for one of them, which has to be woken before.
    #[inline]
    pub fn call(&mut self, ports: Ports) -> bool {
        let called = self.connections.iter().any(|one| one.ports == ports);
        if called {
            self.called = Some(ports);
        }
        called
    }

    /// Who was called and still rests.
    pub fn called(&mut self) -> Option<Socket<'static>> {
        let ports = self.called?;
        let at = self.connections.iter().position(|one| one.ports == ports);
        if at.is_none() {
            self.called = None;
        }
        Some(self.connections.remove(at?)?.socket)
    }

    /// All of them.
    pub fn sockets(&self) -> impl Iterator<Item = &Socket<'static>> {
        self.connections.iter().map(|connection| &connection.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::mbuf::Mbuf;
    use crate::net::port::Port;
    use alloc::vec;
    use alloc::vec::Vec;
    use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketSet};
    use smoltcp::socket::tcp::{SocketBuffer, State};
    use smoltcp::time::Duration;
    use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const PEER: u16 = 7;
    const LOCAL: u16 = 50_000;

    fn socket() -> Socket<'static> {
        let buffer = || SocketBuffer::new(vec![0; 4096]);
        Socket::new(buffer(), buffer())
    }

    /// A station that talks to itself.
    struct Station {
        port: Port,
        iface: Interface,
        sockets: SocketSet<'static>,
        now: Instant,
    }

    impl Station {
        fn new() -> Self {
            let mut port = Port::new(MAC);
            let address = IpAddress::v4(10, 0, 0, 1);
            let mbufs = (0..16).map(|number| Mbuf::new(number).unwrap());
            port.sender.fresh.extend(mbufs);
            port.sender.own.push(address).unwrap();
            let mut iface = Interface::new(Config::new(MAC.into()), &mut port, Instant::ZERO);
            iface.update_ip_addrs(|all| all.push(IpCidr::new(address, 24)).unwrap());
            let sockets = SocketSet::new(Vec::new());
            Self {
                port,
                iface,
                sockets,
                now: Instant::ZERO,
            }
        }

        fn take_in(&mut self) -> bool {
            let (port, sockets) = (&mut self.port, &mut self.sockets);
            let polled = self.iface.poll_ingress_single(self.now, port, sockets);
            self.port.sender.fresh.append(&mut self.port.spent);
            polled != PollIngressSingleResult::None
        }

        fn send(&mut self) {
            let (port, sockets) = (&mut self.port, &mut self.sockets);
            self.iface.poll_egress(self.now, port, sockets);
        }
    }

    /// A connection that is over but for its last acknowledgement, which the peer does not get.
    fn over() -> (Station, Socket<'static>, smoltcp::iface::SocketHandle) {
        let mut station = Station::new();
        let (mut server, mut client) = (socket(), socket());
        server.listen(PEER).unwrap();
        let to = (IpAddress::v4(10, 0, 0, 1), PEER);
        client.connect(station.iface.context(), to, LOCAL).unwrap();
        let (server, client) = (station.sockets.add(server), station.sockets.add(client));
        for _ in 0..1000 {
            let state = station.sockets.get::<Socket>(client).state();
            if state == State::Established {
                station.sockets.get_mut::<Socket>(client).close();
            }
            let socket = station.sockets.get_mut::<Socket>(server);
            if socket.state() == State::CloseWait {
                socket.close();
            }
            station.now += Duration::from_millis(1);
            if !station.take_in() {
                station.send();
            }
            if station.sockets.get::<Socket>(client).state() == State::TimeWait {
                let smoltcp::socket::Socket::Tcp(ended) = station.sockets.remove(client) else {
                    unreachable!("it is one of TCP");
                };
                return (station, ended, server);
            }
        }
        panic!("it never ended");
    }

    #[test]
    fn who_rests_is_woken_for_the_peers_last_words() {
        let (mut station, ended, server) = over();
        let until = station.now + Duration::from_secs(10);
        station.port.resting.put(ended, until, 4);
        assert!(!station.take_in() && station.port.resting.called().is_none());
        // The peer repeats its FIN.
        station.now += Duration::from_secs(2);
        station.send();
        assert!(
            !station.take_in(),
            "the frame came in before its connection"
        );
        let woken = station.port.resting.called().expect("nobody was called");
        assert_eq!(station.port.resting.sockets().count(), 0);
        assert!(station.port.resting.called().is_none());
        station.sockets.add(woken);
        while station.take_in() {}
        station.send();
        while station.take_in() {}
        assert_eq!(station.sockets.get::<Socket>(server).state(), State::Closed);
    }

    #[test]
    fn the_oldest_goes_and_so_does_whose_time_has_passed() {
        let mut resting = Resting::default();
        let at = Instant::from_secs;
        for n in 1..=3 {
            let (_, ended, _) = over();
            resting.put(ended, at(10 - n), 2);
        }
        assert_eq!(
            (resting.sockets().count(), resting.next()),
            (2, Some(at(7)))
        );
        resting.expire(at(7));
        assert_eq!(
            (resting.sockets().count(), resting.next()),
            (1, Some(at(8)))
        );
        assert!(!resting.call([PEER, LOCAL]) && resting.called().is_none());
        assert!(resting.call([LOCAL, PEER]));
        resting.expire(at(8));
        assert!(resting.called().is_none());
    }
}
