// SPDX-License-Identifier: MIT OR Apache-2.0
//! From power to the transfer state: each kind of card, each way of driving it, and what stops it.
use super::{bus, init_error, up};
use crate::Io;
use crate::sd::{Error, Kind, Timing};
use crate::sdhci::Error as Cause;
use crate::sdhci::bench::{Bench, CAPS_ARASAN, Data, Event, Lie, carry, pattern};
use sdhci_model::Card as CardModel;
use std::string::ToString;

/// INT_STATUS: no response, a wrong check sequence in a response, and in data.
const NO_RESPONSE: u32 = 1 << 16;
const COMMAND_CRC: u32 = 1 << 17;
const DATA_CRC: u32 = 1 << 21;
/// CMD6's data: word 3 tells group 1's functions, the lowest byte of word 4 which one is in force.
const FUNCTIONS: u32 = 3;
const FUNCTION: u32 = 4;

/// How the card on `bench` is driven: timing, rate, lines.
fn driven(bench: &Bench) -> (Timing, u32, u8) {
    let card = up(bench.host());
    let info = card.info();
    assert_eq!(bench.bus_hz(), info.clock_hz);
    // The controller drives it so, too: high speed enable, and the mode at 1.8 V.
    let fast = bench.read32(0x28) & 1 << 2 != 0;
    assert_eq!(fast, info.timing != Timing::Default);
    let (mode, at_1v8) = match info.timing {
        Timing::Default | Timing::High => (0, false),
        Timing::Sdr25 => (1, true),
        Timing::Sdr50 => (2, true),
        Timing::Ddr50 => (4, true),
    };
    let control = bench.read32(0x3c) >> 16;
    assert_eq!((control & 7, control & 1 << 3 != 0), (mode, at_1v8));
    bench.assert_slow_until_selected();
    assert!(bench.strays().is_empty(), "{:?}", bench.strays());
    (info.timing, info.clock_hz, info.data_lines)
}

#[test]
fn each_kind_of_card_comes_up_and_tells_what_it_is() {
    for (make, bytes, kind, name) in [
        (
            CardModel::sd as fn(_) -> _,
            64_u64 << 20,
            Kind::Sdsc,
            "SDSC",
        ),
        (CardModel::sd, 32 << 30, Kind::Sdhc, "SDHC"),
        (CardModel::sd, 64 << 30, Kind::Sdxc, "SDXC"),
        (
            CardModel::emmc,
            64 << 20,
            Kind::Emmc { by_block: false },
            "eMMC",
        ),
        (
            CardModel::emmc,
            8 << 30,
            Kind::Emmc { by_block: true },
            "eMMC",
        ),
    ] {
        let bench = Bench::with(make, bytes);
        let card = up(bench.host());
        let info = card.info();
        assert_eq!((info.kind, info.capacity_bytes()), (kind, bytes));
        assert_eq!(info.kind.to_string(), name);
        assert!(
            info.cid.to_string().contains("serial 01234567"),
            "{}",
            info.cid
        );
        assert!(!info.read_only);
        let emmc = matches!(kind, Kind::Emmc { .. });
        assert_eq!(info.volatile_cache, emmc);
        let fast = (Timing::High, 50_000_000, 4);
        assert_eq!(driven(&bench), fast);
        // Once more, from the state that it is in now.
        assert_eq!(up(card.into_host()).info().kind, kind);
    }
}

#[test]
fn the_arasan_and_slow_controllers_are_driven_too() {
    let bench = Bench::sdhc();
    bench.tell(Lie::of(0x40, 0, CAPS_ARASAN));
    let card = up(bench.host());
    assert!(!card.has_dma());
    assert_eq!(
        (card.info().timing, card.info().clock_hz),
        (Timing::High, 26_000_000)
    );
    let bench = Bench::sdhc();
    bench.tell(Lie::of(0x40, !(1 << 21), 0));
    assert_eq!(driven(&bench), (Timing::Default, 25_000_000, 4));
    let bench = Bench::with(CardModel::emmc, 4 << 30);
    bench.tell(Lie::of(0x40, !(1 << 21), 0));
    assert_eq!(driven(&bench), (Timing::Default, 16_666_666, 4));
}

