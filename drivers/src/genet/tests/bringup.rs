// SPDX-License-Identifier: MIT OR Apache-2.0
//! Up from whatever firmware left, down, and up again.
use super::bench::{BASE, BUFFERS, Bench, Pauses};
use super::rig::{OWN, Rig, SECOND_NS, frame};
use crate::genet::regs::*;
use crate::genet::{Blame, Error, Genet, PhyMode, RING};
use std::string::ToString;
use std::vec::Vec;

const UP: u32 = 1 << 16;

/// A firmware that has booted from the network: rings run, on another size, with indices that moved.
fn leave_running(bench: &Bench) {
    for (offset, value) in [
        (PORT_CTRL.offset, 3),
        (RGMII_OOB.offset, 0x70),
        (CMD.offset, 2 << 2 | 1 << 4 | 3),
        (RBUF_CTRL.offset, 0),
        (RBUF_ENERGY.offset, 3),
        (EEE_CTRL.offset, 1 << 3),
        (MPD_CTRL.offset, 1),
        (INTR_MASK_CLEAR.offset, u32::MAX),
        (INTR1_MASK_SET.offset + 4, u32::MAX),
    ] {
        bench.poke(offset, value);
    }
    for dma in [&RDMA, &TDMA] {
        bench.poke(dma.end[0].offset, 64 * 3 - 1);
        bench.poke(dma.size.offset, 64 << 16 | 2048);
        bench.poke(dma.ring_cfg.offset, UP | 1);
        bench.poke(dma.ctrl.offset, 1 << 17 | 1);
    }
    bench.pass(SECOND_NS);
    for n in 0..10 {
        let at = RDMA.descriptors + usize::from(n) * DESCRIPTOR_BYTES;
        bench.poke(at + 4, BASE as u32);
        bench.poke(at + 8, (BASE >> 32) as u32);
        bench.feed(&frame(60, n));
    }
    assert_eq!(bench.peek(RDMA.device_index.offset), 10);
    for register in [MDF_CTRL.offset, HFB_CTRL.offset, HFB_ENABLE[1].offset] {
        bench.poke(register, 1);
    }
}

#[test]
fn whatever_firmware_left_is_stopped_first_and_overwritten() {
    let bench = Bench::new(&[]);
    leave_running(&bench);
    assert!(bench.lines.get()[0], "it was running");
    bench.log.take();
    let mut rig = Rig::up(&bench);
    let log = bench.log.take();
    let first = |offset: usize| log.iter().position(|(at, _)| *at == offset).unwrap();
    let stopped = first(RDMA.ctrl.offset).max(first(TDMA.ctrl.offset));
    assert_eq!(log[first(RDMA.ctrl.offset)].1, 0);
    for after in [
        RBUF_FLUSH.offset,
        RDMA.descriptors,
        RDMA.size.offset,
        MAC_ADDRESS[0].offset,
    ] {
        assert!(stopped < first(after), "{after:#x}");
    }
    for (register, value) in [
        (RBUF_ENERGY.offset, 0),
        (TBUF_ENERGY.offset, 0),
        (EEE_CTRL.offset, 0),
        (MPD_CTRL.offset, 0),
        (HFB_CTRL.offset, 0),
        (HFB_ENABLE[1].offset, 0),
        (RDMA.burst.offset, 8),
        (TDMA.burst.offset, 8),
        (MAX_FRAME.offset, 1536),
        (RDMA.flow.offset, 5 << 16 | 16),
        (MAC_ADDRESS[0].offset, 0xdca6_3201),
        (MAC_ADDRESS[1].offset, 0x0203),
        (TBUF_SIZE_CTRL.offset, 1),
        (RDMA.ring_cfg.offset, UP),
    ] {
        assert_eq!(bench.peek(register), value, "{register:#x}");
    }
    // The indices had moved, and begin anew.
    assert!(
        [&RDMA, &TDMA]
            .iter()
            .all(|dma| bench.peek(dma.driver_index.offset) == 0)
    );
    for n in 0..2 * RING {
        bench.feed(&frame(100, n as u8));
        rig.serve();
        assert_eq!(rig.take(), Some(frame(100, n as u8)));
        assert!(rig.send(&frame(100, n as u8)));
        rig.reclaim();
    }
    rig.end();
}

