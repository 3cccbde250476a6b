// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that devices read and write: whole cache lines, synchronised by hand.
//!
//! # Theory
//! The BCM2711's devices do not see the CPUs' caches. So around each transfer the owner says what it is for, in
//! bus_dma(9)'s terms: *prewrite* before a device reads (what the CPU wrote goes to memory), *preread* before a device
//! writes (no dirty line may fall on top of it later), *postread* after it (what the CPU fetched meanwhile goes). There
//! is no postwrite: nothing is to be done. A buffer that the CPU has not written since is not dirty and needs no preread.
//! A buffer that a device works on is owned by the request, so nobody can look into it meanwhile.
//!
//! # DMA truth
//! An emulator has no caches to forget. With the feature `dma-truth` (and in host tests) a buffer has a second copy,
//! at the address that the device gets, and only the three calls move bytes between the two: whoever forgets one sees
//! junk. Whoever passes the CPU's copy to the device cannot: there is no way to ask for its address.
//!
//! # Contexts
//! Any; maintenance takes about an instruction for each line of 64 bytes.
//!
//! # References
//! ARM DDI 0487 B2.7 and D7.5.9 (maintenance by address to the point of coherency); NetBSD bus_dma(9).
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use drivers::DmaBuffer;

/// Bytes of a cache line of the Cortex-A72.
pub const LINE_BYTES: usize = 64;

/// A cache line, owned as a whole.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

/// Memory for a buffer is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Whole cache lines in the first GiB, where every device reaches them.
pub struct Buffer {
    cpu: Vec<Line>,
    #[cfg(any(test, feature = "dma-truth"))]
    device: Vec<Line>,
    /// A preread was left out: dirty lines will be written back on top of what the device writes.
    #[cfg(any(test, feature = "dma-truth"))]
    late_eviction: bool,
    bytes: usize,
    /// The CPU may have lines of it that memory does not have.
    dirty: bool,
}

fn lines(bytes: usize, fill: u8) -> Result<Vec<Line>, NoMemory> {
    let (mut lines, count) = (Vec::new(), bytes.div_ceil(LINE_BYTES));
    lines.try_reserve_exact(count).map_err(|_| NoMemory)?;
    lines.resize(count, Line([fill; LINE_BYTES]));
    Ok(lines)
}

fn bytes_of(lines: &[Line]) -> &[u8] {
    // SAFETY: a line is its bytes and nothing else, and the slice borrows them.
    unsafe { core::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE_BYTES) }
}

fn bytes_of_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as above; the slice borrows them alone.
    unsafe { core::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE_BYTES) }
}

impl Buffer {
    /// A buffer of `bytes` zeroes.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn new(bytes: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            cpu: lines(bytes, 0)?,
            #[cfg(any(test, feature = "dma-truth"))]
            device: lines(bytes, truth::JUNK)?,
            #[cfg(any(test, feature = "dma-truth"))]
            late_eviction: false,
            bytes,
            dirty: true,
        })
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True if it holds no byte at all.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What the CPU sees.
    pub fn bytes(&self) -> &[u8] {
        &bytes_of(&self.cpu)[..self.bytes]
    }

    /// What the CPU sees, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.dirty = true;
        &mut bytes_of_mut(&mut self.cpu)[..self.bytes]
    }

    /// What the CPU sees, by words, to be written.
    pub fn words_mut(&mut self) -> &mut [u32] {
        let words = self.bytes_mut();
        // SAFETY: lines are aligned for words, any bits are words, and the slice borrows the buffer alone.
        unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() / 4) }
    }

    /// The physical address that a device gets; the device's bus may add an offset of its own.
    pub fn device_address(&self) -> usize {
        #[cfg(any(test, feature = "dma-truth"))]
        return self.device.as_ptr() as usize;
        #[cfg(not(any(test, feature = "dma-truth")))]
        return self.cpu.as_ptr() as usize;
    }

    /// The address of byte `at` for a device that sees physical address 0 at `bus`.
    pub fn bus_address(&self, at: usize, bus: u32) -> u32 {
        // The heap lies in the first GiB.
        bus.wrapping_add((self.device_address() + at) as u32)
    }

    /// Before a device reads `range`, which is whole lines.
    pub fn prewrite(&mut self, range: Range<usize>) {
        #[cfg(any(test, feature = "dma-truth"))]
        if truth::omitted(truth::Omit::Prewrite) {
            return;
        }
        self.clean(range);
    }

    fn clean(&mut self, range: Range<usize>) {
        self.check(&range);
        if self.dirty {
            self.write_back(range.clone());
        }
        self.cleaned(&range);
    }

    /// Before a device writes `range`, which is whole lines.
    pub fn preread(&mut self, range: Range<usize>) {
        self.check(&range);
        if self.dirty {
            self.drop_lines(range.clone());
        }
        self.cleaned(&range);
    }

    /// After a device has written `range`.
    pub fn postread(&mut self, range: Range<usize>) {
        self.check(&range);
        self.fetch(range);
    }

    fn check(&self, range: &Range<usize>) {
        assert!(
            range.start.is_multiple_of(LINE_BYTES)
                && range.end.is_multiple_of(LINE_BYTES)
                && range.end <= self.cpu.len() * LINE_BYTES,
            "{range:?} of {} bytes are not whole cache lines",
            self.bytes
        );
    }

    fn cleaned(&mut self, range: &Range<usize>) {
        if range.len() >= self.bytes {
            self.dirty = false;
        }
    }
}

