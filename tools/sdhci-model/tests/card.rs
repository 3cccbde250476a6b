// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cards answer, in which state, and what they say of themselves.

mod world;

use sdhci_model::Medium;
use sdhci_model::regs::{self, clock, host2, intr, mode, present};
use world::*;

const SIZE: u64 = 8 << 20;
const ILLEGAL: u32 = 1 << 22;
const STATE: u32 = 0xf << 9;

/// Reads a register of the card's that comes as one block.
fn register(rig: &mut Rig, index: u32, argument: u32, bytes: u32) -> Vec<u8> {
    rig.start(index, argument, bytes, mode::READ).unwrap();
    rig.wait(intr::BUFFER_READ).unwrap();
    let words: Vec<_> = (0..bytes / 4).map(|_| rig.read(regs::BUFFER)).collect();
    rig.wait(intr::TRANSFER_COMPLETE).unwrap();
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An R2, most significant byte first, without its check sequence.
fn long(rig: &mut Rig, index: u32) -> Vec<u8> {
    rig.command(7, 0, NONE).unwrap();
    rig.command(index, rig.rca, R2).unwrap();
    let words = [0x1c, 0x18, 0x14, 0x10].map(|at| rig.read(at).to_be_bytes());
    rig.command(7, rig.rca, R1B).unwrap();
    words.concat()[1..].to_vec()
}

#[test]
fn the_csd_tells_the_size() {
    let csd = long(&mut Rig::new(Kind::High, SIZE, &[]), 9);
    assert_eq!(csd[0] >> 6, 1);
    let size = u32::from_be_bytes([0, csd[7] & 0x3f, csd[8], csd[9]]);
    assert_eq!(u64::from(size + 1) << 19, SIZE);
    let csd = long(&mut Rig::new(Kind::Standard, SIZE, &[]), 9);
    assert_eq!(csd[0] >> 6, 0);
    let size = u32::from_be_bytes([0, csd[6] & 3, csd[7], csd[8]]) >> 6;
    let mult = (csd[9] & 3) << 1 | csd[10] >> 7;
    assert_eq!(u64::from(size + 1) << (mult + 2) << (csd[5] & 0xf), SIZE);
}

#[test]
fn the_cid_has_a_name() {
    let cid = long(&mut Rig::new(Kind::High, SIZE, &[]), 10);
    assert_eq!(cid[3..8], *b"MODEL");
    let cid = long(&mut Rig::new(Kind::Emmc, SIZE, &[]), 10);
    assert_eq!(cid[3..9], *b"EMODEL");
}

#[test]
fn an_sd_card_tells_its_registers() {
    let mut rig = Rig::new(Kind::High, SIZE, &[]);
    rig.command(55, rig.rca, R1).unwrap();
    assert_eq!(register(&mut rig, 51, 0, 8), [2, 0x35, 0x80, 2, 0, 0, 0, 0]);
    rig.command(55, rig.rca, R1).unwrap();
    assert_eq!(register(&mut rig, 13, 0, 64)[0] >> 6, 2, "four lines");
    let switch = register(&mut rig, 6, 1 << 31 | 0x00ff_fff1, 64);
    assert_eq!((switch[13], switch[16] & 0xf), (3, 1));
    assert_eq!(long(&mut rig, 9)[3], 0x5a, "and is faster since");
}

#[test]
fn an_emmc_tells_and_hears_by_ext_csd() {
    let mut rig = Rig::new(Kind::Emmc, SIZE, &[]);
    let ext_csd = register(&mut rig, 8, 0, 512);
    let sectors = u32::from_le_bytes(ext_csd[212..216].try_into().unwrap());
    assert_eq!(u64::from(sectors) * 512, SIZE);
    assert_eq!((ext_csd[183], ext_csd[185]), (1, 0));
    // High speed and the cache; bits of the cache's byte, too.
    rig.command(6, 3 << 24 | 185 << 16 | 1 << 8, R1B).unwrap();
    rig.command(6, 1 << 24 | 33 << 16 | 1 << 8, R1B).unwrap();
    assert_eq!(rig.status() >> 7 & 1, 0);
    let ext_csd = register(&mut rig, 8, 0, 512);
    assert_eq!((ext_csd[185], ext_csd[33]), (1, 1));
    // What can only be read: an error, once.
    rig.command(6, 3 << 24 | 212 << 16, R1B).unwrap();
    assert_eq!(rig.status() >> 7 & 1, 1);
    assert_eq!(rig.status() >> 7 & 1, 0);
    // Switching the cache off writes it back.
    rig.command(6, 2 << 24 | 33 << 16 | 1 << 8, R1B).unwrap();
    assert_eq!(rig.medium().calls[2], 1);
}

#[test]
fn illegal_commands_stay_without_answer_and_are_told_by_the_next() {
    for (kind, illegal) in [
        (Kind::High, [5, 1, 12, 19, 60]),
        (Kind::Emmc, [5, 1, 12, 55, 60]),
    ] {
        let mut rig = Rig::new(kind, SIZE, &[]);
        for index in illegal {
            assert_eq!(
                rig.command(index, 0, R1),
                Err(intr::COMMAND_TIMEOUT),
                "{kind:?} CMD{index}"
            );
            assert_ne!(rig.status() & ILLEGAL, 0, "{kind:?} CMD{index}");
            assert_eq!(rig.status() & ILLEGAL, 0);
        }
    }
}

#[test]
fn a_card_that_is_not_meant_is_silent() {
    let mut rig = Rig::new(Kind::High, SIZE, &[]);
    let other = rig.rca ^ 0x1_0000;
    assert_eq!(rig.command(13, other, R1), Err(intr::COMMAND_TIMEOUT));
    assert_eq!(rig.status() & ILLEGAL, 0);
    rig.command(7, other, NONE).unwrap();
    assert_eq!(rig.status() & STATE, 3 << 9, "standby");
}

#[test]
fn an_old_host_waits_for_a_large_card_for_ever() {
    let mut rig = Rig::bare(Kind::High, SIZE, &[]);
    rig.command(0, 0, NONE).unwrap();
    for _ in 0..5 {
        assert_eq!(rig.app_command(41, 0x40ff_8000, R3).unwrap() >> 31, 0);
    }
    rig.command(0, 0, NONE).unwrap();
    rig.command(8, 0x1aa, R1).unwrap();
    assert_eq!(rig.app_command(41, 0, R3), Ok(0x00ff_8000), "only asked");
    assert_eq!(rig.ready().unwrap() >> 30, 3);
}

#[test]
fn addresses_and_lengths_are_checked() {
    let mut rig = Rig::new(Kind::High, SIZE, &[]);
    let end = (SIZE / 512) as u32;
    assert_eq!(rig.command(17, end, R1).unwrap() >> 31, 1, "out of range");
    assert_eq!(rig.status() & STATE, 4 << 9, "no data follows");
    let mut rig = Rig::new(Kind::Standard, SIZE, &[]);
    assert_eq!(rig.command(17, 100, R1).unwrap() >> 30 & 1, 1, "address");
    rig.command(16, 64, R1).unwrap();
    assert_eq!(rig.command(24, 0, R1).unwrap() >> 29 & 1, 1, "length");
    rig.medium().write(512 + 128, &[5; 64]).unwrap();
    assert_eq!(register(&mut rig, 17, 512 + 128, 64), [5; 64]);
}

#[test]
fn a_transfer_over_the_end_stops_there() {
    let mut rig = Rig::new(Kind::High, SIZE, &[]);
    let end = (SIZE / 512) as u32;
    assert_eq!(
        rig.blocks(true, By::Adma, end - 2, 8),
        Err(intr::DATA_TIMEOUT)
    );
    rig.recover();
    rig.blocks(false, By::Adma, end - 2, 8).unwrap();
    assert_eq!(rig.read(0x1c) >> 31, 1, "the stop's answer tells it");
}

#[test]
fn erased_blocks_are_zeros() {
    for (kind, [first, last]) in [(Kind::High, [32, 33]), (Kind::Emmc, [35, 36])] {
        let mut rig = Rig::new(kind, SIZE, &[]);
        rig.medium().write(0, &vec![1; 6 << 20]).unwrap();
        assert_eq!(
            rig.command(38, 0, R1B).unwrap() >> 28 & 1,
            1,
            "out of order"
        );
        let (from, to) = (rig.address(1), rig.address(10_000));
        rig.command(first, from, R1).unwrap();
        rig.command(last, to, R1).unwrap();
        rig.command(38, 0, R1B).unwrap();
        let mut all = vec![0; 6 << 20];
        rig.medium().read(0, &mut all).unwrap();
        let zeros: Vec<_> = (0..all.len() / 512).filter(|n| all[n * 512] == 0).collect();
        assert_eq!((zeros[0], zeros.len()), (1, 10_000), "{kind:?}");
    }
}

#[test]
fn the_signals_go_to_low_voltage_by_the_clock() {
    let mut rig = Rig::bare(Kind::High, SIZE, &[]);
    let run = clock::INTERNAL | clock::CARD;
    rig.command(0, 0, NONE).unwrap();
    rig.command(8, 0x1aa, R1).unwrap();
    assert_eq!(rig.ready().unwrap() >> 24 & 1, 1, "it agrees");
    rig.command(11, 0, R1).unwrap();
    assert_eq!(rig.read(regs::PRESENT_STATE) & present::DATA_LEVEL, 0);
    assert_eq!(rig.command(2, 0, R2), Err(intr::COMMAND_TIMEOUT), "not yet");
    rig.write(regs::CLOCK, clock::INTERNAL);
    rig.write(regs::HOST_CONTROL2, host2::LOW_VOLTAGE);
    rig.write(regs::CLOCK, run);
    assert_eq!(
        rig.read(regs::PRESENT_STATE) & present::DATA_LEVEL,
        present::DATA_LEVEL
    );
    rig.command(2, 0, R2).unwrap();
    rig.rca = rig.command(3, 0, R1).unwrap() & 0xffff_0000;
    rig.command(7, rig.rca, R1B).unwrap();
    let switch = register(&mut rig, 6, 1 << 31 | 0x00ff_fff4, 64);
    assert_eq!((switch[13], switch[16] & 0xf), (0x1f, 4), "DDR50");
    // Tuning: so many blocks of the pattern, none of which completes.
    rig.write(
        regs::HOST_CONTROL2,
        host2::LOW_VOLTAGE | host2::EXECUTE_TUNING,
    );
    let mut blocks = 0;
    while rig.read(regs::HOST_CONTROL2) & host2::EXECUTE_TUNING != 0 {
        rig.start(19, 0, 64, mode::READ).unwrap();
        rig.wait(intr::BUFFER_READ).unwrap();
        blocks += 1;
    }
    assert_eq!(blocks, 8);
    assert_ne!(rig.read(regs::HOST_CONTROL2) & host2::TUNED, 0);
    assert_eq!(rig.read(regs::STATUS) & intr::TRANSFER_COMPLETE, 0);
    assert_eq!(rig.status() & STATE, 4 << 9);
}

#[test]
fn a_switch_that_fails_needs_the_power() {
    let mut rig = Rig::bare(Kind::High, SIZE, &[]);
    rig.command(0, 0, NONE).unwrap();
    rig.command(8, 0x1aa, R1).unwrap();
    rig.ready().unwrap();
    rig.command(11, 0, R1).unwrap();
    rig.write(regs::CLOCK, clock::INTERNAL);
    rig.write(regs::CLOCK, clock::INTERNAL | clock::CARD);
    assert_eq!(rig.read(regs::PRESENT_STATE) & present::DATA_LEVEL, 0);
    assert_eq!(rig.command(8, 0x1aa, R1), Err(intr::COMMAND_TIMEOUT));
    rig.write(regs::HOST_CONTROL, 0);
    rig.write(regs::HOST_CONTROL, 0xf << 8);
    rig.identify();
}
