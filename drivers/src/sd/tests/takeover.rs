// SPDX-License-Identifier: MIT OR Apache-2.0
//! A controller and a card taken from a driver that was stopped at any moment.
use super::up;
use crate::Io;
use crate::sd::{Card, Error, Kind, TransferData};
use crate::sdhci::Error as Cause;
use crate::sdhci::bench::{Bench, BenchSlot, CAPS_ARASAN, Data, Lie, pattern};
use crate::sdhci::{Polled, Sdhci};
use crate::testing::TwoCopies;
use sdhci_model::Card as CardModel;

/// What waiting may take in all.
const LIMIT_US: u32 = 4_000_000;
/// Beyond that, the pauses between writes while the bus is slow.
const MARGIN_US: u64 = 200_000;

type Surroundings<'a> = Polled<&'a Bench, BenchSlot<'a>>;
type Host<'a> = Sdhci<&'a Bench, TwoCopies<'a>, Surroundings<'a>>;
type Taken<'a> = Card<&'a Bench, TwoCopies<'a>, Surroundings<'a>>;

fn host(bench: &Bench) -> Host<'_> {
    let slot = Polled::new(bench, BenchSlot(bench), LIMIT_US);
    Sdhci::new(bench, None, slot, None)
}

/// Another driver on the bench, which knows nothing of the first.
fn taken(bench: &Bench) -> Result<Taken<'_>, Error> {
    let mut host = host(bench);
    host.take_over();
    Card::init_plain(host).map_err(|(error, _)| error)
}

/// Writes some blocks and reads them again.
fn works(bench: &Bench, card: &mut Taken<'_>) {
    let bytes = pattern(9, 0x77);
    card.carry(&mut Data::write(bench, 4000, &bytes)).unwrap();
    let mut data = Data::read(bench, 4000, 9);
    card.carry(&mut data).unwrap();
    assert!(data.bytes() == bytes);
    assert!(bench.strays().is_empty(), "{:?}", bench.strays());
}

#[test]
fn a_transfer_is_ended_wherever_it_is_and_no_block_is_torn() {
    const BLOCKS: usize = 24;
    for (write, dma) in [(false, true), (false, false), (true, true), (true, false)] {
        for moments in 0..40 {
            let bench = Bench::sdhc();
            let mut first = up(if dma {
                bench.host()
            } else {
                bench.host_by_port()
            });
            let (old, new) = (pattern(BLOCKS, 1), pattern(BLOCKS, 2));
            first
                .carry(&mut prepared(Data::write(&bench, 7, &old), dma))
                .unwrap();
            let mut data = match write {
                true => Data::write(&bench, 7, &new),
                false => Data::read(&bench, 7, BLOCKS),
            };
            data = prepared(data, dma);
            first.start(&mut data).unwrap();
            for _ in 0..moments {
                if bench.line.get() {
                    let _somewhere = first.interrupt(&mut data);
                } else {
                    bench.pass(20_000);
                }
            }
            assert!(host(&bench).stop_dma());
            assert_eq!(bench.read32(0x24) & 0b11, 0, "the lines are free");
            let seen = data.bytes();
            bench.pass(3_000_000_000);
            assert!(data.bytes() == seen, "memory is touched after the stop");
            let mut card = taken(&bench).expect("it comes up");
            assert_eq!(bench.count(12), 1, "the card was told");
            works(&bench, &mut card);
            for (number, (old, new)) in old.chunks(512).zip(new.chunks(512)).enumerate() {
                let now = bench.block(7 + number as u64);
                assert!(now == *old || write && now == *new, "block {number}");
            }
        }
    }
}