#[test]
fn old_and_slow_cards_are_driven_as_they_can() {
    // Version 1.01: knows neither CMD8 nor CMD6, and has one line.
    let bench = Bench::with(CardModel::sd, 64 << 20);
    bench.force(Event::instead_of(8, NO_RESPONSE));
    bench.tell(Lie::data(51, 0, 0, 0x0000_0100));
    assert_eq!(driven(&bench), (Timing::Default, 25_000_000, 1));
    assert_eq!(bench.count(6), 0);
    // It has CMD6, but no high speed; or says yes first and no then.
    for lie in [
        Lie::data(6, FUNCTIONS, !0x200, 0),
        Lie::data(6, FUNCTION, !0xf, 0xf),
    ] {
        let bench = Bench::sdhc();
        bench.tell(lie);
        assert_eq!(driven(&bench), (Timing::Default, 25_000_000, 4));
    }
    // An eMMC made before version 4, one without high speed, and one without a cache.
    let bench = Bench::with(CardModel::emmc, 64 << 20);
    bench.tell(Lie {
        offset: 0x1c,
        ..Lie::response(9, !(0xf << 18), 3 << 18)
    });
    assert_eq!(driven(&bench), (Timing::Default, 16_666_666, 1));
    let bench = Bench::with(CardModel::emmc, 4 << 30);
    bench.tell(Lie::data(8, 196 / 4, !0xff, 1));
    assert_eq!(driven(&bench), (Timing::Default, 16_666_666, 4));
    let bench = Bench::with(CardModel::emmc, 4 << 30);
    bench.tell(Lie::data(8, 248 / 4, 0xff, 0));
    bench.tell(Lie::data(8, 252 / 4, !0xff, 0));
    assert!(!up(bench.host()).info().volatile_cache);
}

#[test]
fn with_a_regulator_the_fastest_mode_of_both_is_taken() {
    const CAPS_1: usize = 0x44;
    for (caps_1, functions, driven_so) in [
        (!0, !0, (Timing::Ddr50, 50_000_000, 4)),
        (!(1 << 2), !0, (Timing::Sdr50, 100_000_000, 4)),
        (!0, !0x1000, (Timing::Sdr50, 100_000_000, 4)),
        (!(1 << 2), !0x400, (Timing::Sdr25, 50_000_000, 4)),
        (!0b101, !0, (Timing::High, 50_000_000, 4)),
    ] {
        let bench = Bench::sdhc();
        bench.regulator.set(true);
        bench.tell(Lie::of(CAPS_1, caps_1, 0));
        bench.tell(Lie::data(6, FUNCTIONS, functions, 0));
        assert_eq!(driven(&bench), driven_so);
        let tuned = if driven_so.0 == Timing::Sdr50 { 8 } else { 0 };
        assert_eq!(bench.count(19), tuned);
        assert_eq!(bench.power_cycles.get(), 1);
    }
    // A controller that needs no tuning; a card of standard capacity, which stays at 3.3 V.
    let bench = Bench::sdhc();
    bench.regulator.set(true);
    bench.tell(Lie::of(CAPS_1, 1, 0));
    assert_eq!(driven(&bench).0, Timing::Sdr50);
    assert_eq!(bench.count(19), 0);
    let bench = Bench::with(CardModel::sd, 64 << 20);
    bench.regulator.set(true);
    assert_eq!(driven(&bench).0, Timing::High);
    assert_eq!(bench.count(11), 0);
}

#[test]
fn when_1_8_v_fail_the_card_loses_its_power_and_stays_at_3_3_v() {
    const DDR50: u32 = 1 << 2;
    let low_before = Lie {
        after: Some(11),
        ..Lie::of(0x24, !0, 0xf << 20)
    };
    let low_after = Lie {
        after: Some(11),
        ..Lie::of(0x24, !(0xf << 20), 0)
    };
    let bit_falls = Lie::of(0x3c, !(1 << 19), 0);
    let tunes_for_ever = Lie {
        after: Some(19),
        ..Lie::of(0x3c, !0, 1 << 22)
    };
    let not_tuned = Lie {
        after: Some(19),
        ..Lie::of(0x3c, !(1 << 23), 0)
    };
    let only_sdr50 = Lie::of(0x44, !DDR50, 0);
    for (lies, regulator_works) in [
        (&[][..], false),
        (&[low_before], true),
        (&[low_after], true),
        (&[bit_falls], true),
        (&[only_sdr50, tunes_for_ever], true),
        (&[only_sdr50, not_tuned], true),
    ] {
        let bench = Bench::sdhc();
        bench.regulator.set(true);
        bench.regulator_works.set(regulator_works);
        for lie in lies {
            bench.tell(*lie);
        }
        assert_eq!(driven(&bench), (Timing::High, 50_000_000, 4));
        assert_eq!(bench.power_cycles.get(), 2);
    }
    // The first block at the new speed is broken.
    let bench = Bench::sdhc();
    bench.regulator.set(true);
    bench.force(Event::after(6, DATA_CRC).skipping(3));
    assert_eq!(driven(&bench), (Timing::High, 50_000_000, 4));
    assert_eq!(bench.power_cycles.get(), 2);
}

#[test]
fn an_empty_slot_is_told_soon() {
    let bench = Bench::empty(0);
    assert_eq!(init_error(&bench), Error::NoCard);
    assert!(bench.clock.now_us() < 20_000, "{}", bench.clock.now_us());
}

