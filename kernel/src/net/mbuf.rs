// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packet buffers: memory for one frame each, which GENET reads and writes and nobody copies.
//!
//! # Theory
//! All buffers are made at once, when the interface is attached; from then on they only change hands: the pool, the
//! controller's rings, a packet queue, the stack. Where the pool is empty a frame is dropped and counted, and no
//! memory is asked for. A buffer is owned by who has it, so nobody looks into one that the controller works on.
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
pub struct Mbuf(Box<Buffer>);

impl Mbuf {
    /// A new one, of zeroes.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn new() -> Result<Self, NoMemory> {
        let buffer = Buffer::new(MBUF_BYTES)?;
        Ok(Self(Box::new(buffer)))
    }
}

impl FrameBuffer for Mbuf {
    fn bus_address(&self) -> u64 {
        // GENET sees memory where the CPUs do.
        self.0.device_address() as u64
    }

    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }

    fn prewrite(&mut self, range: Range<usize>) {
        self.0.prewrite(range);
    }

    fn preread(&mut self, range: Range<usize>) {
        self.0.preread(range);
    }

    fn postread(&mut self, range: Range<usize>) {
        self.0.postread(range);
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

/// Buffers that nobody uses.
pub struct Pool {
    free: Vec<Mbuf>,
    total: usize,
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
            free: Vec::new(),
            total: 0,
            least: 0,
            misses: 0,
        }
    }

    /// Makes it have `total` buffers in all, if it has fewer.
    ///
    /// # Errors
    /// [`NoMemory`]: it has as many as there was memory for.
    pub fn grow(&mut self, total: usize) -> Result<(), NoMemory> {
        let more = total.saturating_sub(self.total);
        // What is away comes back without asking for memory.
        self.free
            .try_reserve_exact(total - self.free.len())
            .map_err(|_| NoMemory)?;
        for _ in 0..more {
            self.free.push(Mbuf::new()?);
            self.total += 1;
        }
        self.least = self.free.len();
        Ok(())
    }

    /// Takes one.
    pub fn take(&mut self) -> Option<Mbuf> {
        let taken = self.free.pop();
        if taken.is_none() {
            self.misses += 1;
        }
        self.least = self.least.min(self.free.len());
        taken
    }

    /// Takes one back.
    pub fn give_back(&mut self, mbuf: Mbuf) {
        self.free.push(mbuf);
    }

    /// How it stands.
    pub fn figures(&self) -> PoolFigures {
        PoolFigures {
            total: self.total,
            free: self.free.len(),
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
}
