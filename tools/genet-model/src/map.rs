// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where GENET v5's blocks lie in its window of 64 KiB, and what they are called.
//!
//! Offsets are relative to the window. Sources: Linux, U-Boot, NetBSD and EDK2 agree on them;
//! Broadcom has published no manual.

use crate::ring::{DESCRIPTOR_WORDS, DESCRIPTORS};

/// Length of the register window in bytes.
pub const WINDOW: u32 = 0x1_0000;

/// A part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Revision, port mode, flush
    Sys,
    /// Power, RGMII out-of-band signals
    Ext,
    /// Interrupts of line A
    Intrl2A,
    /// Interrupts of line B
    Intrl2B,
    /// Receive buffer
    Rbuf,
    /// Transmit buffer
    Tbuf,
    /// The MAC, its counters, MDIO and the address filter
    Umac,
    /// Receive DMA: descriptors, rings, common registers
    Rdma,
    /// Transmit DMA: descriptors, rings, common registers
    Tdma,
    /// Hardware filter block: patterns
    Hfb,
    /// Hardware filter block: control
    HfbRegs,
    /// Nothing that is known
    Unknown,
}

const BLOCKS: [(u32, u32, Block, &str); 11] = [
    (0x0000, 0x0040, Block::Sys, "SYS"),
    (0x0080, 0x0040, Block::Ext, "EXT"),
    (0x0200, 0x0040, Block::Intrl2A, "INTRL2_0"),
    (0x0240, 0x0040, Block::Intrl2B, "INTRL2_1"),
    (0x0300, 0x0100, Block::Rbuf, "RBUF"),
    (0x0600, 0x0100, Block::Tbuf, "TBUF"),
    (0x0800, 0x0800, Block::Umac, "UMAC"),
    (0x2000, 0x2000, Block::Rdma, "RDMA"),
    (0x4000, 0x2000, Block::Tdma, "TDMA"),
    (0x8000, 0x6000, Block::Hfb, "HFB"),
    (0xfc00, 0x0100, Block::HfbRegs, "HFB_REG"),
];

/// Bytes of each direction's descriptors, which begin its block.
const DESCRIPTOR_BYTES: u32 = (DESCRIPTORS * DESCRIPTOR_WORDS * 4) as u32;

/// Whether this is a word of a descriptor.
pub fn is_descriptor(offset: u32) -> bool {
    let (block, inside) = block(offset);
    let is_dma = block == Block::Rdma || block == Block::Tdma;
    is_dma && inside < DESCRIPTOR_BYTES && inside.is_multiple_of(4)
}

/// The block at this offset, and the offset inside it.
pub fn block(offset: u32) -> (Block, u32) {
    BLOCKS
        .iter()
        .find(|(start, bytes, ..)| (*start..start + bytes).contains(&offset))
        .map_or((Block::Unknown, offset), |(start, _, block, _)| {
            (*block, offset - start)
        })
}

/// A register's name for people: the block and the offset inside it.
pub fn name(offset: u32) -> String {
    let (block, inside) = block(offset);
    let known = BLOCKS.iter().find(|(.., b, _)| *b == block);
    let block = known.map_or("GENET", |(.., name)| name);
    format!("{block}+{inside:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_find_their_block() {
        assert_eq!(block(0x0e14), (Block::Umac, 0x614));
        assert_eq!(block(0x3040), (Block::Rdma, 0x1040));
        assert_eq!(block(0xfc1c), (Block::HfbRegs, 0x1c));
        assert_eq!(block(0x0040), (Block::Unknown, 0x40));
        assert_eq!(name(0x0e14), "UMAC+0x614");
        assert_eq!(name(0x7000), "GENET+0x7000");
    }

    #[test]
    fn descriptors_end_where_the_rings_begin() {
        for dma in [0x2000, 0x4000] {
            assert!(!is_descriptor(dma - 4));
            assert!(is_descriptor(dma) && is_descriptor(dma + 0xbfc));
            assert!(!is_descriptor(dma + 0xc00) && !is_descriptor(dma + 2));
        }
    }

    #[test]
    fn blocks_do_not_overlap() {
        for pair in BLOCKS.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
        }
    }
}
