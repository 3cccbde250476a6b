// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controller's registers, and what only some drivers do with them.

mod world;

use sdhci_model::regs::{self, auto, clock, command, host, intr, mode, present};
use sdhci_model::{Medium, Stray};
use world::*;

const SIZE: u64 = 8 << 20;
const LINES: u32 = 0xf << 8 | 1 << 1;
const ADMA: u32 = LINES | host::DMA_ADMA2;
const READ_ALL: u32 = mode::READ | mode::MULTI | mode::COUNT | mode::AUTO_CMD12;

fn rig() -> Rig {
    Rig::new(Kind::High, SIZE, &[])
}

#[test]
fn it_reads_as_the_board() {
    let mut rig = Rig::bare(Kind::High, SIZE, &[]);
    assert_eq!(rig.read(0x40), 0x45ee_6432);
    assert_eq!(rig.read(0x44), 0x0000_a525);
    assert_eq!(rig.read(0xfc), 0x1002_0000);
    assert_eq!(rig.read(regs::PRESENT_STATE), 0x1fff_0000);
    assert_eq!(rig.read(regs::HOST_CONTROL) >> 23 & 1, 1);
    assert_eq!(rig.sdhci.read(0xfe, 2, &mut rig.world), 0x1002);
    assert_eq!(rig.sdhci.read(0x43, 1, &mut rig.world), 0x45);
}

#[test]
fn a_command_needs_clock_power_and_free_lines() {
    let mut rig = rig();
    rig.write(regs::CLOCK, clock::INTERNAL);
    rig.write(regs::COMMAND, 13 << 24 | R1);
    assert_ne!(rig.read(regs::PRESENT_STATE) & present::COMMAND_INHIBIT, 0);
    rig.write(regs::COMMAND, 13 << 24 | R1);
    assert_eq!(rig.sdhci.strays().of(Stray::NoClock(13)), 1);
    assert_eq!(rig.sdhci.strays().of(Stray::CommandBusy(13)), 1);
    rig.recover();
    rig.start(18, 0, 8 << 16 | 512, READ_ALL).unwrap();
    rig.write(regs::COMMAND, 17 << 24 | command::DATA | R1);
    assert_eq!(rig.sdhci.strays().of(Stray::DataBusy(17)), 1);
}

#[test]
fn the_response_is_checked_as_the_command_asks() {
    let mut rig = rig();
    rig.command(7, 0, NONE).unwrap();
    let rca = rig.rca;
    assert_eq!(
        rig.command(9, rca, R2 | command::CHECK_INDEX),
        Err(intr::COMMAND_INDEX)
    );
    assert_eq!(
        rig.command(9, rca, R1).unwrap_err() & intr::COMMAND_END,
        intr::COMMAND_END
    );
    assert_eq!(rig.command(13, rca, R2), Err(intr::COMMAND_END));
    rig.command(0, 0, NONE).unwrap();
    rig.rca = 0;
    assert_eq!(
        rig.app_command(41, 0, R1),
        Err(intr::COMMAND_INDEX | intr::COMMAND_CRC)
    );
}

#[test]
fn tables_link_skip_and_interrupt() {
    let mut rig = rig();
    let data = pattern(4 * BLOCK, 3);
    rig.medium().write(0, &data).unwrap();
    rig.descriptor(0, 0x01, 0);
    rig.descriptor(1, 0x21 | 1024 << 16, 0x1000);
    rig.descriptor(2, 0x31, TABLE + 8 * 9);
    rig.descriptor(9, 0x25 | 100 << 16, 0x4000);
    rig.descriptor(10, 0x21 | 924 << 16, 0x2000);
    rig.descriptor(11, 0x03, 0);
    rig.write(regs::HOST_CONTROL, ADMA);
    rig.write(regs::ADMA_ADDRESS, TABLE);
    rig.start(18, 0, 4 << 16 | 512, READ_ALL | mode::DMA)
        .unwrap();
    assert_eq!(rig.wait(intr::DMA), Ok(intr::DMA));
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    let memory = &rig.world.memory;
    assert_eq!(memory[0x1000..0x1400], data[..1024]);
    assert_eq!(memory[0x4000..0x4064], data[1024..1124]);
    assert_eq!(memory[0x2000..0x239c], data[1124..]);
}

#[test]
fn a_length_of_zero_is_64_kib() {
    let mut rig = rig();
    let data = pattern(0x1_0000, 3);
    rig.medium().write(0, &data).unwrap();
    rig.descriptor(0, 0x23, 0);
    rig.write(regs::HOST_CONTROL, ADMA);
    rig.write(regs::ADMA_ADDRESS, TABLE);
    rig.start(18, 0, 128 << 16 | 512, READ_ALL | mode::DMA)
        .unwrap();
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    assert!(rig.world.memory[..0x1_0000] == data);
}

