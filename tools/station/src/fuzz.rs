// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that are wrong, as seeded: Ethernet, ARP, IPv4, IPv6 and NDP, ICMP, UDP, TCP, DHCP, DNS.
//!
//! # Theory
//! Noise is thrown away by the first check that it meets. So each frame begins as a good one of its kind, with fields that lie
//! (lengths, offsets, counts, pointers), then some of its bytes are changed, and then most of them get checksums that add
//! up, from the inside out: what is wrong is found only by who looks for it. Answers to what the guest asks (DHCP, DNS) bear
//! the guest's own numbers, or nobody would read on.
//!
//! No frame says that it is from the station, so that what the guest learns from them does not cut it off.

use std::net::Ipv4Addr;

use fastrand::Rng;

use crate::wire::{self, ETHERNET_BYTES, FRAME_BYTES_MIN, ICMP, IPV4_BYTES, TCP, UDP, UDP_BYTES};
use crate::{GUEST_IP, MAC};

/// What is wrong in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Type, length, address.
    Ethernet,
    /// As its name says.
    Arp,
    /// As its name says.
    Ipv4,
    /// With extension headers, and NDP.
    Ipv6,
    /// As its name says.
    Icmp,
    /// As its name says.
    Udp,
    /// As its name says.
    Tcp,
    /// An answer of a server's.
    Dhcp,
    /// As above.
    Dns,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Ethernet,
        Self::Arp,
        Self::Ipv4,
        Self::Ipv6,
        Self::Icmp,
        Self::Udp,
        Self::Tcp,
        Self::Dhcp,
        Self::Dns,
    ];
}

/// Ports that somebody may listen on.
const PORTS: [u16; 10] = [7, 9, 19, 53, 67, 68, 69, 80, 123, 5201];
/// DHCP's ports: the server's, the client's.
const DHCP: [u16; 2] = [67, 68];
const DNS_PORT: u16 = 53;
/// A DHCP message before its options, and the number that begins those.
const DHCP_BYTES: usize = 236;
const DHCP_MAGIC: [u8; 4] = [99, 130, 83, 99];
/// The longest payload of these frames.
const PAYLOAD_MAX: usize = 1400;

/// The generator.
pub struct Fuzzer {
    rng: Rng,
    guest: [u8; 6],
    made: usize,
}

