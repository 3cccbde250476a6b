// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each planned fault, and each error of the medium, shows where a driver looks for it.

mod world;

use sdhci_model::Medium;
use sdhci_model::regs::{self, auto, clock, intr, mode, present};
use world::*;

const SIZE: u64 = 8 << 20;
const WP_VIOLATION: u32 = 1 << 26;
const ECC_FAILED: u32 = 1 << 21;
const ERROR: u32 = 1 << 19;
const MS: u64 = 1_000_000;

fn rig(faults: &[&str]) -> Rig {
    Rig::new(Kind::High, SIZE, faults)
}

/// The card's state as CMD13 tells it.
fn state(rig: &mut Rig) -> u32 {
    rig.status() >> 9 & 0xf
}

#[test]
fn a_block_read_with_a_wrong_check_sequence_ends_the_transfer() {
    for by in [By::Pio, By::Sdma, By::Adma] {
        let mut rig = rig(&["read-crc/3x1"]);
        let data = pattern(8 * BLOCK, 1);
        rig.medium().write(0, &data).unwrap();
        assert_eq!(rig.blocks(true, by, 0, 8), Err(intr::DATA_CRC), "{by:?}");
        assert_eq!(rig.world.memory[..2 * BLOCK], data[..2 * BLOCK]);
        assert_ne!(
            rig.world.memory[2 * BLOCK..3 * BLOCK],
            data[2 * BLOCK..3 * BLOCK]
        );
        assert_ne!(rig.read(regs::PRESENT_STATE) & present::DATA_INHIBIT, 0);
        assert_eq!(state(&mut rig), 5, "the card still sends");
        rig.recover();
        rig.blocks(true, by, 0, 8).unwrap();
        assert_eq!(rig.world.memory[..8 * BLOCK], data);
    }
}

#[test]
fn a_block_that_arrives_broken_is_not_written() {
    for by in [By::Pio, By::Sdma, By::Adma] {
        let mut rig = rig(&["write-crc/3x1"]);
        let data = pattern(8 * BLOCK, 1);
        rig.world.memory[..data.len()].copy_from_slice(&data);
        assert_eq!(rig.blocks(false, by, 0, 8), Err(intr::DATA_CRC), "{by:?}");
        rig.recover();
        let mut written = vec![0; 8 * BLOCK];
        rig.medium().read(0, &mut written).unwrap();
        assert_eq!(written[..2 * BLOCK], data[..2 * BLOCK]);
        assert_eq!(written[2 * BLOCK..], vec![0; 6 * BLOCK]);
        rig.command(55, rig.rca, R1).unwrap();
        rig.start(22, 0, 4, mode::READ).unwrap();
        rig.wait(intr::BUFFER_READ).unwrap();
        assert_eq!(
            rig.read(regs::BUFFER).swap_bytes(),
            2,
            "blocks written well"
        );
    }
}

#[test]
fn a_command_is_not_heard_or_its_answer_not_understood() {
    let mut rig = rig(&["command-timeout/1x1"]);
    assert_eq!(rig.command(7, 0, R1B), Err(intr::COMMAND_TIMEOUT));
    assert_eq!(state(&mut rig), 4, "it is still selected");
    rig.set_faults(&["command-crc/1x1"]);
    assert_eq!(rig.command(16, 1024, R1), Err(intr::COMMAND_CRC));
    assert_eq!(rig.read(regs::RESPONSE) >> 29 & 1, 1, "but it heard that");
}

#[test]
fn data_stays_away_until_the_timeout() {
    for read in [true, false] {
        let mut rig = rig(&["data-timeout/1x1:50"]);
        let began_ns = rig.world.now_ns;
        assert_eq!(rig.blocks(read, By::Adma, 0, 8), Err(intr::DATA_TIMEOUT));
        assert_eq!(rig.world.now_ns - began_ns, 50 * MS);
        rig.recover();
        rig.blocks(read, By::Adma, 0, 8).unwrap();
    }
}

#[test]
fn a_broken_table_is_told_by_its_registers() {
    let mut rig = rig(&["adma-error/1x1"]);
    assert_eq!(rig.blocks(true, By::Adma, 0, 8), Err(intr::ADMA));
    assert_eq!(rig.read(regs::ADMA_ERROR), 1, "fetching a descriptor");
    assert_eq!(rig.read(regs::ADMA_ADDRESS), TABLE);
    rig.recover();
    rig.blocks(true, By::Adma, 0, 8).unwrap();
}

#[test]
fn the_controllers_own_stop_fails() {
    let mut rig = rig(&["auto-command/1x1"]);
    assert_eq!(rig.blocks(true, By::Adma, 0, 8), Err(intr::AUTO_COMMAND));
    assert_eq!(rig.read(regs::HOST_CONTROL2) & auto::ALL, auto::TIMEOUT);
    assert_eq!(state(&mut rig), 5, "the card was not stopped");
    rig.recover();
    assert_eq!(state(&mut rig), 4);
    rig.blocks(true, By::Adma, 0, 8).unwrap();
}

