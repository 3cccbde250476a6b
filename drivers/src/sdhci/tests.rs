// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controller's driver alone: commands that a thread waits for, and a controller that is out of order.
use super::bench::{Bench, BenchSlot, Data, Event, Host, Lie};
use super::*;
use crate::sd::{Command, ResponseKind};
use crate::testing::Clock;
use embedded_hal::delay::DelayNs;

const STATUS: u8 = 13;
const SELECT: u8 = 7;

/// A controller whose card is in the transfer state, and the card's address.
fn host(bench: &Bench) -> (Host<'_>, u32) {
    let card = crate::sd::Card::init(bench.host());
    let card = card.map_err(|(error, _)| error).expect("comes up");
    let address = bench.last(SELECT).unwrap();
    (card.into_host(), address)
}

#[test]
fn each_error_of_a_command_is_told_apart_and_recovered_from() {
    let bench = Bench::sdhc();
    let (mut host, address) = host(&bench);
    let status = Command::new(STATUS, address, ResponseKind::R1);
    for (bits, error) in [
        (1 << 16, Error::NoResponse),
        (1 << 17, Error::CommandCrc),
        (1 << 16 | 1 << 17, Error::CommandCrc),
        (1 << 18, Error::CommandEndBit),
        (1 << 19, Error::CommandIndex),
        (1 << 23, Error::Unexpected(0x80)),
        (0, Error::CommandStuck),
    ] {
        bench.force(Event::instead_of(STATUS, bits));
        let before_us = bench.clock.now_us();
        assert_eq!(host.command(status), Err(error));
        assert!(bench.clock.now_us() - before_us < 101_000);
        assert_eq!(host.command(status).unwrap().short() >> 9 & 0xf, 4);
    }
    assert!(bench.strays().is_empty(), "{:?}", bench.strays());
}

#[test]
fn busy_ends_by_event_or_by_the_lines_or_is_given_up() {
    let bench = Bench::sdhc();
    let deselected =
        |host: &mut Host<'_>| host.command(Command::new(SELECT, 0, ResponseKind::None));
    let (mut host, address) = host(&bench);
    let select = Command::new(SELECT, address, ResponseKind::R1b);
    let no_event = Lie {
        after: Some(SELECT),
        ..Lie::of(0x30, !(1 << 1), 0)
    };
    deselected(&mut host).unwrap();
    host.command(select).unwrap();
    // The event does not come.
    deselected(&mut host).unwrap();
    bench.tell(no_event);
    let before_us = bench.clock.now_us();
    host.command(select).unwrap();
    assert!(bench.clock.now_us() - before_us < 2_000);
    // Neither it, nor do the lines tell an end.
    deselected(&mut host).unwrap();
    bench.tell(Lie {
        after: Some(SELECT),
        ..Lie::of(0x24, !(1 << 20), 0)
    });
    assert_eq!(host.command(select), Err(Error::Busy));
    let took_us = bench.clock.now_us() - before_us;
    assert!((1_000_000..1_100_000).contains(&took_us), "{took_us}");
}

#[test]
fn lines_that_stay_in_use_are_told() {
    let bench = Bench::sdhc();
    let (mut host, address) = host(&bench);
    let status = Command::new(STATUS, address, ResponseKind::R1);
    bench.tell(Lie::of(0x24, !0, 1));
    assert_eq!(host.command(status), Err(Error::InhibitStuck));
    bench.behave();
    // The data lines in use are no hindrance to a question, but to a block.
    bench.tell(Lie::of(0x24, !0, 2));
    host.command(status).unwrap();
    let switch = Command::new(6, 0x00ff_ffff, ResponseKind::R1);
    assert_eq!(
        host.read_block(switch, &mut [0; 64]),
        Err(Error::InhibitStuck)
    );
}

#[test]
fn a_controller_that_ends_before_the_blocks_are_through_is_not_believed() {
    let bench = Bench::sdhc();
    let (host, address) = host(&bench);
    drop(host);
    let mut host = bench.host_by_port();
    let mut data = Data::read(&bench, 0, 20);
    host.start_transfer(Command::new(18, 0, ResponseKind::R1), &mut data)
        .unwrap();
    assert_eq!(host.interrupt(&mut data), Step::Going);
    bench.tell(Lie::of(0x30, !0, 1 << 1));
    assert_eq!(host.interrupt(&mut data), Step::Failed(Error::Short(4)));
    bench.behave();
    let again = host.start(Command::new(STATUS, address, ResponseKind::R1));
    assert_eq!(again, Err(Error::NotRecovered));
    host.reset_lines().unwrap();
}

#[test]
fn the_port_is_read_only_while_it_is_ready() {
    let bench = Bench::sdhc();
    drop(host(&bench));
    let mut host = bench.host_by_port();
    let mut data = Data::read(&bench, 0, 2);
    let read = Command::new(18, 0, ResponseKind::R1);
    host.start_transfer(read, &mut data).unwrap();
    bench.tell(Lie::of(0x24, !(1 << 11), 0).times(1));
    assert_eq!(host.interrupt(&mut data), Step::Going);
    assert_eq!(bench.port_words.get(), 0);
}

#[test]
fn events_of_nobodys_command_are_acknowledged_and_forgotten() {
    let bench = Bench::sdhc();
    let (mut host, address) = host(&bench);
    let mut data = Data::read(&bench, 0, 1);
    let status = Command::new(STATUS, address, ResponseKind::R1);
    host.start(status).unwrap();
    assert!(matches!(host.interrupt(&mut data), Step::Done(_)));
    bench.write32(0x50, 1 << 16);
    assert!(bench.line.get());
    assert_eq!(host.interrupt(&mut data), Step::NotMine);
    assert!(!bench.line.get());
    assert_eq!(host.give_up(&mut data), Step::NotMine);
}

/// Wakes up at once, always, for nothing.
struct Restless<'a>(&'a Clock);

impl DelayNs for Restless<'_> {
    fn delay_ns(&mut self, ns: u32) {
        let mut clock = self.0;
        clock.delay_ns(ns);
    }
}

impl Slot for Restless<'_> {
    fn wait_event(&mut self, _: u32, arm: impl FnOnce()) -> bool {
        arm();
        true
    }
}

#[test]
fn who_is_woken_up_for_nothing_gives_up_in_the_end() {
    let bench = Bench::sdhc();
    drop(host(&bench));
    let table = Some(bench.memory.buffer(2));
    let mut host = Sdhci::new(&bench, table, Restless(&bench.clock), None);
    host.power_up().unwrap();
    assert!(!host.can(Timing::Sdr25));
    bench.force(Event::instead_of(8, 0));
    let command = Command::new(8, 0x1aa, ResponseKind::R7);
    assert_eq!(host.command(command), Err(Error::CommandStuck));
    assert_eq!(host.lower_signal_voltage(), Err(Error::VoltageSwitch));
}

#[test]
fn a_host_that_waits_really_waits() {
    let bench = Bench::sdhc();
    Sdhci::new(
        &bench,
        None::<crate::testing::TwoCopies<'_>>,
        BenchSlot(&bench),
        None,
    )
    .delay_us(1_234);
    assert_eq!(bench.clock.now_us(), 1_234);
}
