// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checksums, both ways: what the device computes is what software would have.
use super::bench::Bench;
use super::rig::{OWN, Rig, frame};
use crate::genet::{MIN_FRAME, TxChecksum};
use fastrand::Rng;
use std::vec::Vec;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// An IP packet in a frame, its transport checksum right.
struct Packet {
    frame: Vec<u8>,
    /// Where the TCP or UDP header begins, and its checksum's field.
    transport: usize,
    field: usize,
    pseudo: u16,
}

fn packet(random: &mut Rng, v6: bool, protocol: u8, payload: usize) -> Packet {
    let mut frame = OWN.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9]);
    let (header, at) = if protocol == TCP { (20, 16) } else { (8, 6) };
    let bytes = header + payload;
    let mut addresses: Vec<u8> = (0..if v6 { 32 } else { 8 })
        .map(|_| random.u8(..))
        .collect();
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, random.u8(..), 0, 0]);
        frame.extend((bytes as u16).to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend(&addresses);
    } else {
        // Sometimes with options.
        let words = random.usize(5..=7);
        let mut ip = [&[0x40 | words as u8, 0][..]].concat();
        ip.extend(((words * 4 + bytes) as u16).to_be_bytes());
        ip.extend([random.u8(..), 1, 0x40, 0, 64, protocol, 0, 0]);
        ip.extend(&addresses);
        ip.resize(words * 4, 1);
        let check = !sum(&ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        frame.extend([8, 0]);
        frame.extend(ip);
    }
    let transport = frame.len();
    let start = frame.len();
    frame.extend((0..bytes).map(|_| random.u8(..)));
    let field = start + at;
    if protocol == UDP {
        frame[start + 4..start + 6].copy_from_slice(&(bytes as u16).to_be_bytes());
    }
    addresses.extend([0, protocol]);
    addresses.extend((bytes as u16).to_be_bytes());
    let pseudo = sum(&addresses);
    frame[field..field + 2].fill(0);
    let both = [&addresses[..], &frame[start..]].concat();
    let check = match !sum(&both) {
        0 if protocol == UDP => 0xffff,
        check => check,
    };
    frame[field..field + 2].copy_from_slice(&check.to_be_bytes());
    Packet {
        frame,
        transport,
        field,
        pseudo,
    }
}

fn any_packet(random: &mut Rng) -> Packet {
    let (v6, protocol) = (random.bool(), [TCP, UDP][random.usize(0..2)]);
    let payload = match random.bool() {
        true => random.usize(0..20),
        false => random.usize(0..1400),
    };
    packet(random, v6, protocol, payload)
}

/// The ones-complement sum of big-endian words; an odd byte counts as the upper half (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[test]
fn a_received_sum_is_over_all_behind_the_ethernet_header() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let mut random = Rng::with_seed(7);
    for _ in 0..3_000 {
        let mut frame = any_packet(&mut random).frame;
        // What pads a short frame need not be zero.
        let pads: Vec<u8> = (frame.len()..MIN_FRAME).map(|_| random.u8(..)).collect();
        frame.extend(pads);
        bench.feed(&frame);
        rig.serve();
        let (came, received) = rig.got.pop_front().unwrap();
        assert_eq!(received.sum, Some(sum(&came[14..])));
    }
    // A sum of nothing is no sum.
    let mut zeros = frame(60, 0);
    zeros[14..].fill(0);
    bench.feed(&zeros);
    rig.serve();
    assert_eq!(rig.got.pop_front().unwrap().1.sum, None);
    rig.end();
}

#[test]
fn a_sent_checksum_is_the_one_that_software_would_have_sent() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let mut random = Rng::with_seed(10);
    for _ in 0..2_000 {
        let Packet {
            frame,
            transport,
            field,
            pseudo,
        } = any_packet(&mut random);
        let mut raw = frame.clone();
        raw[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        let udp = field - transport == 6;
        let offload = TxChecksum {
            start: transport as u16,
            field: field as u16,
            udp,
        };
        assert!(rig.queue_with(&raw, Some(offload)));
        rig.genet.kick();
        rig.reclaim();
        let sent = bench.sent.borrow_mut().pop().unwrap();
        assert_eq!(sent[..frame.len()], frame);
        // The next one in the same buffer asks for none, and none is put in.
        assert!(rig.send(&raw));
        rig.reclaim();
        let sent = bench.sent.borrow_mut().pop().unwrap();
        assert_eq!(sent[..raw.len()], raw);
    }
    rig.end();
}

#[test]
fn a_udp_sum_of_zero_is_sent_as_ones() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for (udp, expected) in [(true, [0xff, 0xff]), (false, [0, 0])] {
        let mut frame = [0; 60];
        frame[40..42].fill(0xff);
        let offload = TxChecksum {
            start: 34,
            field: 40,
            udp,
        };
        rig.queue_with(&frame, Some(offload));
        rig.genet.kick();
        let sent = bench.sent.borrow_mut().pop().unwrap();
        assert_eq!(sent[40..42], expected);
    }
    rig.end();
}

#[test]
#[should_panic(expected = "a checksum over 34.. at 59 of 60 bytes")]
fn a_checksum_outside_the_frame_is_a_bug_of_the_caller() {
    let bench = Bench::new(&[]);
    let offload = TxChecksum {
        start: 34,
        field: 59,
        udp: false,
    };
    Rig::up(&bench).queue_with(&[0; 60], Some(offload));
}
