// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PHY: found, set up, negotiating with all kinds of partners, lost and back.
use super::bench::{Bench, Pauses};
use super::rig::{Rig, SECOND_NS, frame};
use crate::genet::regs::{CMD, MDIO_CMD};
use crate::genet::{Error, Link, Phy, PhyMode, Speed};
use genet_model::Stray;
use std::string::ToString;

const BMCR: u32 = 0;
const BMSR: u32 = 1;
const ID_HIGH: u32 = 2;
const PARTNER: u32 = 5;
const PARTNER_1000: u32 = 10;

fn attach(bench: &Bench, mode: PhyMode) -> Result<Phy<&Bench>, Error> {
    Phy::attach(bench, mode, &mut Pauses(bench))
}

/// Reads a register of the PHY past the driver.
fn read(bench: &Bench, register: u32) -> u32 {
    let command = 2 << 26 | genet_model::PHY_ADDRESS << 21 | register << 16;
    bench.poke(MDIO_CMD.offset, command | 1 << 29);
    bench.pass(100_000);
    bench.peek(MDIO_CMD.offset) & 0xffff
}

fn write(bench: &Bench, register: u32, value: u32) {
    let command = 1 << 26 | genet_model::PHY_ADDRESS << 21 | register << 16 | value;
    bench.poke(MDIO_CMD.offset, command | 1 << 29);
    bench.pass(100_000);
}

#[test]
fn it_is_found_wherever_it_is_and_whatever_it_is() {
    for address in [1, 0, 7, 31] {
        let bench = Bench::new(&[]);
        bench.phy_at.set(address);
        let phy = attach(&bench, PhyMode::RgmiiRxId).unwrap();
        assert_eq!((u32::from(phy.address()), phy.id()), (address, 0x600d_84a2));
        assert_eq!((phy.link(), phy.view().losses), (None, 0));
    }
    // Another maker's: no register is touched that is only Broadcom's.
    let bench = Bench::new(&[]);
    bench.phy_lies.borrow_mut().push((ID_HIGH, 0, 0x001c));
    bench.log.take();
    assert_eq!(
        attach(&bench, PhyMode::RgmiiRxId).unwrap().id(),
        0x001c_84a2
    );
    let log = bench.log.take();
    let register = |value: u32| value >> 16 & 0x1f;
    assert!(
        log.iter()
            .all(|(_, value)| ![0x18, 0x1c].contains(&register(*value)))
    );
}

#[test]
fn commands_are_set_before_they_are_started_and_never_while_one_is_under_way() {
    let bench = Bench::new(&[]);
    // Firmware's last one.
    bench.poke(MDIO_CMD.offset, 1 << 29 | 2 << 26 | 1 << 21);
    bench.log.take();
    attach(&bench, PhyMode::RgmiiRxId).unwrap();
    assert_eq!(bench.strays(), [""; 0]);
    let log = bench.log.take();
    let (pairs, rest) = log.as_chunks::<2>();
    assert!(rest.is_empty());
    for [set, started] in pairs {
        assert_eq!((set.0, set.1 | 1 << 29), *started, "{set:x?}");
    }
    // EEE is no longer advertised: device 7, register 60.
    let writes = pairs.iter().map(|pair| pair[0].1 & 0x1f_ffff);
    let writes: std::vec::Vec<_> = writes.collect();
    let eee = [13 << 16 | 7, 14 << 16 | 60, 13 << 16 | 0x4007, 14 << 16];
    assert!(writes.windows(4).any(|four| four == eee));
}

#[test]
fn lines_that_nobody_drives_are_no_phy() {
    for read in [0xffff, 0] {
        let bench = Bench::new(&[]);
        for register in [2, 3] {
            bench.phy_lies.borrow_mut().push((register, 0, read));
        }
        assert_eq!(attach(&bench, PhyMode::RgmiiRxId).err(), Some(Error::NoPhy));
    }
}