#[test]
fn a_lost_interrupt_is_made_good_by_the_next() {
    let mut rig = rig(&["irq-lost/1x1"]);
    rig.write(regs::SIGNAL_ENABLE, u32::MAX);
    rig.write(regs::ARGUMENT, rig.rca);
    rig.write(regs::COMMAND, 13 << 24 | R1);
    assert!(!rig.world.line);
    assert_eq!(rig.read(regs::STATUS), intr::COMMAND_COMPLETE);
    rig.write(regs::COMMAND, 13 << 24 | R1);
    assert!(rig.world.line);
    rig.write(regs::STATUS, u32::MAX);
    assert!(!rig.world.line);
}

#[test]
fn a_card_may_be_busy_for_a_while_or_for_ever() {
    let mut rig = rig(&["busy/1x1:250"]);
    let began_ns = rig.world.now_ns;
    rig.write(regs::BLOCK, 512);
    rig.table(&[(0, 512)]);
    rig.write(regs::HOST_CONTROL, 0xf << 8 | 1 << 1 | 2 << 3);
    rig.start(24, 0, 1 << 16 | 512, mode::DMA).unwrap();
    assert_eq!(state(&mut rig), 7, "programming");
    assert_eq!(rig.status() >> 8 & 1, 0, "not ready for data");
    let lines = rig.read(regs::PRESENT_STATE);
    assert_eq!(lines & present::DATA0_LEVEL, 0);
    assert_ne!(lines & present::DATA_INHIBIT, 0);
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    assert_eq!(rig.world.now_ns - began_ns, 250 * MS);
    assert_eq!(state(&mut rig), 4);

    rig.set_faults(&["busy/1x1"]);
    rig.write(regs::CLOCK, clock::INTERNAL | clock::CARD);
    let began_ns = rig.world.now_ns;
    assert_eq!(rig.blocks(false, By::Adma, 0, 1), Err(intr::DATA_TIMEOUT));
    assert_eq!(
        rig.world.now_ns - began_ns,
        (1 << 13) * MS / 50,
        "8192 clocks of 50 kHz"
    );
    assert_eq!(state(&mut rig), 7);
    rig.world.now_ns += 3600 * 1000 * MS;
    assert_eq!(state(&mut rig), 7);
    // Only the loss of power ends it.
    rig.write(regs::HOST_CONTROL, 0);
    rig.bring_up();
    rig.identify();
    rig.blocks(true, By::Adma, 0, 1).unwrap();
}

#[test]
fn a_card_that_was_pulled_out_comes_back_as_a_stranger() {
    for read in [true, false] {
        let mut rig = rig(&["eject/5x1:100"]);
        let data = pattern(8 * BLOCK, 1);
        rig.world.memory[..data.len()].copy_from_slice(&data);
        rig.medium().write(0, &data[..BLOCK]).unwrap();
        assert_eq!(rig.blocks(read, By::Adma, 0, 8), Err(intr::DATA_CRC));
        rig.recover();
        assert_eq!(rig.command(13, rig.rca, R1), Err(intr::COMMAND_TIMEOUT));
        assert_eq!(rig.command(0, 0, NONE), Ok(rig.read(regs::RESPONSE)));
        assert_eq!(rig.command(8, 0x1aa, R1), Err(intr::COMMAND_TIMEOUT));
        assert_eq!(
            rig.read(regs::PRESENT_STATE) >> 16 & 7,
            7,
            "the pins are not wired"
        );
        rig.pass(100 * MS);
        assert_eq!(rig.command(13, rig.rca, R1), Err(intr::COMMAND_TIMEOUT));
        rig.write(regs::HOST_CONTROL, 0xf << 8);
        rig.identify();
        rig.blocks(true, By::Adma, 0, 8).unwrap();
        let kept = if read { 1 } else { 4 };
        assert_eq!(rig.world.memory[..kept * BLOCK], data[..kept * BLOCK]);
        assert_eq!(
            rig.world.memory[kept * BLOCK..8 * BLOCK],
            vec![0; (8 - kept) * BLOCK]
        );
    }
}

#[test]
fn a_protected_card_says_so_and_keeps_what_it_has() {
    let mut rig = rig(&["read-only"]);
    rig.world.memory[..BLOCK].fill(1);
    rig.blocks(false, By::Adma, 0, 1).unwrap();
    assert_eq!(rig.status() & WP_VIOLATION, WP_VIOLATION);
    assert_eq!(rig.status() & WP_VIOLATION, 0, "told once");
    rig.blocks(false, By::Adma, 0, 2).unwrap();
    assert_ne!(
        rig.read(0x1c) & WP_VIOLATION,
        0,
        "the stop's answer tells it"
    );
    let mut kept = [9; BLOCK];
    rig.medium().read(0, &mut kept).unwrap();
    assert_eq!(kept, [0; BLOCK]);
}

