// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each planned fault shows where a driver looks for it.

mod world;

use genet_model::{Counter, Received, intr, status};
use world::*;

/// The status of the first frame received under this fault.
fn first_status(fault: &str) -> (u32, Rig) {
    let mut rig = Rig::new(&[fault]);
    rig.receive(&frame(100, 0));
    let word = rig.take().expect("a frame with an error is delivered").0;
    (word, rig)
}

#[test]
fn errors_on_the_wire_are_in_the_status_and_the_counters() {
    for (fault, flags, counter) in [
        ("rx-crc", status::RX_CRC, Counter::RxFcs),
        (
            "rx-align",
            status::RX_ALIGN | status::RX_CRC,
            Counter::RxAlign,
        ),
        ("rx-symbol", status::RX_SYMBOL, Counter::RxCode),
        ("rx-oversize", status::RX_LONG, Counter::RxOversize),
    ] {
        let (word, rig) = first_status(fault);
        assert_eq!(word & 0x1f, flags, "{fault}");
        assert_eq!(rig.genet.counter(counter), 1, "{fault}");
        assert_eq!(rig.genet.counter(Counter::RxGood), 0, "{fault}");
    }
}

#[test]
fn bad_frames_can_be_discarded_by_the_receive_buffer() {
    let mut rig = Rig::new(&["rx-crc/2"]);
    rig.write(RBUF_CTRL, 1 << 2);
    assert_eq!(rig.receive(&frame(60, 0)), Received::Ring(16));
    assert_eq!(rig.receive(&frame(60, 1)), Received::Bad);
    assert_eq!(rig.read(0x398), 1);
}

#[test]
fn an_overflow_has_its_bit_its_counter_and_its_interrupt() {
    let (word, mut rig) = first_status("rx-overflow");
    assert_eq!(word & 0x1f, status::RX_OVERFLOW);
    assert_eq!(rig.read(0x394), 1);
    assert_ne!(rig.read(INTR_A) & intr::RBUF_OVERFLOW, 0);
}

#[test]
fn runts_end_in_the_mac_unless_it_is_told_to_keep_them() {
    let mut rig = Rig::new(&["rx-runt"]);
    assert_eq!(rig.receive(&frame(100, 0)), Received::Bad);
    assert_eq!(rig.genet.counter(Counter::RuntPackets), 1);
    assert_eq!(rig.genet.counter(Counter::RxPackets), 0);
    rig.write(CMD, CMD_ON | 1 << 30);
    rig.receive(&frame(100, 0));
    assert_eq!(rig.take().unwrap().1.len(), 30);
}

#[test]
fn dropped_and_delayed_frames() {
    let mut rig = Rig::new(&["rx-drop/2x1", "rx-delay/3:5"]);
    rig.receive(&frame(60, 0));
    assert_eq!(rig.receive(&frame(60, 1)), Received::Bad);
    assert_eq!(rig.receive(&frame(60, 2)), Received::Later);
    assert_eq!(rig.take().unwrap().1, frame(60, 0));
    assert!(rig.take().is_none());
    rig.pass(5_000_000);
    assert_eq!(rig.take().unwrap().1, frame(60, 2));
}

#[test]
fn a_delayed_completion_keeps_the_order() {
    let mut rig = Rig::new(&["tx-delay/2x1:7"]);
    for n in 0..3 {
        rig.send(&frame(60, n));
    }
    assert_eq!(rig.world.sent.len(), 3, "the frames themselves are gone");
    assert_eq!(rig.tx_consumer(), 1);
    assert_eq!(rig.genet.deadline_ns(), Some(rig.world.now_ns + 7_000_000));
    rig.pass(7_000_000);
    assert_eq!(rig.tx_consumer(), 3);
}