impl Fuzzer {
    /// Frames for the guest with this Ethernet address.
    pub fn new(seed: u64, guest: [u8; 6]) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            guest,
            made: 0,
        }
    }

    /// The next frame; the kinds take turns.
    pub fn frame(&mut self) -> (Kind, Vec<u8>) {
        let kind = Kind::ALL[self.made % Kind::ALL.len()];
        self.made += 1;
        let mut frame = match kind {
            Kind::Ethernet => self.ethernet(),
            Kind::Arp => self.arp(),
            Kind::Ipv4 => {
                let payload = self.noise(PAYLOAD_MAX);
                let protocol = self.rng.u8(..);
                self.ipv4(protocol, &payload)
            }
            Kind::Ipv6 => self.ipv6(),
            Kind::Icmp => self.icmp(),
            Kind::Udp => {
                let payload = self.noise(PAYLOAD_MAX);
                let ports = [self.port(), self.port()];
                self.udp(ports, &payload)
            }
            Kind::Tcp => self.tcp(),
            Kind::Dhcp => {
                let xid = self.rng.u32(..).to_be_bytes();
                let message = self.dhcp(xid);
                self.udp(DHCP, &message)
            }
            Kind::Dns => {
                let id = self.rng.u16(..).to_be_bytes();
                let message = self.dns(id, &[]);
                let ports = [DNS_PORT, self.port()];
                self.udp(ports, &message)
            }
        };
        self.spoil(&mut frame);
        (kind, frame)
    }

    /// A wrong answer to the guest's frame, if that asks a DHCP or DNS server something.
    pub fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (UDP, datagram) = wire::ipv4_in(frame)? else {
            return None;
        };
        let port = |at: usize| {
            Some(u16::from_be_bytes([
                *datagram.get(at)?,
                *datagram.get(at + 1)?,
            ]))
        };
        let (from, to) = (port(0)?, port(2)?);
        let message = datagram.get(UDP_BYTES..)?;
        let mut answer = match to {
            DNS_PORT => {
                let question = message.get(12..)?.to_vec();
                let message = self.dns([message[0], message[1]], &question);
                self.udp([to, from], &message)
            }
            _ if to == DHCP[0] => {
                let message = self.dhcp(message.get(4..8)?.try_into().ok()?);
                self.udp(DHCP, &message)
            }
            _ => return None,
        };
        self.spoil(&mut answer);
        Some(answer)
    }

    fn noise(&mut self, most: usize) -> Vec<u8> {
        let bytes = match self.rng.u8(0..4) {
            0 => 0,
            1 => self.rng.usize(0..=32),
            _ => self.rng.usize(0..=most),
        };
        let mut noise = vec![0; bytes];
        self.rng.fill(&mut noise);
        noise
    }

    fn port(&mut self) -> u16 {
        match self.rng.bool() {
            true => PORTS[self.rng.usize(0..PORTS.len())],
            false => self.rng.u16(..),
        }
    }

    /// A number that is right, near its limits, or anything.
    fn lie(&mut self, truth: u16) -> u16 {
        match self.rng.u8(0..8) {
            0 => 0,
            1 => truth.wrapping_add(1),
            2 => truth.wrapping_sub(1),
            3 => u16::MAX,
            4 => self.rng.u16(..),
            _ => truth,
        }
    }

    /// Somebody in the guest's network, or anybody, but not the station.
    fn source(&mut self) -> Ipv4Addr {
        match self.rng.u8(0..8) {
            0 => Ipv4Addr::UNSPECIFIED,
            1 => Ipv4Addr::BROADCAST,
            2 => GUEST_IP,
            3 => Ipv4Addr::new(127, 0, 0, 1),
            4 => Ipv4Addr::new(224, 0, 0, 1),
            _ => Ipv4Addr::new(10, 0, 2, self.rng.u8(100..200)),
        }
    }

    fn to(&mut self) -> [u8; 6] {
        match self.rng.u8(0..16) {
            0 => [0xff; 6],
            1 => [1, 0, 0x5e, 0, 0, 1],
            2 => [0x33, 0x33, 0, 0, 0, 1],
            3 => [2, 0, 0, 0, 0, self.rng.u8(..)],
            _ => self.guest,
        }
    }

    fn from(&mut self) -> [u8; 6] {
        let mut from = MAC;
        from[5] = self.rng.u8(0x80..=0xff);
        from
    }

    fn in_ethernet(&mut self, kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let (to, from) = (self.to(), self.from());
        wire::ethernet(to, from, kind, payload)
    }

    fn ethernet(&mut self) -> Vec<u8> {
        let payload = self.noise(1500);
        let kind = match self.rng.u8(0..4) {
            0 => wire::IPV4,
            1 => [0x81, 0],
            2 => (self.rng.u16(0..1536)).to_be_bytes(),
            _ => self.rng.u16(..).to_be_bytes(),
        };
        let mut frame = self.in_ethernet(kind, &payload);
        if self.rng.u8(0..4) == 0 {
            let bytes = self.rng.usize(0..FRAME_BYTES_MIN);
            frame.truncate(bytes);
        }
        frame
    }

    fn arp(&mut self) -> Vec<u8> {
        let mut message = vec![0, 1, 8, 0, 6, 4, 0, self.rng.u8(0..5)];
        let (sender, target) = (self.source(), self.source());
        message.extend(self.from());
        message.extend(sender.octets());
        message.extend(self.guest);
        message.extend(if self.rng.bool() { GUEST_IP } else { target }.octets());
        let lying = self.rng.usize(0..8);
        if self.rng.bool() {
            message[lying] = self.rng.u8(..);
        }
        self.in_ethernet(wire::ARP, &message)
    }

    fn ipv4(&mut self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let from = self.source();
        let to = match self.rng.u8(0..8) {
            0 => Ipv4Addr::BROADCAST,
            1 => Ipv4Addr::new(224, 0, 0, 251),
            2 => self.source(),
            _ => GUEST_IP,
        };
        let fragment = match self.rng.u8(0..4) {
            0 => self.rng.u16(..),
            _ => 0,
        };
        let id = self.rng.u16(..);
        let mut packet = wire::ipv4(from, to, protocol, id, fragment, payload);
        if self.rng.u8(0..4) == 0 {
            // Options, or a header length without them.
            let words = self.rng.u8(..16);
            packet[0] = 0x40 | words;
            if self.rng.bool() && words > 5 {
                let mut options = vec![0; usize::from(words - 5) * 4];
                self.rng.fill(&mut options);
                packet.splice(IPV4_BYTES..IPV4_BYTES, options);
            }
        }
        let total = self.lie(packet.len() as u16);
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        self.in_ethernet(wire::IPV4, &packet)
    }

    fn icmp(&mut self) -> Vec<u8> {
        let mut message = vec![self.rng.u8(0..20), self.rng.u8(0..16), 0, 0];
        message.extend(self.rng.u32(..).to_be_bytes());
        if self.rng.bool() {
            // Of an error: the packet that it is about.
            let about = self.noise(64);
            let ports = [self.port(), self.port()];
            message.extend(wire::udp(GUEST_IP, self.source(), ports, &about));
            let left = self.rng.usize(8..=message.len());
            message.truncate(left);
        } else {
            message.extend(self.noise(PAYLOAD_MAX));
        }
        self.ipv4(ICMP, &message)
    }

    fn udp(&mut self, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let mut datagram = [ports[0].to_be_bytes(), ports[1].to_be_bytes()].concat();
        let bytes = self.lie((UDP_BYTES + payload.len()) as u16);
        datagram.extend(bytes.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        self.ipv4(UDP, &datagram)
    }

    fn tcp(&mut self) -> Vec<u8> {
        let mut segment = [self.port().to_be_bytes(), self.port().to_be_bytes()].concat();
        segment.extend(self.rng.u64(..).to_be_bytes());
        let options = self.tcp_options();
        let words = 5 + options.len() as u8 / 4;
        let words = if self.rng.u8(0..4) == 0 {
            self.rng.u8(..16)
        } else {
            words
        };
        let flags = match self.rng.bool() {
            true => [0x02, 0x12, 0x10, 0x11, 0x14, 0x04, 0x29][self.rng.usize(0..7)],
            false => self.rng.u8(..),
        };
        segment.extend([words << 4, flags]);
        segment.extend(self.rng.u16(..).to_be_bytes());
        segment.extend([0, 0]);
        let urgent = self.lie(0);
        segment.extend(urgent.to_be_bytes());
        segment.extend(options);
        segment.extend(self.noise(PAYLOAD_MAX - 40));
        self.ipv4(TCP, &segment)
    }

    fn tcp_options(&mut self) -> Vec<u8> {
        let mut options = Vec::new();
        for _ in 0..self.rng.u8(0..5) {
            let kind = self.rng.u8(0..10);
            let truth = [1, 1, 4, 3, 2, 10, 6, 6, 10, 3][usize::from(kind)];
            let bytes = self.lie(truth) as u8;
            options.extend([kind, bytes]);
            let data = usize::from(truth.saturating_sub(2));
            options.extend((0..data).map(|_| self.rng.u8(..)));
        }
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), self.rng.u8(0..2));
        options
    }

    fn ipv6(&mut self) -> Vec<u8> {
        // Hop-by-hop, routing, fragment, destination options, ICMPv6, UDP, TCP, nothing.
        const NEXT: [u8; 8] = [0, 43, 44, 60, 58, 17, 6, 59];
        let mut next = NEXT[self.rng.usize(0..NEXT.len())];
        let first = next;
        let mut payload = Vec::new();
        for _ in 0..self.rng.u8(0..4) {
            if !matches!(next, 0 | 43 | 44 | 60) {
                break;
            }
            next = NEXT[self.rng.usize(0..NEXT.len())];
            payload.extend([next, self.lie(0) as u8]);
            payload.extend((0..6).map(|_| self.rng.u8(..)));
        }
        if next == 58 {
            // Router and neighbour discovery, echo.
            let at = payload.len();
            payload.extend([self.rng.u8(128..138), 0, 0, 0]);
            payload.extend((0..20).map(|_| self.rng.u8(..)));
            for _ in 0..self.rng.u8(0..4) {
                let length = self.lie(1) as u8;
                payload.extend([self.rng.u8(0..6), length]);
                payload.extend((0..6).map(|_| self.rng.u8(..)));
            }
            payload[at + 1] = self.lie(0) as u8;
        } else {
            payload.extend(self.noise(PAYLOAD_MAX - 64));
        }
        let mut packet = vec![0x60, 0, 0, 0];
        let bytes = self.lie(payload.len() as u16);
        packet.extend(bytes.to_be_bytes());
        packet.extend([
            first,
            if self.rng.bool() {
                255
            } else {
                self.rng.u8(..)
            },
        ]);
        let mut link_local = [0; 16];
        link_local[..2].copy_from_slice(&[0xfe, 0x80]);
        link_local[8..].copy_from_slice(&self.rng.u64(..).to_be_bytes());
        packet.extend(link_local);
        let mut all_nodes = [0; 16];
        all_nodes[..2].copy_from_slice(&[0xff, 2]);
        all_nodes[15] = 1;
        let [a, b, c, d, e, f] = self.guest;
        let guest = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        let mut to = all_nodes;
        if self.rng.bool() {
            to = [0; 16];
            to[..2].copy_from_slice(&[0xfe, 0x80]);
            to[8..].copy_from_slice(&guest);
        }
        packet.extend(to);
        packet.extend(payload);
        self.in_ethernet(wire::IPV6, &packet)
    }

    fn dhcp(&mut self, xid: [u8; 4]) -> Vec<u8> {
        let mut message = vec![self.rng.u8(1..4), 1, 6, 0];
        message.extend(xid);
        message.resize(DHCP_BYTES, 0);
        message[16..20].copy_from_slice(&[10, 0, 2, self.rng.u8(..)]);
        message[28..34].copy_from_slice(&self.guest);
        message.extend(DHCP_MAGIC);
        message.extend([53, 1, self.rng.u8(0..9)]);
        for _ in 0..self.rng.u8(0..12) {
            let truth = self.rng.u8(0..16);
            let bytes = self.lie(truth.into()) as u8;
            let code = [0, 1, 3, 6, 50, 51, 54, 58, 59, 61, 119, 255][self.rng.usize(0..12)];
            message.extend([code, bytes]);
            message.extend((0..truth).map(|_| self.rng.u8(..)));
        }
        if self.rng.bool() {
            message.push(255);
        }
        message
    }

    fn dns(&mut self, id: [u8; 2], question: &[u8]) -> Vec<u8> {
        let mut message = id.to_vec();
        message.extend([0x81, 0x80 | self.rng.u8(0..6)]);
        let questions = u16::from(!question.is_empty());
        for truth in [questions, 1, 0, 0] {
            message.extend(self.lie(truth).to_be_bytes());
        }
        message.extend(question);
        for _ in 0..self.rng.u8(0..4) {
            match self.rng.u8(0..4) {
                // A name that points: to the question, to itself, ahead, anywhere.
                0 => message.extend([0xc0, 12]),
                1 => message.extend([0xc0, message.len() as u8]),
                2 => message.extend((0xc000 | self.rng.u16(..)).to_be_bytes()),
                _ => {
                    let label = self.rng.u8(..);
                    message.push(label);
                    message.extend(self.noise(80));
                }
            }
            let kind = [1, 28, 5, 16][self.rng.usize(0..4)];
            message.extend([0, kind, 0, 1, 0, 0, 0, 60]);
            let bytes = self.lie(4);
            message.extend(bytes.to_be_bytes());
            message.extend(self.rng.u32(..).to_be_bytes());
        }
        message
    }

    /// Some bytes become others, the frame shorter or longer; then most frames get checksums that add up.
    fn spoil(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..self.rng.u8(0..4) {
            if frame.len() <= ETHERNET_BYTES {
                return;
            }
            // Headers are where it matters.
            let end = frame
                .len()
                .min(if self.rng.bool() { 100 } else { frame.len() });
            let at = self.rng.usize(ETHERNET_BYTES..end.max(ETHERNET_BYTES + 1));
            match self.rng.u8(0..8) {
                0 => frame.truncate(at),
                1 => {
                    let more = self.noise(64);
                    frame.extend(more);
                }
                2 => frame[at] ^= 1 << self.rng.u8(0..8),
                3 => frame[at] = 0,
                4 => frame[at] = 0xff,
                _ => {}
            }
        }
        frame.truncate(crate::cable::FRAME_BYTES_MAX);
        if self.rng.u8(0..8) != 0 {
            add_up(frame);
        }
    }
}