#[test]
fn a_bus_or_a_reset_that_does_not_end_is_told() {
    let bench = Bench::new(&[]);
    bench.lie(MDIO_CMD.offset, !0, 1 << 29, u32::MAX);
    assert_eq!(attach(&bench, PhyMode::Rgmii).err(), Some(Error::MdioStuck));
    bench.behave();
    bench.phy_lies.borrow_mut().push((BMCR, 0xffff, 1 << 15));
    let before_us = bench.clock.now_us();
    assert_eq!(attach(&bench, PhyMode::Rgmii).err(), Some(Error::PhyStuck));
    assert!(bench.clock.now_us() - before_us < 700_000, "bounded");
    bench.behave();
    let mut phy = attach(&bench, PhyMode::Rgmii).unwrap();
    bench.lie(MDIO_CMD.offset, !0, 1 << 29, u32::MAX);
    assert_eq!(phy.poll(&mut Pauses(&bench)), Err(Error::MdioStuck));
    bench.behave();
    assert_eq!(bench.strays(), [""; 0]);
}

#[test]
fn its_clock_delays_follow_the_mode_and_eee_is_off() {
    for (mode, rx, tx) in [
        (PhyMode::Rgmii, false, false),
        (PhyMode::RgmiiId, true, true),
        (PhyMode::RgmiiRxId, true, false),
        (PhyMode::RgmiiTxId, false, true),
    ] {
        let bench = Bench::new(&[]);
        attach(&bench, mode).unwrap();
        write(&bench, 0x18, 0x7007);
        assert_eq!(read(&bench, 0x18) & 1 << 8 != 0, rx, "{mode:?}");
        write(&bench, 0x1c, 3 << 10);
        assert_eq!(read(&bench, 0x1c) & 1 << 9 != 0, tx, "{mode:?}");
        for (register, value) in [(13, 7), (14, 60), (13, 1 << 14 | 7)] {
            write(&bench, register, value);
        }
        assert_eq!(read(&bench, 14), 0, "EEE is advertised");
        assert_eq!(read(&bench, 4), 0x0de1, "10 and 100, pause both ways");
        assert_eq!(read(&bench, 9), 0x0200, "1000, full duplex only");
    }
}

/// The link with a partner that says so.
fn link_with(partner: u32, gigabit: u32) -> Option<Link> {
    let bench = Bench::new(&[]);
    let mut phy = attach(&bench, PhyMode::RgmiiRxId).unwrap();
    bench.pass(SECOND_NS);
    bench.phy_lies.borrow_mut().push((PARTNER, 0, partner));
    bench.phy_lies.borrow_mut().push((PARTNER_1000, 0, gigabit));
    phy.poll(&mut Pauses(&bench)).unwrap()
}

#[test]
fn the_best_that_both_can_is_taken() {
    for (partner, gigabit, expected) in [
        (0xcde1, 0x3800, "1000 Mbit/s, full duplex, pause both"),
        (0xc1e1, 0x3800, "1000 Mbit/s, full duplex, pause none"),
        (0xc9e1, 0x3800, "1000 Mbit/s, full duplex, pause receive"),
        // The two cannot agree who is the clock's master.
        (0xcde1, 0xb800, "100 Mbit/s, full duplex, pause both"),
        (0xc5e1, 0x0000, "100 Mbit/s, full duplex, pause both"),
        (0x44a1, 0x0000, "100 Mbit/s, half duplex, pause none"),
        (0x4461, 0x0000, "10 Mbit/s, full duplex, pause both"),
        // A partner that does not negotiate.
        (0x0020, 0x0000, "10 Mbit/s, half duplex, pause none"),
    ] {
        let link = link_with(partner, gigabit).unwrap();
        assert_eq!(link.to_string(), expected, "{partner:#x} {gigabit:#x}");
    }
    assert_eq!(link_with(0x0001, 0), None, "nothing in common");
    let sends = Link {
        speed: Speed::M10,
        full_duplex: true,
        rx_pause: false,
        tx_pause: true,
    };
    assert_eq!(sends.to_string(), "10 Mbit/s, full duplex, pause send");
}

