// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a driver did that the specification does not allow: counted and named, never silently right.
//!
//! The offsets and numbers are small, so the table cannot outgrow them.

use std::collections::BTreeMap;
use std::fmt;

use crate::regs;

/// One kind of doubtful act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// Read a register that is not known, at this offset.
    Read(u32),
    /// Wrote a register that is not known or is read-only, at this offset.
    Write(u32),
    /// Wrote other than an aligned 32-bit word, at this offset: the board drops such writes.
    NarrowWrite(u32),
    /// Read across a word's end, at this offset.
    Width(u32),
    /// Sent this command while one was under way.
    CommandBusy(u8),
    /// Sent this command, which needs the data lines, while they were in use.
    DataBusy(u8),
    /// Sent this command without clock or power at the card.
    NoClock(u8),
    /// Awaited another kind of response than this command has.
    Response(u8),
    /// Said that data follows this command, or which way, against what the card does.
    Direction(u8),
    /// The block size is none, or other than this command's.
    BlockSize(u8),
    /// Sent this command for no blocks.
    NoBlocks(u8),
    /// Chose a DMA that the controller has not.
    DmaSelect,
    /// Auto CMD23 with SDMA: both need the same register.
    AutoCmd23Sdma,
    /// Changed the transfer's registers, at this offset, while data flowed.
    Changed(u32),
    /// Read the buffer while it was empty.
    BufferEmpty,
    /// Wrote the buffer while it was full.
    BufferFull,
    /// An ADMA descriptor of the reserved kind.
    AdmaReserved,
    /// An ADMA address that is no multiple of 4.
    AdmaAlignment,
    /// Moved data while controller and card used so many lines each.
    BusWidth(u8, u8),
    /// Many ADMA descriptors without data.
    AdmaLoop,
    /// A DMA address where there is no memory.
    DmaAddress,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read(at) => write!(f, "read of unknown register {}", regs::name(at)),
            Self::Write(at) => write!(f, "write to unknown register {}", regs::name(at)),
            Self::NarrowWrite(at) => write!(
                f,
                "write of other than 32 bits to {}, dropped",
                regs::name(at)
            ),
            Self::Width(at) => write!(f, "read across words at {}", regs::name(at)),
            Self::CommandBusy(n) => write!(f, "CMD{n} while a command was under way"),
            Self::DataBusy(n) => write!(f, "CMD{n} while the data lines were in use"),
            Self::NoClock(n) => write!(f, "CMD{n} without clock or power"),
            Self::Response(n) => write!(f, "CMD{n} awaits another kind of response"),
            Self::Direction(n) => {
                write!(f, "CMD{n} with data where the card has none, or reversed")
            }
            Self::BlockSize(n) => write!(f, "CMD{n} with another block size than the card's"),
            Self::NoBlocks(n) => write!(f, "CMD{n} with a block count of 0"),
            Self::DmaSelect => f.write_str("a DMA that is neither SDMA nor 32-bit ADMA2"),
            Self::AutoCmd23Sdma => f.write_str("Auto CMD23 with SDMA"),
            Self::Changed(at) => write!(f, "{} changed while data flowed", regs::name(at)),
            Self::BufferEmpty => f.write_str("read of the empty buffer"),
            Self::BufferFull => f.write_str("write to the full buffer"),
            Self::AdmaReserved => f.write_str("ADMA descriptor of the reserved kind"),
            Self::AdmaAlignment => f.write_str("ADMA address that is no multiple of 4"),
            Self::BusWidth(host, card) => {
                write!(
                    f,
                    "data with {host} lines at the controller, {card} at the card"
                )
            }
            Self::AdmaLoop => f.write_str("ADMA table that goes on without data"),
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
