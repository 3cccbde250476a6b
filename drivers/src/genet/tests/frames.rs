// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames both ways, and what they cost.
use super::bench::{Bench, Forgets};
use super::rig::{OWN, Rig, frame};
use crate::genet::regs::{DESCRIPTOR_BYTES, RDMA, TDMA};
use crate::genet::{MAX_FRAME, RING, RxError};
use std::vec::Vec;

#[test]
fn frames_of_every_length_pass_both_ways_unchanged() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for bytes in 14..=MAX_FRAME {
        let out = frame(bytes, bytes as u8);
        assert!(rig.send(&out));
        let mut sent = bench.sent.borrow_mut().pop().unwrap();
        assert!(sent[bytes..].iter().all(|byte| *byte == 0), "padding");
        sent.truncate(bytes);
        assert_eq!(sent, out);
        let back = frame(bytes.max(60), !bytes as u8);
        bench.feed(&back);
        assert!(rig.serve() <= 1);
        assert_eq!(rig.take(), Some(back));
        assert_eq!(rig.take(), None);
    }
    let passed = (MAX_FRAME - 13) as u64;
    let counters = *rig.genet.counters();
    assert_eq!((counters.rx_frames, counters.tx_frames), (passed, passed));
    rig.end();
}

#[test]
fn a_call_that_is_forgotten_spoils_a_frame() {
    for forgotten in [
        None,
        Some(Forgets::Prewrite),
        Some(Forgets::Preread),
        Some(Forgets::Postread),
    ] {
        let bench = Bench::new(&[]);
        bench.forgets.set(forgotten);
        let mut rig = Rig::up(&bench);
        let out = frame(1000, 1);
        rig.send(&out);
        assert_eq!(
            bench.sent.borrow().as_slice() == [out],
            forgotten != Some(Forgets::Prewrite),
            "{forgotten:?}"
        );
        bench.feed(&frame(1000, 2));
        rig.serve();
        assert_eq!(
            rig.take() == Some(frame(1000, 2)),
            !matches!(forgotten, Some(Forgets::Preread | Forgets::Postread)),
            "{forgotten:?}"
        );
    }
}

#[test]
fn registers_are_touched_as_seldom_as_the_header_says() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    // But for the upper bits of addresses: the bench's buffers lie on both sides of 4 GiB, and change about.
    let count = |what: &str, expected: (u32, u32)| {
        let high = bench.log.take();
        let high = high
            .iter()
            .filter(|(offset, _)| is_high_word(*offset))
            .count();
        let (reads, writes) = bench.accesses();
        assert_eq!((reads, writes - high as u32), expected, "{what}");
    };
    bench.log.take();
    bench.accesses();
    for n in 0..100 {
        bench.feed(&frame(60, n));
    }
    let causes = rig.genet.interrupt();
    assert!(causes.receive && !causes.transmit && !causes.link);
    count("interrupt", (1, 1));
    assert_eq!(rig.receive(80), 80);
    count("a pass of 80", (1, 80 + 2));
    assert!(rig.genet.rearm());
    count("there are more", (0, 0));
    assert_eq!(rig.receive(80), 20);
    count("the next pass", (0, 20 + 1));
    bench.feed(&frame(60, 0));
    assert!(rig.genet.rearm());
    count("another has come", (1, 1));
    assert_eq!(rig.receive(80), 1);
    count("its pass", (0, 2));
    assert!(!rig.genet.rearm());
    count("nothing more", (1, 2));
    for n in 0..100 {
        assert!(rig.queue(&frame(60, n)));
    }
    count("sent frames", (0, 2 * 100));
    rig.genet.kick();
    count("all of them off", (0, 1));
    rig.genet.kick();
    count("nothing to kick", (0, 0));
    assert_eq!(rig.reclaim(), 100);
    count("all of them back", (1, 0));
    assert_eq!(rig.reclaim(), 0);
    count("nothing to reclaim", (0, 0));
    rig.end();
}

#[test]
fn upper_address_bits_are_written_when_they_change() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let mut highs = Vec::new();
    for n in 0..3 * RING {
        bench.log.take();
        assert!(rig.send(&frame(60, n as u8)));
        rig.reclaim();
        let log = bench.log.take();
        highs.push(
            log.iter()
                .filter(|(offset, _)| is_high_word(*offset))
                .count(),
        );
    }
    // The same buffer each time, above 4 GiB: once for each descriptor, and never again.
    assert!(highs[..RING].iter().all(|writes| *writes == 1));
    assert!(highs[RING..].iter().all(|writes| *writes == 0));
    assert_eq!(bench.sent.borrow().len(), 3 * RING);
    rig.end();
}

/// Is this word 2 of a descriptor?
fn is_high_word(offset: usize) -> bool {
    [RDMA.descriptors, TDMA.descriptors].iter().any(|base| {
        let inside = offset.checked_sub(*base);
        inside.is_some_and(|at| at < RING * DESCRIPTOR_BYTES && at % DESCRIPTOR_BYTES == 8)
    })
}

