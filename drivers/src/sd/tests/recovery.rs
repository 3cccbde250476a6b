// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that goes wrong ends in success after a repetition, or in an error that tells the cause.
use super::{bus, up};
use crate::Io;
use crate::sd::{Error, Progress, Timing};
use crate::sdhci::Error as Cause;
use crate::sdhci::bench::{Bench, Card, Data, Event, Lie, by_interrupts, carry, pattern};
use sdhci_model::Card as CardModel;
use std::format;

/// A read or a write of four blocks with `plan` striking so many times: its result, and how often it was begun.
fn under(plan: &str, times: u32, write: bool, dma: bool) -> (Result<(), Error>, usize) {
    let bench = Bench::sdhc();
    let host = if dma {
        bench.host()
    } else {
        bench.host_by_port()
    };
    let mut card = up(host);
    let bytes = pattern(4, 1);
    let (name, more) = plan.split_once(':').unwrap_or((plan, ""));
    let more = if more.is_empty() {
        "".into()
    } else {
        format!(":{more}")
    };
    bench.plan(&[&format!("{name}x{times}{more}")]);
    let mut data = match write {
        true => Data::write(&bench, 7, &bytes),
        false => Data::read(&bench, 7, 4),
    };
    let result = carry(&mut card, &mut data);
    let begun = bench.count(if write { 25 } else { 18 });
    // Whatever happened, the next transfer works.
    bench.behave();
    carry(&mut card, &mut Data::write(&bench, 7, &bytes)).unwrap();
    let mut data = Data::read(&bench, 7, 4);
    carry(&mut card, &mut data).unwrap();
    assert!(data.bytes() == bytes);
    assert!(bench.strays().is_empty(), "{:?}", bench.strays());
    (result, begun)
}

#[test]
fn each_fault_is_survived_twice_and_then_told() {
    let address = 0xc010_0000;
    let adma = Cause::Adma {
        error: 1,
        bus_address: address,
    };
    for (plan, cause, reads, writes) in [
        ("read-crc", Cause::DataCrc, true, false),
        ("write-crc", Cause::DataCrc, false, true),
        ("data-timeout", Cause::DataTimeout, true, true),
        ("data-timeout:9000", Cause::DataTimeout, true, true), // the controller's own is late
        ("auto-command", Cause::AutoCommand(2), true, true),
        ("adma-error", adma, true, true),
    ] {
        for (write, wanted) in [(false, reads), (true, writes)] {
            for dma in [true, false] {
                if !wanted || (plan == "adma-error" && !dma) {
                    continue;
                }
                assert_eq!(
                    under(plan, 2, write, dma),
                    (Ok(()), 3),
                    "{plan} {write} {dma}"
                );
                let (result, begun) = under(plan, 3, write, dma);
                let command = if write { 25 } else { 18 };
                match (result, cause) {
                    (
                        Err(Error::Bus {
                            command: c,
                            cause: Cause::Adma { .. },
                        }),
                        Cause::Adma { .. },
                    ) => {
                        assert_eq!(c, command);
                    }
                    (result, _) => assert_eq!(result, Err(bus(command, cause)), "{plan}"),
                }
                assert_eq!(begun, 3);
            }
        }
    }
}

#[test]
fn noise_in_commands_is_survived_and_told() {
    for (bits, cause) in [
        (1 << 16, Cause::NoResponse),
        (1 << 17, Cause::CommandCrc),
        (1 << 16 | 1 << 17, Cause::CommandCrc),
        (1 << 18, Cause::CommandEndBit),
        (1 << 19, Cause::CommandIndex),
        (1 << 22, Cause::DataEndBit),
        (1 << 23, Cause::Unexpected(0x80)),
    ] {
        for (times, result) in [(2, Ok(())), (3, Err(bus(17, cause)))] {
            let bench = Bench::sdhc();
            let mut card = up(bench.host());
            bench.force(Event::instead_of(17, bits).times(times));
            let mut data = Data::read(&bench, 0, 1);
            assert_eq!(carry(&mut card, &mut data), result);
            bench.behave();
            assert_eq!(carry(&mut card, &mut data), Ok(()));
        }
    }
}

