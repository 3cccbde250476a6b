// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's user network at the other end of the cable: DHCP, a gateway that answers, TFTP, and ports of the host that lead
//! to the kernel's.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use qemu_tests::{Console, Machine};
use tools::card::Card;

/// How long a packet, a lease or a thread's end may take, on a busy host.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The gateway, which is the host.
pub const GATEWAY: &str = "10.0.2.2";
/// An address that nobody has.
pub const NOBODY: &str = "10.0.2.99";

/// A kernel on the user network.
pub struct User {
    /// Its console, behind the lease.
    pub console: Console,
    forwarded: Vec<(u16, u16)>,
}

/// A port of the host that is free for both protocols.
fn free_port() -> u16 {
    let found = std::iter::repeat_with(|| {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = tcp.local_addr().expect("its number").port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port)
    });
    found.flatten().next().expect("a port")
}

/// Waits for a line of the log, and for the prompt that is drawn again below it.
#[track_caller]
pub fn told(console: &mut Console, line: &str) {
    console.expect(line, PATIENCE * 2);
    console.prompt();
}

impl User {
    /// Boots with these words on the command line, with ports of the host that lead to these of the kernel's, and with
    /// this folder behind TFTP; waits for the lease.
    #[track_caller]
    pub fn start(words: &str, ports: &[u16], tftp: Option<&Path>) -> Self {
        let forwarded: Vec<_> = ports.iter().map(|port| (*port, free_port())).collect();
        let mut net = "user".to_owned();
        for (port, host) in &forwarded {
            for protocol in ["tcp", "udp"] {
                net += &format!(",hostfwd={protocol}:127.0.0.1:{host}-:{port}");
            }
        }
        if let Some(folder) = tftp {
            net += &format!(",tftp={}", folder.display());
        }
        let machine = Machine::new().card_with(&Card::new()).net(&net);
        let mut console = machine.cmdline(words).deadline(PATIENCE * 10).start();
        told(&mut console, "net: 10.0.2.15/24 from 10.0.2.2");
        Self { console, forwarded }
    }

    /// Where on the host the kernel's port is.
    #[track_caller]
    pub fn address(&self, port: u16) -> SocketAddr {
        let found = self.forwarded.iter().find(|(its, _)| *its == port);
        let (_, host) = found.expect("a port that was forwarded");
        SocketAddr::from((Ipv4Addr::LOCALHOST, *host))
    }

    /// A connection to the kernel's port. The emulator accepts it in any case, and cuts it if the kernel refuses.
    #[track_caller]
    pub fn connect(&self, port: u16) -> TcpStream {
        let stream = TcpStream::connect(self.address(port)).expect("the emulator accepts");
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).expect("a time-out");
        }
        stream
    }

    /// A connection to the kernel's port is refused.
    #[track_caller]
    pub fn assert_closed(&self, port: u16) {
        let read = self.connect(port).read(&mut [0; 16]);
        assert!(matches!(read, Ok(0) | Err(_)), "port {port}: {read:?}");
    }

    /// Runs `line` until what it prints is as it should be, for a while.
    #[track_caller]
    pub fn until(&mut self, line: &str, good: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.console.command(line);
            if good(&said) {
                return said;
            }
            assert!(Instant::now() < until, "{line}: {said}");
        }
    }
}
