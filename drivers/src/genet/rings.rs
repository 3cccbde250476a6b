// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ring 16, which has all 256 descriptors of its direction, and the buffers in it.
//!
//! # Theory
//! Indices run freely, modulo 65536; a ring's descriptor is the index modulo 256, which divides it. Producer minus
//! consumer is what lies in the device's hands (TX) or in the driver's (RX).
//!
//! An index is meant to be 0 when a ring starts, but U-Boot says that firmware's may stay; so the ring
//! starts where the device's index is after 0 was written to it, and the pointers are set to the same place.
//!
//! The upper 8 bits of an address are written only if they are not what the descriptor holds.
use super::FrameBuffer;
use super::frame::BUFFER_BYTES;
use super::regs::{DESCRIPTOR_BYTES, Dma, RING_SIZE, RX_PRODUCER};
use crate::Io;

/// Descriptors of a ring.
pub const RING: usize = 256;
/// Both directions' DMA, in units of which no source says more than that 8 is the BCM2711's.
const BURST: u32 = 8;
/// Of RING_CFG.
pub(super) const RING_16: u32 = 1 << 16;

/// The buffers of a ring, by descriptor.
#[derive(Debug)]
pub(super) struct Slots<B> {
    buffers: [Option<B>; RING],
    /// What each descriptor's word 2 holds.
    high: [u8; RING],
}

/// The descriptor of an index.
pub(super) const fn slot(index: u16) -> usize {
    index as usize % RING
}

impl<B: FrameBuffer> Slots<B> {
    pub(super) const fn new() -> Self {
        Self {
            buffers: [const { None }; RING],
            high: [0; RING],
        }
    }

    /// Makes the buffer the one of `index`, whose descriptor gets its address; the buffer that was there.
    #[inline]
    pub(super) fn put(&mut self, io: &impl Io, dma: &Dma, index: u16, buffer: B) -> Option<B> {
        let slot = slot(index);
        let at = dma.descriptors + slot * DESCRIPTOR_BYTES;
        let address = buffer.bus_address();
        let high = (address >> 32) as u8;
        io.write32(at + 4, address as u32);
        if self.high[slot] != high {
            self.high[slot] = high;
            io.write32(at + 8, high.into());
        }
        self.buffers[slot].replace(buffer)
    }

    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut B> {
        self.buffers[slot(index)].as_mut()
    }

    pub(super) fn take(&mut self, index: u16) -> Option<B> {
        self.buffers[slot(index)].take()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffers.iter().all(Option::is_none)
    }

    /// All buffers, in no order.
    pub(super) fn drain(&mut self, give_back: &mut impl FnMut(B)) {
        let buffers = self.buffers.iter_mut();
        buffers.filter_map(Option::take).for_each(give_back);
    }

    /// Sets the ring up while its DMA stands: the index at which it will start.
    pub(super) fn configure(&mut self, io: &impl Io, dma: &Dma) -> u16 {
        io.write32(dma.burst.offset, BURST);
        io.write32(dma.device_index.offset, 0);
        let index = dma.device_index.read(io).read(RX_PRODUCER::INDEX) as u16;
        io.write32(dma.driver_index.offset, index.into());
        let shape = RING_SIZE::DESCRIPTORS.val(RING as u32)
            + RING_SIZE::BUFFER_BYTES.val(BUFFER_BYTES as u32);
        dma.size.write(io, shape);
        let words = DESCRIPTOR_BYTES / 4;
        let here = slot(index) * words;
        let last = RING * words - 1;
        for (register, value) in [
            (&dma.start, 0),
            (&dma.end, last),
            (&dma.device_pointer, here),
            (&dma.driver_pointer, here),
        ] {
            io.write32(register[0].offset, value as u32);
            io.write32(register[1].offset, 0);
        }
        self.high = [0; RING];
        for slot in 0..RING {
            let at = dma.descriptors + slot * DESCRIPTOR_BYTES;
            io.write32(at, 0);
            io.write32(at + 8, 0);
        }
        index
    }
}
