// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card protocol against the card model, through a host that fails when told to.
use super::fake::FakeHost;
use super::model::{CardModel, Make, RCA};
use super::*;
use crate::testing::Clock;
use std::vec;
use std::vec::Vec;

/// The error of a card made so.
fn init_error(make: Make) -> (Error, u64) {
    let (card, clock) = (CardModel::new(make), Clock::default());
    match Card::init(FakeHost::new(&card, &clock)) {
        Ok(card) => panic!("came up: {:?}", card.info()),
        Err((error, _host)) => (error, clock.now_us()),
    }
}

fn up<'a>(host: FakeHost<'a>) -> Card<FakeHost<'a>> {
    Card::init(host)
        .map_err(|(error, _)| error)
        .expect("comes up")
}

#[test]
fn each_kind_of_card_comes_up() {
    let clock = Clock::default();
    for (make, kind, four, fast, bytes) in [
        (Make::SDHC, Kind::Sdhc, 4, true, 4 << 30),
        (Make::SDSC, Kind::Sdsc, 4, false, 64 << 20),
        (Make::OLD, Kind::Sdsc, 1, false, 64 << 20),
        (
            Make {
                csd: 1 << 126 | 0x5b5 << 84 | 0x1_ffff << 48,
                capacity_blocks: 1 << 27,
                ..Make::SDHC
            },
            Kind::Sdxc,
            4,
            true,
            64 << 30,
        ),
        (
            Make {
                refuses_switch: true,
                ..Make::SDHC
            },
            Kind::Sdhc,
            4,
            false,
            4 << 30,
        ),
    ] {
        let model = CardModel::new(make);
        let card = up(FakeHost::new(&model, &clock));
        let info = card.info();
        assert_eq!(
            (info.kind, info.data_lines, info.high_speed),
            (kind, four, fast)
        );
        assert_eq!(info.capacity_bytes(), bytes);
        assert_eq!(info.clock_hz, if fast { 50_000_000 } else { 25_000_000 });
        assert_eq!(&info.cid.name, b"SU32G");
        assert!(!info.read_only);
        assert_eq!(model.count(16), usize::from(kind == Kind::Sdsc));
        // CMD6 goes only to cards that know it.
        assert_eq!(model.count(6) > 0, make.csd & 1 << 94 != 0);
    }
}

#[test]
fn a_slow_host_is_not_asked_for_speed() {
    let (model, clock) = (CardModel::new(Make::SDHC), Clock::default());
    let card = up(FakeHost {
        high_speed: false,
        ..FakeHost::new(&model, &clock)
    });
    assert!(!card.info().high_speed);
    assert_eq!(model.count(6), 0);
}

#[test]
fn an_empty_slot_is_told_at_once() {
    let (error, took_us) = init_error(Make {
        silent: true,
        ..Make::SDHC
    });
    assert_eq!(error, Error::NoCard);
    assert!(took_us < 10_000);
}

#[test]
fn a_card_that_never_gets_ready_is_given_up_after_a_second() {
    let (error, took_us) = init_error(Make {
        not_ready: u32::MAX,
        ..Make::SDHC
    });
    assert_eq!(error, Error::NotReady);
    assert!((1_000_000..1_200_000).contains(&took_us), "{took_us}");
}

#[test]
fn unfit_cards_are_refused_with_their_reason() {
    let wrong = |make| init_error(make).0;
    assert_eq!(
        wrong(Make {
            echo: 0x0aa,
            ..Make::SDHC
        }),
        Error::WrongVoltage
    );
    assert_eq!(
        wrong(Make {
            ocr: 0x0000_8000,
            ..Make::SDHC
        }),
        Error::WrongVoltage
    );
    assert_eq!(
        wrong(Make {
            locked: true,
            ..Make::SDHC
        }),
        Error::Locked
    );
    assert_eq!(
        wrong(Make {
            csd: 2 << 126,
            ..Make::SDHC
        }),
        Error::UnknownCsd(2)
    );
}

#[test]
fn the_hosts_own_errors_are_passed_on_and_not_repeated() {
    let (model, clock) = (CardModel::new(Make::SDHC), Clock::default());
    let stuck = Err(HostError::ResetStuck);
    let host = FakeHost {
        power_up: stuck,
        ..FakeHost::new(&model, &clock)
    };
    assert_eq!(
        Card::init(host).err().unwrap().0,
        Error::Host(HostError::ResetStuck)
    );
    for speed in [Speed::Default, Speed::High] {
        let host = FakeHost {
            speed_error: Some(speed),
            ..FakeHost::new(&model, &clock)
        };
        assert_eq!(
            Card::init(host).err().unwrap().0,
            Error::Host(HostError::ClockStuck)
        );
    }
    let before = model.count(0);
    let host = FakeHost::new(&model, &clock).failing(1, 2, HostError::CommandStuck, 0);
    let error = Card::init(host).err().unwrap().0;
    assert_eq!(
        error,
        Error::Bus {
            command: 2,
            cause: HostError::CommandStuck
        }
    );
    assert_eq!(model.count(0), before + 1);
}