#[test]
fn the_mac_is_held_in_reset_until_there_is_a_link() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::started(&bench).unwrap();
    let command = || bench.peek(CMD.offset);
    let (reset, on) = (1 << 13, 0b11);
    assert_eq!(command() & (reset | on), reset);
    assert_eq!(rig.genet.tx_free(), 0);
    assert!(!rig.send(&frame(60, 0)), "no link");
    assert_eq!(rig.poll(), Ok(None));
    assert_eq!(command() & (reset | on), reset);
    bench.pass(genet_model::AUTONEG_NS);
    bench.log.take();
    rig.serve();
    let writes: Vec<u32> = {
        let log = bench.log.take();
        let commands = log.iter().filter(|(offset, _)| *offset == CMD.offset);
        commands.map(|(_, value)| *value).collect()
    };
    // Speed first, out of reset, and only then on.
    assert_eq!(writes, [2 << 2, 2 << 2 | on]);
    assert!(rig.send(&frame(60, 0)));
    bench.set_cable(false);
    rig.serve();
    assert_eq!(rig.genet.link(), None);
    assert_eq!(bench.peek(RGMII_OOB.offset) & 0x10, 0);
    assert!(!rig.send(&frame(60, 0)));
    assert_eq!(rig.reclaim(), 1);
    rig.end();
}

#[test]
fn rings_start_where_the_device_is_if_its_index_stays() {
    for index in [1, 255, 256, 700, 65_535] {
        let bench = Bench::new(&[]);
        for dma in [&RDMA, &TDMA] {
            bench.poke(dma.device_index.offset, index);
            bench.deafen(dma.device_index.offset);
        }
        let mut rig = Rig::up(&bench);
        // The pointers are in words, and at the same place.
        let log = bench.log.take();
        for dma in [&RDMA, &TDMA] {
            for pointer in [&dma.device_pointer, &dma.driver_pointer] {
                assert!(
                    log.contains(&(pointer[0].offset, index % 256 * 3)),
                    "{index}"
                );
            }
        }
        for n in 0..3 * RING {
            bench.feed(&frame(100, n as u8));
            rig.serve();
            assert_eq!(rig.take(), Some(frame(100, n as u8)), "{index}");
            assert!(rig.send(&frame(90, n as u8)));
            rig.reclaim();
        }
        assert_eq!(bench.sent.borrow().len(), 3 * RING);
        rig.end();
    }
}

#[test]
fn stopped_and_started_nothing_is_lost_and_service_goes_on() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for lap in 0..5 {
        for n in 0..10 * lap {
            rig.queue(&frame(60, n));
        }
        bench.feed(&frame(60, 1));
        rig.stop().unwrap();
        assert_eq!((bench.out(), bench.dropped.get()), (0, 0));
        assert!(!rig.genet.is_running() && !bench.lines.get()[0]);
        assert!(!rig.send(&frame(60, 0)));
        assert_eq!(rig.receive(9) + rig.reclaim(), 0);
        assert!(!rig.genet.rearm() && !rig.genet.want_room());
        assert_eq!(rig.genet.watchdog(0), None);
        rig.stop().expect("twice is as good as once");
        rig.start().unwrap();
        assert_eq!(bench.out(), RING);
        assert_eq!(rig.start(), Err(Error::NotStopped));
        bench.feed(&frame(99, lap));
        rig.serve();
        assert_eq!(rig.take(), Some(frame(99, lap)));
        rig.send(&frame(98, lap));
        assert_eq!(rig.reclaim(), 1);
    }
    assert_eq!(rig.genet.counters().tx_unsent, 10 + 20 + 30 + 40);
    let (mac, mode) = (rig.genet.mac(), PhyMode::RgmiiRxId);
    assert_eq!(mac, OWN);
    let running = rig.genet.reset(mac, mode, &mut Pauses(&bench));
    assert_eq!(running, Err(Error::NotStopped));
    // A reset of the owner's own begins without a link.
    let link = rig.genet.link();
    rig.stop().unwrap();
    rig.genet.reset(mac, mode, &mut Pauses(&bench)).unwrap();
    assert_eq!((rig.genet.link(), bench.peek(CMD.offset)), (None, 1 << 13));
    rig.start().unwrap();
    assert!(!rig.send(&frame(60, 0)));
    let before_us = bench.clock.now_us();
    rig.genet.set_link(link, &mut Pauses(&bench));
    assert_eq!(
        bench.clock.now_us(),
        before_us + 2,
        "between out of reset and on"
    );
    assert!(rig.send(&frame(60, 0)));
    rig.end();
}

#[test]
fn silence_lasts_until_the_next_start() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    bench.feed(&frame(60, 0));
    assert!(bench.lines.get()[0]);
    rig.genet.silence();
    bench.feed(&frame(60, 1));
    assert!(!bench.lines.get()[0]);
    rig.recover().unwrap();
    bench.feed(&frame(60, 2));
    assert!(bench.lines.get()[0]);
    rig.serve();
    rig.end();
}

