// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame's buffer, where a frame lies in it, and what is told about it.
//!
//! # Theory
//! A buffer belongs to its owner or to a ring, never to both, so nobody can look into one that the device works on.
//! The device does not see the CPUs' caches; the driver says in bus_dma(9)'s terms what it is about to do, and the
//! implementer does what the board needs for it. Before a buffer is received into, no dirty line of it may be left
//! in a cache, or it falls on top of the frame later.
use core::ops::Range;

/// Bytes of a buffer.
pub const BUFFER_BYTES: usize = 2048;
/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;
/// Where the frame begins that is to be sent: behind the status block, which the driver writes.
pub const HEADROOM: usize = 64;
/// Where a received frame begins: behind the status block and two bytes that align the network header.
pub const RX_START: usize = 66;
/// The shortest frame, without its check sequence.
pub const MIN_FRAME: usize = 60;
/// What MAX_FRAME is set to, a VLAN tag and the check sequence counted.
pub(super) const MAX_ON_WIRE: usize = 1536;
/// The longest frame, without its check sequence.
pub const MAX_FRAME: usize = MAX_ON_WIRE - 4;
/// Destination, source, type.
pub const HEADER_BYTES: usize = 14;

/// Memory of [`BUFFER_BYTES`] bytes, aligned to whole cache lines. Ranges are whole lines.
pub trait FrameBuffer {
    /// The first byte's address, as GENET sees it: the physical one, of 40 bits.
    fn bus_address(&self) -> u64;
    /// What the CPU sees, all of it.
    fn bytes(&self) -> &[u8];
    /// What the CPU sees, to be written.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Before the device reads `range`; ends with a barrier that orders a later register write.
    fn prewrite(&mut self, range: Range<usize>);
    /// Before the device writes `range`; ends with such a barrier, unless no line can be dirty.
    fn preread(&mut self, range: Range<usize>);
    /// After the device has written `range`; ends with a barrier that orders later reads of it.
    fn postread(&mut self, range: Range<usize>);
}

/// A frame that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it begins in its buffer.
    pub start: usize,
    /// Its bytes, without the check sequence, with the padding of a short one.
    pub bytes: usize,
    /// The ones-complement sum (not inverted) of the big-endian words behind the 14 bytes of the Ethernet header, to
    /// the frame's end with its padding, an odd last byte counting as the upper half. None: the device gave none.
    pub sum: Option<u16>,
}

/// A checksum that the device puts into a frame that is sent. Offsets are from the frame's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxChecksum {
    /// Where the summed bytes begin; they end with the frame.
    pub start: u16,
    /// Where the two bytes of the inverted sum go. They hold the pseudo header's sum before, not inverted.
    pub field: u16,
    /// A sum of 0 is to be sent as 0xffff (RFC 768).
    pub udp: bool,
}

/// The lines that hold bytes 0 to `end`.
pub(super) const fn lines(end: usize) -> usize {
    end.next_multiple_of(LINE_BYTES)
}
