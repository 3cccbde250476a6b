// SPDX-License-Identifier: MIT OR Apache-2.0
//! UMAC: the MAC's command, address and length registers, and the MDF address filter.
//!
//! Counters (`mib`) and MDIO (`mdio`) share its block and are dispatched before this.
//!
//! # The address filter
//! PROMISC lets every frame in. Without it, and with no MDF filter enabled, frames for the MAC's
//! own address, broadcast and multicast come in; that is what drivers which never touch MDF
//! (U-Boot) rely on. With MDF filters enabled, only a frame whose destination is one of
//! theirs comes in. Filter *i* is enabled by bit 16 - *i* of MDF_CTRL.

use crate::frame::{self, Cast};

const HD_BKP: u32 = 0x004;
const CMD: u32 = 0x008;
const MAC0: u32 = 0x00c;
const MAC1: u32 = 0x010;
const MAX_FRAME: u32 = 0x014;
const PAUSE_QUANTA: u32 = 0x018;
const MODE: u32 = 0x044;
const TX_IPG: u32 = 0x05c;
const EEE_CTRL: u32 = 0x064;
const EEE_LPI_TIMER: u32 = 0x068;
const PAUSE_CTRL: u32 = 0x330;
const TX_FLUSH: u32 = 0x334;
const MPD_CTRL: u32 = 0x620;
const MPD_PASSWORD_HIGH: u32 = 0x624;
const MPD_PASSWORD_LOW: u32 = 0x628;
const MDF_ERR: u32 = 0x638;
const MDF_CTRL: u32 = 0x650;
const MDF_ADDRESS: u32 = 0x654;
const MDF_FILTERS: usize = 17;
const MDF_END: u32 = MDF_ADDRESS + 8 * MDF_FILTERS as u32;

const CMD_TX_EN: u32 = 1 << 0;
const CMD_RX_EN: u32 = 1 << 1;
const CMD_SPEED: u32 = 3 << 2;
const CMD_PROMISC: u32 = 1 << 4;
const CMD_CRC_FWD: u32 = 1 << 6;
const CMD_PAUSE_FWD: u32 = 1 << 7;
const CMD_RX_PAUSE_IGNORE: u32 = 1 << 8;
const CMD_TX_ADDR_INS: u32 = 1 << 9;
const CMD_SW_RESET: u32 = 1 << 13;
const CMD_LCL_LOOP: u32 = 1 << 15;
const CMD_CNTL_FRM_EN: u32 = 1 << 23;
const CMD_TX_PAUSE_IGNORE: u32 = 1 << 28;
const CMD_RUNT_FILTER_DIS: u32 = 1 << 30;
const MODE_LINK: u32 = 1 << 5;

/// The speeds of an Ethernet port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// 10 Mbit/s
    M10,
    /// 100 Mbit/s
    M100,
    /// 1 Gbit/s
    G1,
}

impl Speed {
    /// Nanoseconds for 512 bits, the unit of pause times.
    pub(crate) fn quantum_ns(self) -> u64 {
        match self {
            Self::M10 => 51_200,
            Self::M100 => 5_120,
            Self::G1 => 512,
        }
    }
}

/// UMAC.
#[derive(Clone, Debug)]
pub(crate) struct Umac {
    cmd: u32,
    mac0: u32,
    mac1: u32,
    max_frame: u32,
    pause_quanta: u32,
    pause_ctrl: u32,
    pub(crate) tx_flush: u32,
    mdf_ctrl: u32,
    mdf: [u32; 2 * MDF_FILTERS],
    mdf_errors: u32,
    /// Kept for the driver, without effect here: half-duplex back pressure, gap between frames,
    /// energy-efficient Ethernet, magic packet detection.
    kept: [(u32, u32); 7],
}

impl Umac {
    pub(crate) const fn new() -> Self {
        Self {
            cmd: 0,
            mac0: 0,
            mac1: 0,
            max_frame: 1536,
            pause_quanta: 0xffff,
            pause_ctrl: 0,
            tx_flush: 0,
            mdf_ctrl: 0,
            mdf: [0; 2 * MDF_FILTERS],
            mdf_errors: 0,
            kept: [
                (HD_BKP, 0),
                (TX_IPG, 12),
                (EEE_CTRL, 0),
                (EEE_LPI_TIMER, 0),
                (MPD_CTRL, 0),
                (MPD_PASSWORD_HIGH, 0),
                (MPD_PASSWORD_LOW, 0),
            ],
        }
    }

    pub(crate) fn read(&self, register: u32, link: Option<Speed>) -> Option<u32> {
        match register {
            CMD => Some(self.cmd),
            MAC0 => Some(self.mac0),
            MAC1 => Some(self.mac1),
            MAX_FRAME => Some(self.max_frame),
            PAUSE_QUANTA => Some(self.pause_quanta),
            MODE => Some(link.map_or(0, |speed| MODE_LINK | speed as u32)),
            PAUSE_CTRL => Some(self.pause_ctrl),
            TX_FLUSH => Some(self.tx_flush),
            MDF_ERR => Some(self.mdf_errors),
            MDF_CTRL => Some(self.mdf_ctrl),
            MDF_ADDRESS..MDF_END => Some(self.mdf[mdf_index(register)]),
            _ => self
                .kept
                .iter()
                .find(|(at, _)| *at == register)
                .map(|(_, value)| *value),
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            CMD => self.cmd = value,
            MAC0 => self.mac0 = value,
            MAC1 => self.mac1 = value & 0xffff,
            MAX_FRAME => self.max_frame = value & 0x3fff,
            PAUSE_QUANTA => self.pause_quanta = value & 0xffff,
            PAUSE_CTRL => self.pause_ctrl = value,
            TX_FLUSH => self.tx_flush = value,
            MDF_ERR => self.mdf_errors = value,
            MDF_CTRL => self.mdf_ctrl = value & ((1 << MDF_FILTERS) - 1),
            MDF_ADDRESS..MDF_END => self.mdf[mdf_index(register)] = value,
            _ => {
                self.kept.iter_mut().find(|(at, _)| *at == register)?.1 = value;
            }
        }
        Some(())
    }

