// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocks reach the medium and memory, whichever way they go.

mod world;

use sdhci_model::regs::{self, clock, intr};
use world::*;

const MIB: u64 = 1 << 20;

#[test]
fn every_card_takes_blocks_every_way() {
    for kind in [Kind::Standard, Kind::High, Kind::Emmc] {
        let mut rig = Rig::new(kind, 8 * MIB, &[]);
        for (n, by) in [By::Pio, By::Sdma, By::Adma].into_iter().enumerate() {
            for blocks in [1, 2, 127, 128, 129, 1100] {
                let data = pattern(blocks as usize * BLOCK, n as u8);
                rig.world.memory[..data.len()].copy_from_slice(&data);
                rig.blocks(false, by, 5, blocks).unwrap();
                rig.world.memory[..data.len()].fill(0);
                rig.blocks(true, by, 5, blocks).unwrap();
                assert!(
                    rig.world.memory[..data.len()] == data,
                    "{kind:?} {by:?} {blocks}"
                );
                assert_eq!(rig.status() >> 9 & 0xf, 4);
            }
        }
        assert_eq!(rig.stray_names(), [""; 0]);
    }
}

#[test]
fn data_takes_its_time_on_the_wire_if_there_is_a_rate() {
    for by in [By::Pio, By::Sdma, By::Adma] {
        for read in [false, true] {
            let mut rig = Rig::new(Kind::High, 8 * MIB, &[]);
            rig.sdhci.set_rate(1_000_000);
            let began_ns = rig.world.now_ns;
            rig.blocks(read, by, 0, 300).unwrap();
            assert_eq!(rig.world.now_ns - began_ns, 300 * 512 * 1000, "{by:?}");
        }
    }
}

#[test]
fn a_software_reset_leaves_the_card_alone_and_the_power_bit_does_not() {
    let mut rig = Rig::new(Kind::High, 8 * MIB, &[]);
    rig.bring_up();
    assert_eq!(rig.status() >> 9 & 0xf, 4, "still selected");
    rig.write(regs::CLOCK, clock::RESET_ALL);
    rig.write(regs::HOST_CONTROL, 0);
    rig.bring_up();
    let rca = rig.rca;
    assert_eq!(rig.command(13, rca, R1), Err(intr::COMMAND_TIMEOUT));
    rig.identify();
    assert_eq!(rig.rca, rca, "its first address again");
}