#[test]
fn noise_during_initialisation_is_survived_twice() {
    let clock = Clock::default();
    for command in [8, 55, 41, 2, 3, 9, 7, 51, 6] {
        let cause = HostError::CommandCrc;
        let model = CardModel::new(Make::SDHC);
        up(FakeHost::new(&model, &clock).failing(2, command, cause, 0));
        let model = CardModel::new(Make::SDHC);
        let host = FakeHost::new(&model, &clock).failing(3, command, cause, 0);
        assert_eq!(
            Card::init(host).err().unwrap().0,
            Error::Bus { command, cause }
        );
    }
}

#[test]
fn blocks_come_back_as_they_were_written() {
    let clock = Clock::default();
    for make in [Make::SDHC, Make::SDSC, Make::OLD] {
        let model = CardModel::new(make);
        let mut card = up(FakeHost::new(&model, &clock));
        let last = make.capacity_blocks - 1;
        // One block, several, and more than one chunk: at the start, and at the very end.
        for (lba, blocks) in [(0, 1), (7, 3), (1, 2 * 2048 + 5), (last, 1), (last - 7, 8)] {
            let data: Vec<u8> = (0..blocks * 512)
                .map(|i| (i * 7 + i / 512 + i / (1 << 20)) as u8)
                .collect();
            card.write_blocks(lba, &data).unwrap();
            assert_eq!(model.block(lba + blocks - 1), data[data.len() - 512..]);
            let mut back = vec![0; data.len()];
            card.read_blocks(lba, &mut back).unwrap();
            assert!(back == data);
        }
        let unit = if make.high_capacity { 1 } else { 512 };
        assert_eq!(model.last(18), Some(((last - 7) * unit) as u32));
        assert_eq!(model.last(24), Some((last * unit) as u32));
        card.read_blocks(last + 1, &mut []).unwrap();
    }
}

#[test]
fn a_write_ends_when_the_card_takes_data_again() {
    let (model, clock) = (CardModel::new(Make::SDHC), Clock::default());
    let mut card = up(FakeHost::new(&model, &clock));
    card.write_blocks(0, &[1; 512]).unwrap();
    card.write_blocks(1, &[2; 512]).unwrap();
    assert_eq!(model.count(24), 2);
}

#[test]
fn bad_requests_never_reach_the_card() {
    let (model, clock) = (CardModel::new(Make::SDHC), Clock::default());
    let mut card = up(FakeHost::new(&model, &clock));
    let end = model.make.capacity_blocks;
    let mut data = vec![0; 1024];
    for lba in [end - 1, end, 1 << 32, u64::MAX] {
        let error = Error::OutOfRange {
            lba,
            blocks: 2,
            capacity_blocks: end,
        };
        assert_eq!(card.read_blocks(lba, &mut data), Err(error));
        assert_eq!(card.write_blocks(lba, &data), Err(error));
    }
    for bytes in [1, 511, 513] {
        let error = Err(Error::PartialBlock { bytes });
        assert_eq!(card.read_blocks(0, &mut data[..bytes]), error);
        assert_eq!(card.write_blocks(0, &data[..bytes]), error);
    }
    for command in [17, 18, 24, 25] {
        assert_eq!(model.count(command), 0);
    }
}

#[test]
fn a_read_only_card_is_not_written() {
    let clock = Clock::default();
    let model = CardModel::new(Make {
        csd: Make::SDHC.csd | 1 << 12,
        ..Make::SDHC
    });
    let mut card = up(FakeHost::new(&model, &clock));
    assert!(card.info().read_only);
    assert_eq!(card.write_blocks(0, &[0; 512]), Err(Error::ReadOnly));
    assert_eq!(card.read_blocks(0, &mut [1; 512]), Ok(()));
}

