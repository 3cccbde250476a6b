// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a card keeps its data on: a file of an emulator's, or memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The medium could not do it: what a card shows as an error that no retry of the bus heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediumError;

/// Where the card's blocks are. Offsets and lengths are in bytes. What lies beyond [`Medium::bytes`] is
/// refused: a card says its size in units that a small medium may not fill.
pub trait Medium: Send {
    /// Its size; it does not change.
    fn bytes(&self) -> u64;
    /// Reads all of `into`.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), MediumError>;
    /// Writes all of `from`. It need not last through a loss of power before `flush`.
    fn write(&mut self, at: u64, from: &[u8]) -> Result<(), MediumError>;
    /// Makes so many bytes read as zeros.
    fn erase(&mut self, at: u64, bytes: u64) -> Result<(), MediumError>;
    /// What was written before lasts.
    fn flush(&mut self) -> Result<(), MediumError>;
}

/// A medium that a test keeps a hand on.
impl<M: Medium> Medium for Arc<Mutex<M>> {
    fn bytes(&self) -> u64 {
        self.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), MediumError> {
        let mut medium = self.lock().unwrap_or_else(PoisonError::into_inner);
        medium.read(at, into)
    }

    fn write(&mut self, at: u64, from: &[u8]) -> Result<(), MediumError> {
        let mut medium = self.lock().unwrap_or_else(PoisonError::into_inner);
        medium.write(at, from)
    }

    fn erase(&mut self, at: u64, bytes: u64) -> Result<(), MediumError> {
        let mut medium = self.lock().unwrap_or_else(PoisonError::into_inner);
        medium.erase(at, bytes)
    }

    fn flush(&mut self) -> Result<(), MediumError> {
        self.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

const CHUNK: u64 = 0x1_0000;

/// Memory of any size, of which only what was written takes room, and which can be told to fail.
#[derive(Clone, Debug, Default)]
pub struct Sparse {
    bytes: u64,
    chunks: BTreeMap<u64, Vec<u8>>,
    /// Reads that touch this range of bytes fail.
    pub bad_reads: Option<(u64, u64)>,
    /// Writes and erasures that touch this range of bytes fail.
    pub bad_writes: Option<(u64, u64)>,
    /// Flushes fail.
    pub bad_flush: bool,
    /// How often it was read, written and flushed.
    pub calls: [u64; 3],
}

impl Sparse {
    /// Zeros, so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn walk(at: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let here = at + done as u64;
            let inside = (here % CHUNK) as usize;
            let part = (bytes - done).min(CHUNK as usize - inside);
            let range = done..done + part;
            done += part;
            (part > 0).then_some((here / CHUNK, inside, range))
        })
    }
}

fn touches(bad: Option<(u64, u64)>, at: u64, bytes: u64) -> bool {
    bad.is_some_and(|(start, end)| at < end && start < at + bytes)
}

impl Medium for Sparse {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), MediumError> {
        self.calls[0] += 1;
        let bytes = into.len() as u64;
        if touches(self.bad_reads, at, bytes) || at + bytes > self.bytes {
            return Err(MediumError);
        }
        for (chunk, inside, range) in Self::walk(at, into.len()) {
            let part = &mut into[range];
            match self.chunks.get(&chunk) {
                Some(chunk) => part.copy_from_slice(&chunk[inside..inside + part.len()]),
                None => part.fill(0),
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, from: &[u8]) -> Result<(), MediumError> {
        self.calls[1] += 1;
        let bytes = from.len() as u64;
        if touches(self.bad_writes, at, bytes) || at + bytes > self.bytes {
            return Err(MediumError);
        }
        for (chunk, inside, range) in Self::walk(at, from.len()) {
            let chunk = self.chunks.entry(chunk);
            let chunk = chunk.or_insert_with(|| vec![0; CHUNK as usize]);
            chunk[inside..inside + range.len()].copy_from_slice(&from[range]);
        }
        Ok(())
    }

    fn erase(&mut self, at: u64, bytes: u64) -> Result<(), MediumError> {
        if touches(self.bad_writes, at, bytes) || at + bytes > self.bytes {
            return Err(MediumError);
        }
        let touched = at / CHUNK..(at + bytes).div_ceil(CHUNK);
        for (n, chunk) in self.chunks.range_mut(touched) {
            let start = at.saturating_sub(n * CHUNK).min(CHUNK) as usize;
            let end = (at + bytes - n * CHUNK).min(CHUNK) as usize;
            chunk[start..end].fill(0);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MediumError> {
        self.calls[2] += 1;
        if self.bad_flush {
            return Err(MediumError);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_across_chunks() {
        let mut medium = Sparse::new(4 * CHUNK);
        let data: Vec<u8> = (0..3000_u32).map(|i| i as u8 | 1).collect();
        medium.write(CHUNK - 1000, &data).unwrap();
        let mut seen = vec![9; 3002];
        medium.read(CHUNK - 1001, &mut seen).unwrap();
        assert_eq!((seen[0], seen[3001]), (0, 0));
        assert_eq!(seen[1..3001], data);
        medium.erase(CHUNK - 2, 4).unwrap();
        medium.read(CHUNK - 1001, &mut seen).unwrap();
        assert_eq!(seen[999..1003], [0; 4].map(|z: u8| z)[..].to_vec()[..]);
        assert_ne!(seen[998], 0);
        assert!(medium.read(4 * CHUNK - 1, &mut [0; 2]).is_err());
    }

    #[test]
    fn it_fails_where_it_was_told_to() {
        let mut medium = Sparse::new(CHUNK);
        medium.bad_reads = Some((512, 1024));
        assert!(medium.read(0, &mut [0; 512]).is_ok());
        assert!(medium.read(0, &mut [0; 513]).is_err());
        assert!(medium.read(1024, &mut [0; 512]).is_ok());
        assert!(medium.write(512, &[0; 512]).is_ok());
        medium.bad_flush = true;
        assert!(medium.flush().is_err());
    }
}