#[cfg(not(any(test, feature = "dma-truth")))]
impl Buffer {
    fn write_back(&mut self, range: Range<usize>) {
        maintain(self.device_address() + range.start, range.len());
    }

    fn drop_lines(&mut self, range: Range<usize>) {
        maintain(self.device_address() + range.start, range.len());
    }

    fn fetch(&mut self, range: Range<usize>) {
        maintain(self.device_address() + range.start, range.len());
    }
}

/// Clean and invalidate serves all three: where a line is not dirty, it only drops it; and what was written by the CPU
/// against the rules is not lost.
#[cfg(not(any(test, feature = "dma-truth")))]
fn maintain(start: usize, bytes: usize) {
    #[cfg(target_os = "none")]
    bsp::cache::clean_invalidate(start, bytes);
    #[cfg(not(target_os = "none"))]
    let _host_is_coherent = (start, bytes);
}

/// A buffer of words on the bus of a driver's device.
#[derive(Debug)]
pub struct Words {
    buffer: Buffer,
    bus: u32,
}

impl Words {
    /// So many words of zero, for a device that sees physical address 0 at `bus`.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn new(words: usize, bus: u32) -> Result<Self, NoMemory> {
        let buffer = Buffer::new((4 * words).next_multiple_of(LINE_BYTES))?;
        Ok(Self { buffer, bus })
    }
}

impl DmaBuffer for Words {
    fn words(&mut self) -> &mut [u32] {
        self.buffer.words_mut()
    }

    fn bus_address(&self) -> u32 {
        self.buffer.bus_address(0, self.bus)
    }

    fn clean(&mut self) {
        self.clean_front(self.buffer.len() / 4);
    }

    fn clean_front(&mut self, words: usize) {
        #[cfg(any(test, feature = "dma-truth"))]
        if truth::omitted(truth::Omit::Words) {
            return;
        }
        let bytes = (4 * words).next_multiple_of(LINE_BYTES);
        self.buffer.clean(0..bytes.min(self.buffer.len()));
    }

    fn invalidate(&mut self) {
        self.buffer.postread(0..self.buffer.len());
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer of {} bytes", self.bytes)
    }
}

/// The second copy, and what joins the two.
#[cfg(any(test, feature = "dma-truth"))]
pub mod truth {
    use super::{Buffer, bytes_of, bytes_of_mut};
    use core::ops::Range;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// What fills memory that nobody has written where it is looked at.
    pub const JUNK: u8 = 0xdb;