#[test]
fn a_stalled_ring_recovers_when_the_driver_pulls_it_back() {
    let mut rig = Rig::new(&["tx-stall/2x1"]);
    for n in 0..4 {
        rig.send(&frame(60, n));
    }
    assert_eq!(rig.tx_consumer(), 1);
    rig.producer = 1;
    rig.kick();
    rig.send(&frame(60, 9));
    assert_eq!(rig.tx_consumer(), 2);
    assert_eq!(rig.world.sent.last(), Some(&frame(60, 9)));
}

#[test]
fn an_underrun_leaves_nothing_good_on_the_wire() {
    for fault in ["tx-underrun/2", "dma-read/2"] {
        let mut rig = Rig::new(&[fault]);
        rig.send(&frame(60, 0));
        rig.send(&frame(60, 1));
        assert_eq!(rig.world.sent.len(), 1, "{fault}");
        assert_eq!(rig.tx_consumer(), 2);
        assert_ne!(rig.read(INTR_A) & intr::TBUF_UNDERRUN, 0);
        assert_ne!(rig.read(TDMA + 12) & status::TX_UNDERRUN, 0);
        assert_eq!(rig.genet.counter(Counter::TxFcs), 1);
    }
}

#[test]
fn a_status_block_that_was_not_read_asks_for_no_checksum() {
    let mut rig = Rig::new(&["dma-read/2"]);
    rig.write(TBUF_CTRL, 1);
    let mut block = vec![0; 64];
    block[48..52].copy_from_slice(&(1_u32 << 31 | 34 << 16 | 50).to_le_bytes());
    let word = status::SOP | status::EOP | status::TX_APPEND_CRC | status::TX_DO_CSUM;
    for _ in 0..2 {
        rig.queue(&[block.clone(), frame(100, 3)].concat(), word);
        rig.kick();
    }
    assert_eq!(rig.world.sent.len(), 1);
    assert!(rig.genet.strays().iter().next().is_none());
}

#[test]
fn a_refused_write_costs_the_frame_and_not_the_descriptor() {
    let mut rig = Rig::new(&["dma-write/2"]);
    for n in 0..3 {
        rig.receive(&frame(60, n));
    }
    assert_eq!(rig.take().unwrap().1, frame(60, 0));
    assert_eq!(rig.take().unwrap().1, frame(60, 2));
    assert!(rig.take().is_none());
    assert_eq!(rig.read(0x398), 1);
}

#[test]
fn a_lost_interrupt_is_made_good_by_the_next() {
    let mut rig = Rig::new(&["irq-lost/1x1"]);
    rig.write(INTR_A + 0x10, u32::MAX);
    rig.write(INTR_A + 0x14, intr::RX_MBDONE);
    rig.receive(&frame(60, 0));
    assert!(!rig.world.lines[0]);
    rig.receive(&frame(60, 1));
    assert!(rig.world.lines[0]);
}

#[test]
fn the_link_flaps_as_often_as_planned() {
    let mut rig = Rig::bare(&["link-flap/1x2:1000"]);
    let mut seen = Vec::new();
    let mut was = rig.genet.link().is_some();
    for _ in 0..200 {
        rig.pass(50_000_000);
        let is = rig.genet.link().is_some();
        if is != was {
            seen.push(is);
        }
        was = is;
    }
    assert_eq!(seen, [false, true, false, true]);
    let both = intr::LINK_UP | intr::LINK_DOWN;
    assert_eq!(rig.read(INTR_A) & both, both);
}

#[test]
fn a_dead_phy_reads_as_ones() {
    let read_id = |rig: &mut Rig| {
        rig.write(0xe14, 1 << 29 | 2 << 26 | 1 << 21 | 2 << 16);
        rig.pass(100_000);
        rig.read(0xe14)
    };
    let mut rig = Rig::new(&["phy-dead/1x1"]);
    assert_eq!(read_id(&mut rig) & 0x1000_ffff, 0x1000_ffff);
    assert_ne!(rig.read(INTR_A) & intr::MDIO_ERROR, 0);
    assert_eq!(read_id(&mut rig) & 0x1000_ffff, 0x600d);
}