/// Gives an IP packet the checksums that its lengths, true or not, ask for.
fn add_up(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(ETHERNET_BYTES..) else {
        return;
    };
    match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= IPV4_BYTES => {
            let header = usize::from(packet[0] & 15) * 4;
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            if header < IPV4_BYTES || header > packet.len() {
                return;
            }
            // The header's sum adds up also where its length lies.
            sum_at(&mut packet[..header], 10, &[]);
            if total < header || total > packet.len() {
                return;
            }
            let (pseudo, protocol) = {
                let address =
                    |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap_or_default();
                let protocol = packet[9];
                let pseudo = wire::pseudo_header(
                    address(12).into(),
                    address(16).into(),
                    protocol,
                    total - header,
                );
                (pseudo, protocol)
            };
            let payload = &mut packet[header..total];
            match protocol {
                ICMP => sum_at(payload, 2, &[]),
                UDP => sum_at(payload, 6, &pseudo),
                TCP => sum_at(payload, 16, &pseudo),
                _ => {}
            }
        }
        Some(6) if packet.len() >= 40 && packet[6] == 58 => {
            let mut pseudo = packet[8..40].to_vec();
            let payload = &mut packet[40..];
            pseudo.extend((payload.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, 58]);
            sum_at(payload, 2, &pseudo);
        }
        _ => {}
    }
}

