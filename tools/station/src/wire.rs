// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames made by hand, where `smoltcp` would be slower, or too correct.

use std::net::Ipv4Addr;

/// Ethernet's header.
pub const ETHERNET_BYTES: usize = 14;
/// IPv4's, without options.
pub const IPV4_BYTES: usize = 20;
/// UDP's.
pub const UDP_BYTES: usize = 8;
/// ICMP's, of an echo.
pub const ICMP_BYTES: usize = 8;
/// The least frame, without its check sequence.
pub const FRAME_BYTES_MIN: usize = 60;

/// EtherTypes.
pub const ARP: [u8; 2] = [0x08, 0x06];
/// As above.
pub const IPV4: [u8; 2] = [0x08, 0x00];
/// As above.
pub const IPV6: [u8; 2] = [0x86, 0xdd];
/// IP's protocols.
pub const ICMP: u8 = 1;
/// As above.
pub const TCP: u8 = 6;
/// As above.
pub const UDP: u8 = 17;

/// The Internet's checksum (RFC 1071) of the parts, one after the other; each but the last of an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = words
        .map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// An Ethernet frame, filled up to the least length.
pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind, payload].concat();
    frame.resize(frame.len().max(FRAME_BYTES_MIN), 0);
    frame
}

/// An IPv4 packet. `fragment` is the word of flags and offset.
pub fn ipv4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    id: u16,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let total = u16::try_from(IPV4_BYTES + payload.len()).unwrap_or(u16::MAX);
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

/// What UDP and TCP sum besides their own bytes.
pub fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, bytes: usize) -> [u8; 12] {
    let mut header = [0; 12];
    header[..4].copy_from_slice(&from.octets());
    header[4..8].copy_from_slice(&to.octets());
    header[9] = protocol;
    header[10..].copy_from_slice(&(bytes as u16).to_be_bytes());
    header
}

/// A UDP datagram over IPv4.
pub fn udp(from: Ipv4Addr, to: Ipv4Addr, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let bytes = UDP_BYTES + payload.len();
    let mut datagram = Vec::with_capacity(bytes);
    datagram.extend(ports[0].to_be_bytes());
    datagram.extend(ports[1].to_be_bytes());
    datagram.extend((bytes as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let sum = checksum(&[&pseudo_header(from, to, UDP, bytes), &datagram]);
    // Zero would say that there is none.
    let sum = if sum == 0 { u16::MAX } else { sum };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, UDP, 0, 0, &datagram)
}

/// A TCP segment over IPv4: ports, sequence and acknowledgement numbers, flags, window.
pub fn tcp(
    from: Ipv4Addr,
    to: Ipv4Addr,
    ports: [u16; 2],
    numbers: [u32; 2],
    flags: u8,
    window: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend(ports[0].to_be_bytes());
    segment.extend(ports[1].to_be_bytes());
    segment.extend(numbers[0].to_be_bytes());
    segment.extend(numbers[1].to_be_bytes());
    segment.extend([0x50, flags]);
    segment.extend(window.to_be_bytes());
    segment.extend([0, 0, 0, 0]);
    segment.extend(payload);
    let sum = checksum(&[&pseudo_header(from, to, TCP, segment.len()), &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, TCP, 0, 0, &segment)
}

/// An ICMP echo request over IPv4.
pub fn echo_request(
    from: Ipv4Addr,
    to: Ipv4Addr,
    id: u16,
    sequence: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(payload);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, ICMP, sequence, 0, &message)
}

/// An ARP request.
pub fn arp_request(from_mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend(from_mac);
    request.extend(from.octets());
    request.extend([0; 6]);
    request.extend(to.octets());
    ethernet([0xff; 6], from_mac, ARP, &request)
}

/// Where an IPv4 packet without options lies in a frame: its protocol and what it carries.
pub fn ipv4_in(frame: &[u8]) -> Option<(u8, &[u8])> {
    let packet = frame.get(ETHERNET_BYTES..)?;
    if frame[12..14] != IPV4 || *packet.first()? != 0x45 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    Some((*packet.get(9)?, packet.get(IPV4_BYTES..total)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetFrame, Icmpv4Packet, Icmpv4Repr, IpAddress, Ipv4Packet, Ipv4Repr, TcpPacket,
        TcpRepr, UdpPacket, UdpRepr,
    };

    const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    /// smoltcp, which nobody here wrote, finds nothing wrong.
    #[test]
    fn packets_are_what_another_stack_takes() {
        let sums = ChecksumCapabilities::default();
        let (from, to) = (IpAddress::Ipv4(HERE), IpAddress::Ipv4(THERE));
        for payload in [&b""[..], b"odd", &[0xff; 1000]] {
            let packet = udp(HERE, THERE, [9, 19], payload);
            let ip = Ipv4Packet::new_checked(&packet[..]).unwrap();
            Ipv4Repr::parse(&ip, &sums).unwrap();
            let datagram = UdpPacket::new_checked(ip.payload()).unwrap();
            UdpRepr::parse(&datagram, &from, &to, &sums).unwrap();
            assert_eq!(datagram.payload(), payload);

            let packet = tcp(HERE, THERE, [9, 19], [1, 2], 0x10, 100, payload);
            let ip = Ipv4Packet::new_checked(&packet[..]).unwrap();
            let segment = TcpPacket::new_checked(ip.payload()).unwrap();
            let repr = TcpRepr::parse(&segment, &from, &to, &sums).unwrap();
            assert_eq!(repr.payload, payload);

            let packet = echo_request(HERE, THERE, 1, 2, payload);
            let ip = Ipv4Packet::new_checked(&packet[..]).unwrap();
            let message = Icmpv4Packet::new_checked(ip.payload()).unwrap();
            let repr = Icmpv4Repr::parse(&message, &sums).unwrap();
            assert!(
                matches!(repr, Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data } if data == payload)
            );

            let frame = ethernet([1; 6], [2; 6], IPV4, &packet);
            assert_eq!(
                EthernetFrame::new_checked(&frame[..]).unwrap().payload()[..packet.len()],
                packet[..]
            );
            assert_eq!(ipv4_in(&frame), Some((ICMP, &packet[IPV4_BYTES..])));
        }
    }
}
