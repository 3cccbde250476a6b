// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controller's driver, and a card above it, against the models.
use super::model::{CAPS_EMMC2, CAPS_QEMU, Controller, Fault};
use super::*;
use crate::sd::model::{CardModel, Make};
use crate::sd::{Card, Error, ResponseKind};
use crate::testing::Clock;
use std::vec;
use std::vec::Vec;

type Slot<'a> = Sdhci<&'a Controller<'a>, &'a Clock>;

/// QEMU's answer: not to be believed.
const FIRMWARE_HZ: Option<u32> = Some(700_000_000);
const STATUS: Command = Command::new(13, 0, ResponseKind::R1);

/// Runs `test` with a controller that has been powered up, and a card that has not been spoken to.
fn with(make: Make, test: impl FnOnce(&Controller<'_>, &CardModel, &Clock)) {
    let (card, clock) = (CardModel::new(make), Clock::default());
    test(&Controller::new(&card, &clock, CAPS_EMMC2), &card, &clock);
}

fn up<'a>(controller: &'a Controller<'a>, clock: &'a Clock) -> Card<Slot<'a>> {
    let host = Sdhci::new(controller, clock, FIRMWARE_HZ);
    Card::init(host)
        .map_err(|(error, _)| error)
        .expect("comes up")
}

fn init_error<'a>(controller: &'a Controller<'a>, clock: &'a Clock) -> Error {
    Card::init(Sdhci::new(controller, clock, FIRMWARE_HZ))
        .err()
        .expect("fails")
        .0
}

#[test]
fn each_card_is_brought_up_written_and_read_on_each_controller() {
    for (caps, make, clock_hz) in [
        (CAPS_EMMC2, Make::SDHC, 50_000_000),
        (CAPS_EMMC2, Make::SDSC, 25_000_000),
        (CAPS_EMMC2, Make::OLD, 25_000_000),
        (CAPS_QEMU, Make::SDHC, 26_000_000),
        (CAPS_QEMU, Make::SDSC, 13_000_000),
        (CAPS_EMMC2 & !(1 << 21), Make::SDHC, 25_000_000),
    ] {
        let (model, clock) = (CardModel::new(make), Clock::default());
        let controller = Controller::new(&model, &clock, caps);
        let mut card = up(&controller, &clock);
        assert_eq!(card.info().clock_hz, clock_hz);
        assert_eq!(controller.bus_hz(), clock_hz);
        for (lba, blocks) in [(0, 1), (5, 9), (100, 2049)] {
            let data: Vec<u8> = (0..blocks * 512).map(|i| (i ^ i >> 8) as u8).collect();
            card.write_blocks(lba, &data).unwrap();
            let mut back = vec![0; data.len()];
            card.read_blocks(lba, &mut back).unwrap();
            assert!(back == data);
        }
        assert!(clock.now_us() < 100_000);
        // Once more, from the state that it is in now.
        assert_eq!(up(&controller, &clock).info().clock_hz, clock_hz);
    }
}

#[test]
fn an_empty_slot_is_told_soon() {
    with(
        Make {
            silent: true,
            ..Make::SDHC
        },
        |controller, _, clock| {
            assert_eq!(init_error(controller, clock), Error::NoCard);
            assert!(clock.now_us() < 20_000, "{}", clock.now_us());
        },
    );
}

#[test]
fn a_card_that_stays_busy_in_acmd41_is_told_in_time() {
    with(
        Make {
            not_ready: u32::MAX,
            ..Make::SDHC
        },
        |controller, _, clock| {
            assert_eq!(init_error(controller, clock), Error::NotReady);
            assert!(clock.now_us() < 1_200_000, "{}", clock.now_us());
        },
    );
}

#[test]
fn stuck_hardware_is_told_and_not_waited_for() {
    for (fault, cause, limit_us) in [
        (Fault::Reset, HostError::ResetStuck, 110_000),
        (Fault::Clock, HostError::ClockStuck, 160_000),
    ] {
        with(Make::SDHC, |controller, _, clock| {
            controller.fail(fault, u32::MAX);
            assert_eq!(init_error(controller, clock), Error::Host(cause));
            assert!(clock.now_us() < limit_us);
        });
    }
    for (fault, cause, limit_us) in [
        (Fault::Inhibit, HostError::InhibitStuck, 1_010_000),
        (Fault::Command(0), HostError::CommandStuck, 110_000),
    ] {
        with(Make::SDHC, |controller, _, clock| {
            controller.fail(fault, u32::MAX);
            let error = Error::Bus { command: 0, cause };
            assert_eq!(init_error(controller, clock), error);
            assert!(clock.now_us() < limit_us);
        });
    }
}

#[test]
fn a_reset_that_sticks_after_an_error_is_the_worse_error() {
    with(Make::SDHC, |controller, _, clock| {
        let mut host = Sdhci::new(controller, clock, None);
        host.power_up().unwrap();
        controller.fail(Fault::Reset, u32::MAX);
        assert_eq!(host.command(STATUS), Err(HostError::ResetStuck)); // the card is idle: no response
    });
}

#[test]
fn what_is_no_controller_of_this_kind_is_refused() {
    with(Make::SDHC, |controller, _, clock| {
        controller.version.set(0x9901_0000);
        assert_eq!(
            init_error(controller, clock),
            Error::Host(HostError::Version(1))
        );
    });
    let (card, clock) = (CardModel::new(Make::SDHC), Clock::default());
    let controller = Controller::new(&card, &clock, 0);
    let error = Card::init(Sdhci::new(&controller, &clock, None))
        .err()
        .unwrap()
        .0;
    assert_eq!(error, Error::Host(HostError::NoBaseClock));
}