#[test]
fn a_reset_may_take_its_time_or_never_end() {
    let mut rig = rig(&["reset-stuck/1x1:30"]);
    rig.write(
        regs::CLOCK,
        clock::INTERNAL | clock::CARD | clock::RESET_DATA,
    );
    assert_ne!(rig.read(regs::CLOCK) & clock::RESET_DATA, 0);
    assert_eq!(state(&mut rig), 4, "the command line is free");
    assert_ne!(rig.read(regs::PRESENT_STATE) & present::DATA_INHIBIT, 0);
    rig.pass(30 * MS);
    assert_eq!(rig.read(regs::CLOCK) & clock::RESETS, 0);
    rig.set_faults(&["reset-stuck/1x1"]);
    rig.write(regs::CLOCK, clock::RESET_ALL);
    rig.pass(3600 * 1000 * MS);
    rig.write(regs::CLOCK, clock::RESET_ALL);
    assert_eq!(rig.read(regs::CLOCK) & clock::RESETS, clock::RESET_ALL);
    rig.sdhci.reset(&mut rig.world);
    assert_eq!(rig.read(regs::CLOCK), 0, "the board's reset ends it");
}

#[test]
fn what_the_medium_cannot_read_the_card_cannot_either() {
    for by in [By::Pio, By::Sdma, By::Adma] {
        let mut rig = rig(&[]);
        let data = pattern(8 * BLOCK, 1);
        rig.medium().write(0, &data).unwrap();
        rig.medium().bad_reads = Some((4 * 512, 5 * 512));
        assert_eq!(rig.blocks(true, by, 0, 8), Err(intr::DATA_CRC));
        assert_eq!(
            rig.world.memory[..4 * BLOCK],
            data[..4 * BLOCK],
            "what comes before"
        );
        rig.write(
            regs::CLOCK,
            clock::INTERNAL | clock::CARD | 0xe << 16 | 6 << 24,
        );
        let r1 = rig.command(12, 0, R1B).unwrap();
        assert_eq!(r1 & ECC_FAILED, ECC_FAILED);
        assert_eq!(rig.status() & ECC_FAILED, 0, "told once");
        rig.blocks(true, by, 5, 3).unwrap();
        assert_eq!(rig.world.memory[..3 * BLOCK], data[5 * BLOCK..]);
    }
}

#[test]
fn what_the_medium_cannot_write_is_in_the_status_of_the_write() {
    let mut rig = rig(&[]);
    rig.world.memory[..8 * BLOCK].fill(7);
    rig.medium().bad_writes = Some((4 * 512, 5 * 512));
    rig.blocks(false, By::Adma, 0, 8).unwrap();
    assert_eq!(rig.read(0x1c) & ERROR, ERROR, "the stop's answer tells it");
    rig.blocks(false, By::Adma, 4, 1).unwrap();
    assert_eq!(rig.status() & ERROR, ERROR);
    assert_eq!(rig.status() & ERROR, 0, "told once");
    let mut written = [0; 8 * BLOCK];
    rig.medium().read(0, &mut written).unwrap();
    assert_eq!(written[..4 * BLOCK], [7; 4 * BLOCK], "what comes before");
    assert_eq!(written[4 * BLOCK..], [0; 4 * BLOCK]);
}

#[test]
fn a_flush_reaches_the_medium_and_its_error_the_driver() {
    let flush = 3 << 24 | 32 << 16 | 1 << 8;
    let mut rig = Rig::new(Kind::Emmc, SIZE, &[]);
    rig.command(6, flush, R1B).unwrap();
    assert_eq!(rig.medium().calls[2], 1);
    assert_eq!(rig.sdhci.counters().flushes, 1);
    assert_eq!(rig.status() & ERROR, 0);
    rig.medium().bad_flush = true;
    rig.command(6, flush, R1B).unwrap();
    assert_eq!(rig.status() & ERROR, ERROR);
}

#[test]
fn a_refused_bus_ends_a_transfer_by_adma() {
    let mut rig = rig(&[]);
    rig.table(&[(0, 512), (0x7fff_0000, 512)]);
    rig.write(regs::HOST_CONTROL, 0xf << 8 | 1 << 1 | 2 << 3);
    rig.start(
        18,
        0,
        2 << 16 | 512,
        mode::READ | mode::MULTI | mode::COUNT | mode::DMA,
    )
    .unwrap_err();
    assert_eq!(rig.read(regs::ADMA_ERROR), 3, "transferring");
    assert_eq!(rig.stray_names(), ["DMA to an address without memory"]);
}