fn sum_at(bytes: &mut [u8], at: usize, pseudo: &[u8]) {
    if bytes.len() >= at + 2 {
        bytes[at..at + 2].fill(0);
        let sum = wire::checksum(&[pseudo, bytes]);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x57];

    #[test]
    fn a_seed_gives_the_same_frames_and_another_one_others() {
        let frames = |seed| {
            let mut fuzzer = Fuzzer::new(seed, GUEST);
            (0..500).map(|_| fuzzer.frame().1).collect::<Vec<_>>()
        };
        assert_eq!(frames(1), frames(1));
        assert_ne!(frames(1), frames(2));
    }

    #[test]
    fn every_kind_has_its_turn_and_no_frame_is_too_long_or_the_stations() {
        let mut fuzzer = Fuzzer::new(3, GUEST);
        let mut seen = BTreeMap::new();
        for _ in 0..9_000 {
            let (kind, frame) = fuzzer.frame();
            *seen.entry(kind).or_insert(0) += 1;
            assert!(frame.len() <= crate::cable::FRAME_BYTES_MAX, "{kind:?}");
            assert_ne!(frame.get(6..12), Some(&MAC[..]), "{kind:?}");
        }
        assert!(seen.len() == Kind::ALL.len() && seen.values().all(|n| *n == 1000));
    }

    #[test]
    fn most_of_ip_gets_past_its_checksum() {
        let mut fuzzer = Fuzzer::new(4, GUEST);
        let (mut packets, mut good) = (0, 0);
        for _ in 0..9_000 {
            let (kind, frame) = fuzzer.frame();
            if matches!(kind, Kind::Tcp | Kind::Udp | Kind::Icmp)
                && frame.len() > 34
                && frame[14] == 0x45
            {
                packets += 1;
                good += u32::from(wire::checksum(&[&frame[14..34]]) == 0);
            }
        }
        assert!(packets > 1000 && good * 2 > packets, "{good} of {packets}");
    }

    #[test]
    fn answers_bear_the_guests_numbers() {
        let mut fuzzer = Fuzzer::new(5, GUEST);
        let question = [
            &[0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            b"\x04name\0\0\x01\0\x01",
        ]
        .concat();
        let packet = wire::udp(GUEST_IP, crate::IP, [4000, DNS_PORT], &question);
        let frame = wire::ethernet(MAC, GUEST, wire::IPV4, &packet);
        let right = (0..100)
            .filter_map(|_| fuzzer.answer(&frame))
            .filter(|answer| {
                wire::ipv4_in(answer).is_some_and(|(protocol, datagram)| {
                    protocol == UDP
                        && datagram.get(..4) == Some(&[0, 53, 0x0f, 0xa0])
                        && datagram.get(8..10) == Some(&[0xab, 0xcd])
                })
            });
        assert!(right.count() > 30);
        let other = wire::udp(GUEST_IP, crate::IP, [4000, 7], &question);
        assert!(
            fuzzer
                .answer(&wire::ethernet(MAC, GUEST, wire::IPV4, &other))
                .is_none()
        );
    }
}