#[test]
fn before_a_reset_nothing_is_started_and_nothing_touched() {
    let bench = Bench::new(&[]);
    let mut genet: Genet<_, super::bench::Buffer<'_>> = Genet::new(&bench);
    bench.log.take();
    let started = genet.start(&mut || bench.buffer(), &mut |buffer| bench.put(buffer));
    assert_eq!(started, Err(Error::NotReset));
    genet.set_link(None, &mut Pauses(&bench));
    genet.set_filter(&[], true);
    genet.set_coalescing(None);
    assert_eq!(bench.log.take(), []);
    assert_eq!(Error::NotReset.blame(), Blame::Caller);
}

#[test]
fn another_controller_is_refused() {
    let bench = Bench::new(&[]);
    bench.lie(REV_CTRL.offset, 0, 0x0500_0000, u32::MAX);
    let error = Rig::started(&bench).err().unwrap();
    assert_eq!(error, Error::Version(0x0500_0000));
    assert_eq!(error.blame(), Blame::Device);
    assert_eq!(bench.log.take(), [], "nothing was written to it");
}

#[test]
fn too_few_buffers_are_all_given_back() {
    let bench = Bench::new(&[]);
    let spare: Vec<_> = (0..BUFFERS - 100)
        .map(|_| bench.buffer().unwrap())
        .collect();
    assert_eq!(Rig::started(&bench).err(), Some(Error::NoBuffers(100)));
    assert_eq!((bench.out(), bench.dropped.get()), (BUFFERS - 100, 0));
    spare.into_iter().for_each(|buffer| bench.put(buffer));
    Rig::up(&bench).end();
}

#[test]
fn a_dma_that_does_not_stop_keeps_its_buffers() {
    for (dma, error) in [(&TDMA, Error::TransmitStuck), (&RDMA, Error::ReceiveStuck)] {
        let bench = Bench::new(&[]);
        leave_running(&bench);
        bench.lie(dma.status.offset, 0, 0, u32::MAX);
        let before_us = bench.clock.now_us();
        assert_eq!(Rig::started(&bench).err(), Some(error));
        assert!(bench.clock.now_us() - before_us < 100_000, "bounded");
        bench.behave();
        let mut rig = Rig::up(&bench);
        bench.lie(dma.status.offset, 0, 0, u32::MAX);
        assert_eq!(rig.stop(), Err(error));
        assert_eq!((bench.out(), bench.dropped.get()), (RING, 0));
        assert_eq!(rig.recover(), Err(error));
        assert_eq!(rig.start(), Err(Error::NotStopped));
        bench.behave();
        rig.end();
    }
}

#[test]
fn a_dma_that_stops_only_when_the_mac_is_reset_is_stopped() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    // As often as the first of two waits asks.
    bench.lie(RDMA.status.offset, 0, 0, 501);
    bench.log.take();
    rig.stop().unwrap();
    assert!(bench.log.take().contains(&(RBUF_FLUSH.offset, 2)));
    assert_eq!(
        rig.start(),
        Err(Error::NotReset),
        "address and filters are gone"
    );
    rig.recover().unwrap();
    bench.feed(&frame(60, 0));
    rig.serve();
    assert_eq!(rig.take(), Some(frame(60, 0)));
    rig.end();
}

#[test]
fn clock_delays_are_the_ones_of_the_mode() {
    for (name, mac_delays) in [
        ("rgmii", true),
        ("rgmii-id", false),
        ("rgmii-rxid", false),
        ("rgmii-txid", false),
    ] {
        let bench = Bench::new(&[]);
        let mode = PhyMode::from_name(name).unwrap();
        let mut genet: Genet<_, super::bench::Buffer<'_>> = Genet::new(&bench);
        genet.reset(OWN, mode, &mut Pauses(&bench)).unwrap();
        let oob = bench.peek(RGMII_OOB.offset);
        assert_eq!(oob & 1 << 16 != 0, mac_delays, "{name}");
        assert_eq!(oob & 0x70, 0x40);
    }
    assert_eq!(PhyMode::from_name("mii"), None);
}

#[test]
fn errors_say_what_they_are() {
    for error in [
        Error::NotStopped,
        Error::NotReset,
        Error::NoBuffers(3),
        Error::Version(7),
        Error::ReceiveStuck,
        Error::TransmitStuck,
        Error::MdioStuck,
        Error::NoAnswer(1),
        Error::NoPhy,
        Error::PhyStuck,
    ] {
        let text = error.to_string();
        assert!(text.len() > 10 && !text.ends_with('.'), "{text}");
    }
    assert_eq!(
        Error::NoBuffers(3).to_string(),
        "3 buffers for 256 descriptors"
    );
}