#[test]
fn a_table_that_does_not_fit_the_blocks_is_an_error() {
    const MISMATCH: u32 = 7;
    for (table, error) in [
        (&[(0, 512)][..], MISMATCH),
        (&[(0, 512), (512, 1024)], MISMATCH),
        (&[(0, 1000)], MISMATCH),
    ] {
        for read in [true, false] {
            let mut rig = rig();
            rig.table(table);
            rig.write(regs::HOST_CONTROL, ADMA);
            let (index, mode) = match read {
                true => (18, READ_ALL),
                false => (25, READ_ALL & !mode::READ),
            };
            let started = rig.start(index, 0, 2 << 16 | 512, mode | mode::DMA);
            assert_eq!(started, Err(intr::ADMA), "{table:?} {read}");
            assert_eq!(rig.read(regs::ADMA_ERROR), error, "{table:?} {read}");
            rig.recover();
        }
    }
    let mut rig = rig();
    rig.descriptor(0, 0x21 | 512 << 16, 0);
    rig.descriptor(1, 0x20 | 512 << 16, 0);
    rig.write(regs::HOST_CONTROL, ADMA);
    rig.write(regs::ADMA_ADDRESS, TABLE);
    assert_eq!(
        rig.start(18, 0, 2 << 16 | 512, READ_ALL | mode::DMA),
        Err(intr::ADMA)
    );
    assert_eq!(rig.read(regs::ADMA_ERROR), 1, "not valid");
    assert_eq!(rig.read(regs::ADMA_ADDRESS), TABLE + 8);
}

#[test]
fn without_a_count_the_table_ends_the_transfer() {
    let mut rig = rig();
    let data = pattern(3 * BLOCK, 3);
    rig.medium().write(0, &data).unwrap();
    rig.table(&[(0, 512), (512, 1024)]);
    rig.write(regs::HOST_CONTROL, ADMA);
    rig.start(18, 0, 512, mode::READ | mode::MULTI | mode::DMA)
        .unwrap();
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    assert_eq!(rig.world.memory[..3 * BLOCK], data);
    rig.command(12, 0, R1B).unwrap();
}

#[test]
fn sdma_stops_at_each_boundary_but_not_at_the_end() {
    let mut rig = rig();
    rig.write(regs::HOST_CONTROL, LINES);
    // 4 KiB: 16 blocks, of which the last ends at a boundary.
    rig.write(regs::SDMA_ADDRESS, 0x800);
    rig.start(18, 0, 20 << 16 | 512, READ_ALL | mode::DMA)
        .unwrap();
    let mut stops = Vec::new();
    while rig.wait(intr::DMA | intr::TRANSFER_COMPLETE).unwrap() == intr::DMA {
        let next = rig.read(regs::SDMA_ADDRESS);
        stops.push(next);
        rig.write(regs::SDMA_ADDRESS, next);
    }
    assert_eq!(stops, [0x1000, 0x2000]);
    assert_eq!(rig.read(regs::SDMA_ADDRESS), 0x3000);
}

#[test]
fn a_stop_ends_a_transfer_in_its_middle_and_keeps_whole_blocks() {
    let mut rig = rig();
    let words = mode::MULTI | mode::COUNT;
    rig.start(25, 0, 8 << 16 | 512, words).unwrap();
    for _ in 0..3 * 128 + 5 {
        rig.write(regs::BUFFER, 0x0707_0707);
    }
    rig.command(12, 0, R1B | command::TYPE_ABORT).unwrap();
    let mut written = [0; 8 * BLOCK];
    rig.medium().read(0, &mut written).unwrap();
    assert_eq!(written[..3 * BLOCK], [7; 3 * BLOCK]);
    assert_eq!(written[3 * BLOCK..], [0; 5 * BLOCK]);
    assert_eq!(rig.status() >> 9 & 0xf, 4);
}

#[test]
fn a_transfer_stands_at_a_block_gap_until_it_is_told_to_go_on() {
    let mut rig = rig();
    rig.table(&[(0, 0x1_0000), (0x1_0000, 0x1_0000)]);
    rig.write(regs::HOST_CONTROL, ADMA | host::GAP_STOP);
    rig.start(18, 0, 256 << 16 | 512, READ_ALL | mode::DMA)
        .unwrap();
    rig.wait(intr::BLOCK_GAP).unwrap();
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    assert_eq!(rig.sdhci.deadline_ns(), None);
    rig.write(regs::HOST_CONTROL, ADMA | host::GAP_CONTINUE);
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    assert_eq!(rig.read(regs::BLOCK) >> 16, 0);
}

#[test]
fn events_can_be_forced() {
    let mut rig = rig();
    rig.write(regs::SIGNAL_ENABLE, intr::ADMA);
    rig.write(regs::FORCE_EVENT, intr::ADMA | auto::TIMEOUT);
    assert_eq!(rig.read(regs::STATUS), intr::ADMA | intr::ERROR);
    assert_eq!(rig.read(regs::HOST_CONTROL2), auto::TIMEOUT);
    assert!(rig.world.line);
    assert_eq!(rig.read(0xfc) & 1, 1);
}

#[test]
fn lines_of_other_number_than_the_cards_give_wrong_sums() {
    let mut rig = rig();
    rig.write(regs::HOST_CONTROL, 0xf << 8);
    for (index, mode) in [(17, mode::READ), (24, 0)] {
        let mut outcome = rig.start(index, 0, 512, mode);
        if index == 24 {
            rig.port(false, 1).unwrap();
            outcome = rig.wait(intr::TRANSFER_COMPLETE);
        }
        assert_eq!(outcome, Err(intr::DATA_CRC));
        rig.recover();
    }
    assert_eq!(rig.sdhci.strays().of(Stray::BusWidth(1, 4)), 2);
    assert_eq!(rig.medium().calls[1], 0, "nothing was written");
}