#[test]
fn a_lost_interrupt_costs_time_and_nothing_else() {
    for (write, dma) in [(false, true), (false, false), (true, true), (true, false)] {
        let bench = Bench::sdhc();
        let mut card = up(if dma {
            bench.host()
        } else {
            bench.host_by_port()
        });
        let bytes = pattern(3, 7);
        let mut data = match write {
            true => Data::write(&bench, 3, &bytes),
            false => Data::read(&bench, 3, 3),
        };
        bench.plan(&["irq-lostx1"]);
        assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
        assert_eq!(bench.count(if write { 25 } else { 18 }), 1);
        bench.plan(&["irq-lostx3"]);
        assert_eq!(carry(&mut card, &mut data), Ok(()));
    }
}

#[test]
fn a_command_that_nothing_comes_of_is_given_up() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let mut data = Data::read(&bench, 0, 1);
    bench.force(Event::instead_of(17, 0));
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert_eq!(failed, Progress::Failed(bus(17, Cause::DataTimeout)));
    card.recover().unwrap();
    bench.force(Event::instead_of(13, 0));
    let mut data = Data::write(&bench, 0, &pattern(1, 0));
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert_eq!(failed, Progress::Failed(bus(24, Cause::CommandStuck)));
    card.recover().unwrap();
    assert_eq!(carry(&mut card, &mut data), Ok(()));
}

#[test]
fn what_the_card_refuses_is_told_at_once_and_not_repeated() {
    const OUT_OF_RANGE: u32 = 1 << 31;
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    // It has fewer blocks than it said: its answer is known before the data time out.
    bench.force(Event::instead_of(17, 1).times(1));
    bench.tell(Lie::response(17, 0, OUT_OF_RANGE | 4 << 9));
    bench.tell(Lie {
        after: Some(17),
        ..Lie::of(0x30, !0, 1)
    });
    let result = carry(&mut card, &mut Data::read(&bench, 0, 1));
    assert_eq!(result, Err(bus(17, Cause::Status(OUT_OF_RANGE))));
    assert_eq!(bench.count(17), 1);
    bench.behave();
    bench.plan(&["read-only"]);
    let result = carry(&mut card, &mut Data::write(&bench, 0, &pattern(2, 0)));
    assert_eq!(result, Err(Error::WriteProtected));
    assert_eq!(bench.count(25), 1);
}

#[test]
fn a_card_that_is_pulled_out_is_told_and_used_again_when_it_is_back() {
    for write in [false, true] {
        let bench = Bench::sdhc();
        let mut card = up(bench.host());
        let bytes = pattern(4, 2);
        let mut data = match write {
            true => Data::write(&bench, 7, &bytes),
            false => Data::read(&bench, 7, 4),
        };
        bench.plan(&["ejectx1:60000"]);
        let failed = by_interrupts(&mut card, &bench, &mut data);
        assert!(matches!(failed, Progress::Failed(_)), "{failed:?}");
        assert_eq!(card.recover(), Err(Error::Removed));
        assert_eq!(
            card.start(&mut data),
            Err(bus(if write { 25 } else { 18 }, Cause::NotRecovered))
        );
        assert_eq!(card.recover(), Err(Error::Removed));
        bench.pass(60_000_000_000);
        assert_eq!(card.recover(), Ok(()));
        assert_eq!(carry(&mut card, &mut data), Ok(()));
    }
}

#[test]
fn another_card_is_not_taken_for_the_one_that_was_there() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    bench.insert(bench.insert(None));
    let mut data = Data::read(&bench, 0, 1);
    // The same one, out for a moment: identified anew behind the caller's back.
    let identified = bench.count(2);
    assert_eq!(carry(&mut card, &mut data), Ok(()));
    assert_eq!(bench.count(2), identified + 1);
    bench.insert(bench.insert(None));
    bench.tell(Lie::response(2, !0xff00, 0x1200));
    bench.tell(Lie {
        offset: 0x14,
        ..Lie::response(2, !0xff00, 0x1200)
    });
    assert_eq!(carry(&mut card, &mut data), Err(Error::Exchanged));
    assert_eq!(card.start(&mut data), Err(bus(17, Cause::NotRecovered)));
    let card = up(card.into_host());
    assert_eq!(card.info().capacity_bytes(), 64 << 20);
}