#[test]
fn what_comes_after_the_last_look_interrupts() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    bench.feed(&frame(60, 1));
    assert!(bench.lines.get()[0]);
    assert!(rig.genet.interrupt().receive);
    assert!(!bench.lines.get()[0], "masked");
    assert_eq!(rig.receive(10), 1);
    bench.feed(&frame(60, 2));
    assert!(!bench.lines.get()[0], "still masked");
    assert!(rig.genet.rearm(), "seen");
    assert_eq!(rig.receive(10), 1);
    assert!(!rig.genet.rearm());
    assert!(!bench.lines.get()[0], "nothing is left to tell");
    bench.feed(&frame(60, 3));
    assert!(bench.lines.get()[0]);
    assert_eq!(rig.serve(), 1);
    assert_eq!(rig.got.len(), 3);
    assert!(rig.genet.interrupt().is_none(), "not GENET's");
    rig.end();
}

#[test]
fn a_status_block_of_nonsense_costs_that_frame_only() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let mut random = fastrand::Rng::with_seed(3);
    let whole = 3 << 13;
    let mut expected = [0; RxError::ALL.len()];
    for n in 0..20_000_u32 {
        // The shapes first that are only just wrong, and only just right.
        let (word, error) = match n {
            0 => (100 << 16 | 1 << 13, Some(RxError::Fragment)),
            1 => (100 << 16 | 1 << 14, Some(RxError::Fragment)),
            2 => (79 << 16 | whole, Some(RxError::Length)),
            3 => (2049 << 16 | whole, Some(RxError::Length)),
            4 => (80 << 16 | whole, None),
            5 => (2048 << 16 | whole, None),
            _ => {
                let word = random.u32(..);
                let length = word >> 16 & 0xfff;
                let error = match word & 0x601f {
                    0x6000 if (80..=2048).contains(&length) => None,
                    0x6000 => Some(RxError::Length),
                    bits if bits & 0x6000 != 0x6000 => Some(RxError::Fragment),
                    bits if bits & 1 != 0 => Some(RxError::Overflow),
                    bits if bits & 16 != 0 => Some(RxError::TooLong),
                    bits if bits & 8 != 0 => Some(RxError::Align),
                    bits if bits & 2 != 0 => Some(RxError::Crc),
                    _ => Some(RxError::Symbol),
                };
                (word, error)
            }
        };
        let slot = bench.peek(RDMA.driver_index.offset) as usize % RING;
        let at = RDMA.descriptors + slot * DESCRIPTOR_BYTES;
        let [low, high] = [4, 8].map(|word| u64::from(bench.peek(at + word)));
        bench.feed(&frame(60, n as u8));
        bench.scribble(high << 32 | low, &word.to_le_bytes());
        rig.serve();
        match error {
            None => {
                let (_, received) = rig.got.pop_front().unwrap();
                assert_eq!(received.bytes, (word >> 16 & 0xfff) as usize - 66);
            }
            Some(error) => expected[error as usize] += 1,
        }
        assert_eq!(rig.got.len(), 0, "{word:#x}");
    }
    assert_eq!(rig.genet.counters().rx_errors, expected);
    for (n, (error, name)) in RxError::ALL.into_iter().enumerate() {
        assert!(error as usize == n && expected[n] > 0, "{name}");
    }
    rig.end();
}

#[test]
fn without_a_fresh_buffer_a_frame_is_dropped_and_counted() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    rig.has_buffers = false;
    for n in 0..RING + 20 {
        bench.feed(&frame(100, n as u8));
        rig.serve();
    }
    assert_eq!(rig.genet.counters().rx_no_buffer, RING as u64 + 20);
    assert_eq!((rig.got.len(), bench.out()), (0, RING));
    rig.has_buffers = true;
    bench.feed(&frame(100, 77));
    rig.serve();
    assert_eq!(rig.take(), Some(frame(100, 77)));
    rig.end();
}

#[test]
fn a_full_receive_ring_discards_counts_and_goes_on() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    // So often that the device's count has to be cleared on the way: it is read once a lap.
    let laps = 20;
    for lap in 0..laps {
        for n in 0..RING + 5_000 {
            bench.feed(&frame(60, n as u8));
        }
        rig.serve();
        assert_eq!(rig.got.len(), RING, "lap {lap}");
        let discards = bench.peek(RDMA.device_index.offset) >> 16;
        assert!(discards < 0xc000, "{discards:#x}");
        for n in 0..RING {
            assert_eq!(rig.take(), Some(frame(60, n as u8)));
        }
    }
    assert_eq!(rig.genet.counters().rx_discards, 5_000 * laps);
    rig.end();
}

