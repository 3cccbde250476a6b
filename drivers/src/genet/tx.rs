// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that go out.
//!
//! # Theory
//! [`Genet::transmit`] fills descriptors, [`Genet::kick`] moves the producer index over all of them, and
//! [`Genet::reclaim`], called by the sender before the ring is full, takes back what is sent. So nobody is interrupted
//! for a sent frame, unless he waits for room and says so ([`Genet::want_room`]).
//!
//! Short frames are filled up to 60 bytes by hand: Linux relies on the MAC for it, three others do not.
use super::frame::{HEADER_BYTES, HEADROOM, MAX_FRAME, MIN_FRAME, TxChecksum, lines};
use super::regs::{DESCRIPTOR, DESCRIPTOR_BYTES, INTR, INTR_CLEAR, RX_PRODUCER, TDMA, TX_CHECKSUM};
use super::rings::{RING, Slots, slot};
use super::watchdog::Stall;
use super::{FrameBuffer, Genet};
use crate::Io;

/// Where the status block says what is to be summed.
const CHECKSUM_AT: usize = 48;

/// The transmit ring.
#[derive(Debug)]
pub(super) struct Tx<B> {
    slots: Slots<B>,
    /// Producer index: the next frame's.
    producer: u16,
    /// Producer index as the device knows it.
    kicked: u16,
    /// Consumer index up to which frames were taken back.
    pub(super) done: u16,
    /// Somebody waits for room.
    pub(super) wanted: bool,
}

impl<B: FrameBuffer> Tx<B> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Slots::new(),
            producer: 0,
            kicked: 0,
            done: 0,
            wanted: false,
        }
    }

    /// The ring starts, empty, where the device is.
    pub(super) fn begin(&mut self, io: &impl Io) {
        let index = self.slots.configure(io, &TDMA);
        (self.producer, self.kicked, self.done) = (index, index, index);
        self.wanted = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Frames that the device has not told to be sent.
    pub(super) fn queued(&self) -> u16 {
        self.producer.wrapping_sub(self.done)
    }

    /// Does the device hold frames that it has not sent, its index being `sent`?
    pub(super) fn owes(&self, sent: u16) -> bool {
        sent != self.kicked
    }

    /// All frames, oldest first; how many of them the device, stopped at index `sent`, has not sent.
    pub(super) fn drain(&mut self, sent: u16, give_back: &mut impl FnMut(B)) -> u16 {
        let queued = self.queued();
        let sent = sent.wrapping_sub(self.done);
        while let Some(frame) = self.slots.take(self.done) {
            give_back(frame);
            self.done = self.done.wrapping_add(1);
        }
        // An index that cannot be says nothing.
        if sent <= queued {
            queued - sent
        } else {
            queued
        }
    }
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// Queues the `bytes` of a frame, without check sequence, that lie in its buffer from byte 64 on. It leaves at the
    /// next [`Genet::kick`].
    ///
    /// # Errors
    /// The frame: the ring is full, or there is no link.
    ///
    /// # Panics
    /// The caller's frame is shorter than 14 bytes or longer than [`MAX_FRAME`], or the checksum's field outside.
    pub fn transmit(
        &mut self,
        mut frame: B,
        bytes: usize,
        checksum: Option<TxChecksum>,
    ) -> Result<(), B> {
        assert!(
            (HEADER_BYTES..=MAX_FRAME).contains(&bytes),
            "a frame of {bytes} bytes"
        );
        if self.tx_free() == 0 {
            return Err(frame);
        }
        let describes = checksum.map_or(0, |sum| describe(sum, bytes));
        let memory = frame.bytes_mut();
        memory[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&describes.to_le_bytes());
        let length = bytes.max(MIN_FRAME);
        memory[HEADROOM + bytes..HEADROOM + length].fill(0);
        let end = HEADROOM + length;
        frame.prewrite(0..lines(end));
        let mut word = DESCRIPTOR::LENGTH.val(end as u32)
            + DESCRIPTOR::SOP::SET
            + DESCRIPTOR::EOP::SET
            + DESCRIPTOR::TX_QUEUE_TAG::Default
            + DESCRIPTOR::TX_APPEND_CRC::SET;
        if describes != 0 {
            word += DESCRIPTOR::TX_CHECKSUM::SET;
        }
        let index = self.tx.producer;
        let _sent = self.tx.slots.put(&self.io, &TDMA, index, frame);
        // Last, as in every driver: it says that the rest is there.
        let at = TDMA.descriptors + slot(index) * DESCRIPTOR_BYTES;
        self.io.write32(at, word.value);
        self.tx.producer = index.wrapping_add(1);
        self.counters.tx_frames += 1;
        self.counters.tx_bytes += length as u64;
        Ok(())
    }

    /// Lets go what was queued since the last call.
    pub fn kick(&mut self) {
        if self.tx.kicked != self.tx.producer {
            self.tx.kicked = self.tx.producer;
            // (1) in the module's header: each frame's `prewrite` ended with a barrier.
            let producer = self.tx.producer.into();
            self.io.write32(TDMA.driver_index.offset, producer);
        }
    }

    /// Takes back the frames that are sent; how many.
    pub fn reclaim(&mut self, give_back: &mut impl FnMut(B)) -> usize {
        let queued = self.tx.kicked.wrapping_sub(self.tx.done);
        if queued == 0 || !self.running {
            return 0;
        }
        let index = TDMA.device_index.read(&self.io).read(RX_PRODUCER::INDEX) as u16;
        let sent = index.wrapping_sub(self.tx.done);
        if sent > queued {
            self.watch.nonsense = Some(Stall::TransmitIndex);
            return 0;
        }
        while self.tx.done != index {
            if let Some(frame) = self.tx.slots.take(self.tx.done) {
                give_back(frame);
            }
            self.tx.done = self.tx.done.wrapping_add(1);
        }
        sent.into()
    }

    /// Frames that [`Genet::transmit`] will take as things stand; 0 without a link.
    pub fn tx_free(&self) -> usize {
        if self.link.is_some() && self.running {
            RING - usize::from(self.tx.queued())
        } else {
            0
        }
    }

    /// Frames in the transmit ring that are not reclaimed.
    pub fn tx_queued(&self) -> usize {
        self.tx.queued().into()
    }

    /// Somebody waits for room: there will be one interrupt when a part of the ring is sent. True: some is sent
    /// already; reclaim it.
    pub fn want_room(&mut self) -> bool {
        if !self.running {
            return false;
        }
        INTR_CLEAR.write(&self.io, INTR::TX_DONE::SET);
        let index = TDMA.device_index.read(&self.io).read(RX_PRODUCER::INDEX) as u16;
        if index != self.tx.done {
            return true;
        }
        // What is sent from now on sets the bit again, masked or not.
        self.tx.wanted = true;
        self.unmask(INTR::TX_DONE::SET);
        false
    }
}

/// Word 12 of the status block.
fn describe(sum: TxChecksum, bytes: usize) -> u32 {
    let TxChecksum { start, field, udp } = sum;
    assert!(
        start <= field && usize::from(field) + 2 <= bytes,
        "a checksum over {start}.. at {field} of {bytes} bytes"
    );
    (TX_CHECKSUM::VALID::SET
        + TX_CHECKSUM::START.val(start.into())
        + TX_CHECKSUM::FIELD.val(field.into())
        + TX_CHECKSUM::UDP.val(udp.into()))
    .value
}
