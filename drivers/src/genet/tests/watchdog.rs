// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stalls, what only seems to, and what a recovery keeps.
use super::bench::{Bench, Pauses};
use super::rig::{Rig, SECOND_NS, frame};
use crate::genet::regs::{RBUF_OVERFLOWS, RDMA, REV_CTRL, TDMA};
use crate::genet::{Error, Stall};
use std::vec::Vec;

#[test]
fn an_index_that_cannot_be_is_not_believed() {
    for (dma, stall) in [(&RDMA, Stall::ReceiveIndex), (&TDMA, Stall::TransmitIndex)] {
        let bench = Bench::new(&[]);
        let mut rig = Rig::up(&bench);
        rig.send(&frame(60, 0));
        bench.feed(&frame(60, 1));
        bench.lie(dma.device_index.offset, !0xffff, 0x4321, u32::MAX);
        rig.pass();
        let believed = (rig.got.len(), 1 - rig.genet.tx_queued());
        match stall {
            Stall::ReceiveIndex => assert_eq!(believed, (0, 1)),
            _ => assert_eq!(believed, (1, 0)),
        }
        assert_eq!(rig.genet.watchdog(0), Some(stall));
        assert!(stall.needs_recovery());
        let waited = rig.genet.tx_queued() as u64;
        rig.stop().unwrap();
        assert_eq!(
            rig.genet.counters().tx_unsent,
            waited,
            "who lies about what is sent is not asked"
        );
        bench.behave();
        rig.recover().unwrap();
        assert_eq!(rig.genet.watchdog(1), None);
        bench.feed(&frame(60, 2));
        rig.serve();
        assert_eq!(rig.got.pop_back().unwrap().0, frame(60, 2));
        rig.end();
    }
}

#[test]
fn a_recovery_that_fails_can_be_tried_again() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    bench.lie(REV_CTRL.offset, 0, 0, u32::MAX);
    assert_eq!(rig.recover(), Err(Error::Version(0)));
    assert_eq!((bench.out(), rig.genet.tx_free()), (0, 0));
    bench.behave();
    // What happens to the link meanwhile, counts.
    let link = rig.genet.link();
    rig.genet.set_link(None, &mut Pauses(&bench));
    rig.recover().unwrap();
    assert!(!rig.send(&frame(60, 0)));
    bench.lie(REV_CTRL.offset, 0, 0, u32::MAX);
    assert_eq!(rig.recover(), Err(Error::Version(0)));
    rig.genet.set_link(link, &mut Pauses(&bench));
    assert_eq!(rig.recover(), Err(Error::Version(0)));
    bench.behave();
    rig.recover().unwrap();
    assert!(rig.send(&frame(60, 0)), "the link is the one of before");
    bench.feed(&frame(60, 1));
    rig.serve();
    assert_eq!(rig.take(), Some(frame(60, 1)));
    rig.end();
}

#[test]
fn the_macs_counts_go_on_through_a_recovery() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for round in 1..=3 {
        for n in 0..10 {
            bench.feed(&frame(60, n));
        }
        rig.serve();
        if round == 2 {
            rig.genet.update_mib();
        }
        rig.recover().unwrap();
        assert_eq!(rig.genet.mib().get("rx-packets"), Some(10 * round));
        assert_eq!(rig.genet.mib().get("rx-bytes"), Some(640 * round));
    }
    rig.end();
}

#[test]
fn a_sender_that_is_slow_has_not_stalled() {
    let bench = Bench::new(&["tx-delay:1000"]);
    let mut rig = Rig::up(&bench);
    for n in 0..30 {
        rig.send(&frame(60, n));
        assert_eq!(rig.watch(SECOND_NS / 2), [], "{n}");
        rig.reclaim();
        assert!(rig.genet.tx_queued() > 0);
    }
    assert_eq!(rig.watch(2 * SECOND_NS), []);
    rig.end();
}

#[test]
fn time_counts_only_while_there_is_a_link() {
    let bench = Bench::new(&["tx-stall/1x1"]);
    let mut rig = Rig::up(&bench);
    rig.send(&frame(60, 0));
    assert_eq!(rig.watch(4 * SECOND_NS), []);
    let link = rig.genet.link();
    // Gone and back between two looks.
    rig.genet.set_link(None, &mut Pauses(&bench));
    rig.genet.set_link(link, &mut Pauses(&bench));
    assert_eq!(rig.watch(4 * SECOND_NS), []);
    rig.genet.set_link(None, &mut Pauses(&bench));
    assert_eq!(rig.watch(10 * SECOND_NS), []);
    rig.genet.set_link(link, &mut Pauses(&bench));
    assert_eq!(rig.watch(6 * SECOND_NS), [Stall::Transmit]);
    rig.end();
}

#[test]
fn a_receiver_that_overflows_into_an_empty_ring_stalls() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    let mut watch = |seconds: u64| {
        let mut said = Vec::new();
        for _ in 0..seconds {
            let before = bench.peek(RBUF_OVERFLOWS.offset);
            bench.poke(RBUF_OVERFLOWS.offset, before + 3);
            said.extend(rig.watch(SECOND_NS));
        }
        said
    };
    // It overflows once a second, but is looked at ten times.
    assert_eq!(watch(20), []);
    for tenth in 0..60 {
        bench.poke(RBUF_OVERFLOWS.offset, 1_000 + tenth);
        let said = rig.watch(SECOND_NS / 10);
        // Time counts from the look before the first of them.
        assert_eq!(said == [Stall::Receive], tenth == 49, "{tenth}");
    }
    // Not one that goes on, and not one whose owner does not look.
    for (tenth, is_served) in (1..200).map(|n| (n, n < 100)) {
        bench.poke(RBUF_OVERFLOWS.offset, 2_000 + tenth);
        bench.pass(SECOND_NS / 10);
        if is_served {
            bench.feed(&frame(60, 0));
            rig.serve();
        } else if tenth == 100 {
            bench.feed(&frame(60, 0));
        }
        let said = rig.genet.watchdog(bench.clock.now_ns());
        assert_ne!(said, Some(Stall::Receive), "{tenth}");
    }
    rig.serve();
    rig.end();
}
