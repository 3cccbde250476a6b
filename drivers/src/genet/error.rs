// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why GENET or its PHY cannot be used, and who is to blame.
use crate::genet::rings::RING;
use core::fmt;

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Who called.
    Caller,
    /// The controller or its PHY.
    Device,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Caller: it runs, or still holds buffers; stop it first.
    NotStopped,
    /// Caller: nothing goes before a reset.
    NotReset,
    /// Caller: no buffers for the receive ring; how many there were.
    NoBuffers(usize),
    /// Device: this is no GENET v5; the revision register.
    Version(u32),
    /// Device: the receive DMA does not stop. Its buffers stay in the ring.
    ReceiveStuck,
    /// Device: the transmit DMA does not stop. Its frames stay in the ring.
    TransmitStuck,
    /// Device: an MDIO transfer does not end.
    MdioStuck,
    /// Device: no PHY answers at this address.
    NoAnswer(u8),
    /// Device: no PHY answers at any address.
    NoPhy,
    /// Device: the PHY's reset does not end.
    PhyStuck,
}

impl Error {
    /// Who is to blame.
    pub const fn blame(self) -> Blame {
        match self {
            Self::NotStopped | Self::NotReset | Self::NoBuffers(_) => Blame::Caller,
            _ => Blame::Device,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NoBuffers(got) => {
                return write!(f, "{got} buffers for {RING} descriptors");
            }
            Self::Version(word) => return write!(f, "no GENET v5 (revision {word:#010x})"),
            Self::NoAnswer(address) => return write!(f, "PHY {address} does not answer"),
            Self::NotStopped => "the Ethernet controller still holds buffers",
            Self::NotReset => "the Ethernet controller awaits its reset",
            Self::ReceiveStuck => "the receive DMA does not stop",
            Self::TransmitStuck => "the transmit DMA does not stop",
            Self::MdioStuck => "the MDIO bus does not become free",
            Self::NoPhy => "no PHY answers",
            Self::PhyStuck => "the PHY's reset does not end",
        })
    }
}

impl core::error::Error for Error {}