fn prepared(mut data: Data<'_>, dma: bool) -> Data<'_> {
    data.prepare(dma);
    data
}

#[test]
fn the_card_is_driven_as_every_card_can_be() {
    for (make, bytes, kind) in [
        (CardModel::sdhc as fn(_) -> _, 64 << 20, Kind::Sdhc),
        (CardModel::sd, 64 << 20, Kind::Sdsc),
        (CardModel::emmc, 4 << 30, Kind::Emmc { by_block: true }),
    ] {
        for arasan in [false, true] {
            let bench = Bench::with(make, bytes);
            if arasan {
                bench.tell(Lie::of(0x40, 0, CAPS_ARASAN));
            }
            let first = *up(bench.host()).info();
            let (switches, identified) = (bench.count(6), bench.count(2));
            let mut card = taken(&bench).expect("it comes up");
            works(&bench, &mut card);
            let info = *card.info();
            assert_eq!((info.kind, info.cid), (kind, first.cid));
            assert_eq!(info.capacity_blocks, first.capacity_blocks);
            assert_eq!((info.data_lines, card.has_dma()), (1, false));
            assert!(bench.bus_hz() <= 25_000_000 && !info.volatile_cache);
            assert_eq!((bench.count(6), bench.count(2)), (switches, identified + 1));
            bench.assert_slow_until_selected();
        }
    }
}

#[test]
fn signals_at_1_8_v_stay_there() {
    let bench = Bench::sdhc();
    bench.regulator.set(true);
    let first = up(bench.host());
    assert!(first.info().clock_hz > 0 && bench.read32(0x3c) & 1 << 19 != 0);
    bench.regulator.set(false);
    let mut card = taken(&bench).expect("it comes up");
    assert_eq!(bench.read32(0x3c) & 1 << 19, 1 << 19);
    works(&bench, &mut card);
    // Who was not told to keep them begins at 3.3 V.
    Card::init_plain(host(&bench))
        .map_err(|(error, _)| error)
        .expect("it comes up");
    assert_eq!(bench.read32(0x3c) & 1 << 19, 0);
}

#[test]
fn what_fails_ends_in_time_and_is_told() {
    for (plan, error) in [
        ("eject", Error::NoCard),
        ("reset-stuck", Error::Host(Cause::ResetStuck)),
    ] {
        let bench = Bench::sdhc();
        let mut first = up(bench.host());
        bench.plan(&[plan]);
        let mut data = prepared(Data::write(&bench, 7, &pattern(4, 1)), true);
        first.start(&mut data).unwrap();
        for _ in 0..8 {
            bench.pass(1_000_000);
        }
        let before_us = bench.clock.now_us();
        let told = taken(&bench).map(|card| *card.info());
        assert!(
            bench.clock.now_us() - before_us <= u64::from(LIMIT_US) + MARGIN_US,
            "{plan}"
        );
        assert_eq!(told, Err(error), "{plan}");
    }
}

#[test]
fn what_the_card_has_taken_it_is_let_write() {
    for (plan, waited_us, ends) in [
        ("busyx1:700", 600_000..800_000, true),
        ("busyx1", 1_000_000..1_100_000, false),
    ] {
        let bench = Bench::sdhc();
        let mut first = up(bench.host());
        bench.plan(&[plan]);
        let mut data = prepared(Data::write(&bench, 7, &pattern(4, 1)), true);
        first.start(&mut data).unwrap();
        while bench.pass(10_000_000) && !bench.line.get() {}
        let before_us = bench.clock.now_us();
        let mut host = host(&bench);
        host.take_over();
        let took_us = bench.clock.now_us() - before_us;
        assert!(waited_us.contains(&took_us), "{plan}: {took_us}");
        let card = Card::init_plain(host).map_err(|(error, _)| error);
        let mut card = card.expect("it comes up");
        match ends {
            true => works(&bench, &mut card),
            false => assert!(
                card.carry(&mut Data::write(&bench, 9, &pattern(1, 0)))
                    .is_err()
            ),
        }
    }
}

#[test]
fn a_write_that_fails_is_repeated_and_then_told_in_time() {
    for (plan, survived) in [
        ("write-crcx2", true),
        ("data-timeoutx2", true),
        ("command-crcx1", true),
        ("write-crc", false),
        ("data-timeout:9000", false),
        ("ejectx1", false),
        ("busyx1", false),
        ("read-only", false),
    ] {
        let bench = Bench::sdhc();
        let mut card = taken(&bench).expect("it comes up");
        bench.plan(&[plan]);
        let before_us = bench.clock.now_us();
        let mut data = Data::write(&bench, 7, &pattern(4, 1));
        assert_eq!(data.blocks(), 4);
        assert_eq!(card.carry(&mut data).is_ok(), survived, "{plan}");
        assert!(
            bench.clock.now_us() - before_us <= u64::from(LIMIT_US) + MARGIN_US,
            "{plan}"
        );
    }
}

#[test]
fn an_empty_slot_is_told_at_once() {
    let bench = Bench::empty(1 << 20);
    assert_eq!(taken(&bench).map(|card| *card.info()), Err(Error::NoCard));
    assert!(bench.clock.now_us() < 3_000_000);
}
