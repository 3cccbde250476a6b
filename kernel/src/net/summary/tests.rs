// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of each kind, cut off at each byte, and with bytes changed at random.
use super::*;
use std::string::String;
use std::vec::Vec;

const STATION: [u8; 6] = [0xdc, 0xa6, 0x32, 1, 2, 3];

fn summary(frame: &[u8]) -> String {
    let mut line = String::new();
    write(&mut line, frame).unwrap();
    line
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let header = [0xff; 6].into_iter().chain(STATION);
    header
        .chain(kind.to_be_bytes())
        .chain(payload.iter().copied())
        .collect()
}

/// From 10.0.2.15 to 10.0.2.2; `fragment` as in the header.
fn over_ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec_of(&[0x45, 0]);
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    packet.extend(payload);
    ethernet(0x0800, &packet)
}

/// From fec0::15 to fe80::2.
fn over_ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec_of(&[0x60, 0, 0, 0]);
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend("fec0::15".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("fe80::2".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    ethernet(0x86dd, &packet)
}

fn vec_of(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for word in [from, to, 8 + payload.len() as u16, 0] {
        datagram.extend(word.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
}

fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = vec_of(&[0xc0, 0, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9]);
    segment.extend([
        (5 + options.len() as u8 / 4) << 4,
        flags,
        0xfa,
        0xf0,
        0,
        0,
        0,
        0,
    ]);
    segment.extend(options);
    segment.extend(payload);
    segment
}

/// A query for example.org's A, or the answer 93.184.216.34 to it, with the name as a pointer.
fn dns(is_response: bool) -> Vec<u8> {
    let mut message = vec_of(&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(b"\x07example\x03org\x00\x00\x01\x00\x01");
    if is_response {
        (message[2], message[7]) = (0x81, 1);
        message.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x00\x00\x04\x5d\xb8\xd8\x22");
    }
    message
}

fn dhcp(kind: u8, yours: [u8; 4]) -> Vec<u8> {
    let mut message = std::vec![0; 236];
    message[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    message[16..20].copy_from_slice(&yours);
    message[28..34].copy_from_slice(&STATION);
    message.extend([
        0x63, 0x82, 0x53, 0x63, 0, 50, 4, 10, 0, 2, 15, 53, 1, kind, 255,
    ]);
    message
}

/// Frames, and what is said of them.
fn known() -> Vec<(Vec<u8>, &'static str)> {
    let arp = |operation: u8, target: u8| {
        let mut packet = vec_of(&[0, 1, 8, 0, 6, 4, 0, operation]);
        packet.extend(STATION.into_iter().chain([10, 0, 2, 15]));
        packet.extend([0; 6].into_iter().chain([10, 0, 2, target]));
        ethernet(0x0806, &packet)
    };
    let mut tagged = ethernet(0x8100, &[0x20, 0x05]);
    tagged.extend(&arp(1, 2)[12..]);
    let neighbour = |kind: u8| {
        let mut message = vec_of(&[kind, 0, 0, 0, 0x60, 0, 0, 0]);
        message.extend("fe80::2".parse::<Ipv6Addr>().unwrap().octets());
        message.extend([2, 1].into_iter().chain(STATION));
        over_ipv6(58, &message)
    };
    let mut in_extensions = vec_of(&[44, 0, 1, 4, 0, 0, 0, 0]);
    in_extensions.extend([17, 0, 0, 1, 0, 0, 0xab, 0xcd]);
    in_extensions.extend(udp(4000, 9, b"x"));
    let mut unreachable = vec_of(&[3, 3, 0, 0, 0, 0, 0, 0]);
    unreachable.extend(&over_ipv4(17, 0, b"")[14..]);
    let options = [2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1];
    Vec::from([
        (arp(1, 2), "ARP who-has 10.0.2.2 tell 10.0.2.15"),
        (arp(1, 15), "ARP announcement 10.0.2.15"),
        (arp(2, 2), "ARP reply 10.0.2.15 is-at dc:a6:32:01:02:03"),
        (tagged, "vlan 5, ARP who-has 10.0.2.2 tell 10.0.2.15"),
        (
            ethernet(0x88cc, &[1, 2, 3]),
            "dc:a6:32:01:02:03 > ff:ff:ff:ff:ff:ff, type 0x88cc, length 3",
        ),
        (
            over_ipv4(6, 0, &tcp(2, &options, b"")),
            "IP 10.0.2.15.49152 > 10.0.2.2.80: Flags [S], seq 7, win 64240, \
             options [mss 1460,wscale 7,sackOK], length 0",
        ),
        (
            over_ipv4(6, 0, &tcp(0x19, &[], b"12345")),
            "IP 10.0.2.15.49152 > 10.0.2.2.80: Flags [FP.], seq 7, ack 9, win 64240, length 5",
        ),
        (
            over_ipv4(17, 0, &udp(4000, 9, b"abc")),
            "IP 10.0.2.15.4000 > 10.0.2.2.9: UDP, length 3",
        ),
        (
            over_ipv4(17, 0, &udp(4000, 53, &dns(false))),
            "IP 10.0.2.15.4000 > 10.0.2.2.53: DNS 4660+ A? example.org., length 29",
        ),
        (
            over_ipv4(17, 0, &udp(53, 4000, &dns(true))),
            "IP 10.0.2.15.53 > 10.0.2.2.4000: DNS 4660 1/0/0 A 93.184.216.34, length 45",
        ),
        (
            over_ipv4(17, 0, &udp(68, 67, &dhcp(1, [0; 4]))),
            "IP 10.0.2.15.68 > 10.0.2.2.67: DHCP discover dc:a6:32:01:02:03 asks for 10.0.2.15, \
             xid 0xdeadbeef, length 251",
        ),
        (
            over_ipv4(17, 0, &udp(67, 68, &dhcp(5, [10, 0, 2, 15]))),
            "IP 10.0.2.15.67 > 10.0.2.2.68: DHCP ack dc:a6:32:01:02:03 gets 10.0.2.15, \
             xid 0xdeadbeef, length 251",
        ),
        (
            over_ipv4(17, 0, &udp(123, 123, &[0x23; 48])),
            "IP 10.0.2.15.123 > 10.0.2.2.123: NTPv4 client, length 48",
        ),
        (
            over_ipv4(1, 0, &[8, 0, 0, 0, 0, 1, 0, 2]),
            "IP 10.0.2.15 > 10.0.2.2: ICMP echo request, id 1, seq 2, length 8",
        ),
        (
            over_ipv4(1, 0, &unreachable),
            "IP 10.0.2.15 > 10.0.2.2: ICMP unreachable: port 10.0.2.2, length 28",
        ),
        (
            over_ipv4(17, 0x2000, &udp(4000, 9, b"")),
            "IP 10.0.2.15.4000 > 10.0.2.2.9: fragment 0x1234 (0, 8 bytes+) UDP, length 0",
        ),
        (
            over_ipv4(17, 1, &[0; 16]),
            "IP 10.0.2.15 > 10.0.2.2: fragment 0x1234 (8, 16 bytes) protocol 17",
        ),
        (
            over_ipv4(47, 0, &[0; 16]),
            "IP 10.0.2.15 > 10.0.2.2: protocol 47, length 16",
        ),
        (
            neighbour(135),
            "IP6 fec0::15 > fe80::2: ICMP6 neighbor solicitation, who has fe80::2, length 32",
        ),
        (
            neighbour(136),
            "IP6 fec0::15 > fe80::2: ICMP6 neighbor advertisement, fe80::2 \
             is-at dc:a6:32:01:02:03, length 32",
        ),
        (
            over_ipv6(0, &in_extensions),
            "IP6 fec0::15.4000 > fe80::2.9: fragment 0xabcd (0, 9 bytes+) UDP, length 1",
        ),
    ])
}

#[test]
fn every_kind_of_frame_has_its_line() {
    for (frame, line) in known() {
        assert_eq!(summary(&frame), line);
    }
}

#[test]
fn what_contradicts_itself_is_told() {
    let looping = {
        let mut message = dns(false);
        message[12..14].copy_from_slice(&[0xc0, 12]);
        over_ipv4(17, 0, &udp(4000, 53, &message))
    };
    let mut forward = dns(false);
    forward[12..14].copy_from_slice(&[0xc0, 20]);
    let mut short_udp = udp(4000, 9, b"");
    short_udp[5] = 7;
    let hops = [0, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    for (frame, end) in [
        (looping, "[bad name]"),
        (over_ipv4(17, 0, &udp(4000, 53, &forward)), "[bad name]"),
        (over_ipv4(17, 0, &short_udp), "[bad UDP length]"),
        (
            over_ipv4(6, 0, &tcp(2, &[2, 0, 0, 0], b"")),
            "[bad TCP option]",
        ),
        (over_ipv6(0, &hops), "[too many extension headers]"),
        (ethernet(0x0800, &[0x41; 40]), "[bad IPv4 header]"),
        (ethernet(0x86dd, &[0x45; 40]), "[bad IPv6 header]"),
        (ethernet(0x0806, &[0; 28]), "[not of IPv4 over Ethernet]"),
    ] {
        assert!(summary(&frame).ends_with(end), "{}", summary(&frame));
    }
}

#[test]
fn flows_have_hosts_and_ports() {
    let (here, there) = ("10.0.2.15".parse().unwrap(), "10.0.2.2".parse().unwrap());
    let expect = |kind, ports| Flow {
        kind,
        hosts: Some((here, there)),
        ports,
    };
    for (frame, expected) in [
        (
            over_ipv4(6, 0, &tcp(2, &[], b"")),
            expect(Kind::Ipv4(6), Some((49152, 80))),
        ),
        (over_ipv4(17, 1, &[0; 16]), expect(Kind::Ipv4(17), None)),
        (over_ipv4(1, 0, &[8; 8]), expect(Kind::Ipv4(1), None)),
        (known()[0].0.clone(), expect(Kind::Arp, None)),
    ] {
        assert_eq!(flow(&frame), expected);
    }
    assert_eq!(flow(&over_ipv6(6, &tcp(2, &[], b""))).kind, Kind::Ipv6(6));
    assert_eq!(flow(&[]).kind, Kind::Other);
}

/// Whatever comes, there is a line of a bounded length, of characters that a terminal shows.
fn survives(frame: &[u8]) {
    let line = summary(frame);
    flow(frame);
    assert!(line.len() < 1400, "{} bytes", line.len());
    assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
}

#[test]
fn frames_that_break_off_say_so() {
    for (frame, line) in known() {
        for end in 0..frame.len() {
            survives(&frame[..end]);
        }
        let broken_off = summary(&frame[..13]);
        assert_eq!(broken_off, " [|]", "{line}");
    }
}

#[test]
fn bytes_changed_at_random_do_no_harm() {
    let (frames, mut seed) = (known(), 1u64);
    let mut random = |n: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % n
    };
    for _ in 0..250_000 {
        let mut frame = frames[random(frames.len())].0.clone();
        for _ in 0..=random(7) {
            let at = random(frame.len());
            frame[at] = [random(256) as u8, 0, 0xff, 0xc0][random(4)];
        }
        frame.truncate(random(4 * frame.len()).max(1));
        survives(&frame);
    }
}
