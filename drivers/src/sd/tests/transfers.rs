// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocks come back as they were written, by DMA and through the port, by interrupts and by a thread.
use super::{bus, up};
use crate::Io;
use crate::sd::{Error, Progress, Segment};
use crate::sdhci::Error as Cause;
use crate::sdhci::bench::{Bench, Data, Event, Lie, TABLE_WORDS, by_interrupts, carry, pattern};
use crate::testing::Forgets;
use sdhci_model::Card as CardModel;

#[test]
fn each_kind_of_card_keeps_what_is_written_each_way() {
    for (make, bytes) in [
        (CardModel::sd as fn(_) -> _, 64_u64 << 20),
        (CardModel::sdhc, 64 << 20),
        (CardModel::sd, 64 << 30),
        (CardModel::emmc, 64 << 20),
        (CardModel::emmc, 4 << 30),
    ] {
        let bench = Bench::with(make, bytes);
        for host in [bench.host(), bench.host_by_port()] {
            let mut card = up(host);
            let end = card.info().capacity_blocks;
            for (seed, (lba, blocks)) in [(0, 1), (7, 3), (64, 300), (end - 1, 1), (end - 9, 9)]
                .into_iter()
                .enumerate()
            {
                let bytes = pattern(blocks, seed as u8);
                let mut data = Data::write(&bench, lba, &bytes);
                assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
                let last = lba + blocks as u64 - 1;
                assert_eq!(bench.block(last), bytes[bytes.len() - 512..]);
                let mut data = Data::read(&bench, lba, blocks);
                assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
                assert!(data.bytes() == bytes);
                let mut data = Data::read(&bench, lba, blocks);
                let before_us = bench.clock.now_us();
                carry(&mut card, &mut data).unwrap();
                assert!(data.bytes() == bytes);
                // Nobody waited for an interrupt that did not come.
                assert!(bench.clock.now_us() - before_us < 1_000_000);
            }
        }
        assert!(bench.strays().is_empty(), "{:?}", bench.strays());
    }
}

#[test]
fn scattered_memory_is_gathered_up_to_the_tables_end() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let room = TABLE_WORDS / 2;
    assert_eq!(card.max_segments(), room);
    let bytes = pattern(16, 3);
    // Pieces that end within blocks, and as many as there are descriptors.
    for words in [2048, 1024, 100, 16 * 128 / room] {
        let mut data = Data::write(&bench, 9, &bytes).in_pieces(&bench, words);
        assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
        let mut data = Data::read(&bench, 9, 16).in_pieces(&bench, words);
        assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
        assert!(data.bytes() == bytes);
    }
    let mut data = Data::read(&bench, 9, 16).in_pieces(&bench, 16 * 128 / room - 1);
    let error = bus(18, Cause::TooManySegments { room });
    assert_eq!(
        by_interrupts(&mut card, &bench, &mut data),
        Progress::Failed(error)
    );
    assert_eq!(up(bench.host_by_port()).max_segments(), usize::MAX);
}

#[test]
fn a_long_segment_takes_a_descriptor_for_each_64_kib() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let bytes = pattern(300, 5);
    let mut data = Data::write(&bench, 0, &bytes);
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    let mut data = Data::read(&bench, 0, 300);
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    assert!(data.bytes() == bytes);
    assert_eq!(bench.descriptors(), 6);
}

#[test]
fn what_the_caller_gets_wrong_never_reaches_the_card() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let capacity_blocks = card.info().capacity_blocks;
    for lba in [capacity_blocks - 1, capacity_blocks, 1 << 32, u64::MAX] {
        let error = Error::OutOfRange {
            lba,
            blocks: 2,
            capacity_blocks,
        };
        let mut data = Data::read(&bench, lba, 2);
        assert_eq!(card.start(&mut data), Err(error));
        let mut data = Data::write(&bench, lba, &[0; 1024]);
        assert_eq!(card.start(&mut data), Err(error));
    }
    let bus_address = 0xc010_0000;
    for (bus_address, bytes, cause) in [
        (bus_address, 1020, Cause::Length { bytes: 1020 }),
        (bus_address, 1028, Cause::Length { bytes: 1028 }),
        (bus_address, 0, Cause::Length { bytes: 0 }),
        (
            0xc010_0002,
            1024,
            Cause::Unaligned {
                bus_address: 0xc010_0002,
            },
        ),
        (bus_address, 1022, Cause::Unaligned { bus_address }),
    ] {
        let mut data = Data::read(&bench, 0, 2);
        data.prepare(true);
        data.segments = Some([Segment { bus_address, bytes }].into());
        assert_eq!(card.start(&mut data), Err(bus(18, cause)));
    }
    let mut none = Data::read(&bench, 0, 0);
    assert_eq!(
        card.start(&mut none),
        Err(bus(17, Cause::Length { bytes: 0 }))
    );
    let mut many = Data::read(&bench, 0, 0x1_0000);
    let bytes = 0x1_0000 * 512;
    assert_eq!(card.start(&mut many), Err(bus(18, Cause::Length { bytes })));
    for command in [17, 18, 24, 25] {
        assert_eq!(bench.count(command), 0);
    }
}

#[test]
fn one_transfer_goes_at_a_time_and_none_before_the_recovery() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host_by_port());
    let mut data = Data::read(&bench, 0, 1);
    assert_eq!(card.interrupt(&mut data), Progress::NotMine);
    card.start(&mut data).unwrap();
    assert_eq!(card.start(&mut data), Err(bus(17, Cause::Occupied)));
    while !matches!(card.interrupt(&mut data), Progress::Done) {}
    bench.plan(&["read-crc"]);
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert_eq!(failed, Progress::Failed(bus(17, Cause::DataCrc)));
    assert_eq!(card.start(&mut data), Err(bus(17, Cause::NotRecovered)));
    // Nothing interrupts until then.
    bench.write32(0x50, 1 << 21);
    assert!(!bench.line.get());
    bench.behave();
    card.recover().unwrap();
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
}

