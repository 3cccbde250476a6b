// SPDX-License-Identifier: MIT OR Apache-2.0
//! One direction's DMA block: 256 descriptors, 17 rings, the registers that they share.
//!
//! A ring runs while DMA_EN, its own enable bit and its bit in RING_CFG are all set. STATUS says
//! "disabled" as soon as DMA_EN falls: the model finishes a frame before it answers the write.

use crate::ring::{DESCRIPTOR_WORDS, DESCRIPTORS, Ring, Unfit, Written};
use crate::stray::Stray;

/// Rings in each direction; the last is the default one.
pub const RINGS: usize = 17;
/// The default ring.
pub const DEFAULT_RING: usize = 16;

const RINGS_AT: u32 = (DESCRIPTORS * DESCRIPTOR_WORDS * 4) as u32;
const RING_BYTES: u32 = 0x40;
const COMMON_AT: u32 = RINGS_AT + RING_BYTES * RINGS as u32;
const RING_CFG: u32 = 0x00;
const CTRL: u32 = 0x04;
const STATUS: u32 = 0x08;
const BURST: u32 = 0x0c;
const COMMON_WORDS: usize = 0x90 / 4;
const CTRL_EN: u32 = 1 << 0;
const STATUS_DISABLED: u32 = 1 << 0;
/// TX: how the rings take turns, and their priorities, six to a register.
const ARB_CTRL: u32 = 0x2c;
const PRIORITY: u32 = 0x30;
const ARB_STRICT: u32 = 2;
/// RX: a time-out for each ring, and the ring for each filter, eight to a register.
const TIMEOUT: u32 = 0x2c;
const TIMEOUT_UNIT_NS: u64 = 8192;
const INDEX2RING: u32 = 0x70;

/// Bits of a descriptor's first word.
pub mod status {
    /// Where the length begins.
    pub const LENGTH_SHIFT: u32 = 16;
    /// The longest length, in bytes.
    pub const LENGTH_MAX: u32 = 0xfff;
    /// The last descriptor of a frame.
    pub const EOP: u32 = 1 << 14;
    /// The first descriptor of a frame.
    pub const SOP: u32 = 1 << 13;
    /// RX: the parsed checksum is right.
    pub const RX_CHECK_OK: u32 = 1 << 15;
    /// RX: for all.
    pub const RX_BROADCAST: u32 = 1 << 6;
    /// RX: for a group.
    pub const RX_MULTICAST: u32 = 1 << 5;
    /// RX: longer than MAX_FRAME.
    pub const RX_LONG: u32 = 1 << 4;
    /// RX: ends inside a byte.
    pub const RX_ALIGN: u32 = 1 << 3;
    /// RX: symbol error.
    pub const RX_SYMBOL: u32 = 1 << 2;
    /// RX: wrong check sequence.
    pub const RX_CRC: u32 = 1 << 1;
    /// RX: the receive buffer overflowed.
    pub const RX_OVERFLOW: u32 = 1 << 0;
    /// TX: the transmit buffer ran empty.
    pub const TX_UNDERRUN: u32 = 1 << 9;
    /// TX: the MAC adds the check sequence, and fills up short frames.
    pub const TX_APPEND_CRC: u32 = 1 << 6;
    /// TX: the checksum that the status block describes is put in.
    pub const TX_DO_CSUM: u32 = 1 << 4;
}

/// Which way the frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Rx,
    Tx,
}

/// A DMA block.
#[derive(Clone, Debug)]
pub(crate) struct Dma {
    direction: Direction,
    descriptors: Box<[u32]>,
    pub(crate) rings: [Ring; RINGS],
    common: [u32; COMMON_WORDS],
    /// The ring that had its turn last.
    last: usize,
}

impl Dma {
    pub(crate) fn new(direction: Direction) -> Self {
        Self {
            direction,
            descriptors: vec![0; DESCRIPTORS * DESCRIPTOR_WORDS].into_boxed_slice(),
            rings: std::array::from_fn(|_| Ring::default()),
            common: [0; COMMON_WORDS],
            last: 0,
        }
    }

