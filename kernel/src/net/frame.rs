// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the interface itself must know of a frame: where its checksum goes, whom it is for, which neighbour it tells of.
//!
//! # Theory
//! GENET sums a frame from one byte to its end, and puts the complement into another place. So TCP's and UDP's
//! checksum fields leave with the sum over the pseudo-header in them, and the controller does the rest. Fragments
//! leave without: the sum is over the whole datagram. (Of UDP then none is sent, which RFC 768 allows; TCP is not
//! fragmented.)
//!
//! On the way in the controller tells the sum over all that follows the Ethernet header. Take the IP header from it, which in
//! a good packet sums to nothing, add the pseudo-header, and all ones are left of a good segment. Where that does not come out, the sum
//! is made again by hand before the frame is called bad: the controller may have summed padding, too.
//! What a fragment carries is not checked; its frame was, by its check sequence.
//!
//! References: RFC 768, 826, 1071, 4443, 4861, 8200.
use core::sync::atomic::{AtomicU64, Ordering};
use drivers::genet::TxChecksum;
use smoltcp::wire::checksum::{combine, data, pseudo_header};
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol,
    Ipv4Packet, Ipv6Packet,
};

/// Bytes of an Ethernet header.
const HEADER: usize = 14;

/// A segment of TCP or UDP in a frame, whole.
struct Segment {
    source: IpAddress,
    destination: IpAddress,
    protocol: IpProtocol,
    /// Its first byte in the frame, and the one behind its last.
    start: usize,
    end: usize,
    /// Its checksum's place in the frame.
    field: usize,
}

impl Segment {
    fn of(frame: &[u8]) -> Option<Self> {
        let kind = EthernetFrame::new_checked(frame).ok()?.ethertype();
        let packet = frame.get(HEADER..)?;
        let (protocol, at, bytes, source, destination) = match kind {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(packet).ok()?;
                if packet.more_frags() || packet.frag_offset() != 0 {
                    return None;
                }
                let (from, to) = (packet.src_addr(), packet.dst_addr());
                let bytes = usize::from(packet.total_len());
                let at = usize::from(packet.header_len());
                (packet.next_header(), at, bytes, from.into(), to.into())
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(packet).ok()?;
                let (from, to) = (packet.src_addr(), packet.dst_addr());
                let bytes = packet.total_len();
                (packet.next_header(), 40, bytes, from.into(), to.into())
            }
            _ => return None,
        };
        let field = match protocol {
            IpProtocol::Tcp => 16,
            IpProtocol::Udp => 6,
            _ => return None,
        };
        let (start, end) = (HEADER + at, HEADER + bytes);
        (start + field + 2 <= end && end <= frame.len()).then_some(Self {
            source,
            destination,
            protocol,
            start,
            end,
            field: start + field,
        })
    }

    fn pseudo_header(&self) -> u16 {
        let bytes = (self.end - self.start) as u32;
        pseudo_header(&self.source, &self.destination, self.protocol, bytes)
    }
}

/// Finds the checksum of TCP or UDP that is to be filled in, and puts the pseudo-header's sum there.
pub fn begin_checksum(frame: &mut [u8]) -> Option<TxChecksum> {
    let segment = Segment::of(frame)?;
    let field = segment.field;
    frame[field..field + 2].copy_from_slice(&segment.pseudo_header().to_be_bytes());
    Some(TxChecksum {
        start: segment.start as u16,
        field: field as u16,
        udp: segment.protocol == IpProtocol::Udp,
    })
}

/// Does what GENET would do, for a frame that never gets there.
pub fn end_checksum(frame: &mut [u8], at: TxChecksum) {
    let (start, field) = (usize::from(at.start), usize::from(at.field));
    let sum = !data(&frame[start..]);
    let sum = if at.udp && sum == 0 { 0xffff } else { sum };
    frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A whole segment of TCP or UDP with the right checksum; it may ask to open a connection.
    Segment {
        /// It has SYN without ACK.
        opens: bool,
        /// Of TCP: the port that it is for, and the one that it is from.
        ports: Option<[u16; 2]>,
    },
    /// One with a wrong checksum.
    Unsound,
    /// Anything else.
    Plain,
}

