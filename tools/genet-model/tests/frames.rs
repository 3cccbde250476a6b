// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames through the rings, as a driver sees them.

mod world;

use genet_model::{Counter, Received, Stray, intr, status};
use world::*;

#[test]
fn frames_go_out_and_come_in_unchanged() {
    for (ring, first, size) in [(16, 0, 8), (0, 0, 8), (3, 200, 5)] {
        let mut rig = Rig::bare(&[]);
        rig.bring_up(ring, first, size);
        if ring != 16 {
            // Filter 0 matches everything and steers to the ring.
            rig.write(0xfc1c + 44, 4);
            rig.write(0xfc08, 1);
            rig.write(0xfc00, 1);
            rig.write(RDMA + 0x1040 + 0x70, ring);
        }
        for n in 0..40 {
            let out = frame(60 + 36 * n, n as u8);
            rig.send(&out);
            assert_eq!(rig.world.sent.pop(), Some(out), "ring {ring}");
            let back = frame(60 + 35 * n, !n as u8);
            assert_eq!(rig.receive(&back), Received::Ring(ring as usize));
            let (word, bytes) = rig.take().unwrap();
            assert_eq!(bytes, back);
            assert_eq!(word & 0x6000, status::SOP | status::EOP);
        }
        assert_eq!(rig.tx_consumer(), 40);
        assert_eq!(rig.stray_names(), [""; 0]);
    }
}

#[test]
fn a_frame_may_lie_in_several_buffers() {
    let mut rig = Rig::new(&[]);
    let whole = frame(1000, 5);
    rig.queue(&whole[..100], status::SOP | status::TX_APPEND_CRC);
    rig.kick();
    assert_eq!(rig.tx_consumer(), 0, "its end is not queued");
    rig.queue(&whole[100..101], status::TX_APPEND_CRC);
    rig.queue(&whole[101..], status::EOP | status::TX_APPEND_CRC);
    rig.kick();
    assert_eq!(rig.world.sent, [whole]);
    assert_eq!(rig.tx_consumer(), 3);
    assert_eq!(rig.genet.counter(Counter::TxPackets), 1);
}

#[test]
fn a_long_frame_fills_several_buffers() {
    let mut rig = Rig::new(&[]);
    rig.write(0x814, 5000);
    let long = frame(4500, 1);
    assert_eq!(rig.receive(&long), Received::Ring(16));
    let parts: Vec<_> = std::iter::from_fn(|| rig.take()).collect();
    let flags: Vec<_> = parts.iter().map(|(word, _)| word & 0x6000).collect();
    assert_eq!(flags, [status::SOP, 0, status::EOP]);
    let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(bytes, long);
}

#[test]
fn short_frames_are_filled_up() {
    let mut rig = Rig::new(&[]);
    rig.send(&frame(20, 0));
    assert_eq!(rig.world.sent[0].len(), 60);
    assert_eq!(rig.world.sent[0][..20], frame(20, 0));
    rig.receive(&frame(42, 0));
    assert_eq!(rig.take().unwrap().1.len(), 60);
    assert_eq!(rig.genet.counter(Counter::Rx64), 1);
}

#[test]
fn the_status_block_comes_first_and_says_the_sum() {
    let mut rig = Rig::new(&[]);
    rig.write(RBUF_CTRL, 3);
    rig.write(0x314, 1 | 1 << 5);
    let back = frame(333, 7);
    rig.receive(&back);
    let (word, bytes) = rig.take().unwrap();
    assert_eq!(bytes.len(), 64 + 2 + 333);
    assert_eq!(bytes[66..], back);
    assert_eq!(bytes[..4], word.to_le_bytes());
    let sum = back[14..].chunks(2).fold(0_u32, |sum, two| {
        sum + u32::from(two[0]) * 256 + u32::from(*two.get(1).unwrap_or(&0))
    });
    let sum = (sum & 0xffff) + (sum >> 16);
    let folded = (sum & 0xffff) + (sum >> 16);
    assert_eq!(bytes[8..10], (folded as u16).to_le_bytes());
}