    fn has(&self, bit: u32) -> bool {
        self.cmd & bit != 0
    }

    fn in_reset(&self) -> bool {
        self.has(CMD_SW_RESET)
    }

    /// Whether the transmitter takes frames.
    pub(crate) fn transmits(&self) -> bool {
        self.has(CMD_TX_EN) && !self.in_reset() && self.tx_flush & 1 == 0
    }

    pub(crate) fn receives(&self) -> bool {
        self.has(CMD_RX_EN) && !self.in_reset()
    }

    /// Whether what is sent comes back in instead of leaving.
    pub(crate) fn loops_back(&self) -> bool {
        self.has(CMD_LCL_LOOP)
    }

    pub(crate) fn speed(&self) -> Option<Speed> {
        match (self.cmd & CMD_SPEED) >> 2 {
            0 => Some(Speed::M10),
            1 => Some(Speed::M100),
            2 => Some(Speed::G1),
            _ => None,
        }
    }

    pub(crate) fn forwards_crc(&self) -> bool {
        self.has(CMD_CRC_FWD)
    }

    pub(crate) fn keeps_runts(&self) -> bool {
        self.has(CMD_RUNT_FILTER_DIS)
    }

    pub(crate) fn inserts_source(&self) -> bool {
        self.has(CMD_TX_ADDR_INS)
    }

    pub(crate) fn sends_pause(&self) -> bool {
        !self.has(CMD_TX_PAUSE_IGNORE)
    }

    pub(crate) fn obeys_pause(&self) -> bool {
        !self.has(CMD_RX_PAUSE_IGNORE)
    }

    /// Whether this control frame goes on to the rings.
    pub(crate) fn forwards_control(&self, pause: bool) -> bool {
        self.has(if pause {
            CMD_PAUSE_FWD
        } else {
            CMD_CNTL_FRM_EN
        })
    }

    /// The longest frame in bytes, with its check sequence.
    pub(crate) fn max_frame(&self) -> usize {
        self.max_frame as usize
    }

    pub(crate) fn quanta(&self) -> u16 {
        u16::try_from(self.pause_quanta).unwrap_or(u16::MAX)
    }

    pub(crate) fn address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.mac0.to_be_bytes();
        let [.., e, f] = self.mac1.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether the address filter lets this frame in.
    pub(crate) fn accepts(&self, frame: &[u8]) -> bool {
        if self.has(CMD_PROMISC) {
            return true;
        }
        if self.mdf_ctrl == 0 {
            return frame::cast(frame) != Cast::Unicast
                || frame::destination(frame) == self.address();
        }
        let to = frame::destination(frame);
        (0..MDF_FILTERS).any(|i| {
            let enabled = self.mdf_ctrl & (1 << (MDF_FILTERS - 1 - i)) != 0;
            enabled && self.filter(i) == to
        })
    }

    fn filter(&self, i: usize) -> [u8; 6] {
        let [.., a, b] = self.mdf[2 * i].to_be_bytes();
        let [c, d, e, f] = self.mdf[2 * i + 1].to_be_bytes();
        [a, b, c, d, e, f]
    }
}

fn mdf_index(register: u32) -> usize {
    ((register - MDF_ADDRESS) / 4) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [0xdc, 0xa6, 0x32, 1, 2, 3];

    fn umac() -> Umac {
        let mut umac = Umac::new();
        umac.write(MAC0, 0xdca6_3201);
        umac.write(MAC1, 0x0203);
        umac
    }

    #[test]
    fn without_filters_own_and_group_addresses_pass() {
        let umac = umac();
        assert!(umac.accepts(&OWN));
        assert!(umac.accepts(&[0xff; 6]));
        assert!(umac.accepts(&[1, 0, 0x5e, 0, 0, 1]));
        assert!(!umac.accepts(&[0xdc, 0xa6, 0x32, 1, 2, 4]));
    }

    #[test]
    fn filters_pass_only_what_they_name() {
        let mut umac = umac();
        umac.write(MDF_ADDRESS, 0xffff);
        umac.write(MDF_ADDRESS + 4, 0xffff_ffff);
        umac.write(MDF_ADDRESS + 8, 0xdca6);
        umac.write(MDF_ADDRESS + 12, 0x3201_0203);
        umac.write(MDF_CTRL, 1 << 16);
        assert!(umac.accepts(&[0xff; 6]));
        assert!(!umac.accepts(&OWN), "filter 1 is not enabled");
        umac.write(MDF_CTRL, 3 << 15);
        assert!(umac.accepts(&OWN));
        assert!(!umac.accepts(&[1, 0, 0x5e, 0, 0, 1]));
        umac.write(CMD, CMD_PROMISC);
        assert!(umac.accepts(&[2; 6]));
    }

    #[test]
    fn reset_holds_both_directions() {
        let mut umac = umac();
        umac.write(CMD, CMD_TX_EN | CMD_RX_EN | CMD_SW_RESET);
        assert!(!umac.transmits() && !umac.receives());
        umac.write(CMD, CMD_TX_EN | CMD_RX_EN);
        assert!(umac.transmits() && umac.receives());
        umac.write(TX_FLUSH, 1);
        assert!(!umac.transmits());
    }
}
