// SPDX-License-Identifier: MIT OR Apache-2.0
//! SYS and EXT: who the device is, how its port is wired, its flush and reset lines.

/// Major 6 is what the silicon says for GENET v5; Linux prints it as "5.0 EPHY: 0x0000".
pub const REVISION: u32 = 0x0600_0000;

const REV_CTRL: u32 = 0x00;
const PORT_CTRL: u32 = 0x04;
pub(crate) const RBUF_FLUSH: u32 = 0x08;
const TBUF_FLUSH: u32 = 0x0c;
/// PORT_CTRL: a gigabit PHY outside the chip, by RGMII.
const PORT_EXTERNAL_GPHY: u32 = 3;
/// RBUF_FLUSH: empties the receive buffer.
pub(crate) const FLUSH_RX: u32 = 1 << 0;
/// RBUF_FLUSH: holds the MAC in reset.
pub(crate) const FLUSH_UMAC_RESET: u32 = 1 << 1;

const PWR_MGMT: u32 = 0x00;
const RGMII_OOB: u32 = 0x0c;
const GPHY_CTRL: u32 = 0x1c;
/// RGMII_OOB: the MAC's side of the RGMII is on.
const OOB_RGMII_MODE: u32 = 1 << 6;

/// SYS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sys {
    port: u32,
    pub(crate) rbuf_flush: u32,
    tbuf_flush: u32,
}

impl Sys {
    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        match register {
            REV_CTRL => Some(REVISION),
            PORT_CTRL => Some(self.port),
            RBUF_FLUSH => Some(self.rbuf_flush),
            TBUF_FLUSH => Some(self.tbuf_flush),
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            PORT_CTRL => self.port = value,
            RBUF_FLUSH => self.rbuf_flush = value,
            TBUF_FLUSH => self.tbuf_flush = value,
            _ => return None,
        }
        Some(())
    }

    /// Whether the port leads to the board's PHY.
    pub(crate) fn port_is_external(&self) -> bool {
        self.port & 0x1f == PORT_EXTERNAL_GPHY
    }
}

/// EXT.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ext {
    pwr_mgmt: u32,
    rgmii_oob: u32,
    gphy_ctrl: u32,
}

impl Ext {
    pub(crate) fn read(&self, register: u32) -> Option<u32> {
        match register {
            PWR_MGMT => Some(self.pwr_mgmt),
            RGMII_OOB => Some(self.rgmii_oob),
            GPHY_CTRL => Some(self.gphy_ctrl),
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) -> Option<()> {
        match register {
            PWR_MGMT => self.pwr_mgmt = value,
            RGMII_OOB => self.rgmii_oob = value,
            GPHY_CTRL => self.gphy_ctrl = value,
            _ => return None,
        }
        Some(())
    }

    /// Whether the MAC drives the RGMII.
    pub(crate) fn rgmii_is_on(&self) -> bool {
        self.rgmii_oob & OOB_RGMII_MODE != 0
    }
}
