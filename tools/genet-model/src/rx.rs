// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reception: from the wire into a ring's buffers.
//!
//! The order is the silicon's: the MAC counts and filters, the filter block chooses a ring, the
//! DMA fills one buffer or more, writes the status into the first and into the descriptors,
//! and moves the producer index last.

use crate::Genet;
use crate::buf::STATUS_BLOCK;
use crate::dma::{DEFAULT_RING, RINGS, status};
use crate::fault::Fault;
use crate::frame::{self, Cast, FCS_BYTES, MIN_BYTES};
use crate::intrl2::a;
use crate::mib::RxErrors;
use crate::outside::{Line, Outside};
use crate::stray::Stray;

/// Where a status block holds the sum: the low half of its third word, as a little-endian number.
const SUM_AT: usize = 8;

/// What became of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is in the ring's buffers.
    Ring(usize),
    /// The MAC's filter, or the MAC itself, took it.
    Filtered,
    /// The receiver is off, or there is no link.
    Off,
    /// It had an error, or a planned fault took it.
    Bad,
    /// The ring has no free descriptor: a discard is counted.
    NoRoom(usize),
    /// It will come later, by a planned fault.
    Later,
}

impl Genet {
    /// Whether a frame would find room. An embedder that can hold frames back asks first.
    ///
    /// A receiver that is off has room: what comes in is lost, as on a board.
    pub fn has_room(&self) -> bool {
        let rings = self.rdma.rings.iter().filter(|ring| ring.is_running());
        !self.umac.receives() || rings.clone().all(|ring| ring.room() > 0)
    }

    /// A frame from the wire, destination address first, without its frame check sequence.
    pub fn receive(&mut self, frame: &[u8], out: &mut dyn Outside) -> Received {
        self.run_time(out);
        let outcome = match self.faults.strike(Fault::RxDelay) {
            Some(delay_ns) => {
                let due_ns = out.now_ns() + delay_ns;
                self.rx_late.push_back((due_ns, frame.to_vec()));
                Received::Later
            }
            None => self.take_in(frame, out),
        };
        self.settle(out);
        outcome
    }

    /// What was delayed and is due.
    pub(crate) fn run_late_rx(&mut self, now_ns: u64, out: &mut dyn Outside) {
        while self.rx_late.front().is_some_and(|late| late.0 <= now_ns) {
            if let Some((_, frame)) = self.rx_late.pop_front() {
                self.take_in(&frame, out);
            }
        }
    }

    pub(crate) fn take_in(&mut self, frame: &[u8], out: &mut dyn Outside) -> Received {
        let on = self.umac.receives() && (self.umac.loops_back() || self.wire_is_up());
        if !on {
            self.note(Stray::RxOff);
            return Received::Off;
        }
        if self.faults.strike(Fault::RxDrop).is_some() {
            return Received::Bad;
        }
        let mut frame = frame.to_vec();
        let errors = self.wire_faults(&mut frame);
        let wire_bytes = frame.len() + FCS_BYTES;
        if frame.len() < MIN_BYTES {
            self.mib.runt(wire_bytes, errors);
            if !self.umac.keeps_runts() {
                return Received::Bad;
            }
        } else {
            self.mib.received(&frame, wire_bytes, errors);
        }
        if frame::is_control(&frame) && !errors.any() && !self.take_control(&frame, out) {
            return Received::Filtered;
        }
        if !self.umac.accepts(&frame) {
            return Received::Filtered;
        }
        if errors.overflow {
            self.rbuf.overflows = self.rbuf.overflows.wrapping_add(1);
            self.raise(Line::A, a::RBUF_OVERFLOW);
        }
        if errors.any() && self.rbuf.discards_bad() {
            self.rbuf.errors = self.rbuf.errors.wrapping_add(1);
            return Received::Bad;
        }
        self.post(&frame, errors, out)
    }

