// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transfers on the bench: their memory, and the owner who lets interrupts drive them.
use super::{Bench, Card};
use crate::DmaBuffer;
use crate::sd::{self, Direction, Progress, Segment, TransferData};
use crate::testing::{Forgets, TwoCopies};
use std::vec;
use std::vec::Vec;

/// A transfer with memory for both ways: pieces for DMA, blocks for the port.
pub(crate) struct Data<'a> {
    lba: u64,
    direction: Direction,
    pieces: Vec<TwoCopies<'a>>,
    blocks: Vec<[u8; 512]>,
    by_dma: bool,
    /// The segments that are told, if not the pieces.
    pub(crate) segments: Option<Vec<Segment>>,
    /// How often an interrupt called for it.
    pub(crate) interrupts: u32,
}

impl<'a> Data<'a> {
    /// A read of `blocks` from `lba` on.
    pub(crate) fn read(bench: &'a Bench, lba: u64, blocks: usize) -> Self {
        Self {
            lba,
            direction: Direction::Read,
            pieces: vec![bench.memory.buffer(blocks * 128)],
            blocks: vec![[0xee; 512]; blocks],
            by_dma: false,
            segments: None,
            interrupts: 0,
        }
    }

    /// A write of `bytes` from `lba` on.
    pub(crate) fn write(bench: &'a Bench, lba: u64, bytes: &[u8]) -> Self {
        let mut data = Self::read(bench, lba, bytes.len() / 512);
        data.direction = Direction::Write;
        data.pieces[0].fill(bytes);
        data.blocks = bytes.as_chunks().0.into();
        data
    }

    /// The same, in pieces of `words` each.
    pub(crate) fn in_pieces(mut self, bench: &'a Bench, words: usize) -> Self {
        let bytes = self.pieces[0].bytes();
        let cut = |part: &[u8]| {
            let mut piece = bench.memory.buffer(part.len() / 4);
            piece.fill(part);
            piece
        };
        self.pieces = bytes.chunks(4 * words).map(cut).collect();
        self
    }

    /// The same, whose memory's owner leaves a call out.
    pub(crate) fn forgetting(mut self, what: Forgets) -> Self {
        self.pieces = self
            .pieces
            .into_iter()
            .map(|p| p.forgetting(what))
            .collect();
        self
    }

    /// What the owner of the memory does before a device works on it.
    pub(crate) fn prepare(&mut self, by_dma: bool) {
        self.by_dma = by_dma;
        for piece in &mut self.pieces {
            piece.clean();
        }
    }

    /// What the CPU sees, now that the device has ended.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        if !self.by_dma {
            return self.blocks.concat();
        }
        let seen = self.pieces.iter_mut().map(|piece| {
            piece.invalidate();
            piece.bytes()
        });
        seen.collect::<Vec<_>>().concat()
    }
}

impl TransferData for Data<'_> {
    fn lba(&self) -> u64 {
        self.lba
    }
    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }
    fn direction(&self) -> Direction {
        self.direction
    }
    fn segments(&self) -> impl Iterator<Item = Segment> {
        assert!(self.by_dma, "only with DMA");
        let own = |piece: &TwoCopies<'_>| Segment {
            bus_address: piece.bus_address(),
            bytes: piece.bytes().len() as u32,
        };
        match &self.segments {
            Some(told) => told.clone(),
            None => self.pieces.iter().map(own).collect(),
        }
        .into_iter()
    }
    fn block(&mut self, number: u32) -> &mut [u8; 512] {
        assert!(!self.by_dma, "only without DMA");
        &mut self.blocks[number as usize]
    }
}

/// Carries `data` to its end as the kernel does: an interrupt calls, and a timer gives up after two seconds.
pub(crate) fn by_interrupts(card: &mut Card<'_>, bench: &Bench, data: &mut Data<'_>) -> Progress {
    data.prepare(card.has_dma());
    if let Err(error) = card.start(data) {
        return Progress::Failed(error);
    }
    loop {
        let progress = if bench.line.get() {
            data.interrupts += 1;
            match card.interrupt(data) {
                Progress::NotMine => panic!("the line is up for nothing"),
                progress => progress,
            }
        } else if bench.pass(2_000_000_000) || bench.line.get() {
            Progress::Going
        } else {
            card.give_up(data)
        };
        if progress != Progress::Going {
            assert!(!bench.line.get(), "the line is down at the end");
            return progress;
        }
    }
}

/// Carries `data` to its end as a thread does.
pub(crate) fn carry(card: &mut Card<'_>, data: &mut Data<'_>) -> Result<(), sd::Error> {
    data.prepare(card.has_dma());
    card.carry(data)
}

/// Bytes of which no two near each other are alike.
pub(crate) fn pattern(blocks: usize, seed: u8) -> Vec<u8> {
    let byte = |i: usize| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed;
    (0..blocks * 512).map(byte).collect()
}