#[test]
fn a_read_by_dma_takes_few_trips_to_the_controller() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let mut data = Data::read(&bench, 0, 8);
    // The first one names the events that it wants, too.
    for accesses in [9, 8, 8] {
        bench.accesses.set(0);
        assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
        assert_eq!(bench.accesses.get(), accesses);
    }
}

#[test]
fn a_controller_that_is_fast_interrupts_once() {
    let bench = Bench::sdhc();
    for host in [bench.host(), bench.host_by_port()] {
        let mut card = up(host);
        for data in [
            Data::write(&bench, 3, &pattern(8, 1)),
            Data::read(&bench, 3, 8),
        ] {
            let mut data = data;
            assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
            assert_eq!(data.interrupts, 1);
        }
    }
}

#[test]
fn a_write_is_believed_only_when_the_card_says_so_afterwards() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let mut data = Data::write(&bench, 5, &pattern(1, 0));
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    assert_eq!(bench.count(13), 1);
    // The medium fails while the card programs: told by the status alone.
    bench.medium.lock().unwrap().bad_writes = Some((5 * 512, 6 * 512));
    let failed = by_interrupts(&mut card, &bench, &mut data);
    let Progress::Failed(Error::Bus {
        command: 24,
        cause: Cause::Status(bits),
    }) = failed
    else {
        panic!("{failed:?}");
    };
    assert_ne!(bits, 0);
    card.recover().unwrap();
    // And of several blocks by the response to the automatic CMD12, which takes the error with it.
    let mut data = Data::write(&bench, 4, &pattern(3, 0));
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert!(
        matches!(
            failed,
            Progress::Failed(Error::Bus {
                command: 25,
                cause: Cause::Status(_)
            })
        ),
        "{failed:?}"
    );
}

#[test]
fn a_card_that_programs_on_is_asked_again_and_then_left_to_the_recovery() {
    const PROGRAMMING: u32 = 7 << 9;
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let mut data = Data::write(&bench, 5, &pattern(1, 0));
    let busy = Lie::response(13, 0, PROGRAMMING);
    bench.tell(busy.times(5));
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    assert_eq!(bench.count(13), 6);
    bench.tell(busy);
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert_eq!(failed, Progress::Failed(bus(24, Cause::Busy)));
    bench.behave();
    card.recover().unwrap();
    assert_eq!(carry(&mut card, &mut data), Ok(()));
}

#[test]
fn reads_at_the_very_end_are_not_blamed_for_what_the_card_fetched_ahead() {
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let end = card.info().capacity_blocks;
    let mut data = Data::read(&bench, end - 2, 2);
    let stopped = |bits| Lie {
        offset: 0x1c,
        ..Lie::response(18, 0, bits)
    };
    for (response, result) in [
        (1 << 31 | 5 << 9, Progress::Done),
        (
            1 << 21 | 5 << 9,
            Progress::Failed(bus(18, Cause::Status(1 << 21))),
        ),
        (1 << 21 | 4 << 9, Progress::Done), // not the state that a card is stopped in: noise
    ] {
        bench.tell(stopped(response));
        assert_eq!(by_interrupts(&mut card, &bench, &mut data), result);
        bench.behave();
        card.recover().unwrap();
    }
}

#[test]
fn transfer_complete_outweighs_a_data_timeout_but_no_other_error() {
    for (bits, cause) in [
        (1 << 20, None),
        (1 << 20 | 1 << 21, Some(Cause::DataCrc)),
        (1 << 20 | 1 << 23, Some(Cause::DataTimeout)),
        (1 << 23, Some(Cause::Unexpected(0x80))),
    ] {
        let bench = Bench::sdhc();
        let mut card = up(bench.host());
        bench.force(Event::after(17, bits));
        let mut data = Data::read(&bench, 0, 1);
        let result = by_interrupts(&mut card, &bench, &mut data);
        let expected = cause.map_or(Progress::Done, |c| Progress::Failed(bus(17, c)));
        assert_eq!(result, expected);
    }
}

#[test]
fn three_forgotten_calls_are_each_seen() {
    let bytes = pattern(4, 9);
    // The descriptors' clean: the driver's own. The controller finds junk.
    let bench = Bench::sdhc();
    let mut card = up(bench.host_with(bench.memory.buffer(TABLE_WORDS).forgetting(Forgets::Clean)));
    let mut data = Data::read(&bench, 0, 4);
    let failed = by_interrupts(&mut card, &bench, &mut data);
    assert!(
        matches!(
            failed,
            Progress::Failed(Error::Bus {
                command: 18,
                cause: Cause::Adma { .. }
            })
        ),
        "{failed:?}"
    );
    // The clean of what is written, and the invalidate of what is read: the owner's.
    let bench = Bench::sdhc();
    let mut card = up(bench.host());
    let mut data = Data::write(&bench, 0, &bytes).forgetting(Forgets::Clean);
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    assert_ne!(bench.block(0), bytes[..512]);
    let mut data = Data::write(&bench, 0, &bytes);
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    let mut data = Data::read(&bench, 0, 4).forgetting(Forgets::Invalidate);
    assert_eq!(by_interrupts(&mut card, &bench, &mut data), Progress::Done);
    assert_ne!(data.bytes(), bytes);
}