/// Looks at a frame that came. `sum` is the controller's over what follows the Ethernet header, if it made one.
pub fn examine(frame: &[u8], sum: Option<u16>) -> Finding {
    let Some(segment) = Segment::of(frame) else {
        return Finding::Plain;
    };
    if !is_sound(frame, &segment, sum) {
        return Finding::Unsound;
    }
    if segment.protocol != IpProtocol::Tcp {
        let (opens, ports) = (false, None);
        return Finding::Segment { opens, ports };
    }
    let opens = frame[segment.start + 13] & 0x12 == 0x02;
    let port = |at| u16::from_be_bytes([frame[segment.start + at], frame[segment.start + at + 1]]);
    let ports = Some([port(2), port(0)]);
    Finding::Segment { opens, ports }
}

fn is_sound(frame: &[u8], segment: &Segment, sum: Option<u16>) -> bool {
    let stored = &frame[segment.field..segment.field + 2];
    if segment.protocol == IpProtocol::Udp && stored == [0, 0] {
        return matches!(segment.source, IpAddress::Ipv4(_));
    }
    let pseudo = segment.pseudo_header();
    if let Some(sum) = sum {
        let header = data(&frame[HEADER..segment.start]);
        if combine(&[sum, !header, pseudo]) == 0xffff {
            return true;
        }
    }
    let sound = combine(&[data(&frame[segment.start..segment.end]), pseudo]) == 0xffff;
    if sound && sum.is_some() {
        // ORDERING: with nobody; a count of its own.
        REMADE.fetch_add(1, Ordering::Relaxed);
    }
    sound
}

/// Good segments whose sum by the controller did not come out.
static REMADE: AtomicU64 = AtomicU64::new(0);

/// How many good segments there were whose sum by the controller did not come out, and was made again by hand.
pub fn sums_remade() -> u64 {
    // ORDERING: with nobody; a count of its own.
    REMADE.load(Ordering::Relaxed)
}

/// Whom a frame is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The wire.
    Out,
    /// This machine itself.
    Back,
}

/// Is a frame of this station, `mac`, which has the addresses for which `is_own` is true, for itself?
pub fn way(frame: &[u8], mac: EthernetAddress, is_own: impl Fn(IpAddress) -> bool) -> Way {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
        return Way::Out;
    };
    if ethernet.dst_addr() == mac {
        return Way::Back;
    }
    let asked = match ethernet.ethertype() {
        EthernetProtocol::Arp => arp(ethernet.payload()).map(|arp| {
            let ArpRepr::EthernetIpv4 {
                target_protocol_addr,
                ..
            } = arp
            else {
                return None;
            };
            Some(IpAddress::from(target_protocol_addr))
        }),
        EthernetProtocol::Ipv6 => Some(solicited(ethernet.payload())),
        _ => None,
    };
    match asked.flatten() {
        Some(address) if is_own(address) => Way::Back,
        _ => Way::Out,
    }
}

fn arp(payload: &[u8]) -> Option<ArpRepr> {
    ArpRepr::parse(&ArpPacket::new_checked(payload).ok()?).ok()
}

/// The address that a neighbour solicitation asks for.
fn solicited(packet: &[u8]) -> Option<IpAddress> {
    let packet = Ipv6Packet::new_checked(packet).ok()?;
    let payload = packet.payload();
    if packet.next_header() != IpProtocol::Icmpv6 || payload.first() != Some(&135) {
        return None;
    }
    let target: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
    Some(IpAddress::from(core::net::Ipv6Addr::from(target)))
}

/// The neighbour that a frame which came in tells of: an ARP packet's sender, or the target of an advertisement.
pub fn neighbour(frame: &[u8]) -> Option<(IpAddress, EthernetAddress)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let ArpRepr::EthernetIpv4 {
                source_hardware_addr,
                source_protocol_addr,
                ..
            } = arp(ethernet.payload())?
            else {
                return None;
            };
            (!source_protocol_addr.is_unspecified())
                .then_some((source_protocol_addr.into(), source_hardware_addr))
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let payload = packet.payload();
            if packet.next_header() != IpProtocol::Icmpv6 || payload.first() != Some(&136) {
                return None;
            }
            let target: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
            // Option 2, of 8 bytes: the target's link-layer address.
            let mac = match payload.get(24..32)? {
                [2, 1, mac @ ..] => EthernetAddress::from_bytes(mac),
                _ => return None,
            };
            Some((IpAddress::from(core::net::Ipv6Addr::from(target)), mac))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
