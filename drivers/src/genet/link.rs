// SPDX-License-Identifier: MIT OR Apache-2.0
//! The link, and what the MAC's side of it has to know.
use super::regs::{CMD, RGMII_OOB};
use super::{FrameBuffer, Genet};
use crate::Io;
use core::fmt;
use embedded_hal::delay::DelayNs;

/// Between the end of the software reset and the first enable.
const OUT_OF_RESET_US: u32 = 2;

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// 10 Mbit/s.
    M10,
    /// 100 Mbit/s.
    M100,
    /// 1 Gbit/s.
    M1000,
}

impl Speed {
    /// In Mbit/s.
    pub const fn mbits(self) -> u32 {
        match self {
            Self::M10 => 10,
            Self::M100 => 100,
            Self::M1000 => 1000,
        }
    }
}

/// What two ends have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its speed.
    pub speed: Speed,
    /// Both ends may send at once.
    pub full_duplex: bool,
    /// The partner's pause frames are obeyed.
    pub rx_pause: bool,
    /// The partner obeys ours.
    pub tx_pause: bool,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duplex = if self.full_duplex { "full" } else { "half" };
        let pause = match (self.tx_pause, self.rx_pause) {
            (true, true) => "both",
            (true, false) => "send",
            (false, true) => "receive",
            (false, false) => "none",
        };
        let mbits = self.speed.mbits();
        write!(f, "{mbits} Mbit/s, {duplex} duplex, pause {pause}")
    }
}

/// Who delays the RGMII's clocks against its data: device tree, `phy-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhyMode {
    /// The MAC, or the board: both.
    Rgmii,
    /// The PHY: both.
    RgmiiId,
    /// The PHY: the receiver's. The Raspberry Pi 4.
    RgmiiRxId,
    /// The PHY: the transmitter's.
    RgmiiTxId,
}

impl PhyMode {
    /// The mode of this name in a device tree.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "rgmii" => Self::Rgmii,
            "rgmii-id" => Self::RgmiiId,
            "rgmii-rxid" => Self::RgmiiRxId,
            "rgmii-txid" => Self::RgmiiTxId,
            _ => return None,
        })
    }

    /// Does the PHY delay the receiver's clock?
    pub(super) const fn delays_rx(self) -> bool {
        matches!(self, Self::RgmiiId | Self::RgmiiRxId)
    }

    /// Does the PHY delay the transmitter's clock?
    pub(super) const fn delays_tx(self) -> bool {
        matches!(self, Self::RgmiiId | Self::RgmiiTxId)
    }
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// The PHY has this link from now on; none: it has lost it. The first one after a reset lets the MAC go.
    ///
    /// Frames in the ring when a link goes are lost, as on any cable: the MAC sends on, so that its ring
    /// drains. `delay` spins: an owner's lock may be held.
    pub fn set_link(&mut self, link: Option<Link>, delay: &mut impl DelayNs) {
        self.link = link;
        self.watch.rest();
        if !self.was_reset {
            // A recovery will take it from here.
            return;
        }
        let Some(link) = link else {
            RGMII_OOB.modify(&self.io, RGMII_OOB::LINK::CLEAR);
            return;
        };
        RGMII_OOB.modify(
            &self.io,
            RGMII_OOB::OOB_DISABLE::CLEAR + RGMII_OOB::MODE_ENABLE::SET + RGMII_OOB::LINK::SET,
        );
        let speed = match link.speed {
            Speed::M10 => CMD::SPEED::M10,
            Speed::M100 => CMD::SPEED::M100,
            Speed::M1000 => CMD::SPEED::M1000,
        };
        let fields = speed
            + CMD::HALF_DUPLEX.val((!link.full_duplex).into())
            + CMD::RX_PAUSE_IGNORE.val((!link.rx_pause).into())
            + CMD::TX_PAUSE_IGNORE.val((!link.tx_pause).into());
        let held = CMD.read(&self.io).is_set(CMD::SW_RESET);
        CMD.modify(&self.io, fields + CMD::SW_RESET::CLEAR);
        if held {
            delay.delay_us(OUT_OF_RESET_US);
        }
        self.enable_mac();
    }

    /// Lets the MAC pass frames, if there are rings and a link.
    pub(super) fn enable_mac(&mut self) {
        if self.running && self.link.is_some() {
            CMD.modify(&self.io, CMD::TX_ENABLE::SET + CMD::RX_ENABLE::SET);
        }
    }
}