#[test]
fn the_partner_is_asked_to_pause_before_the_ring_is_full() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for n in 0..RING - 5 {
        bench.feed(&frame(60, n as u8));
    }
    assert_eq!(bench.sent.borrow().len(), 0);
    bench.feed(&frame(60, 0));
    let is_pause = |frame: &[u8], quanta: [u8; 2]| {
        frame[6..12] == OWN && frame[12..18] == [0x88, 8, 0, 1, quanta[0], quanta[1]]
    };
    assert!(is_pause(&bench.sent.borrow()[0], [0xff; 2]));
    rig.serve();
    assert!(is_pause(&bench.sent.borrow()[1], [0, 0]));
    assert_eq!(bench.sent.borrow().len(), 2);
    assert_eq!(rig.genet.counters().rx_discards, 0);
    rig.end();
}

#[test]
fn the_partners_pause_holds_the_sender_for_its_time() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let mut pause = [
        1, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 8, 0, 1, 0, 100,
    ]
    .to_vec();
    pause.resize(60, 0);
    bench.feed(&pause);
    rig.send(&frame(60, 0));
    bench.pass(100 * 512 - 1);
    assert_eq!(bench.sent.borrow().len(), 0);
    bench.pass(1);
    assert_eq!(bench.sent.borrow().len(), 1);
    assert_eq!(rig.got.len(), 0, "a pause frame ends in the MAC");
    rig.end();
}

#[test]
fn a_full_transmit_ring_refuses_and_tells_when_there_is_room() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    assert_eq!(rig.genet.tx_free(), RING);
    // What was sent before is not what is waited for.
    rig.send(&frame(60, 0));
    assert_eq!(rig.reclaim(), 1);
    for n in 0..RING {
        assert!(rig.queue(&frame(60, n as u8)));
    }
    assert!(!rig.queue(&frame(60, 0)), "full");
    assert_eq!((rig.genet.tx_free(), rig.genet.tx_queued()), (0, RING));
    assert_eq!(rig.reclaim(), 0, "none was let go");
    assert!(!rig.genet.want_room());
    assert!(!bench.lines.get()[0]);
    bench.sent.borrow_mut().clear();
    rig.genet.kick();
    assert!(bench.lines.get()[0]);
    assert!(rig.genet.interrupt().transmit);
    assert_eq!(rig.reclaim(), RING);
    assert!(!rig.genet.rearm());
    assert_eq!(bench.sent.borrow().len(), RING);
    // Nobody waits any more: what is sent now interrupts nobody.
    rig.send(&frame(60, 1));
    assert!(!bench.lines.get()[0]);
    assert!(rig.genet.want_room(), "there is room already");
    assert_eq!(rig.reclaim(), 1);
    rig.end();
}

#[test]
fn who_waits_for_room_is_told_also_after_other_interrupts() {
    let bench = Bench::new(&["tx-delay/1x1:10"]);
    let mut rig = Rig::up(&bench);
    rig.send(&frame(60, 0));
    assert!(!rig.genet.want_room());
    bench.feed(&frame(60, 1));
    assert_eq!(rig.serve(), 1);
    assert_eq!((rig.got.len(), rig.genet.tx_queued()), (1, 1));
    bench.pass(10_000_000);
    assert_eq!(rig.serve(), 1);
    assert_eq!(rig.genet.tx_queued(), 0);
    rig.end();
}

#[test]
fn the_mac_lets_in_what_it_is_told_to() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let to = |address: [u8; 6]| [&address[..], &frame(60, 3)[6..]].concat();
    let group = |n: u8| [1, 0, 0x5e, 0, 0, n];
    let passes = |rig: &mut Rig<'_>, address| {
        bench.feed(&to(address));
        rig.serve();
        rig.got.drain(..).next().is_some()
    };
    let other = [2, 0, 0, 0, 0, 1];
    assert!(passes(&mut rig, OWN) && passes(&mut rig, [0xff; 6]));
    assert!(!passes(&mut rig, other) && !passes(&mut rig, group(1)));
    let groups: Vec<_> = (0..15).map(group).collect();
    rig.genet.set_filter(&groups, false);
    assert!(groups.iter().all(|group| passes(&mut rig, *group)));
    assert!(passes(&mut rig, OWN) && passes(&mut rig, [0xff; 6]));
    assert!(!passes(&mut rig, group(15)) && !passes(&mut rig, other));
    let groups: Vec<_> = (0..16).map(group).collect();
    rig.genet.set_filter(&groups, false);
    assert!(rig.genet.is_promiscuous() && passes(&mut rig, group(15)));
    assert!(passes(&mut rig, other), "more than there are filters: all");
    rig.genet.set_filter(&groups[..1], false);
    assert!(passes(&mut rig, group(0)) && !passes(&mut rig, group(1)));
    rig.genet.set_filter(&[], true);
    assert!(passes(&mut rig, other));
    rig.recover().unwrap();
    assert!(passes(&mut rig, other), "a recovery keeps it");
    rig.end();
}

#[test]
#[should_panic(expected = "a frame of 1533 bytes")]
fn a_frame_that_no_ethernet_carries_is_a_bug_of_the_caller() {
    let bench = Bench::new(&[]);
    Rig::up(&bench).send(&[0; MAX_FRAME + 1]);
}