#[test]
fn a_card_that_never_gets_ready_is_given_up_after_a_second() {
    // Of high capacity, and not told that the host knows of that; an eMMC that says no for ever.
    for (make, event, lie) in [
        (
            CardModel::sdhc as fn(_) -> _,
            Some(Event::instead_of(8, NO_RESPONSE)),
            None,
        ),
        (CardModel::emmc, None, Some(Lie::response(1, !(1 << 31), 0))),
    ] {
        let bench = Bench::with(make, 64 << 20);
        event.into_iter().for_each(|event| bench.force(event));
        lie.into_iter().for_each(|lie| bench.tell(lie));
        assert_eq!(init_error(&bench), Error::NotReady);
        let took_us = bench.clock.now_us();
        assert!((1_000_000..1_300_000).contains(&took_us), "{took_us}");
    }
}

#[test]
fn unfit_cards_are_refused_with_their_reason() {
    let csd = Lie {
        offset: 0x1c,
        ..Lie::response(9, !(3 << 22), 2 << 22)
    };
    for (lie, error) in [
        (Lie::response(8, !0xff, 0), Error::WrongVoltage),
        (Lie::response(41, !(3 << 20), 0), Error::WrongVoltage),
        (Lie::response(7, !0, 1 << 25), Error::Locked),
        (csd, Error::UnknownCsd(2)),
    ] {
        let bench = Bench::sdhc();
        bench.tell(lie);
        assert_eq!(init_error(&bench), error);
    }
    for (lie, error) in [
        (Lie::response(1, !(3 << 20), 0), Error::WrongVoltage),
        (Lie::response(13, !0, 1 << 7), Error::Switch(185)),
        (Lie::data(8, 32 / 4, !(1 << 8), 0), Error::Switch(33)),
    ] {
        let bench = Bench::with(CardModel::emmc, 4 << 30);
        bench.tell(lie);
        assert_eq!(init_error(&bench), error);
    }
}

#[test]
fn a_protected_card_or_slot_is_read_and_not_written() {
    for lie in [Lie::response(9, !0, 1 << 4), Lie::of(0x24, !(1 << 19), 0)] {
        for make in [CardModel::sdhc as fn(_) -> _, CardModel::emmc] {
            let bench = Bench::with(make, 64 << 20);
            bench.tell(lie);
            let mut card = up(bench.host());
            assert!(card.info().read_only);
            let mut data = Data::write(&bench, 0, &pattern(1, 0));
            assert_eq!(carry(&mut card, &mut data), Err(Error::ReadOnly));
            assert_eq!(carry(&mut card, &mut Data::read(&bench, 0, 1)), Ok(()));
        }
    }
}

#[test]
fn the_controllers_own_errors_are_passed_on_and_not_repeated() {
    for (lie, cause) in [
        (Lie::of(0xfc, 0, 0x9901_0000), Cause::Version(1)),
        (Lie::of(0x40, !0xff00, 0), Cause::NoBaseClock),
        (Lie::of(0x2c, !(1 << 1), 0), Cause::ClockStuck),
    ] {
        let bench = Bench::sdhc();
        bench.tell(lie);
        assert_eq!(init_error(&bench), Error::Host(cause));
        assert_eq!(bench.count(0), 0);
    }
    let bench = Bench::sdhc();
    bench.plan(&["reset-stuck"]);
    assert_eq!(init_error(&bench), Error::Host(Cause::ResetStuck));
    assert!(bench.clock.now_us() < 110_000);
    // In the middle: as the clock is set for a mode.
    for (after, make) in [
        (7, CardModel::sdhc as fn(_) -> _),
        (6, CardModel::sdhc),
        (7, CardModel::emmc),
        (13, CardModel::emmc),
    ] {
        let bench = Bench::with(make, 4 << 30);
        bench.tell(Lie {
            after: Some(after),
            ..Lie::of(0x2c, !(1 << 1), 0)
        });
        assert_eq!(init_error(&bench), Error::Host(Cause::ClockStuck));
    }
    let bench = Bench::sdhc();
    bench.regulator.set(true);
    bench.tell(Lie {
        after: Some(11),
        ..Lie::of(0x2c, !(1 << 1), 0)
    });
    assert_eq!(init_error(&bench), Error::Host(Cause::ClockStuck));
}

#[test]
fn noise_on_the_way_is_survived_twice() {
    let sd = &[8, 55, 41, 2, 3, 9, 7, 51, 6][..];
    let emmc = &[1, 2, 3, 9, 7, 8, 6, 13][..];
    for (make, commands) in [(CardModel::sdhc as fn(_) -> _, sd), (CardModel::emmc, emmc)] {
        for &command in commands {
            // An eMMC does not answer CMD8 before it is selected.
            let skip = u32::from(commands.contains(&1) && command == 8);
            for (times, survived) in [(2, true), (3, false)] {
                let bench = Bench::with(make, 4 << 30);
                for _ in 0..times {
                    bench.force(Event::after(command, COMMAND_CRC).skipping(skip));
                }
                match survived {
                    true => drop(up(bench.host())),
                    false => {
                        let error = bus(command, Cause::CommandCrc);
                        assert_eq!(init_error(&bench), error);
                    }
                }
            }
        }
    }
}