    /// Fills up what a sender would have filled up, and does the planned damage.
    fn wire_faults(&mut self, frame: &mut Vec<u8>) -> RxErrors {
        if frame.len() < MIN_BYTES {
            frame.resize(MIN_BYTES, 0);
        }
        let mut strike = |fault| self.faults.strike(fault).is_some();
        let mut errors = RxErrors {
            crc: strike(Fault::RxCrc),
            align: strike(Fault::RxAlign),
            symbol: strike(Fault::RxSymbol),
            overflow: strike(Fault::RxOverflow),
            too_long: false,
        };
        if strike(Fault::RxRunt) {
            frame.truncate(MIN_BYTES / 2);
            errors.crc = true;
        }
        let longest = self.umac.max_frame();
        if strike(Fault::RxOversize) {
            frame.resize(longest.max(MIN_BYTES), 0);
        }
        if frame.len() + FCS_BYTES > longest {
            errors.too_long = true;
            frame.truncate(longest.saturating_sub(FCS_BYTES).max(MIN_BYTES));
        }
        // A frame that ends inside a byte has a wrong check sequence, too.
        errors.crc |= errors.align;
        errors
    }

    /// Obeys a pause frame; whether the control frame goes on.
    fn take_control(&mut self, frame: &[u8], out: &mut dyn Outside) -> bool {
        let quanta = frame::pause_quanta(frame);
        if let (Some(quanta), Some(speed), true) =
            (quanta, self.umac.speed(), self.umac.obeys_pause())
        {
            let until_ns = out.now_ns() + u64::from(quanta) * speed.quantum_ns();
            self.tx_paused_until_ns = Some(until_ns);
            self.tx_again_ns = Some(until_ns);
        }
        self.umac.forwards_control(quanta.is_some())
    }

    fn post(&mut self, frame: &[u8], errors: RxErrors, out: &mut dyn Outside) -> Received {
        let n = match self.hfb.classify(frame) {
            Some(filter) => self.rdma.ring_of_filter(filter),
            None => DEFAULT_RING,
        };
        if !self.rdma.rings[n].is_running() {
            self.note(Stray::RxNoRing(n as u8));
            return Received::NoRoom(n);
        }
        let (bytes, flags) = self.with_status(frame, errors);
        let ring = &self.rdma.rings[n];
        let chunk = ring.buffer_bytes().min(status::LENGTH_MAX as usize);
        let buffers = if chunk == 0 {
            usize::MAX
        } else {
            bytes.len().div_ceil(chunk)
        };
        if buffers > ring.room() {
            let ring = &mut self.rdma.rings[n];
            ring.discards = ring.discards.wrapping_add(1);
            self.pause_partner(n, out);
            return Received::NoRoom(n);
        }
        if !self.fill(n, bytes, flags, chunk, out) {
            self.rbuf.errors = self.rbuf.errors.wrapping_add(1);
            return Received::Bad;
        }
        self.rdma.rings[n].fetch(buffers);
        self.report_rx(n, out.now_ns());
        self.pause_partner(n, out);
        Received::Ring(n)
    }

    /// The bytes that go to memory, with room for the length in the status block, and the flags.
    fn with_status(&self, frame: &[u8], errors: RxErrors) -> (Vec<u8>, u32) {
        let mut flags = 0;
        for (set, flag) in [
            (errors.crc, status::RX_CRC),
            (errors.align, status::RX_ALIGN),
            (errors.symbol, status::RX_SYMBOL),
            (errors.overflow, status::RX_OVERFLOW),
            (errors.too_long, status::RX_LONG),
        ] {
            flags |= if set { flag } else { 0 };
        }
        flags |= match frame::cast(frame) {
            Cast::Unicast => 0,
            Cast::Multicast => status::RX_MULTICAST,
            Cast::Broadcast => status::RX_BROADCAST,
        };
        let mut bytes = vec![0; self.rbuf.lead_bytes()];
        bytes.extend(frame);
        if self.umac.forwards_crc() {
            let mut fcs = frame::fcs(frame);
            if errors.crc {
                fcs[0] ^= 0xff;
            }
            bytes.extend(fcs);
        }
        if let Some(check) = self.rbuf.check() {
            if self.rbuf.status_block() {
                let summed = if check.skip_fcs {
                    frame
                } else {
                    &bytes[self.rbuf.lead_bytes()..]
                };
                let sum = frame::rx_sum(summed).to_le_bytes();
                bytes[SUM_AT..SUM_AT + 2].copy_from_slice(&sum);
            }
            if check.parse && frame::checksum_is_good(frame) {
                flags |= status::RX_CHECK_OK;
            }
        }
        (bytes, flags)
    }

