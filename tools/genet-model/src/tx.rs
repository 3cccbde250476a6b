// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transmission: from a ring's descriptors to the wire.
//!
//! Frames leave while the write that queued them lasts. So that a driver which queues nonsense
//! cannot hold the caller for ever, a call handles a bounded number of descriptors and leaves
//! the rest to the next `advance`.

use crate::Genet;
use crate::buf::STATUS_BLOCK;
use crate::dma::{DEFAULT_RING, status};
use crate::fault::Fault;
use crate::frame::{self, FCS_BYTES, MIN_BYTES};
use crate::intrl2::a;
use crate::outside::{Line, Outside};
use crate::stray::Stray;

/// Descriptors handled in one go.
const BUDGET: usize = 512;
/// The transmit buffer: nothing longer can be sent.
const BUFFER_BYTES: usize = 16 * 1024;
/// Where the status block says what to sum: the word's offset in bytes.
const CSUM_INFO: usize = 48;
const CSUM_VALID: u32 = 1 << 31;
const CSUM_UDP: u32 = 1 << 15;

/// A consumer index that is reported later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    pub(crate) due_ns: u64,
    ring: usize,
    index: u16,
}

impl Genet {
    /// Sends what the rings hold, as far as the MAC takes it.
    pub(crate) fn run_tx(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        self.tx_again_ns = None;
        if !self.umac.transmits() {
            return;
        }
        if let Some(until_ns) = self.tx_paused_until_ns.filter(|until| now_ns < *until) {
            self.tx_again_ns = Some(until_ns);
            return;
        }
        self.tx_paused_until_ns = None;
        let mut handled = 0;
        while let Some(n) = self.tdma.next_ring(|ring| ring.queued() > 0) {
            if handled >= BUDGET {
                self.tx_again_ns = Some(now_ns);
                return;
            }
            match self.send_next(n, now_ns, out) {
                0 => return,
                descriptors => handled += descriptors,
            }
        }
    }

    /// Sends the ring's next frame; how many descriptors it took, none if its end is not queued.
    fn send_next(&mut self, n: usize, now_ns: u64, out: &mut dyn Outside) -> usize {
        let ring = &self.tdma.rings[n];
        let reach = ring.queued().min(ring.size());
        let word = |ahead| self.tdma.descriptor(ring.descriptor(ahead)).0;
        let end = (0..reach).find(|ahead| word(*ahead) & status::EOP != 0);
        let starts = word(0) & status::SOP != 0;
        let broken = match end {
            Some(end) => !starts || (1..=end).any(|ahead| word(ahead) & status::SOP != 0),
            None if reach < ring.size() => return 0,
            None => true,
        };
        let descriptors = end.map_or(reach, |end| end + 1);
        if broken {
            self.note(Stray::TxFraming(n as u8));
        } else {
            self.send_frame(n, descriptors, out);
        }
        self.tdma.rings[n].fetch(descriptors);
        self.complete(n, now_ns);
        descriptors
    }

    fn send_frame(&mut self, n: usize, descriptors: usize, out: &mut dyn Outside) {
        let mut bytes = Vec::new();
        let mut underrun = false;
        for ahead in 0..descriptors {
            let (word, address) = self.tdma.descriptor(self.tdma.rings[n].descriptor(ahead));
            let length = ((word >> status::LENGTH_SHIFT) & status::LENGTH_MAX) as usize;
            let start = bytes.len();
            bytes.resize(start + length, 0);
            underrun |= !self.dma_read(address, &mut bytes[start..], out);
        }
        let first = self.tdma.rings[n].descriptor(0);
        let (word, _) = self.tdma.descriptor(first);
        underrun |= self.faults.strike(Fault::TxUnderrun).is_some();
        if underrun {
            self.tdma.set_status(first, word | status::TX_UNDERRUN);
            self.raise(Line::A, a::TBUF_UNDERRUN);
        }
        if bytes.len() > BUFFER_BYTES {
            self.note(Stray::TxTooLong);
            return;
        }
        let Some(mut frame) = self.take_status_block(n, bytes, word, underrun) else {
            return;
        };
        if self.umac.inserts_source() && frame.len() >= 12 {
            frame[6..12].copy_from_slice(&self.umac.address());
        }
        if word & status::TX_APPEND_CRC == 0 {
            frame.truncate(frame.len().saturating_sub(FCS_BYTES));
        } else if frame.len() < MIN_BYTES {
            frame.resize(MIN_BYTES, 0);
        }
        self.put_on_wire(frame, underrun, out);
    }

    /// Strips the status block and puts in the checksum that it describes, unless that could not be read.
    fn take_status_block(
        &mut self,
        n: usize,
        mut bytes: Vec<u8>,
        word: u32,
        unread: bool,
    ) -> Option<Vec<u8>> {
        let wanted = word & status::TX_DO_CSUM != 0;
        if !self.tbuf.status_block() {
            if wanted {
                self.note(Stray::TxChecksum);
            }
            return Some(bytes);
        }
        if bytes.len() < STATUS_BLOCK {
            self.note(Stray::TxFraming(n as u8));
            return None;
        }
        let mut frame = bytes.split_off(STATUS_BLOCK);
        let info = [0, 1, 2, 3].map(|i| bytes[CSUM_INFO + i]);
        if wanted && !unread && !put_checksum(&mut frame, u32::from_le_bytes(info)) {
            self.note(Stray::TxChecksum);
        }
        Some(frame)
    }

