// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames made by `smoltcp` with all checksums, held against what is found in them.
use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr};
use std::vec;
use std::vec::Vec;

const MAC: EthernetAddress = EthernetAddress([0xdc, 0xa6, 0x32, 1, 2, 3]);
const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

fn addresses(version: u8) -> (IpAddress, IpAddress) {
    match version {
        4 => (
            Ipv4Addr::new(10, 0, 2, 2).into(),
            Ipv4Addr::new(10, 0, 2, 15).into(),
        ),
        _ => (
            Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2).into(),
            Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 15).into(),
        ),
    }
}

fn ethernet(version: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = MAC.0.to_vec();
    frame.extend(OTHER.0);
    frame.extend(if version == 4 { [8, 0] } else { [0x86, 0xdd] });
    frame.extend(payload);
    frame
}

fn packet(
    version: u8,
    protocol: IpProtocol,
    bytes: usize,
    emit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let (from, to) = addresses(version);
    let ip = IpRepr::new(from, to, protocol, bytes, 64);
    let mut buffer = vec![0; ip.header_len() + bytes];
    ip.emit(&mut buffer, &ChecksumCapabilities::default());
    emit(&mut buffer[ip.header_len()..]);
    ethernet(version, &buffer)
}

/// To, and from.
const PORTS: [u16; 2] = [7, 4000];

fn tcp(version: u8, payload: &[u8], control: TcpControl, ack: bool) -> Vec<u8> {
    let (from, to) = addresses(version);
    let tcp = TcpRepr {
        src_port: PORTS[1],
        dst_port: PORTS[0],
        control,
        seq_number: TcpSeqNumber(77),
        ack_number: ack.then_some(TcpSeqNumber(99)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    packet(version, IpProtocol::Tcp, tcp.buffer_len(), |segment| {
        let mut segment = TcpPacket::new_unchecked(segment);
        tcp.emit(&mut segment, &from, &to, &ChecksumCapabilities::default());
    })
}

fn udp(version: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to) = addresses(version);
    let udp = UdpRepr {
        src_port: PORTS[1],
        dst_port: PORTS[0],
    };
    packet(version, IpProtocol::Udp, 8 + payload.len(), |datagram| {
        let mut datagram = UdpPacket::new_unchecked(datagram);
        let checksum = ChecksumCapabilities::default();
        udp.emit(
            &mut datagram,
            &from,
            &to,
            payload.len(),
            |into| into.copy_from_slice(payload),
            &checksum,
        );
    })
}

/// As the controller sums.
fn sum(frame: &[u8]) -> Option<u16> {
    Some(data(&frame[HEADER..]))
}

fn segment(opens: bool, ports: Option<[u16; 2]>) -> Finding {
    Finding::Segment { opens, ports }
}

/// All kinds, with payloads of even and odd length and none.
fn segments() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for version in [4, 6] {
        for payload in [&b""[..], b"x", b"even", b"odd length"] {
            all.push(tcp(version, payload, TcpControl::Psh, true));
            all.push(udp(version, payload));
        }
    }
    all
}

#[test]
fn a_good_segment_is_sound_with_and_without_the_controllers_sum() {
    for frame in segments() {
        let plain = examine(&frame, None);
        assert!(
            matches!(plain, Finding::Segment { opens: false, .. }),
            "{plain:?}"
        );
        assert_eq!(examine(&frame, sum(&frame)), plain);
        // Padding that is not zero makes the controller's sum useless, not the frame.
        let mut padded = frame.clone();
        padded.extend([0xaa; 7]);
        assert_eq!(examine(&padded, sum(&padded)), plain);
    }
}

#[test]
fn each_flipped_bit_of_a_segment_is_found() {
    for frame in segments() {
        let start = Segment::of(&frame).unwrap().start;
        for at in start..frame.len() {
            for bit in 0..8 {
                let mut frame = frame.clone();
                frame[at] ^= 1 << bit;
                // A datagram without a checksum is a good one, of IPv4.
                if Segment::of(&frame).is_some_and(|s| frame[s.field..s.field + 2] == [0, 0]) {
                    continue;
                }
                assert_eq!(examine(&frame, None), Finding::Unsound, "{at}.{bit}");
                assert_eq!(examine(&frame, sum(&frame)), Finding::Unsound, "{at}.{bit}");
            }
        }
    }
}

#[test]
fn without_checksum_a_datagram_is_good_in_version_4_only() {
    for (version, expected) in [(4, segment(false, None)), (6, Finding::Unsound)] {
        let mut frame = udp(version, b"none");
        let field = Segment::of(&frame).unwrap().field;
        frame[field..field + 2].fill(0);
        assert_eq!(examine(&frame, None), expected);
    }
}

#[test]
fn what_asks_to_connect_is_known_and_whom_it_is_for() {
    let ports = Some(PORTS);
    for version in [4, 6] {
        let found = |control, ack| examine(&tcp(version, b"", control, ack), None);
        assert_eq!(found(TcpControl::Syn, false), segment(true, ports));
        assert_eq!(found(TcpControl::Syn, true), segment(false, ports));
        assert_eq!(examine(&udp(version, b"x"), None), segment(false, None));
    }
}

#[test]
fn the_two_halves_of_a_checksum_make_the_whole() {
    for whole in segments() {
        let field = Segment::of(&whole).unwrap().field;
        let mut frame = whole.clone();
        frame[field..field + 2].fill(0);
        let at = begin_checksum(&mut frame).unwrap();
        assert_eq!(usize::from(at.field), field);
        end_checksum(&mut frame, at);
        assert_eq!(frame, whole);
    }
}

#[test]
fn fragments_and_strangers_are_left_alone() {
    let mut fragment = udp(4, b"part of more");
    fragment[HEADER + 6] |= 0x20;
    assert_eq!(examine(&fragment, Some(1)), Finding::Plain);
    assert!(begin_checksum(&mut fragment).is_none());
    for cut in 0..60 {
        let frame = tcp(4, b"some payload", TcpControl::None, true);
        let cut = &frame[..cut.min(frame.len())];
        let _no_panic = (examine(cut, None), neighbour(cut), way(cut, MAC, |_| true));
    }
}

#[test]
fn frames_for_this_station_come_back() {
    let (_, own) = addresses(4);
    let mut frame = udp(4, b"to myself");
    assert_eq!(way(&frame, MAC, |_| false), Way::Back);
    assert_eq!(way(&frame, OTHER, |_| false), Way::Out);
    frame[..6].fill(0xff);
    assert_eq!(way(&frame, MAC, |_| true), Way::Out, "a broadcast");
    let arp = ArpRepr::EthernetIpv4 {
        operation: smoltcp::wire::ArpOperation::Request,
        source_hardware_addr: OTHER,
        source_protocol_addr: Ipv4Addr::new(10, 0, 2, 2),
        target_hardware_addr: EthernetAddress::BROADCAST,
        target_protocol_addr: Ipv4Addr::new(10, 0, 2, 15),
    };
    let mut buffer = vec![0; arp.buffer_len()];
    arp.emit(&mut ArpPacket::new_unchecked(&mut buffer[..]));
    let mut frame = vec![0xff; 6];
    frame.extend(OTHER.0);
    frame.extend([8, 6]);
    frame.extend(buffer);
    assert_eq!(way(&frame, OTHER, |a| a == own), Way::Back);
    assert_eq!(way(&frame, OTHER, |_| false), Way::Out);
    assert_eq!(neighbour(&frame), Some((addresses(4).0, OTHER)));
}
