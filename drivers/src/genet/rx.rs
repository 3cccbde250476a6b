// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that come in.
//!
//! # Theory
//! The device fills the buffers of the ring in order, writes each frame's status and sum into the 64 bytes before it,
//! and moves its index last. A buffer that holds a good frame is replaced by a fresh one, which is all that is written
//! for a frame (one register); one whose frame is bad, or for which there is no fresh one, stays where it is.
//!
//! The status is in memory, so the lines that are fetched first hold a short frame as well.
use super::counters::RxError;
use super::frame::{BUFFER_BYTES, HEADER_BYTES, LINE_BYTES, RX_START, Received, lines};
use super::regs::{DESCRIPTOR, RDMA, RX_PRODUCER};
use super::rings::{RING, Slots};
use super::watchdog::Stall;
use super::{FrameBuffer, Genet};
use crate::Io;
use core::sync::atomic::{Ordering, fence};
use tock_registers::LocalRegisterCopy;

/// Lines that are fetched before the length is known: the status and a frame of up to 126 bytes.
const FIRST_BYTES: usize = 3 * LINE_BYTES;
/// Frames after which the device gets its buffers back, however long a pass is.
const GIVE_BACK: u16 = 64;
/// The device's count of discards may end at its maximum: it is cleared before.
const DISCARDS_CLEAR: u16 = 0xc000;
/// Where the status block holds the sum, in its lower half.
const SUM_AT: usize = 8;

/// The receive ring.
#[derive(Debug)]
pub(super) struct Rx<B> {
    pub(super) slots: Slots<B>,
    /// Consumer index: the next frame.
    pub(super) next: u16,
    /// Producer index as it was last read.
    pub(super) seen: u16,
    /// The device's count of discards as it was last read.
    discards: u16,
}

impl<B: FrameBuffer> Rx<B> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Slots::new(),
            next: 0,
            seen: 0,
            discards: 0,
        }
    }

    /// The ring starts at `index`, every descriptor with a buffer.
    pub(super) fn begin(&mut self, index: u16) {
        (self.next, self.seen, self.discards) = (index, index, 0);
    }

    /// Frames that are known to wait.
    pub(super) fn waiting(&self) -> u16 {
        self.seen.wrapping_sub(self.next)
    }
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// Takes up to `budget` frames out of the ring; how many there were, good or bad. Each good one goes to `sink` if
    /// `fresh` has a buffer to replace it; without, it is dropped and counted.
    ///
    /// All lines of a fresh buffer may be dirty. If as many came as the budget allows, there may be more.
    pub fn receive(
        &mut self,
        budget: usize,
        fresh: &mut impl FnMut() -> Option<B>,
        sink: &mut impl FnMut(B, Received),
    ) -> usize {
        if self.rx.waiting() == 0 {
            self.look_for_frames();
        }
        let count = budget.min(self.rx.waiting().into()) as u16;
        for done in 1..=count {
            self.receive_next(fresh, sink);
            if done == count || done.is_multiple_of(GIVE_BACK) {
                // (3) in the module's header.
                fence(Ordering::SeqCst);
                let next = self.rx.next.into();
                self.io.write32(RDMA.driver_index.offset, next);
            }
        }
        self.watch.received |= count > 0;
        count.into()
    }

    /// Reads the producer index.
    pub(super) fn look_for_frames(&mut self) {
        if !self.running {
            return;
        }
        let word = RDMA.device_index.read(&self.io);
        // (2) in the module's header.
        fence(Ordering::SeqCst);
        let seen = word.read(RX_PRODUCER::INDEX) as u16;
        if usize::from(seen.wrapping_sub(self.rx.next)) > RING {
            self.watch.nonsense = Some(Stall::ReceiveIndex);
            return;
        }
        self.rx.seen = seen;
        let discards = word.read(RX_PRODUCER::DISCARDS) as u16;
        if discards != self.rx.discards {
            self.see_discards(discards);
        }
    }

    #[cold]
    fn see_discards(&mut self, discards: u16) {
        let more = discards.wrapping_sub(self.rx.discards);
        self.counters.rx_discards += u64::from(more);
        self.rx.discards = discards;
        if discards >= DISCARDS_CLEAR {
            // While the ring runs, this takes nothing but the upper half.
            self.io.write32(RDMA.device_index.offset, 0);
            self.rx.discards = 0;
        }
    }

    #[inline]
    fn receive_next(
        &mut self,
        fresh: &mut impl FnMut() -> Option<B>,
        sink: &mut impl FnMut(B, Received),
    ) {
        let index = self.rx.next;
        self.rx.next = index.wrapping_add(1);
        let Some(frame) = self.rx.slots.get_mut(index) else {
            return;
        };
        let received = match examine(frame) {
            Ok(received) => received,
            Err(error) => return self.counters.bad_frame(error),
        };
        let Some(mut buffer) = fresh() else {
            self.counters.rx_no_buffer += 1;
            return;
        };
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += received.bytes as u64;
        buffer.preread(0..BUFFER_BYTES);
        if let Some(frame) = self.rx.slots.put(&self.io, &RDMA, index, buffer) {
            sink(frame, received);
        }
    }
}

/// What the device has put into this buffer.
#[inline]
fn examine(frame: &mut impl FrameBuffer) -> Result<Received, RxError> {
    frame.postread(0..FIRST_BYTES);
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| frame.bytes()[i]);
    let status =
        LocalRegisterCopy::<u32, DESCRIPTOR::Register>::new(u32::from_le_bytes([a, b, c, d]));
    let end = status.read(DESCRIPTOR::LENGTH) as usize;
    let sum = u16::from_le_bytes([SUM_AT, SUM_AT + 1].map(|i| frame.bytes()[i]));
    if let Some(error) = RxError::of(status) {
        return Err(error);
    }
    if !(RX_START + HEADER_BYTES..=BUFFER_BYTES).contains(&end) {
        return Err(RxError::Length);
    }
    if end > FIRST_BYTES {
        frame.postread(FIRST_BYTES..lines(end));
    }
    Ok(Received {
        start: RX_START,
        bytes: end - RX_START,
        // The device gives 0 where it gives none; a sum of 0 would need a frame of zeros.
        sum: (sum != 0).then_some(sum),
    })
}