#[test]
fn a_sent_status_block_is_stripped_and_its_checksum_put_in() {
    let mut rig = Rig::new(&[]);
    rig.write(TBUF_CTRL, 1);
    let mut block = vec![0; 64];
    block[48..52].copy_from_slice(&(1_u32 << 31 | 34 << 16 | 50).to_le_bytes());
    let payload = frame(100, 3);
    rig.queue(
        &[block, payload.clone()].concat(),
        status::SOP | status::EOP | status::TX_APPEND_CRC | status::TX_DO_CSUM,
    );
    rig.kick();
    let sent = rig.world.sent.pop().unwrap();
    assert_eq!(sent.len(), 100);
    assert_eq!(sent[..50], payload[..50]);
    assert_ne!(sent[50..52], payload[50..52]);
    assert_eq!(sent[52..], payload[52..]);
}

#[test]
fn what_finds_no_buffer_is_counted_in_the_index() {
    let mut rig = Rig::new(&[]);
    for n in 0..8 {
        assert!(rig.genet.has_room());
        assert_eq!(rig.receive(&frame(60, n)), Received::Ring(16));
    }
    assert!(!rig.genet.has_room());
    assert_eq!(rig.receive(&frame(60, 8)), Received::NoRoom(16));
    let at = rig.ring_at(RDMA, 0x08);
    assert_eq!(rig.read(at), 1 << 16 | 8);
    rig.write(at, 0);
    assert_eq!(rig.read(at), 8, "clears the discards and leaves the index");
    rig.take();
    assert!(rig.genet.has_room());
}

#[test]
fn interrupts_wait_for_the_threshold_or_the_time_out() {
    let mut rig = Rig::new(&[]);
    let at = rig.ring_at(RDMA, 0x24);
    rig.write(at, 3);
    rig.write(INTR_A + 0x10, u32::MAX);
    rig.write(INTR_A + 0x14, intr::RX_MBDONE);
    rig.receive(&frame(60, 0));
    rig.receive(&frame(60, 1));
    assert!(!rig.world.lines[0]);
    rig.receive(&frame(60, 2));
    assert!(rig.world.lines[0]);
    rig.write(INTR_A + 8, u32::MAX);
    assert!(!rig.world.lines[0]);
    rig.write(RDMA + 0x1040 + 0x2c + 4 * 16, 10);
    rig.receive(&frame(60, 3));
    assert_eq!(rig.genet.deadline_ns(), Some(rig.world.now_ns + 10 * 8192));
    rig.pass(10 * 8192 - 1);
    assert!(!rig.world.lines[0]);
    rig.pass(1);
    assert!(rig.world.lines[0]);
}

#[test]
fn transmit_interrupts_come_at_the_threshold_or_when_the_ring_is_empty() {
    let mut rig = Rig::new(&[]);
    let at = rig.ring_at(TDMA, 0x24);
    rig.write(at, 4);
    rig.write(INTR_A + 0x10, u32::MAX);
    rig.write(INTR_A + 0x14, intr::TX_MBDONE);
    rig.queue(
        &frame(60, 0),
        status::SOP | status::EOP | status::TX_APPEND_CRC,
    );
    rig.queue(&frame(60, 1), status::SOP);
    rig.kick();
    assert_eq!(rig.tx_consumer(), 1);
    assert!(
        !rig.world.lines[0],
        "one is left, and the threshold is four"
    );
    rig.queue(&frame(60, 2), status::EOP);
    rig.kick();
    assert!(rig.world.lines[0]);
}

#[test]
fn a_pause_frame_stops_the_transmitter_for_its_time() {
    let mut rig = Rig::new(&[]);
    let mut pause = vec![1, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 8, 0, 1];
    pause.extend([0, 100]);
    assert_eq!(rig.receive(&pause), Received::Filtered);
    rig.send(&frame(60, 0));
    assert!(rig.world.sent.is_empty());
    rig.pass(100 * 512 - 1);
    assert!(rig.world.sent.is_empty());
    rig.pass(1);
    assert_eq!(rig.world.sent.len(), 1);
    rig.write(CMD, CMD_ON | 1 << 8);
    rig.receive(&pause);
    rig.send(&frame(60, 1));
    assert_eq!(rig.world.sent.len(), 2, "RX_PAUSE_IGNORE");
    assert_eq!(rig.genet.counter(Counter::RxPause), 2);
}

