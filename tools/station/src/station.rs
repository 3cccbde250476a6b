// SPDX-License-Identifier: MIT OR Apache-2.0
//! The station's thread, and what can be asked of it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use kernel::netload::{CHARGEN_PORT, DISCARD_PORT, wished};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, IpCidr};

use crate::cable::Cable;
use crate::fuzz::Fuzzer;
use crate::services::{ECHO_PORT, Services, socket};
use crate::wire::{self, ICMP, UDP};
use crate::{GUEST_IP, IP, MAC};

/// The station looks at everything at least this often.
const IDLE: Duration = Duration::from_millis(50);
/// Echo requests of the station's have this identifier.
const PING_ID: u16 = 0x77;
/// How often it asks for the guest's address until it has it.
const ASKS: Duration = Duration::from_millis(100);
/// Datagrams that UDP's chargen makes at a time.
const BURST: usize = 64;
/// It goes on for so long after its time: who counts looks at the clock after the last datagram.
const GRACE: Duration = Duration::from_millis(500);
/// What an exchange sends before it comes back: less than the guest's window, for `smoltcp` 0.14 at both ends does not get over
/// one that shuts. Rounded down by its scale, the window shrinks, and what was sent before that is dropped with its
/// acknowledgements, for ever.
const AHEAD_BYTES: usize = 32 << 10;
/// The first port of connections that the station makes.
const PORTS: u16 = 0xc000;

type Order = Box<dyn FnOnce(&mut World) + Send>;

/// What came of [`Station::exchange`].
pub type Exchanged = Result<Vec<u8>>;

/// The station. Dropped, its cable is pulled out.
pub struct Station {
    socket: PathBuf,
    orders: Sender<Order>,
    bell: UnixStream,
}

/// All that the station's thread works with.
pub struct World {
    /// The cable.
    pub cable: Cable,
    /// Datagrams that came to UDP's discard.
    pub discarded: u64,
    /// All frames that came.
    pub frames: u64,
    /// Answers what the guest asks DHCP and DNS servers, wrongly.
    pub hostile: Option<Fuzzer>,
    interface: Interface,
    sockets: SocketSet<'static>,
    services: Services,
    guest: Option<[u8; 6]>,
    asked: Option<Instant>,
    flood: Option<Flood>,
    pings: Option<Pings>,
    exchanges: Vec<Exchange>,
    next_port: u16,
    began: Instant,
}

struct Flood {
    frame: Vec<u8>,
    until: Instant,
}

struct Pings {
    to: Ipv4Addr,
    left: u32,
    payload: Vec<u8>,
    patience: Duration,
    sent: Option<(u16, Instant)>,
    trips: Vec<Option<Duration>>,
    done: Sender<Vec<Option<Duration>>>,
}

struct Exchange {
    handle: SocketHandle,
    data: Vec<u8>,
    /// What may be sent beyond what has come back.
    ahead: usize,
    sent: usize,
    received: Vec<u8>,
    /// It was established once: from then on, a closed socket has ended, and did not fail to begin.
    begun: bool,
    done: Sender<Exchanged>,
}

impl Station {
    /// Puts its end of the cable into `scratch`.
    ///
    /// # Errors
    /// The socket.
    pub fn open(scratch: &Path) -> Result<Self> {
        std::fs::create_dir_all(scratch)?;
        let socket = scratch.join("station");
        let cable = Cable::open(&socket)?;
        let (bell, hears) = UnixStream::pair()?;
        hears.set_nonblocking(true)?;
        let (orders, to_do) = channel();
        let builder = thread::Builder::new().name("station".into());
        builder.spawn(move || {
            // Who asks from then on is told.
            if let Err(error) = World::new(cable).run(&hears, &to_do) {
                eprintln!("station: {error:#}");
            }
        })?;
        Ok(Self {
            socket,
            orders,
            bell,
        })
    }

    /// The property of `pi4-genet` that leads here.
    pub fn cable(&self) -> String {
        let path = self.socket.to_string_lossy().replace(',', ",,");
        format!("cable={path}")
    }