#[test]
fn each_error_of_a_command_is_told_apart_and_recovered_from() {
    with(Make::SDHC, |controller, _, clock| {
        let mut card = up(controller, clock);
        let address = u32::from(crate::sd::model::RCA) << 16;
        let status = Command::new(13, address, ResponseKind::R1);
        let mut host = Sdhci::new(controller, clock, None);
        for (bits, error) in [
            (1 << 16, HostError::NoResponse),
            (1 << 17, HostError::CommandCrc),
            (1 << 16 | 1 << 17, HostError::CommandCrc),
            (1 << 18, HostError::CommandEndBit),
            (1 << 19, HostError::CommandIndex),
            (1 << 23, HostError::Unexpected(0x80)),
        ] {
            controller.fail(Fault::CommandError(13, bits | 1), 1);
            assert_eq!(host.command(status), Err(error));
            assert_eq!(host.command(status).unwrap().short() >> 9 & 0xf, 4);
        }
        card.read_blocks(0, &mut [0; 512]).unwrap();
    });
}

/// What a read of three blocks, or a write, comes to with `fault` so many times.
fn transfer_under(fault: Fault, times: u32, write: bool) -> (Result<(), Error>, usize) {
    let mut out = None;
    with(Make::SDHC, |controller, model, clock| {
        let mut card = up(controller, clock);
        let mut data = vec![7; 3 * 512];
        controller.fail(fault, times);
        let result = match write {
            true => card.write_blocks(3, &data),
            false => card.read_blocks(3, &mut data),
        };
        out = Some((result, model.count(if write { 25 } else { 18 })));
        // Whatever happened, the next transfer works.
        if result.is_ok() || times < 9 {
            card.write_blocks(8, &data).unwrap();
            assert_eq!(model.block(10), data[1024..]);
        }
    });
    out.unwrap()
}

#[test]
fn each_error_of_the_data_is_survived_twice_and_then_told() {
    for write in [false, true] {
        let command = if write { 25 } else { 18 };
        for (bits, cause) in [
            (0, HostError::DataTimeout),
            (1 << 20, HostError::DataTimeout),
            (1 << 21, HostError::DataCrc),
            (1 << 22, HostError::DataEndBit),
        ] {
            // Silence costs a second each time: once is enough.
            for block in if bits == 0 { 1..2 } else { 0..3 } {
                let fault = Fault::Data(block, bits);
                assert_eq!(transfer_under(fault, 2, write), (Ok(()), 3));
                let error = Err(Error::Bus { command, cause });
                assert_eq!(transfer_under(fault, 3, write), (error, 3));
            }
        }
        let end = Fault::End(1 << 24, true);
        assert_eq!(transfer_under(end, 2, write), (Ok(()), 3));
        let error = Err(Error::Bus {
            command,
            cause: HostError::AutoCommand,
        });
        assert_eq!(transfer_under(end, 3, write), (error, 3));
        // A response lost on the way to a transfer.
        let lost = Fault::CommandError(command, 1 << 16);
        assert_eq!(transfer_under(lost, 2, write), (Ok(()), 1));
    }
}

#[test]
fn transfer_complete_outweighs_a_data_timeout_but_no_other_error() {
    assert_eq!(
        transfer_under(Fault::End(1 << 20, true), 1, false),
        (Ok(()), 1)
    );
    assert_eq!(
        transfer_under(Fault::End(1 << 20, false), 1, false),
        (Ok(()), 2)
    );
    assert_eq!(
        transfer_under(Fault::End(1 << 20 | 1 << 21, true), 1, false),
        (Ok(()), 2)
    );
}

#[test]
fn busy_ends_by_event_or_by_the_lines_or_is_given_up() {
    with(Make::SDHC, |controller, _, clock| {
        controller.fail(Fault::BusyWithoutEvent, u32::MAX);
        up(controller, clock);
        assert!(clock.now_us() < 100_000);
    });
    with(Make::SDHC, |controller, _, clock| {
        controller.fail(Fault::Busy, u32::MAX);
        let error = Error::Bus {
            command: 7,
            cause: HostError::Busy,
        };
        assert_eq!(init_error(controller, clock), error);
        assert!(clock.now_us() < 1_200_000);
    });
}

#[test]
fn only_whole_blocks_go_to_the_controller() {
    with(Make::SDHC, |controller, _, clock| {
        up(controller, clock);
        let mut host = Sdhci::new(controller, clock, None);
        let mut data = vec![0; 65_536 * 8];
        let read = Command::new(18, 0, ResponseKind::R1);
        for (block_bytes, bytes) in [
            (512, 0),
            (512, 513),
            (0, 8),
            (6, 12),
            (4096, 4096),
            (8, 65_536 * 8),
        ] {
            let error = Err(HostError::Length { bytes });
            assert_eq!(host.read(read, block_bytes, &mut data[..bytes]), error);
        }
        assert_eq!(
            host.write(read, &data[..100]),
            Err(HostError::Length { bytes: 100 })
        );
    });
}

#[test]
fn a_host_that_waits_really_waits() {
    with(Make::SDHC, |controller, _, clock| {
        Sdhci::new(controller, clock, None).delay_us(1_234);
        assert_eq!(clock.now_us(), 1_234);
    });
}
