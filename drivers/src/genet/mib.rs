// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the MAC counts itself, added up to 64 bits.
//!
//! Offsets after Linux's table of counters; the receiver's, the transmitter's and the runts' lie in groups with gaps
//! between them. Lengths are those on the wire, with check sequences.
use super::regs::{RBUF_ERRORS, RBUF_OVERFLOWS, UMAC};
use crate::Io;
use core::array::from_fn;

/// How many counters.
const COUNT: usize = 64;
/// Where each group begins, and with which counter.
const GROUPS: [(usize, usize); 3] = [(0, UMAC + 0x400), (29, UMAC + 0x480), (58, UMAC + 0x500)];
/// The first of those that are RBUF's.
const RBUF: usize = 62;

/// The counters' names, in the order of [`Mib::values`].
pub static NAMES: [&str; COUNT] = [
    "rx-64",
    "rx-127",
    "rx-255",
    "rx-511",
    "rx-1023",
    "rx-1518",
    "rx-vlan-1522",
    "rx-2047",
    "rx-4095",
    "rx-9216",
    "rx-packets",
    "rx-bytes",
    "rx-multicast",
    "rx-broadcast",
    "rx-fcs",
    "rx-control",
    "rx-pause",
    "rx-unknown-op",
    "rx-align",
    "rx-length-range",
    "rx-code",
    "rx-carrier",
    "rx-oversize",
    "rx-jabber",
    "rx-mtu",
    "rx-good",
    "rx-unicast",
    "rx-ppp",
    "rx-crc-match",
    "tx-64",
    "tx-127",
    "tx-255",
    "tx-511",
    "tx-1023",
    "tx-1518",
    "tx-vlan-1522",
    "tx-2047",
    "tx-4095",
    "tx-9216",
    "tx-packets",
    "tx-multicast",
    "tx-broadcast",
    "tx-pause",
    "tx-control",
    "tx-fcs",
    "tx-oversize",
    "tx-defer",
    "tx-excess-defer",
    "tx-single-collision",
    "tx-multiple-collision",
    "tx-late-collision",
    "tx-excess-collision",
    "tx-fragments",
    "tx-total-collision",
    "tx-jabber",
    "tx-bytes",
    "tx-good",
    "tx-unicast",
    "runt-packets",
    "runt-fcs-ok",
    "runt-fcs-bad",
    "runt-bytes",
    "rbuf-overflows",
    "rbuf-errors",
];

/// Where a counter is.
fn offset(n: usize) -> usize {
    if n >= RBUF {
        return [RBUF_OVERFLOWS.offset, RBUF_ERRORS.offset][n - RBUF];
    }
    let group = GROUPS.iter().rfind(|(first, _)| n >= *first);
    group.map_or(0, |(first, base)| base + 4 * (n - first))
}

/// The MAC's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mib {
    values: [u64; COUNT],
    last: [u32; COUNT],
}

impl Mib {
    pub(super) const fn new() -> Self {
        Self {
            values: [0; COUNT],
            last: [0; COUNT],
        }
    }

    /// Takes the registers as they are for nothing counted: after a reset.
    pub(super) fn settle(&mut self, io: &impl Io) {
        self.last = from_fn(|n| io.read32(offset(n)));
    }

    pub(super) fn update(&mut self, io: &impl Io) {
        for n in 0..COUNT {
            let now = io.read32(offset(n));
            self.values[n] += u64::from(now.wrapping_sub(self.last[n]));
            self.last[n] = now;
        }
    }

    /// All of them, with their names.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.values)
    }

    /// The counter of this name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RegisterFile;
    use genet_model::Counter;

    #[test]
    fn every_counter_of_the_mac_is_there_and_nothing_else() {
        let known = Counter::ALL.iter().map(|counter| UMAC + *counter as usize);
        assert!((0..RBUF).map(offset).eq(known));
        for (name, counter) in [
            ("rx-fcs", Counter::RxFcs),
            ("rx-crc-match", Counter::RxCrcMatch),
            ("tx-64", Counter::Tx64),
            ("tx-unicast", Counter::TxUnicast),
            ("runt-bytes", Counter::RuntBytes),
        ] {
            let n = NAMES.iter().position(|known| *known == name).unwrap();
            assert_eq!(offset(n), UMAC + counter as usize, "{name}");
        }
    }

    #[test]
    fn counts_outlast_32_bits_and_a_reset() {
        let bytes = UMAC + Counter::RxBytes as usize;
        let registers = RegisterFile::with(&[(bytes, 0xffff_0000)]);
        let mut mib = Mib::new();
        mib.settle(&registers);
        for (now, expected) in [(0xffff_fff0, 0xfff0), (0x10, 0x1_0010), (0x10, 0x1_0010)] {
            registers.write32(bytes, now);
            mib.update(&registers);
            assert_eq!(mib.get("rx-bytes"), Some(expected));
        }
        registers.write32(bytes, 0);
        mib.settle(&registers);
        registers.write32(bytes, 5);
        mib.update(&registers);
        assert_eq!(mib.get("rx-bytes"), Some(0x1_0015));
        assert_eq!(mib.get("rx-bites"), None);
    }
}
