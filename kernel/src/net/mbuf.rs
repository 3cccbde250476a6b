// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packet buffers: memory for one frame each, which GENET reads and writes and nobody copies.
//!
//! # Theory
//! All buffers are made at once, when the interface is attached; from then on they only change hands: the pool, the
//! controller's rings, a packet queue, the stack. Where the pool is empty a frame is dropped and counted, and no
//! memory is asked for. A buffer is owned by who has it, so nobody looks into one that the controller works on.
//!
//! The lowest of the free buffers goes first. So those in use stay together, as few pages and cache lines as there may be: with the
//! last one back the first one out, each burst would leave others in the rings, until all had been there.
//!
//! # Contexts
//! [`Pool`]: any that may enter a lock of the Net domain.
use crate::dma::{Buffer, NoMemory};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use drivers::genet::FrameBuffer;

/// Bytes of a buffer: a frame, the status block before it, and whole cache lines.
pub const MBUF_BYTES: usize = 2048;

/// Memory for one frame. A pointer, for it changes hands often.
pub struct Mbuf(Box<Numbered>);

struct Numbered {
    buffer: Buffer,
    /// Its place in the pool.
    number: usize,
}

impl Mbuf {
    /// A new one, of zeroes.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub(super) fn new(number: usize) -> Result<Self, NoMemory> {
        let buffer = Buffer::new(MBUF_BYTES)?;
        Ok(Self(Box::new(Numbered { buffer, number })))
    }
}

impl FrameBuffer for Mbuf {
    fn bus_address(&self) -> u64 {
        // GENET sees memory where the CPUs do.
        self.0.buffer.device_address() as u64
    }

    fn bytes(&self) -> &[u8] {
        self.0.buffer.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.buffer.bytes_mut()
    }

    fn prewrite(&mut self, range: Range<usize>) {
        self.0.buffer.prewrite(range);
    }

    fn preread(&mut self, range: Range<usize>) {
        self.0.buffer.preread(range);
    }

    fn postread(&mut self, range: Range<usize>) {
        self.0.buffer.postread(range);
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mbuf")
    }
}

/// A frame in a buffer.
#[derive(Debug)]
pub struct Packet {
    /// Where.
    pub mbuf: Mbuf,
    /// Its first byte, of the Ethernet header.
    pub start: u16,
    /// Its length, without the check sequence.
    pub bytes: u16,
    /// The sum over what follows the Ethernet header, if the controller made one.
    pub sum: Option<u16>,
}

impl Packet {
    /// The frame.
    pub fn frame(&self) -> &[u8] {
        let start = usize::from(self.start);
        &self.mbuf.bytes()[start..start + usize::from(self.bytes)]
    }
}

/// Packet buffers that a pool has at most: for a ring each way, the queues and the stack.
pub const BUFFERS: usize = 2048;

/// Buffers that nobody uses.
pub struct Pool {
    /// By number; nothing where one is in use.
    places: Vec<Option<Mbuf>>,
    /// A bit for each that is free.
    free: [u64; BUFFERS / 64],
    /// A bit for each word of `free` that is not 0.
    words: u32,
    /// Bits that are set.
    count: usize,
    least: usize,
    misses: u64,
}

/// How the pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolFigures {
    /// Buffers in all.
    pub total: usize,
    /// Of them, those that nobody uses.
    pub free: usize,
    /// The fewest that were ever free.
    pub least: usize,
    /// How often one was wanted and none was there.
    pub misses: u64,
}

impl Pool {
    /// A pool without buffers.
    pub const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: [0; BUFFERS / 64],
            words: 0,
            count: 0,
            least: 0,
            misses: 0,
        }
    }

    /// Makes it have `total` buffers in all, [`BUFFERS`] at most, if it has fewer.
    ///
    /// # Errors
    /// [`NoMemory`]: it has as many as there was memory for.
    pub fn grow(&mut self, total: usize) -> Result<(), NoMemory> {
        let more = self.places.len()..total.min(BUFFERS);
        // What is away comes back without asking for memory.
        self.places
            .try_reserve_exact(more.len())
            .map_err(|_| NoMemory)?;
        for number in more {
            let mbuf = Mbuf::new(number)?;
            self.places.push(None);
            self.give_back(mbuf);
        }
        self.least = self.count;
        Ok(())
    }

    /// Takes one.
    pub fn take(&mut self) -> Option<Mbuf> {
        if self.count == 0 {
            self.misses += 1;
            return None;
        }
        let word = self.words.trailing_zeros() as usize;
        let number = word * 64 + self.free[word].trailing_zeros() as usize;
        self.free[word] &= self.free[word] - 1;
        if self.free[word] == 0 {
            self.words &= self.words - 1;
        }
        self.count -= 1;
        self.least = self.least.min(self.count);
        self.places[number].take()
    }

    /// Takes one back.
    pub fn give_back(&mut self, mbuf: Mbuf) {
        let number = mbuf.0.number;
        self.free[number / 64] |= 1 << (number % 64);
        self.words |= 1 << (number / 64);
        self.count += 1;
        self.places[number] = Some(mbuf);
    }

    /// How it stands.
    pub fn figures(&self) -> PoolFigures {
        PoolFigures {
            total: self.places.len(),
            free: self.count,
            least: self.least,
            misses: self.misses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pool_says_so_and_takes_back() {
        let mut pool = Pool::new();
        pool.grow(2).unwrap();
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        pool.give_back(one);
        pool.give_back(two);
        let figures = PoolFigures {
            total: 2,
            free: 2,
            least: 0,
            misses: 1,
        };
        assert_eq!(pool.figures(), figures);
        assert!(pool.take().is_some());
        pool.grow(4).unwrap();
        assert_eq!((pool.figures().total, pool.figures().free), (4, 3));
    }

    #[test]
    fn the_lowest_that_is_free_goes_first() {
        let mut pool = Pool::new();
        pool.grow(200).unwrap();
        let mut taken: Vec<_> = (0..200).map(|_| pool.take()).collect();
        let numbers = taken.iter().flatten().map(|mbuf| mbuf.0.number);
        assert!(numbers.eq(0..200));
        for number in [130, 3, 70, 64] {
            pool.give_back(taken[number].take().unwrap());
        }
        let again: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
        let numbers: Vec<_> = again.iter().map(|mbuf| mbuf.0.number).collect();
        assert_eq!(numbers, [3, 64, 70, 130]);
    }
}
