// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interface as `smoltcp` sees it: frames that came, and places for those that are to go.
//!
//! # Theory
//! Nothing here touches the controller. Packets are put into `inbox` and taken from `outbox` by the stack's owner, many at a time, so
//! that the controller's lock is entered once for a batch; buffers that have been read go to `spent`.
//! A frame is read where the controller wrote it, and written where it will read it.
//!
//! A frame may be answered only where there is room for an answer: with no fresh buffer, or a full outbox,
//! nothing comes in either, and packets wait in their queue.
//!
//! Nor does a frame come in for a connection that rests, before that is in the set again.
//!
//! What this station sends to itself does not leave: it comes in again, with its checksum made by hand.
//!
//! # Contexts
//! Inside the stack's lock.
use super::frame::{self, Finding, Way};
use super::mbuf::{Mbuf, Packet};
use super::rest::Resting;
use super::tap::{Direction, Tap};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use drivers::genet::{FrameBuffer, HEADROOM, TxChecksum};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress};

/// Bytes of a frame without its check sequence: header and 1500.
pub const FRAME_BYTES: usize = 1514;
/// Frames that wait for the controller at most.
const OUTBOX: usize = 64;
/// Fresh buffers that are kept at hand.
const FRESH: usize = 64;
/// Neighbours that are remembered, for display.
const NEIGHBOURS: usize = 32;

/// A frame that is to go.
#[derive(Debug)]
pub struct Outgoing {
    /// It starts at [`HEADROOM`].
    pub mbuf: Mbuf,
    /// Its length.
    pub bytes: usize,
    /// What the controller is to add.
    pub checksum: Option<TxChecksum>,
}

/// A neighbour, and when it was last heard of.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddress,
    /// Its station.
    pub mac: EthernetAddress,
    /// When, in microseconds since the start.
    pub heard_us: i64,
}

/// What passed, and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFigures {
    /// Frames that the stack was given.
    pub received: u64,
    /// Frames that the stack made.
    pub sent: u64,
    /// Of them, those that were for this station itself.
    pub looped: u64,
    /// Segments whose checksum was wrong.
    pub bad_checksums: u64,
    /// How often the stack could not send for want of a buffer or of room.
    pub stalls: u64,
}

/// The two ends.
pub struct Port {
    /// Packets that came.
    pub inbox: VecDeque<Packet>,
    /// Buffers of packets that were read.
    pub spent: Vec<Mbuf>,
    /// Who this is.
    pub sender: Sender,
    /// Who may have to be woken for a frame that came.
    pub resting: Resting,
    /// A request for a connection came since this was last cleared.
    pub asked_to_connect: bool,
    /// Heard of, newest last.
    neighbours: Vec<Neighbour>,
    received: u64,
    bad_checksums: u64,
}

/// The half that sends.
pub struct Sender {
    /// Frames that are to go.
    pub outbox: VecDeque<Outgoing>,
    /// Buffers for more.
    pub fresh: Vec<Mbuf>,
    /// This station.
    pub mac: EthernetAddress,
    /// Its addresses.
    pub own: heapless::Vec<IpAddress, 8>,
    /// Who listens in.
    pub tap: Option<Tap>,
    /// What time it is, for frames that go.
    now: Instant,
    back: VecDeque<Packet>,
    sent: u64,
    looped: u64,
    stalls: u64,
}

impl Port {
    /// A station without packets.
    pub fn new(mac: EthernetAddress) -> Self {
        Self {
            inbox: VecDeque::new(),
            spent: Vec::new(),
            sender: Sender {
                outbox: VecDeque::with_capacity(OUTBOX),
                fresh: Vec::with_capacity(FRESH),
                mac,
                own: heapless::Vec::new(),
                tap: None,
                now: Instant::ZERO,
                back: VecDeque::new(),
                sent: 0,
                looped: 0,
                stalls: 0,
            },
            resting: Resting::default(),
            asked_to_connect: false,
            neighbours: Vec::with_capacity(NEIGHBOURS),
            received: 0,
            bad_checksums: 0,
        }
    }

    /// Fresh buffers that are wanting.
    pub fn wanting(&self) -> usize {
        FRESH - self.sender.fresh.len()
    }

