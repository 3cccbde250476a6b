// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory with two truths: what the CPU sees through its cache, and what devices see.
//!
//! # Theory
//! The host's own caches are coherent, so a forgotten clean or invalidate would go unnoticed. Here each buffer has a
//! copy for the CPU beside the memory that devices reach, each filled with junk of its own at first, and only
//! [`DmaBuffer`]'s calls move bytes between the two. Which of them a buffer leaves out can be chosen,
//! to see that the test misses it.
use crate::DmaBuffer;
use core::cell::RefCell;
use core::ops::Range;
use std::vec;
use std::vec::Vec;

/// What the CPU sees of a buffer that it has not written.
const CPU_JUNK: u32 = 0x5555_aaaa;
/// What a device sees of memory that nobody has written back.
const DEVICE_JUNK: u8 = 0xdb;

/// Memory as devices see it, from a bus address on.
pub(crate) struct Memory {
    base: u32,
    bytes: RefCell<Vec<u8>>,
}

impl Memory {
    /// Memory at bus address `base`, without any buffers as yet.
    pub(crate) fn at(base: u32) -> Self {
        Self {
            base,
            bytes: RefCell::default(),
        }
    }

    /// A new buffer of `words` words.
    pub(crate) fn buffer(&self, words: usize) -> TwoCopies<'_> {
        let mut bytes = self.bytes.borrow_mut();
        let start = bytes.len().next_multiple_of(64);
        bytes.resize(start + 4 * words, DEVICE_JUNK);
        TwoCopies {
            memory: self,
            start,
            cached: vec![CPU_JUNK; words],
            forgets: None,
        }
    }

    fn range(&self, address: u64, bytes: usize) -> Option<Range<usize>> {
        let start = usize::try_from(address.checked_sub(self.base.into())?).ok()?;
        let end = start.checked_add(bytes)?;
        (end <= self.bytes.borrow().len()).then_some(start..end)
    }

    /// A device reads; false where there is no memory.
    pub(crate) fn device_reads(&self, address: u64, data: &mut [u8]) -> bool {
        let range = self.range(address, data.len());
        if let Some(range) = range.clone() {
            data.copy_from_slice(&self.bytes.borrow()[range]);
        }
        range.is_some()
    }

    /// A device writes; false where there is no memory.
    pub(crate) fn device_writes(&self, address: u64, data: &[u8]) -> bool {
        let range = self.range(address, data.len());
        if let Some(range) = range.clone() {
            self.bytes.borrow_mut()[range].copy_from_slice(data);
        }
        range.is_some()
    }
}

/// A call that a buffer leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgets {
    /// [`DmaBuffer::clean`].
    Clean,
    /// [`DmaBuffer::invalidate`].
    Invalidate,
}

/// A buffer: the CPU's copy, and where devices see the other.
pub(crate) struct TwoCopies<'a> {
    memory: &'a Memory,
    start: usize,
    cached: Vec<u32>,
    forgets: Option<Forgets>,
}

impl TwoCopies<'_> {
    /// The same buffer, which leaves a call out.
    pub(crate) fn forgetting(mut self, what: Forgets) -> Self {
        self.forgets = Some(what);
        self
    }

    /// The same buffer, `bytes` further on for the device alone.
    pub(crate) fn moved(mut self, bytes: usize) -> Self {
        self.start += bytes;
        self
    }

    /// What the CPU sees.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.cached.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Writes `bytes`, as the CPU does; they fill the buffer.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        assert!(rest.is_empty() && words.len() == self.cached.len());
        for (cached, word) in self.cached.iter_mut().zip(words) {
            *cached = u32::from_le_bytes(*word);
        }
    }
}

impl DmaBuffer for TwoCopies<'_> {
    fn words(&mut self) -> &mut [u32] {
        &mut self.cached
    }

    fn bus_address(&self) -> u32 {
        self.memory.base + self.start as u32
    }

    fn clean(&mut self) {
        self.clean_front(self.cached.len());
    }

    fn clean_front(&mut self, words: usize) {
        if self.forgets != Some(Forgets::Clean) {
            let bytes = self.bytes();
            self.memory
                .device_writes(self.bus_address().into(), &bytes[..4 * words]);
        }
    }

    fn invalidate(&mut self) {
        if self.forgets != Some(Forgets::Invalidate) {
            let mut bytes = vec![0; 4 * self.cached.len()];
            self.memory
                .device_reads(self.bus_address().into(), &mut bytes);
            self.fill(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calls_join_the_copies_and_a_forgotten_one_does_not() {
        let memory = Memory::at(0xc000_0000);
        let mut seen = [0; 8];
        let mut buffer = memory.buffer(2);
        buffer.fill(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(memory.device_reads(0xc000_0000, &mut seen));
        assert_eq!(seen, [DEVICE_JUNK; 8]);
        buffer.clean_front(1);
        assert!(memory.device_reads(0xc000_0000, &mut seen));
        assert_eq!(seen[..4], [1, 2, 3, 4]);
        assert_eq!(seen[4..], [DEVICE_JUNK; 4]);
        assert!(memory.device_writes(0xc000_0004, &[9; 4]));
        assert_eq!(buffer.bytes()[4..], [5, 6, 7, 8]);
        let mut buffer = buffer.forgetting(Forgets::Invalidate);
        buffer.invalidate();
        assert_eq!(buffer.bytes()[4..], [5, 6, 7, 8]);
        let mut buffer = buffer.forgetting(Forgets::Clean);
        buffer.clean();
        buffer.invalidate();
        assert_eq!(buffer.bytes()[4..], [9; 4]);
    }

    #[test]
    fn where_there_is_no_memory_devices_reach_nothing() {
        let memory = Memory::at(0xc000_0000);
        let second = [memory.buffer(1), memory.buffer(1)][1].bus_address();
        assert_eq!(second, 0xc000_0040);
        for address in [0xbfff_ffff, 0xc000_0041, 0, u64::MAX] {
            assert!(!memory.device_reads(address, &mut [0; 4]), "{address:#x}");
            assert!(!memory.device_writes(address, &[0; 4]), "{address:#x}");
        }
    }
}