#[test]
fn a_busy_card_is_waited_for_and_one_that_stays_busy_begins_anew() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let mut data = Data::write(&bench, 0, &pattern(2, 0));
    bench.plan(&["busyx1:400"]);
    let before_us = bench.clock.now_us();
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    assert!((400_000..450_000).contains(&(bench.clock.now_us() - before_us)));
    // For ever: only the loss of its power helps.
    bench.regulator.set(true);
    let identified = bench.count(2);
    bench.plan(&["busyx1"]);
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert_eq!(failed, Progress::Failed(bus(25, Cause::DataTimeout)));
    assert_eq!(card.recover(), Ok(()));
    assert_eq!(bench.count(2), identified + 1);
    assert_eq!(carry(&mut card, &mut data), Ok(()));
}

#[test]
fn the_card_is_brought_back_from_each_state() {
    const STANDBY: u32 = 3 << 9;
    const RECEIVING: u32 = 6 << 9;
    // Mid-transfer: it is stopped.
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    bench.plan(&["read-crc/2x1"]);
    let identified = bench.count(2);
    assert_eq!(carry(&mut card, &mut Data::read(&bench, 0, 4)), Ok(()));
    assert_eq!(bench.count(12), 1);
    // Stopped already, as it seems; or the stop fails.
    let failing = |event: Option<Event>, state: u32, error_bits: u32| {
        let bench = Bench::sdhc();
        let mut card = up(bench.host());
        bench.plan(&["read-crcx1"]);
        event.into_iter().for_each(|event| bench.force(event));
        bench.tell(Lie::response(13, !(0xf << 9 | 1 << 8), state | error_bits).times(1));
        let result = carry(&mut card, &mut Data::read(&bench, 0, 1));
        (result, bench.count(2), bench.count(12), bench.count(7))
    };
    assert_eq!(failing(None, RECEIVING, 0), (Ok(()), 1, 1, 1));
    assert_eq!(
        failing(Some(Event::instead_of(12, 1 << 17)), RECEIVING, 0).1,
        2
    );
    // Deselected: it is selected; and what it tells of the past is not held against it.
    assert_eq!(failing(None, STANDBY, 0).3, 2);
    assert_eq!(failing(None, STANDBY, 1 << 21), (Ok(()), 1, 0, 1));
    assert_eq!(bench.count(2), identified);
}

#[test]
fn a_reset_that_sticks_is_the_controllers_end_for_now() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    bench.plan(&["read-crcx1", "reset-stuck:5000"]);
    let mut data = Data::read(&bench, 0, 1);
    assert_eq!(
        carry(&mut card, &mut data),
        Err(Error::Host(Cause::ResetStuck))
    );
    assert_eq!(card.start(&mut data), Err(bus(17, Cause::NotRecovered)));
    bench.plan(&[]);
    bench.pass(5_000_000_000);
    assert_eq!(card.recover(), Ok(()));
    assert_eq!(carry(&mut card, &mut data), Ok(()));
}