    /// The MAC's side: counts the frame and lets it go.
    pub(crate) fn put_on_wire(&mut self, frame: Vec<u8>, underrun: bool, out: &mut dyn Outside) {
        let loops = self.umac.loops_back();
        if !loops && !self.wire_is_up() {
            // A cable may be pulled before the driver can know: what is under way is lost.
            if self.phy.link().is_some() {
                self.note(Stray::TxOff);
            }
            return;
        }
        let wire_bytes = frame.len() + FCS_BYTES;
        let too_long = wire_bytes > self.umac.max_frame();
        self.mib.sent(&frame, wire_bytes, too_long, underrun);
        if underrun {
            return; // the receiver at the other end throws it away
        }
        if loops {
            self.looped.push_back(frame);
        } else {
            out.transmit(&frame);
        }
    }

    /// Reports fetched descriptors to the driver: now, late, or never.
    fn complete(&mut self, n: usize, now_ns: u64) {
        if self.faults.strike(Fault::TxStall).is_some() {
            self.tdma.rings[n].stalled = true;
        }
        let index = self.tdma.rings[n].fetched();
        let late = self.tx_late.iter().rfind(|late| late.ring == n);
        match self.faults.strike(Fault::TxDelay) {
            Some(delay_ns) => self.tx_late.push_back(Late {
                due_ns: now_ns + delay_ns,
                ring: n,
                index,
            }),
            // Completions stay in order: behind a late one they are as late.
            None => match late {
                Some(&late) => self.tx_late.push_back(Late { index, ..late }),
                None => self.report_tx(n, index, now_ns),
            },
        }
    }

    /// Reports the completions whose time has come.
    pub(crate) fn run_late_tx(&mut self, now_ns: u64) {
        if self.tx_late.is_empty() {
            return;
        }
        let (due, later): (Vec<_>, Vec<_>) =
            (self.tx_late.drain(..)).partition(|late| late.due_ns <= now_ns);
        self.tx_late.extend(later);
        for late in due {
            // The ring may have been stopped, or its producer pulled back, since.
            let ring = &self.tdma.rings[late.ring];
            let fetched = ring.fetched().wrapping_sub(ring.device_index);
            if ring.is_running() && late.index.wrapping_sub(ring.device_index) <= fetched {
                self.report_tx(late.ring, late.index, now_ns);
            }
        }
    }

    fn report_tx(&mut self, n: usize, index: u16, now_ns: u64) {
        let ring = &mut self.tdma.rings[n];
        if ring.stalled {
            return;
        }
        let threshold = ring.report(index, now_ns) || ring.queued() == 0;
        if threshold {
            ring.signalled();
        }
        if self.faults.strike(Fault::IrqLost).is_some() {
            return;
        }
        let done = if threshold { a::TX_MBDONE } else { 0 };
        match n {
            DEFAULT_RING => self.raise(Line::A, a::TX_PDONE | a::TX_BDONE | done),
            _ if threshold => self.raise(Line::B, 1 << n),
            _ => {}
        }
    }
}

/// Whether the description fits the frame. The field holds the pseudo header's sum before.
fn put_checksum(frame: &mut [u8], info: u32) -> bool {
    let start = (info >> 16 & 0x7fff) as usize;
    let field = (info & 0x7fff) as usize;
    if info & CSUM_VALID == 0 || field < start || field + 2 > frame.len() {
        return false;
    }
    let sum = match !frame::ones_sum(&frame[start..]) {
        // For UDP, zero means that there is no checksum.
        0 if info & CSUM_UDP != 0 => 0xffff,
        sum => sum,
    };
    frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_and_the_pseudo_header_make_all_ones() {
        let mut frame: Vec<u8> = (0..75).collect();
        let pseudo: u16 = 0x1234;
        frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
        assert!(put_checksum(&mut frame, CSUM_VALID | 34 << 16 | 50));
        assert_eq!(frame::ones_sum(&frame[34..]) + pseudo, 0xffff);
    }

    #[test]
    fn udp_never_sends_zero() {
        let mut frame = vec![0xff; 40];
        assert!(put_checksum(&mut frame, CSUM_VALID | 20 << 16 | 26));
        assert_eq!(frame[26..28], [0, 0]);
        frame[26..28].fill(0xff);
        assert!(put_checksum(
            &mut frame,
            CSUM_VALID | CSUM_UDP | 20 << 16 | 26
        ));
        assert_eq!(frame[26..28], [0xff, 0xff]);
    }

    #[test]
    fn a_field_outside_the_frame_is_refused() {
        for info in [
            34 << 16 | 50,
            CSUM_VALID | 34 << 16 | 59,
            CSUM_VALID | 9 << 16 | 5,
        ] {
            let mut frame = vec![1; 60];
            assert!(!put_checksum(&mut frame, info), "{info:#x}");
            assert_eq!(frame, [1; 60]);
        }
    }
}
