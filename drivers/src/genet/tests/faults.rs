// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each fault of the model: what becomes of the frame, what is counted, and that service goes on.
use super::bench::Bench;
use super::rig::{Rig, SECOND_NS, frame};
use crate::genet::{Error, RxError, Stall};
use genet_model::Fault;
use std::format;
use std::string::String;

/// The fault strikes at the `every`th chance, `times` times.
fn plan(fault: Fault, every: u32, times: u32) -> String {
    format!("{}/{every}x{times}", fault.name())
}

#[test]
fn every_fault_is_survived_and_accounted_for() {
    for fault in Fault::ALL {
        match *fault {
            Fault::RxCrc => bad_frames(*fault, RxError::Crc, "rx-fcs"),
            Fault::RxAlign => bad_frames(*fault, RxError::Align, "rx-align"),
            Fault::RxSymbol => bad_frames(*fault, RxError::Symbol, "rx-code"),
            Fault::RxOverflow => bad_frames(*fault, RxError::Overflow, "rbuf-overflows"),
            Fault::RxOversize => bad_frames(*fault, RxError::TooLong, "rx-oversize"),
            Fault::RxRunt => lost_frames(*fault, "runt-fcs-bad"),
            Fault::RxDrop => lost_frames(*fault, "rx-fcs"),
            Fault::RxDelay => late_frames(),
            Fault::TxStall => stalled_sender(),
            Fault::TxDelay => late_completion(),
            Fault::TxUnderrun | Fault::DmaRead => underrun(*fault),
            Fault::DmaWrite => lost_frames(*fault, "rbuf-errors"),
            Fault::IrqLost => lost_interrupt(),
            Fault::LinkFlap => flapping_link(),
            Fault::PhyDead => dead_phy(),
        }
    }
}

/// Sends and receives some frames, now that the fault is over.
fn goes_on(rig: &mut Rig<'_>) {
    rig.got.clear();
    rig.bench.sent.borrow_mut().clear();
    for n in 0..50 {
        assert!(rig.send(&frame(60 + usize::from(n), n)));
        rig.bench.feed(&frame(1514, n));
        rig.serve();
        assert_eq!(rig.take(), Some(frame(1514, n)));
    }
    assert_eq!(rig.bench.sent.borrow().len(), 50);
    rig.reclaim();
    assert_eq!(rig.genet.tx_queued(), 0);
}

/// A frame with an error comes as far as the ring, and no further.
fn bad_frames(fault: Fault, error: RxError, counter: &str) {
    let bench = Bench::new(&[&plan(fault, 3, 2)]);
    let mut rig = Rig::up(&bench);
    for n in 0..9 {
        bench.feed(&frame(100, n));
        rig.serve();
    }
    let came: std::vec::Vec<u8> = rig.got.iter().map(|(frame, _)| frame[99]).collect();
    let sent = |n: u8| frame(100, n)[99];
    assert_eq!(came, [0, 1, 3, 4, 6, 7, 8].map(sent), "{fault:?}");
    let counters = rig.genet.counters();
    assert_eq!(counters.of(error), 2, "{fault:?}");
    assert_eq!(counters.rx_errors.iter().sum::<u64>(), 2, "{fault:?}");
    rig.genet.update_mib();
    assert_eq!(rig.genet.mib().get(counter), Some(2), "{fault:?}");
    goes_on(&mut rig);
    rig.end();
}

/// A frame that never comes to the ring.
fn lost_frames(fault: Fault, counter: &str) {
    let bench = Bench::new(&[&plan(fault, 2, 1)]);
    let mut rig = Rig::up(&bench);
    for n in 0..3 {
        bench.feed(&frame(100, n));
        rig.serve();
    }
    assert_eq!(rig.take(), Some(frame(100, 0)), "{fault:?}");
    assert_eq!(rig.take(), Some(frame(100, 2)), "{fault:?}");
    assert_eq!(rig.take(), None);
    rig.genet.update_mib();
    let counted = u64::from(fault != Fault::RxDrop);
    assert_eq!(rig.genet.mib().get(counter), Some(counted), "{fault:?}");
    assert_eq!(rig.genet.counters().rx_frames, 2);
    goes_on(&mut rig);
    rig.end();
}

fn late_frames() {
    let bench = Bench::new(&["rx-delay/1x1:20"]);
    let mut rig = Rig::up(&bench);
    bench.feed(&frame(100, 0));
    bench.feed(&frame(100, 1));
    rig.serve();
    assert_eq!(rig.take(), Some(frame(100, 1)));
    bench.pass(20_000_000);
    assert_eq!(rig.serve(), 1);
    assert_eq!(rig.take(), Some(frame(100, 0)));
    goes_on(&mut rig);
    rig.end();
}