    /// Has the station's thread do this, and waits for what comes of it.
    ///
    /// # Errors
    /// The station is gone.
    pub fn ask<R: Send + 'static>(
        &self,
        order: impl FnOnce(&mut World) -> R + Send + 'static,
    ) -> Result<R> {
        let (answer, answered) = channel();
        self.tell(move |world| {
            // Nobody waits any more only if this thread is gone.
            let _ = answer.send(order(world));
        })?;
        answered.recv().context("the station is gone")
    }

    fn tell(&self, order: impl FnOnce(&mut World) + Send + 'static) -> Result<()> {
        self.orders
            .send(Box::new(order))
            .map_err(|_| anyhow!("the station is gone"))?;
        // A bell that is full has been rung.
        let _ = (&self.bell).write(&[1]);
        Ok(())
    }

    /// Sends frames as they are; returns when QEMU has taken them.
    ///
    /// # Errors
    /// The guest does not take them within `patience`.
    pub fn send(&self, frames: Vec<Vec<u8>>, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        for some in frames.chunks(256) {
            let some = some.to_vec();
            self.ask(move |world| some.iter().for_each(|frame| world.cable.send(frame)))?;
            while !self.ask(|world| world.cable.has_room())? {
                anyhow::ensure!(Instant::now() < until, "the guest takes no frames");
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Echo requests, the next one when an answer has come or `patience` is over: how long each took, `None` if lost.
    ///
    /// # Errors
    /// The station is gone.
    pub fn ping(
        &self,
        count: u32,
        bytes: usize,
        patience: Duration,
    ) -> Result<Vec<Option<Duration>>> {
        let (done, trips) = channel();
        self.tell(move |world| {
            world.pings = Some(Pings {
                to: GUEST_IP,
                left: count,
                payload: vec![0x5a; bytes],
                patience,
                sent: None,
                trips: Vec::new(),
                done,
            });
        })?;
        trips.recv().context("the station is gone")
    }

    /// Connects to the guest's `port`, sends this, closes its half, and takes what comes until the guest closes.
    ///
    /// # Errors
    /// It took longer than `patience`, or was refused.
    pub fn exchange(&self, port: u16, data: Vec<u8>, patience: Duration) -> Exchanged {
        let (done, outcome) = channel();
        self.tell(move |world| world.exchange(port, data, done))?;
        outcome
            .recv_timeout(patience)
            .map_err(|error| anyhow!("port {port}: no end of the exchange ({error})"))?
    }
}

impl World {
    fn new(mut cable: Cable) -> Self {
        let began = Instant::now();
        let config = Config::new(EthernetAddress(MAC).into());
        let mut interface = Interface::new(config, &mut cable, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The list has room for four.
            let _ = addresses.push(IpCidr::new(IP.into(), 24));
        });
        let mut sockets = SocketSet::new(Vec::new());
        Self {
            cable,
            discarded: 0,
            frames: 0,
            hostile: None,
            interface,
            services: Services::new(&mut sockets),
            sockets,
            guest: None,
            asked: None,
            flood: None,
            pings: None,
            exchanges: Vec::new(),
            next_port: PORTS,
            began,
        }
    }

    /// Sends this frame again and again, as fast as the guest takes it, for so long.
    pub fn flood(&mut self, frame: Vec<u8>, time: Duration) {
        let until = Instant::now() + time;
        self.flood = Some(Flood { frame, until });
    }

    /// Tells the guest anew where the station is.
    pub fn announce(&mut self) {
        self.cable.send(&wire::arp_request(MAC, IP, GUEST_IP));
    }

    /// The guest's Ethernet address, once it has sent a frame.
    pub fn guest(&self) -> Option<[u8; 6]> {
        self.guest
    }

    fn run(&mut self, bell: &UnixStream, orders: &Receiver<Order>) -> Result<()> {
        loop {
            let now = Instant::now();
            self.take(now)?;
            let time = smoltcp::time::Instant::from_micros(self.began.elapsed().as_micros() as i64);
            self.interface
                .poll(time, &mut self.cable, &mut self.sockets);
            if self.services.serve(&mut self.sockets) | self.go_on_with_exchanges() {
                self.interface
                    .poll(time, &mut self.cable, &mut self.sockets);
            }
            self.give();
            self.go_on_with_pings();
            let all = self.cable.flush(Instant::now());
            let mut rung = [0; 64];
            while matches!((&*bell).read(&mut rung), Ok(1..)) {}
            match orders.try_recv() {
                Ok(order) => order(self),
                Err(TryRecvError::Empty) => self.wait(bell, all, time)?,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Sleeps until there is something to do.
    fn wait(
        &mut self,
        bell: &UnixStream,
        all_written: bool,
        time: smoltcp::time::Instant,
    ) -> Result<()> {
        let now = Instant::now();
        let mut most = IDLE;
        if let Some(delay) = self.interface.poll_delay(time, &self.sockets) {
            most = most.min(delay.into());
        }
        if let Some(at) = self.cable.next() {
            most = most.min(at.saturating_duration_since(now));
        }
        if let Some(Pings { sent, patience, .. }) = &self.pings {
            let at = sent.map_or(now, |(_, at)| at + *patience);
            most = most.min(
                at.saturating_duration_since(now)
                    .max(Duration::from_millis(1)),
            );
        }
        let mut events = PollFlags::IN;
        if !all_written {
            events |= PollFlags::OUT;
            most = IDLE;
        } else if self.flood.is_some() {
            most = Duration::ZERO;
        }
        let most = Timespec::try_from(most)?;
        let mut fds = [
            PollFd::from_borrowed_fd(self.cable.wakes(), events),
            PollFd::new(bell, PollFlags::IN),
        ];
        match poll(&mut fds, Some(&most)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads, and keeps what the stack need not see.
    fn take(&mut self, now: Instant) -> Result<()> {
        let Self {
            cable,
            discarded,
            frames,
            guest,
            flood,
            pings,
            hostile,
            ..
        } = self;
        let mut answers = Vec::new();
        cable.read(now, |frame| {
            *frames += 1;
            answers.extend(hostile.as_mut().and_then(|hostile| hostile.answer(frame)));
            if let Some(from) = frame.get(6..12)
                && from[0] & 1 == 0
            {
                *guest = from.try_into().ok();
            }
            match wire::ipv4_in(frame) {
                Some((UDP, datagram)) => {
                    match datagram.get(2..4).map(|p| u16::from_be_bytes([p[0], p[1]])) {
                        Some(DISCARD_PORT) => {
                            *discarded += 1;
                            true
                        }
                        Some(CHARGEN_PORT) => {
                            *flood = Flood::asked_by(frame, datagram).or(flood.take());
                            true
                        }
                        _ => false,
                    }
                }
                Some((ICMP, message)) => pings
                    .as_mut()
                    .is_some_and(|pings| pings.answered(now, message)),
                _ => false,
            }
        })?;
        for answer in answers {
            self.cable.send(&answer);
        }
        Ok(())
    }

    fn give(&mut self) {
        let Some(flood) = &self.flood else { return };
        if Instant::now() >= flood.until {
            self.flood = None;
            return;
        }
        for _ in 0..BURST {
            if !self.cable.has_room_for_load() {
                break;
            }
            self.cable.send(&flood.frame);
        }
    }

    fn go_on_with_pings(&mut self) {
        let now = Instant::now();
        let Some(guest) = self.guest else {
            let is_time = self.asked.is_none_or(|asked| asked + ASKS <= now);
            if self.pings.is_some() && is_time {
                self.asked = Some(now);
                self.cable.send(&wire::arp_request(MAC, IP, GUEST_IP));
            }
            return;
        };
        let Some(pings) = &mut self.pings else { return };
        if pings.sent.is_some_and(|(_, at)| at + pings.patience <= now) {
            pings.trips.push(None);
            pings.sent = None;
        }
        if pings.sent.is_some() {
            return;
        }
        if pings.left == 0 {
            if let Some(pings) = self.pings.take() {
                // Who waited may have given up.
                let _ = pings.done.send(pings.trips);
            }
            return;
        }
        pings.left -= 1;
        let sequence = pings.trips.len() as u16;
        let packet = wire::echo_request(IP, pings.to, PING_ID, sequence, &pings.payload);
        self.cable
            .send(&wire::ethernet(guest, MAC, wire::IPV4, &packet));
        pings.sent = Some((sequence, now));
    }

    fn exchange(&mut self, port: u16, data: Vec<u8>, done: Sender<Exchanged>) {
        let handle = self.sockets.add(socket());
        let from = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(PORTS);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        let to = (IpAddr::V4(GUEST_IP), port);
        if let Err(error) = socket.connect(self.interface.context(), to, from) {
            self.sockets.remove(handle);
            // As above.
            let _ = done.send(Err(anyhow!("port {port}: {error}")));
            return;
        }
        // What is sent comes back from an echo alone.
        let ahead = match port {
            ECHO_PORT => AHEAD_BYTES,
            _ => data.len(),
        };
        self.exchanges.push(Exchange {
            handle,
            ahead,
            data,
            sent: 0,
            received: Vec::new(),
            begun: false,
            done,
        });
    }

    fn go_on_with_exchanges(&mut self) -> bool {
        let mut moved = false;
        let sockets = &mut self.sockets;
        self.exchanges.retain_mut(|exchange| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(exchange.handle);
            moved |= exchange.go_on(socket);
            let Some(outcome) = exchange.outcome(socket) else {
                return true;
            };
            sockets.remove(exchange.handle);
            // As above.
            let _ = exchange.done.send(outcome);
            false
        });
        moved
    }
}

impl Exchange {
    fn go_on(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        self.begun |= socket.may_send();
        let mut moved = false;
        let end = self.data.len().min(self.received.len() + self.ahead);
        if self.begun && self.sent < end && socket.can_send() {
            let sent = socket.send_slice(&self.data[self.sent..end]).unwrap_or(0);
            self.sent += sent;
            moved |= sent > 0;
        }
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                self.received.extend_from_slice(bytes);
                (bytes.len(), bytes.len())
            });
            moved |= taken.is_ok_and(|bytes| bytes > 0);
        }
        if self.begun && self.sent == self.data.len() && socket.may_send() {
            socket.close();
            moved = true;
        }
        moved
    }

    /// What came of it, once it is over.
    fn outcome(&mut self, socket: &tcp::Socket<'_>) -> Option<Exchanged> {
        match socket.state() {
            tcp::State::Closed if !self.begun => Some(Err(anyhow!("refused"))),
            tcp::State::Closed | tcp::State::TimeWait => {
                let whole = self.sent == self.data.len() && socket.send_queue() == 0;
                let received = std::mem::take(&mut self.received);
                Some(if whole {
                    Ok(received)
                } else {
                    Err(anyhow!(
                        "the guest broke off after {} bytes back",
                        received.len()
                    ))
                })
            }
            _ => None,
        }
    }
}

impl Flood {
    /// What the wish in this datagram asks for.
    fn asked_by(frame: &[u8], datagram: &[u8]) -> Option<Self> {
        let (bytes, seconds) = wished(datagram.get(wire::UDP_BYTES..)?)?;
        let from: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
        let back: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
        let port = u16::from_be_bytes([*datagram.first()?, *datagram.get(1)?]);
        let packet = wire::udp(IP, from.into(), [CHARGEN_PORT, port], &vec![0x5a; bytes]);
        Some(Self {
            frame: wire::ethernet(back, MAC, wire::IPV4, &packet),
            until: Instant::now() + Duration::from_secs(seconds) + GRACE,
        })
    }
}

impl Pings {
    /// Whether this is an answer to one of them.
    fn answered(&mut self, now: Instant, message: &[u8]) -> bool {
        let Some((sequence, sent)) = self.sent else {
            return false;
        };
        let [kind, code, _, _, id0, id1, s0, s1] =
            *message.first_chunk::<8>().unwrap_or(&[0xff; 8]);
        let is_it = (kind, code) == (0, 0)
            && u16::from_be_bytes([id0, id1]) == PING_ID
            && u16::from_be_bytes([s0, s1]) == sequence
            && wire::checksum(&[message]) == 0
            && message[wire::ICMP_BYTES..] == self.payload[..];
        if is_it {
            self.trips.push(Some(now - sent));
            self.sent = None;
        }
        is_it
    }
}