#[test]
fn a_full_ring_asks_the_partner_to_pause() {
    let mut rig = Rig::new(&[]);
    let at = rig.ring_at(RDMA, 0x28);
    rig.write(at, 3 << 16 | 5);
    for n in 0..6 {
        rig.receive(&frame(60, n));
    }
    assert_eq!(rig.world.sent.len(), 1, "room for two is less than three");
    assert_eq!(rig.world.sent[0][12..18], [0x88, 8, 0, 1, 0xff, 0xff]);
    for _ in 0..3 {
        rig.take();
    }
    assert_eq!(
        rig.world.sent.len(),
        1,
        "room for five is not more than five"
    );
    rig.take();
    assert_eq!(rig.world.sent[1][14..18], [0, 1, 0, 0]);
    assert_eq!(rig.genet.counter(Counter::TxPause), 2);
}

#[test]
fn the_wrong_speed_passes_nothing() {
    let mut rig = Rig::new(&[]);
    rig.write(CMD, 1 << 2 | 3);
    rig.send(&frame(60, 0));
    assert!(rig.world.sent.is_empty());
    assert_eq!(rig.receive(&frame(60, 0)), Received::Off);
    let strays = rig.genet.strays();
    assert_eq!((strays.of(Stray::TxOff), strays.of(Stray::RxOff)), (1, 1));
}

#[test]
fn what_is_sent_as_the_link_goes_is_lost_without_blame() {
    let mut rig = Rig::new(&[]);
    rig.genet.set_cable(false, &mut rig.world);
    rig.send(&frame(60, 0));
    assert!(rig.world.sent.is_empty());
    assert_eq!(rig.genet.strays().iter().next(), None);
}

#[test]
fn loop_back_returns_what_is_sent() {
    let mut rig = Rig::new(&[]);
    rig.write(CMD, CMD_ON | 1 << 15);
    rig.send(&frame(80, 4));
    assert!(rig.world.sent.is_empty());
    assert_eq!(rig.take().unwrap().1, frame(80, 4));
}

#[test]
fn dma_stops_and_starts_where_the_indices_are() {
    let mut rig = Rig::new(&[]);
    for n in 0..11 {
        rig.send(&frame(60, n));
    }
    rig.write(TDMA + CTRL, 0);
    assert_eq!(rig.read(TDMA + 0x1048), 1);
    rig.send(&frame(60, 99));
    assert_eq!(rig.world.sent.len(), 11);
    rig.write(TDMA + CTRL, 2 << 16 | 1);
    assert_eq!(
        rig.world.sent.len(),
        12,
        "as U-Boot starts: indices untouched"
    );
    assert_eq!(rig.world.sent[11], frame(60, 99));
}

#[test]
fn counters_agree_with_what_passed() {
    let mut rig = Rig::new(&[]);
    let mut random = fastrand::Rng::with_seed(3);
    let (mut tx, mut rx) = ((0, 0), (0, 0));
    for _ in 0..1000 {
        let out = frame(random.usize(60..=1514), random.u8(..));
        rig.send(&out);
        tx = (tx.0 + 1, tx.1 + out.len() as u32 + 4);
        let back = frame(random.usize(60..=1514), random.u8(..));
        rig.receive(&back);
        assert_eq!(rig.take().unwrap().1, back);
        rx = (rx.0 + 1, rx.1 + back.len() as u32 + 4);
    }
    let read = |rig: &mut Rig, at: u32| rig.read(0x800 + at);
    assert_eq!((read(&mut rig, 0x4a8), read(&mut rig, 0x4e8)), tx);
    assert_eq!((read(&mut rig, 0x428), read(&mut rig, 0x42c)), rx);
    let buckets: u32 = (0..10).map(|n| read(&mut rig, 0x400 + 4 * n)).sum();
    assert_eq!(buckets, 1000);
    rig.write(0xd80, 7);
    assert_eq!(read(&mut rig, 0x4a8) + read(&mut rig, 0x428), 0);
}