/// Nothing is sent any more: after five seconds, all is given back and started anew.
fn stalled_sender() {
    let bench = Bench::new(&["tx-stall/3x1"]);
    let mut rig = Rig::up(&bench);
    for n in 0..10 {
        rig.send(&frame(60, n));
    }
    assert_eq!(rig.reclaim(), 2);
    assert_eq!(rig.watch(4 * SECOND_NS), []);
    assert_eq!(rig.watch(2 * SECOND_NS), [Stall::Transmit]);
    let counters = *rig.genet.counters();
    assert_eq!(
        (counters.tx_unsent, counters.stalls, counters.recoveries),
        (8, 1, 1)
    );
    // The frames that waited, and the receive ring's buffers.
    assert_eq!(rig.given_back, 8 + 256);
    goes_on(&mut rig);
    rig.end();
}

fn late_completion() {
    let bench = Bench::new(&["tx-delay/1x1:4000"]);
    let mut rig = Rig::up(&bench);
    rig.send(&frame(60, 0));
    rig.send(&frame(60, 1));
    assert_eq!(rig.reclaim(), 0);
    assert_eq!(
        rig.watch(4 * SECOND_NS),
        [],
        "a sender that is late has not stalled"
    );
    assert_eq!(rig.reclaim(), 2);
    goes_on(&mut rig);
    rig.end();
}

/// A frame that did not leave whole.
fn underrun(fault: Fault) {
    let bench = Bench::new(&[&plan(fault, 2, 1)]);
    let mut rig = Rig::up(&bench);
    for n in 0..3 {
        rig.send(&frame(60, n));
    }
    assert_eq!(
        *bench.sent.borrow(),
        [frame(60, 0), frame(60, 2)],
        "{fault:?}"
    );
    assert_eq!(rig.reclaim(), 3);
    // It interrupts nobody; the next interrupt tells of it.
    bench.feed(&frame(60, 3));
    rig.serve();
    assert_eq!(rig.genet.counters().tx_underruns, 1);
    rig.genet.update_mib();
    assert_eq!(rig.genet.mib().get("tx-fcs"), Some(1));
    goes_on(&mut rig);
    rig.end();
}

/// The watchdog finds what no interrupt told.
fn lost_interrupt() {
    let bench = Bench::new(&["irq-lost/1x1"]);
    let mut rig = Rig::up(&bench);
    bench.feed(&frame(100, 7));
    assert_eq!(rig.serve(), 0);
    assert_eq!(rig.watch(SECOND_NS / 2), [Stall::Interrupt]);
    assert_eq!(rig.take(), Some(frame(100, 7)));
    // And that of a sender who waits for room: the ring is empty before he is told.
    bench.plan(&["tx-delay/1x1:1", "irq-lost/1x1"]);
    rig.send(&frame(60, 0));
    assert!(!rig.genet.want_room());
    assert_eq!(rig.watch(SECOND_NS / 2), [Stall::Interrupt]);
    assert_eq!(rig.genet.tx_queued(), 0);
    assert_eq!(rig.genet.counters().interrupts_lost, 2);
    assert_eq!(rig.genet.counters().recoveries, 0);
    goes_on(&mut rig);
    rig.end();
}

fn flapping_link() {
    let bench = Bench::new(&["link-flap/1x3:1000"]);
    let mut rig = Rig::up(&bench);
    let mut changes = std::vec::Vec::new();
    for _ in 0..200 {
        bench.pass(SECOND_NS / 10);
        rig.serve();
        rig.send(&frame(60, 1));
        rig.reclaim();
        let is_up = rig.genet.link().is_some();
        if changes.last() != Some(&is_up) {
            changes.push(is_up);
        }
    }
    assert_eq!(changes, [true, false, true, false, true, false, true]);
    assert_eq!(rig.phy.as_ref().unwrap().view().losses, 3);
    assert_eq!(rig.genet.tx_queued(), 0);
    goes_on(&mut rig);
    rig.end();
}

fn dead_phy() {
    let bench = Bench::new(&["phy-dead"]);
    assert_eq!(Rig::started(&bench).err(), Some(Error::NoPhy));
    // Twice is less than it takes.
    let bench = Bench::new(&["phy-dead/1x2"]);
    let mut rig = Rig::up(&bench);
    bench.plan(&["phy-dead/1x2"]);
    assert!(rig.poll().unwrap().is_some());
    bench.plan(&["phy-dead"]);
    assert_eq!(rig.poll(), Err(Error::NoAnswer(1)));
    assert!(
        rig.genet.link().is_some(),
        "who does not answer says nothing of the link"
    );
    bench.plan(&[]);
    assert!(rig.poll().unwrap().is_some());
    goes_on(&mut rig);
    rig.end();
}