    pub(crate) fn read(&self, offset: u32) -> Option<u32> {
        if offset < RINGS_AT {
            return self.descriptors.get(offset as usize / 4).copied();
        }
        if offset < COMMON_AT {
            let (ring, register) = ring_of(offset);
            return self.rings[ring].read(register);
        }
        match offset - COMMON_AT {
            STATUS if self.enabled() => Some(0),
            STATUS => Some(STATUS_DISABLED),
            register if self.has(register) => Some(self.common[register as usize / 4]),
            _ => None,
        }
    }

    /// Whether the driver moved an index or enabled something: then there may be work.
    pub(crate) fn write(
        &mut self,
        offset: u32,
        value: u32,
        note: &mut impl FnMut(Stray),
    ) -> Option<bool> {
        if offset < RINGS_AT {
            *self.descriptors.get_mut(offset as usize / 4)? = value;
            return Some(false);
        }
        if offset < COMMON_AT {
            let (index, register) = ring_of(offset);
            let ring = &mut self.rings[index];
            let moved = ring.write(register, value)? == Written::Moved;
            if moved && ring.is_running() && self.direction == Direction::Tx {
                let ring = &self.rings[index];
                if ring.queued() > ring.size() {
                    note(Stray::BeyondRing(index as u8));
                }
            }
            return Some(moved);
        }
        let register = offset - COMMON_AT;
        if register == STATUS || !self.has(register) {
            return None;
        }
        self.common[register as usize / 4] = value;
        if register == RING_CFG || register == CTRL {
            self.start_and_stop(note);
        }
        Some(register == CTRL)
    }

    fn start_and_stop(&mut self, note: &mut impl FnMut(Stray)) {
        let [cfg, ctrl] = [RING_CFG, CTRL].map(|r| self.common[r as usize / 4]);
        for (n, ring) in self.rings.iter_mut().enumerate() {
            let enable = ctrl & CTRL_EN != 0 && ctrl & (2 << n) != 0 && cfg & (1 << n) != 0;
            match ring.run(enable) {
                Ok(()) => {}
                Err(Unfit::Bounds) => note(Stray::RingBounds(n as u8)),
                Err(Unfit::Size) => note(Stray::RingSize(n as u8)),
            }
        }
    }

    fn has(&self, register: u32) -> bool {
        let last = match self.direction {
            Direction::Rx => INDEX2RING + 0x1c,
            Direction::Tx => PRIORITY + 8,
        };
        register <= BURST || (ARB_CTRL..=last).contains(&register)
    }

    fn enabled(&self) -> bool {
        self.common[CTRL as usize / 4] & CTRL_EN != 0
    }

    /// A descriptor's first word and its address.
    pub(crate) fn descriptor(&self, index: usize) -> (u32, u64) {
        let at = index * DESCRIPTOR_WORDS;
        let [word, low, high] = [0, 1, 2].map(|i| self.descriptors[at + i]);
        (word, u64::from(high & 0xff) << 32 | u64::from(low))
    }

    pub(crate) fn set_status(&mut self, index: usize, word: u32) {
        self.descriptors[index * DESCRIPTOR_WORDS] = word;
    }

    /// TX: the ring whose turn it is, of those that `ready` names.
    pub(crate) fn next_ring(&mut self, ready: impl Fn(&Ring) -> bool) -> Option<usize> {
        let ready = |n: &usize| self.rings[*n].is_running() && ready(&self.rings[*n]);
        let turns = (1..=RINGS).map(|ahead| (self.last + ahead) % RINGS);
        let strict = self.common[ARB_CTRL as usize / 4] & 3 == ARB_STRICT;
        // Linux gives its most urgent rings 0 and the default one 1: the lowest goes first.
        let next = turns
            .filter(ready)
            .min_by_key(|n| if strict { self.priority(*n) } else { 0 })?;
        self.last = next;
        Some(next)
    }

    fn priority(&self, ring: usize) -> u32 {
        let register = self.common[PRIORITY as usize / 4 + ring / 6];
        (register >> (5 * (ring % 6))) & 0x1f
    }