#[test]
fn at_1_8_v_bad_data_lead_to_a_new_sampling_point_and_then_to_3_3_v() {
    let bench = Bench::sdhc();
    bench.regulator.set(true);
    bench.tell(Lie::of(0x44, !(1 << 2), 0));
    let mut card = up(bench.host());
    assert_eq!(card.info().timing, Timing::Sdr50);
    let tuned = bench.count(19);
    let mut data = Data::read(&bench, 0, 4);
    bench.plan(&["read-crcx2"]);
    assert_eq!(carry(&mut card, &mut data), Ok(()));
    assert_eq!(bench.count(19), 3 * tuned);
    bench.plan(&["read-crcx2"]);
    assert_eq!(carry(&mut card, &mut data), Ok(()));
    assert_eq!(card.info().timing, Timing::High);
    // No sampling point is found any more: 3.3 V at once.
    let bench = Bench::sdhc();
    bench.regulator.set(true);
    bench.tell(Lie::of(0x44, !(1 << 2), 0));
    let mut card = up(bench.host());
    bench.tell(Lie {
        after: Some(19),
        ..Lie::of(0x3c, !(1 << 23), 0)
    });
    bench.plan(&["read-crcx1"]);
    assert_eq!(carry(&mut card, &mut Data::read(&bench, 0, 4)), Ok(()));
    assert_eq!(card.info().timing, Timing::High);
}

#[test]
fn a_flush_empties_the_cache_of_an_emmc_and_tells_if_it_could_not() {
    let bench = Bench::with(CardModel::emmc, 4 << 30);
    let mut card = up(bench.host());
    let write = |card: &mut Card<'_>| {
        carry(card, &mut Data::write(&bench, 0, &pattern(1, 0))).unwrap();
    };
    let clock = bench.read32(0x2c);
    let flushes = || bench.medium.lock().unwrap().calls[2];
    write(&mut card);
    let mut data = Data::read(&bench, 0, 1);
    data.prepare(true);
    card.start(&mut data).unwrap();
    assert_eq!(card.flush(), Err(Error::Host(Cause::Occupied)));
    assert_eq!(card.interrupt(&mut data), Progress::Done);
    assert_eq!(flushes(), 0);
    assert_eq!(card.flush(), Ok(()));
    assert_eq!(flushes(), 1);
    // Nothing was written since.
    assert_eq!(card.flush(), Ok(()));
    assert_eq!(flushes(), 1);
    // Longer than data may take, for which the controller's time-out is changed.
    write(&mut card);
    bench.plan(&["busyx1:9000"]);
    assert_eq!(card.flush(), Ok(()));
    assert_eq!(bench.read32(0x2c), clock);
    write(&mut card);
    bench.medium.lock().unwrap().bad_flush = true;
    for _ in 0..2 {
        let error = card.flush().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Bus {
                    command: 13,
                    cause: Cause::Status(_)
                }
            ),
            "{error:?}"
        );
    }
    bench.medium.lock().unwrap().bad_flush = false;
    assert_eq!(card.flush(), Ok(()));
    // An SD card has nothing to flush.
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    carry(&mut card, &mut Data::write(&bench, 0, &pattern(1, 0))).unwrap();
    let commands = bench.count(13);
    assert_eq!(card.flush(), Ok(()));
    assert_eq!(bench.count(13), commands);
}

#[test]
fn a_flush_after_the_card_began_anew_does_not_hide_what_was_lost() {
    let bench = Bench::with(CardModel::emmc, 4 << 30);
    bench.regulator.set(true);
    let mut card = up(bench.host());
    let mut data = Data::write(&bench, 0, &pattern(1, 0));
    carry(&mut card, &mut data).unwrap();
    // Another write finds it busy for ever: it loses its power, and with it the first one.
    bench.plan(&["busyx1"]);
    assert_eq!(carry(&mut card, &mut data), Ok(()));
    // Asking again does not help; writing again does.
    for _ in 0..3 {
        assert_eq!(card.flush(), Err(Error::CacheLost));
    }
    carry(&mut card, &mut data).unwrap();
    assert_eq!(card.flush(), Ok(()));
    // The flush itself does not end.
    carry(&mut card, &mut data).unwrap();
    bench.plan(&["busyx1"]);
    assert_eq!(card.flush(), Err(Error::CacheLost));
    carry(&mut card, &mut data).unwrap();
    assert_eq!(card.flush(), Ok(()));
    // What had been flushed before is not lost.
    bench.plan(&["busyx1"]);
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert!(matches!(failed, Progress::Failed(_)), "{failed:?}");
    assert_eq!(card.recover(), Ok(()));
    assert_eq!(card.flush(), Ok(()));
}
