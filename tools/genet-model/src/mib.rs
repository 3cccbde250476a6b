// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MAC's counters.
//!
//! They lie in three groups, receive at UMAC+0x400, transmit at +0x480, runts at +0x500, with
//! gaps between them. Lengths are those on the wire, with the frame check sequence.

use crate::frame::{self, Cast};

/// Names are the driver world's; the values are the offsets in UMAC.
macro_rules! counters {
    ($($name:ident = $offset:literal, $doc:literal;)*) => {
        /// One counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter {
            $(#[doc = $doc] $name = $offset,)*
        }
        const KNOWN: &[u32] = &[$($offset,)*];

        impl Counter {
            /// All of them, in the order of their registers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

counters! {
    Rx64 = 0x400, "received, 64 bytes";
    Rx127 = 0x404, "received, 65 to 127 bytes";
    Rx255 = 0x408, "received, 128 to 255 bytes";
    Rx511 = 0x40c, "received, 256 to 511 bytes";
    Rx1023 = 0x410, "received, 512 to 1023 bytes";
    Rx1518 = 0x414, "received, 1024 to 1518 bytes";
    RxVlan = 0x418, "received, tagged, 1519 to 1522 bytes";
    Rx2047 = 0x41c, "received, up to 2047 bytes";
    Rx4095 = 0x420, "received, 2048 to 4095 bytes";
    Rx9216 = 0x424, "received, 4096 to 9216 bytes";
    RxPackets = 0x428, "received frames, good or bad";
    RxBytes = 0x42c, "received bytes";
    RxMulticast = 0x430, "received, good, multicast";
    RxBroadcast = 0x434, "received, good, broadcast";
    RxFcs = 0x438, "received with a wrong check sequence";
    RxControl = 0x43c, "received MAC control frames";
    RxPause = 0x440, "received pause frames";
    RxUnknownOp = 0x444, "received control frames that are no pause";
    RxAlign = 0x448, "received with a part of a byte at the end";
    RxLengthRange = 0x44c, "received with another length than the header says";
    RxCode = 0x450, "received with a symbol error";
    RxCarrier = 0x454, "false carrier";
    RxOversize = 0x458, "received, too long, check sequence right";
    RxJabber = 0x45c, "received, too long, check sequence wrong";
    RxMtu = 0x460, "received, longer than MAX_FRAME";
    RxGood = 0x464, "received without any error";
    RxUnicast = 0x468, "received, good, for one address";
    RxPpp = 0x46c, "received PPP packets";
    RxCrcMatch = 0x470, "received with a matching address and check sequence";
    Tx64 = 0x480, "sent, 64 bytes";
    Tx127 = 0x484, "sent, 65 to 127 bytes";
    Tx255 = 0x488, "sent, 128 to 255 bytes";
    Tx511 = 0x48c, "sent, 256 to 511 bytes";
    Tx1023 = 0x490, "sent, 512 to 1023 bytes";
    Tx1518 = 0x494, "sent, 1024 to 1518 bytes";
    TxVlan = 0x498, "sent, tagged, 1519 to 1522 bytes";
    Tx2047 = 0x49c, "sent, up to 2047 bytes";
    Tx4095 = 0x4a0, "sent, 2048 to 4095 bytes";
    Tx9216 = 0x4a4, "sent, 4096 to 9216 bytes";
    TxPackets = 0x4a8, "sent frames";
    TxMulticast = 0x4ac, "sent, multicast";
    TxBroadcast = 0x4b0, "sent, broadcast";
    TxPause = 0x4b4, "sent pause frames";
    TxControl = 0x4b8, "sent MAC control frames";
    TxFcs = 0x4bc, "sent with a wrong check sequence";
    TxOversize = 0x4c0, "sent, longer than MAX_FRAME";
    TxDefer = 0x4c4, "deferred";
    TxExcessDefer = 0x4c8, "deferred too long";
    TxSingleCollision = 0x4cc, "one collision";
    TxMultipleCollision = 0x4d0, "more collisions";
    TxLateCollision = 0x4d4, "late collision";
    TxExcessCollision = 0x4d8, "too many collisions";
    TxFragments = 0x4dc, "fragments";
    TxTotalCollision = 0x4e0, "all collisions";
    TxJabber = 0x4e4, "sent, too long, check sequence wrong";
    TxBytes = 0x4e8, "sent bytes";
    TxGood = 0x4ec, "sent without any error";
    TxUnicast = 0x4f0, "sent, for one address";
    RuntPackets = 0x500, "received, shorter than 64 bytes";
    RuntFcs = 0x504, "runts with a right check sequence";
    RuntFcsAlign = 0x508, "runts with a wrong check sequence";
    RuntBytes = 0x50c, "bytes in runts";
}

/// The first register of the counters.
pub(crate) const START: u32 = 0x400;
const TX_START: u32 = 0x480;
const RUNT_START: u32 = 0x500;
/// Behind the last register of the counters.
pub(crate) const END: u32 = 0x510;
/// MIB_CTRL: clears the receive, the runt, the transmit counters.
const RESET_RX: u32 = 1 << 0;
const RESET_RUNT: u32 = 1 << 1;
const RESET_TX: u32 = 1 << 2;
const WORDS: usize = ((END - START) / 4) as usize;

/// The counters' values.
#[derive(Clone, Debug)]
pub(crate) struct Mib([u32; WORDS]);

/// What was wrong with a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RxErrors {
    pub(crate) crc: bool,
    pub(crate) align: bool,
    pub(crate) symbol: bool,
    pub(crate) overflow: bool,
    pub(crate) too_long: bool,
}

impl RxErrors {
    pub(crate) fn any(self) -> bool {
        self.crc || self.align || self.symbol || self.overflow || self.too_long
    }
}

fn index(offset: u32) -> usize {
    ((offset - START) / 4) as usize
}

impl Mib {
    pub(crate) const fn new() -> Self {
        Self([0; WORDS])
    }

    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        KNOWN.contains(&register).then(|| self.0[index(register)])
    }

    pub(crate) fn get(&self, counter: Counter) -> u32 {
        self.0[index(counter as u32)]
    }

    fn add(&mut self, counter: Counter, amount: u32) {
        let value = &mut self.0[index(counter as u32)];
        *value = value.wrapping_add(amount);
    }

    pub(crate) fn control(&mut self, value: u32) {
        for (bit, from, to) in [
            (RESET_RX, START, TX_START),
            (RESET_TX, TX_START, RUNT_START),
            (RESET_RUNT, RUNT_START, END),
        ] {
            if value & bit != 0 {
                self.0[index(from)..index(to - 4) + 1].fill(0);
            }
        }
    }

    /// Counts the frame by its length, in the group whose first bucket is `first`.
    fn bucket(&mut self, first: u32, frame: &[u8], wire_bytes: usize) {
        let bucket = match wire_bytes {
            ..=64 => 0,
            65..=127 => 1,
            128..=255 => 2,
            256..=511 => 3,
            512..=1023 => 4,
            1024..=1518 => 5,
            1519..=1522 if frame::is_tagged(frame) => 6,
            1519..=2047 => 7,
            2048..=4095 => 8,
            4096..=9216 => 9,
            _ => return,
        };
        let value = &mut self.0[index(first) + bucket];
        *value = value.wrapping_add(1);
    }

    /// Counts a received frame of the legal length or longer; `frame` is without check sequence.
    pub(crate) fn received(&mut self, frame: &[u8], wire_bytes: usize, errors: RxErrors) {
        self.bucket(START, frame, wire_bytes);
        self.add(Counter::RxPackets, 1);
        self.add(
            Counter::RxBytes,
            u32::try_from(wire_bytes).unwrap_or(u32::MAX),
        );
        for (wrong, counter) in [
            (errors.crc && !errors.align, Counter::RxFcs),
            (errors.align, Counter::RxAlign),
            (errors.symbol, Counter::RxCode),
            (errors.too_long && !errors.crc, Counter::RxOversize),
            (errors.too_long && errors.crc, Counter::RxJabber),
            (errors.too_long, Counter::RxMtu),
        ] {
            if wrong {
                self.add(counter, 1);
            }
        }
        if frame::is_control(frame) {
            self.add(Counter::RxControl, 1);
            let pause = frame::pause_quanta(frame).is_some();
            self.add(
                if pause {
                    Counter::RxPause
                } else {
                    Counter::RxUnknownOp
                },
                1,
            );
        }
        if !errors.any() {
            self.add(Counter::RxGood, 1);
            self.add(Counter::RxCrcMatch, 1);
            self.add(
                match frame::cast(frame) {
                    Cast::Unicast => Counter::RxUnicast,
                    Cast::Multicast => Counter::RxMulticast,
                    Cast::Broadcast => Counter::RxBroadcast,
                },
                1,
            );
        }
    }

    /// Counts a received runt.
    pub(crate) fn runt(&mut self, wire_bytes: usize, errors: RxErrors) {
        self.add(Counter::RuntPackets, 1);
        self.add(
            if errors.crc || errors.align {
                Counter::RuntFcsAlign
            } else {
                Counter::RuntFcs
            },
            1,
        );
        self.add(
            Counter::RuntBytes,
            u32::try_from(wire_bytes).unwrap_or(u32::MAX),
        );
    }

    /// Counts a sent frame, without check sequence; `cut` by an underrun, it went out damaged.
    pub(crate) fn sent(&mut self, frame: &[u8], wire_bytes: usize, too_long: bool, cut: bool) {
        self.bucket(TX_START, frame, wire_bytes);
        self.add(Counter::TxPackets, 1);
        self.add(
            Counter::TxBytes,
            u32::try_from(wire_bytes).unwrap_or(u32::MAX),
        );
        if frame::is_control(frame) {
            self.add(Counter::TxControl, 1);
            if frame::pause_quanta(frame).is_some() {
                self.add(Counter::TxPause, 1);
            }
        }
        if too_long {
            self.add(Counter::TxOversize, 1);
        }
        if cut {
            self.add(Counter::TxFcs, 1);
        }
        if !too_long && !cut {
            self.add(Counter::TxGood, 1);
        }
        self.add(
            match frame::cast(frame) {
                Cast::Unicast => Counter::TxUnicast,
                Cast::Multicast => Counter::TxMulticast,
                Cast::Broadcast => Counter::TxBroadcast,
            },
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_is_cleared_alone() {
        let mut mib = Mib::new();
        mib.received(&[0; 60], 64, RxErrors::default());
        mib.sent(&[0; 60], 64, false, false);
        mib.runt(20, RxErrors::default());
        mib.control(RESET_RX);
        assert_eq!(mib.get(Counter::RxPackets), 0);
        assert_eq!(mib.get(Counter::TxPackets), 1);
        assert_eq!(mib.get(Counter::RuntBytes), 20);
        mib.control(RESET_TX | RESET_RUNT);
        assert_eq!(mib.get(Counter::TxPackets), 0);
        assert_eq!(mib.get(Counter::RuntPackets), 0);
    }

    #[test]
    fn lengths_fall_into_the_right_bucket() {
        for (bytes, counter) in [
            (64, Counter::Tx64),
            (65, Counter::Tx127),
            (1518, Counter::Tx1518),
            (1519, Counter::Tx2047),
            (9216, Counter::Tx9216),
        ] {
            let mut mib = Mib::new();
            mib.sent(&[0; 60], bytes, false, false);
            assert_eq!(mib.get(counter), 1, "{bytes} bytes");
        }
    }

    #[test]
    fn gaps_between_the_groups_are_no_registers() {
        let mib = Mib::new();
        assert_eq!(mib.read(0x474), None);
        assert_eq!(mib.read(0x4f4), None);
        assert_eq!(mib.read(0x470), Some(0));
    }
}