#[test]
fn what_both_said_is_there_to_be_seen() {
    let bench = Bench::new(&[]);
    let rig = Rig::up(&bench);
    let view = rig.phy.as_ref().unwrap().view();
    assert_eq!((view.id, view.address, view.eee), (0x600d_84a2, 1, false));
    let own = "1000/full 100/full 100/half 10/full 10/half pause both ways or received only";
    assert_eq!(view.advertised.to_string(), own);
    let partner = "1000/full 100/full 100/half 10/full 10/half";
    assert_eq!(
        view.partner.to_string(),
        [partner, "pause both ways or received only"].join(" ")
    );
    rig.end();
    for (word, pause) in [
        (0x0400, "pause both ways"),
        (0x0800, "pause sent only"),
        (0, "no pause"),
    ] {
        let bench = Bench::new(&[]);
        let mut phy = attach(&bench, PhyMode::Rgmii).unwrap();
        assert_eq!(
            phy.view().partner.to_string(),
            "no pause",
            "nothing is known"
        );
        bench.pass(SECOND_NS);
        bench.phy_lies.borrow_mut().push((PARTNER, 0, 0x41 | word));
        // A PHY that saves energy whatever it is told.
        bench.phy_lies.borrow_mut().push((14, 0, 6));
        phy.poll(&mut Pauses(&bench)).unwrap();
        let said = phy.view().partner.to_string();
        assert_eq!(said, ["1000/full 10/full", pause].join(" "));
        assert!(phy.view().eee);
    }
}

#[test]
fn the_mac_is_told_what_was_agreed_on() {
    for (partner, gigabit, command) in [
        (0xcde1, 0x3800, 2 << 2),
        (0xc1e1, 0x3800, 2 << 2 | 1 << 8 | 1 << 28),
        (0xc9e1, 0x3800, 2 << 2 | 1 << 28),
        (0xc5e1, 0x0000, 1 << 2),
        (0x0020, 0x0000, 1 << 8 | 1 << 10 | 1 << 28),
    ] {
        let bench = Bench::new(&[]);
        let mut rig = Rig::started(&bench).unwrap();
        bench.pass(SECOND_NS);
        bench.phy_lies.borrow_mut().push((PARTNER, 0, partner));
        bench.phy_lies.borrow_mut().push((PARTNER_1000, 0, gigabit));
        rig.serve();
        assert_eq!(bench.peek(CMD.offset), command | 0b11, "{partner:#x}");
        rig.end();
    }
}

#[test]
fn half_a_negotiation_is_no_link() {
    let bench = Bench::new(&[]);
    let mut phy = attach(&bench, PhyMode::RgmiiRxId).unwrap();
    bench.pass(SECOND_NS);
    bench.phy_lies.borrow_mut().push((BMSR, !(1 << 5), 0));
    assert_eq!(phy.poll(&mut Pauses(&bench)), Ok(None));
    bench.behave();
    assert!(phy.poll(&mut Pauses(&bench)).unwrap().is_some());
    phy.renegotiate(&mut Pauses(&bench)).unwrap();
    assert_eq!(phy.poll(&mut Pauses(&bench)), Ok(None));
    bench.pass(SECOND_NS);
    assert!(phy.poll(&mut Pauses(&bench)).unwrap().is_some());
    assert_eq!(phy.view().losses, 1);
}

#[test]
fn a_loss_between_two_looks_is_seen() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    bench.set_cable(false);
    bench.set_cable(true);
    bench.pass(SECOND_NS);
    assert!(rig.poll().unwrap().is_some());
    assert_eq!(rig.phy.as_ref().unwrap().view().losses, 1);
    rig.serve();
    rig.end();
}

#[test]
fn a_cable_that_is_pulled_every_tenth_of_a_second_costs_frames_only() {
    let bench = Bench::new(&[]);
    let mut rig = Rig::up(&bench);
    for n in 0..100 {
        bench.set_cable(n % 2 == 1);
        for _ in 0..10 {
            rig.send(&frame(60, n));
            bench.feed(&frame(60, n));
            rig.serve();
            rig.reclaim();
        }
        bench.pass(SECOND_NS / 10);
        rig.serve();
        assert_eq!(rig.genet.watchdog(bench.clock.now_ns()), None);
    }
    bench.set_cable(true);
    bench.pass(SECOND_NS);
    rig.serve();
    rig.got.clear();
    bench.feed(&frame(60, 7));
    rig.serve();
    assert_eq!(rig.take(), Some(frame(60, 7)));
    assert_eq!(bench.stray(Stray::TxOff), 0);
    rig.end();
}
