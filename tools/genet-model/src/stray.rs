// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a driver did that the documentation does not know: counted and named, never silently right.
//!
//! The offsets come from the register window, so the table cannot outgrow it.

use std::collections::BTreeMap;
use std::fmt;

use crate::map;

/// One kind of doubtful act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// Read a register that is not known, at this offset.
    Read(u32),
    /// Wrote a register that is not known or is read-only, at this offset.
    Write(u32),
    /// Accessed other than as an aligned 32-bit word, at this offset.
    Width(u32),
    /// Moved a producer index further than the ring is long.
    BeyondRing(u8),
    /// The ring's end lies before its start, or outside the descriptors.
    RingBounds(u8),
    /// The size in RING_BUF_SIZE is not the one that start and end give.
    RingSize(u8),
    /// Queued descriptors for transmission that begin without SOP, never end with EOP, or are
    /// shorter than their status block.
    TxFraming(u8),
    /// Asked for a checksum without a status block, or outside the frame.
    TxChecksum,
    /// Sent a frame longer than the transmit buffer.
    TxTooLong,
    /// Sent a frame over a link that is up while the port was off or the MAC's speed another one.
    TxOff,
    /// A frame came in while the receiver was off, the link down, or the speed another one.
    RxOff,
    /// A frame was steered to a ring that is not enabled.
    RxNoRing(u8),
    /// An MDIO command other than a clause 22 read or write.
    MdioOp,
    /// An MDIO command while one was under way.
    MdioBusy,
    /// A DMA address where there is no memory.
    DmaAddress,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read(at) => write!(f, "read of unknown register {}", map::name(at)),
            Self::Write(at) => write!(f, "write to unknown register {}", map::name(at)),
            Self::Width(at) => write!(f, "access of other than 32 bits to {}", map::name(at)),
            Self::BeyondRing(n) => write!(f, "ring {n}: producer index beyond the ring"),
            Self::RingBounds(n) => write!(f, "ring {n}: start and end make no ring"),
            Self::RingSize(n) => write!(f, "ring {n}: size is not end - start"),
            Self::TxFraming(n) => write!(f, "TX ring {n}: descriptors without SOP or EOP"),
            Self::TxChecksum => f.write_str("TX checksum asked for where none can be"),
            Self::TxTooLong => f.write_str("TX frame longer than the transmit buffer"),
            Self::TxOff => f.write_str("TX frame lost: port off, or another speed"),
            Self::RxOff => f.write_str("RX frame lost: receiver off, no link, or another speed"),
            Self::RxNoRing(n) => write!(f, "RX frame lost: ring {n} is not enabled"),
            Self::MdioOp => f.write_str("MDIO command that is no clause 22 read or write"),
            Self::MdioBusy => f.write_str("MDIO command while one was under way"),
            Self::DmaAddress => f.write_str("DMA to an address without memory"),
        }
    }
}

/// How often each happened.
#[derive(Clone, Debug, Default)]
pub struct Strays(BTreeMap<Stray, u64>);

impl Strays {
    /// Counts one, and says whether it is the first of its kind.
    pub(crate) fn count(&mut self, stray: Stray) -> bool {
        let times = self.0.entry(stray).or_default();
        *times += 1;
        *times == 1
    }

    /// How often this one happened.
    pub fn of(&self, stray: Stray) -> u64 {
        self.0.get(&stray).copied().unwrap_or_default()
    }

    /// All that happened, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Stray, u64)> {
        self.0.iter().map(|(stray, times)| (*stray, *times))
    }
}
