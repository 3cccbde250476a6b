// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that a device reads and writes, too.
//!
//! # Theory
//! The BCM2711's devices do not see the CPUs' caches, and they see memory at addresses of their own. Both are the
//! board's business, so it implements this trait; a driver says only what it means:
//! write [`words`](DmaBuffer::words), [`clean`](DmaBuffer::clean), start the device, wait for it,
//! [`invalidate`](DmaBuffer::invalidate), read [`words`](DmaBuffer::words). The host tests' buffer
//! has two copies that only these calls join, so a forgotten call fails a test.

/// A buffer of words shared with a device. The implementer owns the memory, whole cache lines of it.
pub trait DmaBuffer {
    /// The words, as the CPU sees them. Not to be held while the device works.
    fn words(&mut self) -> &mut [u32];
    /// The first word's address, as the device sees it.
    fn bus_address(&self) -> u32;
    /// Makes what the CPU wrote visible to the device, and drops the CPU's copy (clean and invalidate to the point
    /// of coherency, then a barrier that also orders a later device write).
    fn clean(&mut self);
    /// As [`clean`](DmaBuffer::clean), for the first `words` words at least.
    fn clean_front(&mut self, words: usize) {
        let _ = words;
        self.clean();
    }
    /// Makes what the device wrote visible to the CPU (invalidate to the point of coherency, and barriers).
    fn invalidate(&mut self);
}