    /// Buffers that it has.
    pub fn buffers(&self) -> usize {
        let sender = &self.sender;
        self.inbox.len()
            + self.spent.len()
            + sender.outbox.len()
            + sender.fresh.len()
            + sender.back.len()
    }

    /// What passed.
    pub fn figures(&self) -> PortFigures {
        PortFigures {
            received: self.received,
            sent: self.sender.sent,
            looped: self.sender.looped,
            bad_checksums: self.bad_checksums,
            stalls: self.sender.stalls,
        }
    }

    /// Heard of, newest last.
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    fn note_neighbour(&mut self, packet: &Packet, now: Instant) {
        let Some((address, mac)) = frame::neighbour(packet.frame()) else {
            return;
        };
        self.neighbours.retain(|known| known.address != address);
        if self.neighbours.len() == NEIGHBOURS {
            self.neighbours.remove(0);
        }
        self.neighbours.push(Neighbour {
            address,
            mac,
            heard_us: now.total_micros(),
        });
    }
}

impl phy::Device for Port {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.sender.now = now;
        loop {
            if !self.sender.has_room() {
                self.sender.stalls += u64::from(!self.inbox.is_empty());
                return None;
            }
            let next = self.sender.back.pop_front();
            let packet = next.or_else(|| self.inbox.pop_front())?;
            let finding = frame::examine(packet.frame(), packet.sum);
            if let Finding::Segment {
                ports: Some(ports), ..
            } = finding
                && self.resting.call(ports)
            {
                self.sender.back.push_front(packet);
                return None;
            }
            self.sender.offer(Direction::In, packet.frame());
            self.received += 1;
            match finding {
                Finding::Plain => self.note_neighbour(&packet, now),
                Finding::Segment { opens, .. } => self.asked_to_connect |= opens,
                Finding::Unsound => {
                    self.bad_checksums += 1;
                    self.spent.push(packet.mbuf);
                    continue;
                }
            }
            let spent = &mut self.spent;
            let sender = &mut self.sender;
            return Some((RxToken { packet, spent }, TxToken { sender }));
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        self.sender.now = now;
        if !self.sender.has_room() {
            self.sender.stalls += 1;
            return None;
        }
        Some(TxToken {
            sender: &mut self.sender,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // `frame.rs` and the controller see to these.
        checksum.tcp = Checksum::None;
        checksum.udp = Checksum::None;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities.checksum = checksum;
        capabilities
    }
}

/// A frame that came.
pub struct RxToken<'a> {
    packet: Packet,
    spent: &'a mut Vec<Mbuf>,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(self.packet.frame());
        self.spent.push(self.packet.mbuf);
        result
    }
}

/// A place for a frame.
pub struct TxToken<'a> {
    sender: &'a mut Sender,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        let fresh = self.sender.fresh.pop();
        let mut mbuf = fresh.expect("a token is made only where there is a buffer");
        let frame = &mut mbuf.bytes_mut()[HEADROOM..HEADROOM + bytes];
        let result = write(frame);
        self.sender.send(mbuf, bytes);
        result
    }
}

impl Sender {
    /// May a frame be made?
    pub fn has_room(&self) -> bool {
        !self.fresh.is_empty() && self.outbox.len() + self.back.len() < OUTBOX
    }

    fn offer(&mut self, direction: Direction, frame: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.offer(direction, self.now, frame);
        }
    }

    fn send(&mut self, mut mbuf: Mbuf, bytes: usize) {
        let frame = &mut mbuf.bytes_mut()[HEADROOM..HEADROOM + bytes];
        let checksum = frame::begin_checksum(frame);
        let own = &self.own;
        let way = frame::way(frame, self.mac, |address| own.contains(&address));
        self.sent += 1;
        if way == Way::Back {
            if let Some(at) = checksum {
                frame::end_checksum(frame, at);
            }
            self.looped += 1;
        }
        self.offer(Direction::Out, frame);
        match way {
            Way::Out => self.outbox.push_back(Outgoing {
                mbuf,
                bytes,
                checksum,
            }),
            Way::Back => self.back.push_back(Packet {
                mbuf,
                start: HEADROOM as u16,
                bytes: bytes as u16,
                sum: None,
            }),
        }
    }
}
