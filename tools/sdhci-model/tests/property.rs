// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was written is read back, by whatever mix of ways: the card against an array.

mod world;

use sdhci_model::Medium;
use sdhci_model::regs::{self, command, host, intr, mode};
use world::*;

const SECTORS: u32 = 16 << 11;
/// Where the tests' data is, below the tables.
const DATA: u32 = 0xf_0000;

/// How the card is told where to stop.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// Auto CMD12
    Controller,
    /// CMD23 before, by the driver
    Driver,
    /// Auto CMD23
    Count,
    /// CMD12 behind, by the driver
    After,
}

/// The bytes of memory in the order in which the table names them.
type Pieces = Vec<(u32, u32)>;

/// Cuts so many bytes into pieces of any length that begin at whole words, with gaps between them.
fn cut(random: &mut fastrand::Rng, bytes: u32) -> Pieces {
    let mut pieces = Vec::new();
    let (mut left, mut at) = (bytes, 0);
    while left > 0 {
        let longest = left.min([12, 512, 4096, 0x1_0000][random.usize(0..4)]);
        let piece = random.u32(1..=longest);
        at += 4 * random.u32(0..16);
        pieces.push((at, piece));
        at += (piece + 3) & !3;
        left -= piece;
    }
    assert!(at <= DATA);
    pieces
}

/// The pieces' bytes.
fn collect(memory: &[u8], pieces: &Pieces) -> Vec<u8> {
    let ranges = pieces.iter().map(|p| p.0 as usize..(p.0 + p.1) as usize);
    ranges.flat_map(|range| memory[range].to_vec()).collect()
}

fn scatter(memory: &mut [u8], pieces: &Pieces, data: &[u8]) {
    let mut from = 0;
    for (at, bytes) in pieces {
        let (at, bytes) = (*at as usize, *bytes as usize);
        memory[at..at + bytes].copy_from_slice(&data[from..from + bytes]);
        from += bytes;
    }
}

/// One transfer; the pieces say where in memory.
fn transfer(rig: &mut Rig, read: bool, by: By, stop: Stop, sector: u32, pieces: &Pieces) {
    let bytes: u32 = pieces.iter().map(|p| p.1).sum();
    let blocks = bytes / BLOCK as u32;
    let multi = blocks > 1;
    let index = [[24, 25], [17, 18]][usize::from(read)][usize::from(multi)];
    let mut transfer_mode = if read { mode::READ } else { 0 };
    let mut lines = 0xf << 8 | 1 << 1;
    if multi {
        transfer_mode |= mode::MULTI | mode::COUNT;
        match stop {
            Stop::Controller => transfer_mode |= mode::AUTO_CMD12,
            Stop::Driver => _ = rig.command(23, blocks, R1).unwrap(),
            Stop::Count if by != By::Sdma => {
                transfer_mode |= mode::AUTO_CMD23;
                rig.write(regs::SDMA_ADDRESS, blocks);
            }
            Stop::Count | Stop::After => {}
        }
    }
    let stops =
        multi && (matches!(stop, Stop::After) || matches!((stop, by), (Stop::Count, By::Sdma)));
    match by {
        By::Pio => {}
        By::Sdma => {
            transfer_mode |= mode::DMA;
            rig.write(regs::SDMA_ADDRESS, pieces[0].0);
        }
        By::Adma => {
            transfer_mode |= mode::DMA;
            lines |= host::DMA_ADMA2;
            rig.table(pieces);
        }
    }
    rig.write(regs::HOST_CONTROL, lines);
    let block = blocks << 16 | (sector & 7) << 12 | BLOCK as u32;
    rig.write(regs::BLOCK, block);
    let argument = rig.address(sector);
    rig.write(regs::ARGUMENT, argument);
    rig.write(
        regs::COMMAND,
        index << command::INDEX_SHIFT | command::DATA | R1 | transfer_mode,
    );
    rig.wait(intr::COMMAND_COMPLETE).unwrap();
    if by == By::Pio {
        rig.port(read, blocks as usize).unwrap();
    }
    while rig.wait(intr::TRANSFER_COMPLETE | intr::DMA).unwrap() & intr::TRANSFER_COMPLETE == 0 {
        let next = rig.read(regs::SDMA_ADDRESS);
        rig.write(regs::SDMA_ADDRESS, next);
    }
    assert_eq!(rig.read(regs::BLOCK) >> 16, if multi { 0 } else { blocks });
    if stops {
        rig.command(12, 0, R1B).unwrap();
    }
}

fn run(kind: Kind, seed: u64, transfers: u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new(kind, u64::from(SECTORS) * 512, &[]);
    let mut array = vec![0_u8; SECTORS as usize * BLOCK];
    for n in 0..transfers {
        let by = [By::Pio, By::Sdma, By::Adma][random.usize(0..3)];
        let stop = [Stop::Controller, Stop::Driver, Stop::Count, Stop::After][random.usize(0..4)];
        let longest = [1, 4, 100, 900][random.usize(0..4)];
        let blocks = random.u32(1..=longest);
        let sector = random.u32(0..64) + SECTORS / 64 * random.u32(0..60);
        let bytes = blocks * BLOCK as u32;
        let pieces = match by {
            By::Pio => vec![(0, bytes)],
            By::Sdma => vec![(4 * random.u32(0..2000), bytes)],
            By::Adma => cut(&mut random, bytes.min(400 * BLOCK as u32)),
        };
        let bytes: usize = pieces.iter().map(|p| p.1 as usize).sum();
        let at = sector as usize * BLOCK;
        let what = format!("{kind:?} seed {seed} transfer {n}: {by:?} {stop:?} {blocks}");
        if random.bool() {
            let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
                .take(bytes)
                .collect();
            scatter(&mut rig.world.memory, &pieces, &data);
            transfer(&mut rig, false, by, stop, sector, &pieces);
            array[at..at + bytes].copy_from_slice(&data);
        } else {
            rig.world.memory[..DATA as usize].fill(0xa5);
            transfer(&mut rig, true, by, stop, sector, &pieces);
            let seen = collect(&rig.world.memory, &pieces);
            assert!(seen == array[at..at + bytes], "{what}");
        }
        assert_eq!(rig.status() >> 9 & 0xf, 4, "{what}");
    }
    let mut all = vec![0; array.len()];
    rig.medium().read(0, &mut all).unwrap();
    assert!(all == array, "{kind:?} seed {seed}");
    assert_eq!(rig.stray_names(), [""; 0]);
}

#[test]
fn the_card_is_an_array() {
    for seed in 0..6 {
        for kind in [Kind::Standard, Kind::High, Kind::Emmc] {
            run(kind, seed, 100);
        }
    }
}