    /// Writes the frame into the ring's buffers; false if the bus refused.
    fn fill(
        &mut self,
        n: usize,
        mut bytes: Vec<u8>,
        flags: u32,
        chunk: usize,
        out: &mut dyn Outside,
    ) -> bool {
        let count = bytes.len().div_ceil(chunk);
        let words: Vec<u32> = (0..count)
            .map(|i| {
                let length = (bytes.len() - i * chunk).min(chunk) as u32;
                let sop = if i == 0 { status::SOP } else { 0 };
                let eop = if i + 1 == count { status::EOP } else { 0 };
                length << status::LENGTH_SHIFT | flags | sop | eop
            })
            .collect();
        if self.rbuf.status_block() && bytes.len() >= STATUS_BLOCK {
            bytes[..4].copy_from_slice(&words[0].to_le_bytes());
        }
        for (i, part) in bytes.chunks(chunk).enumerate() {
            let descriptor = self.rdma.rings[n].descriptor(i);
            let (_, address) = self.rdma.descriptor(descriptor);
            if !self.dma_write(address, part, out) {
                return false;
            }
            self.rdma.set_status(descriptor, words[i]);
        }
        true
    }

    fn report_rx(&mut self, n: usize, now_ns: u64) {
        let ring = &mut self.rdma.rings[n];
        let threshold = ring.report(ring.fetched(), now_ns);
        if threshold {
            ring.signalled();
        }
        if n == DEFAULT_RING {
            self.raise(Line::A, a::RX_PDONE | a::RX_BDONE);
        }
        if threshold {
            self.signal_rx(n);
        }
    }

    fn signal_rx(&mut self, n: usize) {
        if self.faults.strike(Fault::IrqLost).is_some() {
            return;
        }
        match n {
            DEFAULT_RING => self.raise(Line::A, a::RX_MBDONE),
            _ => self.raise(Line::B, 1 << (16 + n)),
        }
    }

    /// Signals the rings whose time-out is over; when the next one's is.
    pub(crate) fn rx_timeouts(&mut self, now_ns: u64) -> Option<u64> {
        let mut next = None;
        for n in 0..RINGS {
            let since_ns = self.rdma.rings[n].done_since_ns;
            let (Some(since_ns), Some(wait_ns)) = (since_ns, self.rdma.timeout_ns(n)) else {
                continue;
            };
            let due_ns = since_ns + wait_ns;
            if due_ns > now_ns {
                next = Some(next.map_or(due_ns, |first: u64| first.min(due_ns)));
            } else {
                self.rdma.rings[n].signalled();
                self.signal_rx(n);
            }
        }
        next
    }

    /// Tells the link partner to stop or to go on, by the ring's thresholds.
    pub(crate) fn pause_partner(&mut self, n: usize, out: &mut dyn Outside) {
        let ring = &self.rdma.rings[n];
        let (xoff, xon) = ((ring.flow >> 16) as usize, (ring.flow & 0xffff) as usize);
        let room = ring.room();
        let pause = match ring.paused_partner {
            false if room < xoff => true,
            true if room > xon || !ring.is_running() => false,
            _ => return,
        };
        if !self.umac.sends_pause() || !self.umac.transmits() {
            return;
        }
        self.rdma.rings[n].paused_partner = pause;
        let quanta = if pause { self.umac.quanta() } else { 0 };
        self.put_on_wire(frame::pause(self.umac.address(), quanta), false, out);
    }
}