    /// RX: how long a ring may keep finished frames to itself.
    pub(crate) fn timeout_ns(&self, ring: usize) -> Option<u64> {
        let units = self.common[TIMEOUT as usize / 4 + ring] & 0xffff;
        (units > 0).then(|| u64::from(units) * TIMEOUT_UNIT_NS)
    }

    /// RX: the ring to which a filter steers.
    pub(crate) fn ring_of_filter(&self, filter: usize) -> usize {
        let register = self.common[INDEX2RING as usize / 4 + filter / 8];
        ((register >> (4 * (filter % 8))) & 0xf) as usize
    }
}

fn ring_of(offset: u32) -> (usize, u32) {
    let inside = offset - RINGS_AT;
    ((inside / RING_BYTES) as usize, inside % RING_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(stray: Stray) {
        panic!("{stray}");
    }

    fn tx_with_rings(count: u32) -> Dma {
        let mut dma = Dma::new(Direction::Tx);
        for n in 0..count {
            let ring = RINGS_AT + RING_BYTES * n;
            dma.write(ring + 0x14, n * 24, &mut nothing);
            dma.write(ring + 0x1c, n * 24 + 23, &mut nothing);
            dma.write(ring + 0x10, 8 << 16 | 2048, &mut nothing);
        }
        dma.write(COMMON_AT + RING_CFG, (1 << count) - 1, &mut nothing);
        dma.write(COMMON_AT + CTRL, (2 << count) - 1, &mut nothing);
        dma
    }

    #[test]
    fn a_ring_needs_all_three_bits() {
        let mut dma = tx_with_rings(1);
        assert!(dma.rings[0].is_running());
        for (register, value) in [(CTRL, 1), (CTRL, 2), (RING_CFG, 0)] {
            dma.write(COMMON_AT + register, value, &mut nothing);
            assert!(!dma.rings[0].is_running(), "{register:#x} = {value}");
            dma.write(COMMON_AT + CTRL, 3, &mut nothing);
            dma.write(COMMON_AT + RING_CFG, 1, &mut nothing);
            assert!(dma.rings[0].is_running());
        }
    }

    #[test]
    fn status_says_disabled_without_the_enable_bit() {
        let mut dma = tx_with_rings(1);
        assert_eq!(dma.read(COMMON_AT + STATUS), Some(0));
        dma.write(COMMON_AT + CTRL, 2, &mut nothing);
        assert_eq!(dma.read(COMMON_AT + STATUS), Some(STATUS_DISABLED));
        assert_eq!(dma.write(COMMON_AT + STATUS, 0, &mut nothing), None);
    }

    #[test]
    fn rings_take_turns_or_the_lowest_priority_value_goes_first() {
        let mut dma = tx_with_rings(3);
        let turns: Vec<_> = (0..4).map(|_| dma.next_ring(|_| true).unwrap()).collect();
        assert_eq!(turns, [1, 2, 0, 1]);
        dma.write(COMMON_AT + ARB_CTRL, ARB_STRICT, &mut nothing);
        dma.write(COMMON_AT + PRIORITY, 1 | 1 << 5, &mut nothing);
        assert_eq!(dma.next_ring(|_| true), Some(2));
        assert_eq!(dma.next_ring(|_| true), Some(2));
        assert_eq!(dma.next_ring(|_| false), None);
    }

    #[test]
    fn a_producer_beyond_the_ring_is_named() {
        let mut dma = tx_with_rings(1);
        let mut seen = Vec::new();
        dma.write(RINGS_AT + 0x0c, 8, &mut |s| seen.push(s));
        assert!(seen.is_empty());
        dma.write(RINGS_AT + 0x0c, 9, &mut |s| seen.push(s));
        assert_eq!(seen, [Stray::BeyondRing(0)]);
    }

    #[test]
    fn addresses_are_40_bits() {
        let mut dma = Dma::new(Direction::Rx);
        dma.write(16, 0x1000, &mut nothing);
        dma.write(20, 0xffff_ff02, &mut nothing);
        assert_eq!(dma.descriptor(1), (0, 0x2_0000_1000));
    }
}