#[test]
fn transfers_are_repeated_twice_and_the_card_is_stopped_in_between() {
    let clock = Clock::default();
    let cause = HostError::DataCrc;
    let data = vec![0x5a; 4 * 512];
    for (times, result) in [(2, Ok(())), (3, Err(Error::Bus { command: 18, cause }))] {
        let model = CardModel::new(Make::SDHC);
        let mut card = up(FakeHost::new(&model, &clock).failing(times, 18, cause, 2));
        assert_eq!(card.read_blocks(9, &mut vec![0; 4 * 512]), result);
        assert_eq!(model.count(18), 3);
        assert_eq!(model.count(12), 3); // by settle, and by the host after a good one
    }
    for (times, result) in [(2, Ok(())), (3, Err(Error::Bus { command: 25, cause }))] {
        let model = CardModel::new(Make::SDHC);
        let mut card = up(FakeHost::new(&model, &clock).failing(times, 25, cause, 2));
        assert_eq!(card.write_blocks(9, &data), result);
        assert_eq!(model.count(25), 3);
    }
}

#[test]
fn what_cannot_help_is_not_repeated() {
    let clock = Clock::default();
    for cause in [
        HostError::InhibitStuck,
        HostError::Unexpected(0x80),
        HostError::Busy,
    ] {
        let model = CardModel::new(Make::SDHC);
        let mut card = up(FakeHost::new(&model, &clock).failing(9, 17, cause, 0));
        let error = card.read_blocks(0, &mut [0; 512]);
        assert_eq!(error, Err(Error::Bus { command: 17, cause }));
        assert_eq!(model.count(17), 1);
    }
}

#[test]
fn the_card_itself_may_refuse() {
    let clock = Clock::default();
    // It has fewer blocks than its CSD says.
    let model = CardModel::new(Make {
        capacity_blocks: 100,
        ..Make::SDHC
    });
    let mut card = up(FakeHost::new(&model, &clock));
    let cause = HostError::Status(1 << 31);
    let error = card.read_blocks(100, &mut [0; 512]);
    assert_eq!(error, Err(Error::Bus { command: 17, cause }));
    assert_eq!(model.count(17), 1);
}

#[test]
fn a_write_is_believed_only_when_the_card_says_so_afterwards() {
    let clock = Clock::default();
    let model = CardModel::new(Make {
        write_errors: 1 << 26 | 1 << 23,
        ..Make::SDHC
    });
    let mut card = up(FakeHost::new(&model, &clock));
    let cause = HostError::Status(1 << 26);
    let error = card.write_blocks(0, &[0; 512]);
    assert_eq!(error, Err(Error::Bus { command: 24, cause }));
}

#[test]
fn a_card_that_stays_busy_is_given_up_after_a_second() {
    let clock = Clock::default();
    let model = CardModel::new(Make {
        programming: u32::MAX,
        ..Make::SDHC
    });
    let mut card = up(FakeHost::new(&model, &clock));
    let before_us = clock.now_us();
    assert_eq!(card.write_blocks(0, &[0; 512]), Err(Error::StillBusy));
    assert!((1_000_000..1_200_000).contains(&(clock.now_us() - before_us)));
    // And after a failed transfer, too.
    let model = CardModel::new(Make {
        programming: u32::MAX,
        ..Make::SDHC
    });
    let host = FakeHost::new(&model, &clock).failing(1, 24, HostError::DataTimeout, 1);
    assert_eq!(up(host).write_blocks(0, &[0; 512]), Err(Error::StillBusy));
}

#[test]
fn errors_on_the_way_to_the_transfer_state_are_told() {
    let clock = Clock::default();
    let cause = HostError::DataCrc;
    let failing = |command, error| {
        let model = CardModel::new(Make::SDHC);
        let host = FakeHost::new(&model, &clock).failing(1, 18, cause, 1);
        let mut card = up(host.failing(1, command, error, 0));
        card.read_blocks(0, &mut [0; 1024])
    };
    let gone = HostError::NoResponse;
    assert_eq!(
        failing(13, gone),
        Err(Error::Bus {
            command: 13,
            cause: gone
        })
    );
    assert_eq!(
        failing(12, HostError::Busy),
        Err(Error::Bus {
            command: 12,
            cause: HostError::Busy
        })
    );
    // The transfer ended by itself, or CMD12 told of a read beyond the end: no reason to give up.
    assert_eq!(failing(12, gone), Ok(()));
    assert_eq!(failing(12, HostError::Status(1 << 31)), Ok(()));
}

#[test]
fn the_host_is_given_back() {
    let (model, clock) = (CardModel::new(Make::SDHC), Clock::default());
    let card = up(FakeHost::new(&model, &clock));
    assert_eq!(card.rca, RCA);
    up(card.into_host());
    assert_eq!(model.count(0), 2);
}
