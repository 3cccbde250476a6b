// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often frames interrupt.
use super::bench::Bench;
use super::rig::{Rig, frame};
use crate::genet::regs::{RDMA, RX_TIMEOUT};
use crate::genet::{Coalescing, Stall};

/// So many frames, one each `gap_ns`; how many interrupts there were.
fn stream(rig: &mut Rig<'_>, frames: u32, gap_ns: u64) -> u32 {
    let mut interrupts = 0;
    for n in 0..frames {
        rig.bench.feed(&frame(60, n as u8));
        interrupts += rig.serve();
        rig.bench.pass(gap_ns);
        interrupts += rig.serve();
        rig.genet.adapt(rig.bench.clock.now_ns());
    }
    rig.bench.pass(1_000_000);
    interrupts + rig.serve()
}

#[test]
fn slow_frames_interrupt_one_by_one_and_fast_ones_together() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    assert_eq!(stream(&mut rig, 500, 1_000_000), 500);
    let fast = stream(&mut rig, 20_000, 2_000);
    assert!((20_000 / 40..20_000 / 16).contains(&fast), "{fast}");
    assert_eq!(rig.got.len(), 20_500, "none is left behind");
    assert_eq!(rig.genet.coalescing().frames, 32);
    let slow = stream(&mut rig, 500, 1_000_000);
    assert!(slow >= 490, "{slow}");
    assert_eq!(rig.genet.coalescing().frames, 1);
    rig.end();
}

#[test]
fn a_frame_waits_for_others_only_so_long() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    rig.genet.set_coalescing(Some(Coalescing {
        frames: 10,
        usecs: 100,
    }));
    for n in 0..9 {
        bench.feed(&frame(60, n));
    }
    bench.pass(100_000);
    assert!(!bench.lines.get()[0]);
    // The device counts in units of 8.192 us.
    bench.pass(8_192);
    assert!(bench.lines.get()[0]);
    assert_eq!(rig.serve(), 1);
    for n in 0..10 {
        assert!(!bench.lines.get()[0]);
        bench.feed(&frame(60, n));
    }
    assert!(bench.lines.get()[0], "ten are enough");
    rig.serve();
    assert_eq!(rig.got.len(), 19);
    // It stays as it was told, at whatever rate, and through a recovery.
    stream(&mut rig, 1_000, 1_000);
    rig.recover().unwrap();
    assert_eq!(bench.peek(RDMA.threshold.offset), 10);
    assert_eq!(bench.peek(RX_TIMEOUT.offset), 13);
    rig.end();
}

#[test]
fn what_the_registers_cannot_hold_is_bounded() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for (frames, usecs, threshold, units) in [(0, 0, 1, 1), (u16::MAX, u32::MAX, 256, 0xffff)] {
        rig.genet.set_coalescing(Some(Coalescing { frames, usecs }));
        assert_eq!(bench.peek(RDMA.threshold.offset), threshold);
        assert_eq!(bench.peek(RX_TIMEOUT.offset), units);
    }
    rig.genet.set_coalescing(None);
    assert_eq!(bench.peek(RDMA.threshold.offset), 1);
    rig.end();
}

#[test]
fn a_ring_that_is_never_empty_has_not_lost_an_interrupt() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for n in 0..100 {
        for _ in 0..2 {
            bench.feed(&frame(60, n));
        }
        rig.receive(1);
        assert_eq!(rig.genet.watchdog(bench.clock.now_ns()), None, "{n}");
    }
    // From here on nobody looks.
    assert_eq!(
        rig.genet.watchdog(bench.clock.now_ns()),
        Some(Stall::Interrupt)
    );
    rig.serve();
    assert_eq!(rig.got.len(), 200);
    assert_eq!(rig.genet.watchdog(bench.clock.now_ns()), None);
    // What has only just come may still be told.
    bench.feed(&frame(60, 0));
    assert_eq!(rig.genet.watchdog(bench.clock.now_ns()), None);
    assert_eq!(
        rig.genet.watchdog(bench.clock.now_ns()),
        Some(Stall::Interrupt)
    );
    rig.end();
}