    /// A call that is left out, to see that it is missed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    pub enum Omit {
        /// None.
        Nothing,
        /// [`Buffer::prewrite`].
        Prewrite,
        /// [`Buffer::preread`]: the CPU's dirty lines are written back on top of what the device wrote.
        Preread,
        /// [`Buffer::postread`].
        Postread,
        /// What makes a driver's words ready: [`Words`](super::Words).
        Words,
    }

    impl Omit {
        /// All, with their names.
        pub const ALL: [(&str, Self); 5] = [
            ("nothing", Self::Nothing),
            ("prewrite", Self::Prewrite),
            ("preread", Self::Preread),
            ("postread", Self::Postread),
            ("words", Self::Words),
        ];
    }

    /// ORDERING: Relaxed: set before the transfers that it is to spoil.
    static OMITTED: AtomicU8 = AtomicU8::new(Omit::Nothing as u8);

    /// Leaves a call out from now on.
    pub fn omit(what: Omit) {
        OMITTED.store(what as u8, Ordering::Relaxed);
    }

    pub(super) fn omitted(what: Omit) -> bool {
        OMITTED.load(Ordering::Relaxed) == what as u8
    }

    impl Buffer {
        /// What the device sees, for a device that is software.
        pub fn device_bytes(&mut self) -> &mut [u8] {
            &mut bytes_of_mut(&mut self.device)[..self.bytes]
        }

        pub(super) fn write_back(&mut self, range: Range<usize>) {
            bytes_of_mut(&mut self.device)[range.clone()]
                .copy_from_slice(&bytes_of(&self.cpu)[range]);
        }

        pub(super) fn drop_lines(&mut self, range: Range<usize>) {
            self.late_eviction = omitted(Omit::Preread);
            if !self.late_eviction {
                bytes_of_mut(&mut self.cpu)[range].fill(JUNK);
            }
        }

        pub(super) fn fetch(&mut self, range: Range<usize>) {
            if core::mem::take(&mut self.late_eviction) {
                // The lines that should have been dropped are written back now, over the device's.
                bytes_of_mut(&mut self.device)[range.clone()]
                    .copy_from_slice(&bytes_of(&self.cpu)[range.clone()]);
            }
            if !omitted(Omit::Postread) {
                bytes_of_mut(&mut self.cpu)[range.clone()]
                    .copy_from_slice(&bytes_of(&self.device)[range]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that adds one to each byte that it reads, and writes it back.
    fn device(buffer: &mut Buffer) {
        buffer
            .device_bytes()
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_add(1));
    }

    #[test]
    fn with_all_calls_the_two_see_each_other() {
        let mut buffer = Buffer::new(4096).unwrap();
        buffer.bytes_mut().fill(7);
        buffer.prewrite(0..4096);
        buffer.preread(0..4096);
        device(&mut buffer);
        buffer.postread(0..4096);
        assert!(buffer.bytes().iter().all(|byte| *byte == 8));
    }

    #[test]
    fn a_call_that_is_forgotten_is_seen() {
        let mut buffer = Buffer::new(128).unwrap();
        buffer.bytes_mut().fill(7);
        device(&mut buffer);
        buffer.postread(0..128);
        assert!(
            buffer.bytes().iter().all(|byte| *byte == truth::JUNK + 1),
            "prewrite"
        );
        buffer.bytes_mut().fill(7);
        buffer.prewrite(0..128);
        device(&mut buffer);
        assert!(buffer.bytes().iter().all(|byte| *byte == 7), "postread");
    }

    #[test]
    fn a_part_leaves_the_rest_alone() {
        let mut buffer = Buffer::new(256).unwrap();
        buffer.bytes_mut().fill(7);
        buffer.prewrite(64..128);
        assert_eq!(buffer.device_bytes()[63..65], [truth::JUNK, 7]);
        buffer.preread(128..192);
        buffer.device_bytes().fill(9);
        buffer.postread(128..192);
        assert_eq!(buffer.bytes()[127..129], [7, 9]);
        assert_eq!(buffer.bytes()[191..193], [9, 7]);
    }

    #[test]
    #[should_panic(expected = "whole cache lines")]
    fn half_a_line_is_refused() {
        Buffer::new(128).unwrap().preread(0..32);
    }
}
