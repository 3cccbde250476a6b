// SPDX-License-Identifier: MIT OR Apache-2.0
//! BCM54213PE: the board's gigabit PHY, as far as a driver can see it by MDIO.
//!
//! Identity, autonegotiation that takes time, a link status that latches low, and the three
//! banks that Broadcom hides behind one register each: auxiliary control (0x18), shadow
//! (0x1c) and expansion (0x17 selects, 0x15 is the data). What drivers write there is kept and
//! read back; it changes nothing in how frames pass. The link partner is a gigabit port that
//! does pause in both directions and no energy-efficient Ethernet.

use crate::umac::Speed;

/// MDIO address on the board.
pub const ADDRESS: u32 = 1;
const ID_HIGH: u16 = 0x600d;
const ID_LOW: u16 = 0x84a2;
/// How long autonegotiation takes here; on copper it is up to some seconds.
pub const AUTONEG_NS: u64 = 200_000_000;

const BMCR: u32 = 0x00;
const BMSR: u32 = 0x01;
const PHYID1: u32 = 0x02;
const PHYID2: u32 = 0x03;
const ANAR: u32 = 0x04;
const ANLPAR: u32 = 0x05;
const ANER: u32 = 0x06;
const CTRL1000: u32 = 0x09;
const STAT1000: u32 = 0x0a;
const MMD_CTRL: u32 = 0x0d;
const MMD_DATA: u32 = 0x0e;
const ESTATUS: u32 = 0x0f;
const EXT_STATUS: u32 = 0x11;
const EXP_DATA: u32 = 0x15;
const EXP_SELECT: u32 = 0x17;
const AUXCTL: u32 = 0x18;
const AUXSTAT: u32 = 0x19;
const ISR: u32 = 0x1a;
const SHADOW: u32 = 0x1c;

const BMCR_RESET: u16 = 1 << 15;
const BMCR_SPEED_LOW: u16 = 1 << 13;
const BMCR_ANENABLE: u16 = 1 << 12;
const BMCR_POWER_DOWN: u16 = 1 << 11;
const BMCR_ISOLATE: u16 = 1 << 10;
const BMCR_ANRESTART: u16 = 1 << 9;
const BMCR_SPEED_HIGH: u16 = 1 << 6;
/// Autonegotiation on, full duplex, 1000 Mbit/s.
const BMCR_DEFAULT: u16 = 0x1140;
/// 10 and 100 Mbit/s in both duplexes, extended status, autonegotiation, extended registers.
const BMSR_ABLE: u16 = 0x7949;
const BMSR_AN_DONE: u16 = 1 << 5;
const BMSR_LINK: u16 = 1 << 2;
/// What the partner says: acknowledge, pause both ways, 10 and 100 Mbit/s in both duplexes.
const PARTNER: u16 = 0xcde1;
/// Both receivers are fine, the partner does 1000 Mbit/s full duplex.
const PARTNER_1000: u16 = 0x3800;
const ANAR_100: u16 = 0x0180;
const CTRL1000_FULL: u16 = 0x0200;
/// AUXSTAT: the outcome of autonegotiation in bits 10:8, and the link.
const AUXSTAT_LINK: u16 = 1 << 2;
/// AUXCTL bank 7, and the bit that lets a write to it through.
const AUX_MISC: u16 = 7;
const AUX_MISC_WRITE: u16 = 1 << 15;
const SHADOW_WRITE: u16 = 1 << 15;
/// Clause 45 registers behind 0x0d and 0x0e: EEE ability, advertisement, the partner's, and
/// Broadcom's two; all others read 0.
const MMD: [(u16, u16, u16); 5] = [
    (3, 20, 0x0006),
    (7, 60, 0),
    (7, 61, 0),
    (7, 0x803d, 0),
    (7, 0x803e, 0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Negotiating { until_ns: u64 },
    Up(Speed),
}

/// The PHY.
#[derive(Clone, Debug)]
pub(crate) struct Phy {
    plain: [u16; 32],
    aux: [u16; 8],
    aux_selected: u16,
    shadow: [u16; 32],
    shadow_selected: u16,
    expansion: Box<[u16]>,
    mmd: [(u16, u16, u16); 5],
    mmd_address: u16,
    cable: bool,
    link: Link,
    /// The link was down since the status was last read.
    was_down: bool,
}

impl Phy {
    pub(crate) fn new() -> Self {
        let mut plain = [0; 32];
        plain[BMCR as usize] = BMCR_DEFAULT;
        plain[ANAR as usize] = 0x05e1;
        plain[CTRL1000 as usize] = 0x0300;
        Self {
            plain,
            aux: [0; 8],
            aux_selected: 0,
            shadow: [0; 32],
            shadow_selected: 0,
            expansion: vec![0; 0x1000].into_boxed_slice(),
            mmd: MMD,
            mmd_address: 0,
            cable: false,
            link: Link::Down,
            was_down: true,
        }
    }

    /// The link's speed while it is up.
    pub(crate) fn link(&self) -> Option<Speed> {
        match self.link {
            Link::Up(speed) => Some(speed),
            _ => None,
        }
    }

    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        match self.link {
            Link::Negotiating { until_ns } => Some(until_ns),
            _ => None,
        }
    }

    /// Plugs the cable in or out.
    pub(crate) fn set_cable(&mut self, plugged: bool, now_ns: u64) {
        if self.cable != plugged {
            self.cable = plugged;
            self.renegotiate(now_ns);
        }
    }

    pub(crate) fn is_plugged(&self) -> bool {
        self.cable
    }

    /// Ends a negotiation whose time is over.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        if let Link::Negotiating { until_ns } = self.link
            && now_ns >= until_ns
        {
            self.link = Link::Up(self.resolve());
        }
    }

    fn resolve(&self) -> Speed {
        let bmcr = self.plain[BMCR as usize];
        if bmcr & BMCR_ANENABLE == 0 {
            return match (bmcr & BMCR_SPEED_HIGH, bmcr & BMCR_SPEED_LOW) {
                (0, 0) => Speed::M10,
                (0, _) => Speed::M100,
                _ => Speed::G1,
            };
        }
        if self.plain[CTRL1000 as usize] & CTRL1000_FULL != 0 {
            Speed::G1
        } else if self.plain[ANAR as usize] & ANAR_100 != 0 {
            Speed::M100
        } else {
            Speed::M10
        }
    }

    fn renegotiate(&mut self, now_ns: u64) {
        self.was_down = true;
        let off = BMCR_POWER_DOWN | BMCR_ISOLATE;
        self.link = if self.cable && self.plain[BMCR as usize] & off == 0 {
            Link::Negotiating {
                until_ns: now_ns + AUTONEG_NS,
            }
        } else {
            Link::Down
        };
    }

    pub(crate) fn read(&mut self, register: u32) -> u16 {
        let up = self.link();
        match register {
            BMSR => {
                let live = if up.is_some() { BMSR_AN_DONE } else { 0 };
                let link = if up.is_some() && !self.was_down {
                    BMSR_LINK
                } else {
                    0
                };
                // Reading is what lets the latch go, and a second read shows the link as it is.
                self.was_down = up.is_none();
                BMSR_ABLE | live | link
            }
            PHYID1 => ID_HIGH,
            PHYID2 => ID_LOW,
            ANLPAR => up.map_or(0, |_| PARTNER),
            ANER => up.map_or(0x0004, |_| 0x0007),
            STAT1000 => up.map_or(0, |_| PARTNER_1000),
            ESTATUS => 0x3000,
            EXT_STATUS => up.map_or(0, |_| 1 << 8),
            MMD_DATA => self.mmd_read(),
            EXP_DATA => self.expansion[self.expansion_index()],
            AUXCTL => (self.aux[usize::from(self.aux_selected)] & !7) | self.aux_selected,
            AUXSTAT => up.map_or(0, |speed| {
                let outcome = match speed {
                    Speed::M10 => 2,
                    Speed::M100 => 5,
                    Speed::G1 => 7,
                };
                (1 << 15) | (outcome << 8) | AUXSTAT_LINK
            }),
            ISR => 0,
            SHADOW => {
                let index = self.shadow_selected;
                (index << 10) | self.shadow[usize::from(index)]
            }
            _ => self.plain.get(register as usize).copied().unwrap_or(0),
        }
    }

    pub(crate) fn write(&mut self, register: u32, value: u16, now_ns: u64) {
        match register {
            BMCR if value & BMCR_RESET != 0 => {
                let cable = self.cable;
                *self = Self::new();
                self.set_cable(cable, now_ns);
            }
            BMCR => {
                let old = self.plain[BMCR as usize];
                self.plain[BMCR as usize] = value & !BMCR_ANRESTART;
                if value & BMCR_ANRESTART != 0 || (old ^ value) & !BMCR_ANRESTART != 0 {
                    self.renegotiate(now_ns);
                }
            }
            BMSR | PHYID1 | PHYID2 | ANLPAR | ANER | STAT1000 | ESTATUS | EXT_STATUS | AUXSTAT
            | ISR => {}
            MMD_DATA => self.mmd_write(value),
            EXP_DATA => self.expansion[self.expansion_index()] = value,
            AUXCTL => {
                let bank = value & 7;
                self.aux_selected = bank;
                if bank != AUX_MISC {
                    self.aux[usize::from(bank)] = value & !7;
                } else if value & AUX_MISC_WRITE != 0 {
                    self.aux[usize::from(bank)] = value & 0x7ff8;
                } else {
                    // A read request: bits 14:12 name the bank that the next read shows.
                    self.aux_selected = (value >> 12) & 7;
                }
            }
            SHADOW => {
                self.shadow_selected = (value >> 10) & 0x1f;
                if value & SHADOW_WRITE != 0 {
                    self.shadow[usize::from(self.shadow_selected)] = value & 0x3ff;
                }
            }
            _ => {
                if let Some(kept) = self.plain.get_mut(register as usize) {
                    *kept = value;
                }
            }
        }
    }

    fn expansion_index(&self) -> usize {
        usize::from(self.plain[EXP_SELECT as usize] & 0xfff)
    }

    /// The function field of MMD_CTRL: 0 sets the address, the others move data.
    fn mmd_is_data(&self) -> bool {
        self.plain[MMD_CTRL as usize] >> 14 != 0
    }

    fn mmd_find(&mut self) -> Option<&mut u16> {
        let device = self.plain[MMD_CTRL as usize] & 0x1f;
        let address = self.mmd_address;
        let mut known = self.mmd.iter_mut();
        known
            .find(|(d, a, _)| (*d, *a) == (device, address))
            .map(|(.., value)| value)
    }

    fn mmd_read(&mut self) -> u16 {
        if self.mmd_is_data() {
            self.mmd_find().map_or(0, |value| *value)
        } else {
            self.mmd_address
        }
    }

    fn mmd_write(&mut self, value: u16) {
        if !self.mmd_is_data() {
            self.mmd_address = value;
        } else if let Some(kept) = self.mmd_find() {
            *kept = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked() -> Phy {
        let mut phy = Phy::new();
        phy.set_cable(true, 0);
        phy.advance(AUTONEG_NS);
        phy
    }

    #[test]
    fn negotiation_takes_its_time() {
        let mut phy = Phy::new();
        assert_eq!(phy.read(BMSR) & BMSR_LINK, 0);
        phy.set_cable(true, 5);
        phy.advance(AUTONEG_NS + 4);
        assert_eq!(phy.link(), None);
        phy.advance(AUTONEG_NS + 5);
        assert_eq!(phy.link(), Some(Speed::G1));
        assert_eq!(phy.read(STAT1000), PARTNER_1000);
    }

    #[test]
    fn a_short_loss_of_link_is_seen_later() {
        let mut phy = linked();
        phy.read(BMSR);
        assert_ne!(phy.read(BMSR) & BMSR_LINK, 0);
        phy.set_cable(false, 0);
        phy.set_cable(true, 0);
        phy.advance(AUTONEG_NS);
        assert_eq!(phy.read(BMSR) & BMSR_LINK, 0, "the loss is latched");
        assert_ne!(phy.read(BMSR) & BMSR_LINK, 0);
    }

    #[test]
    fn what_is_advertised_decides_the_speed() {
        let mut phy = linked();
        phy.write(CTRL1000, 0, 0);
        phy.write(BMCR, BMCR_DEFAULT | BMCR_ANRESTART, 0);
        assert_eq!(phy.link(), None);
        assert_eq!(phy.read(BMCR), BMCR_DEFAULT, "restart clears itself");
        phy.advance(AUTONEG_NS);
        assert_eq!(phy.link(), Some(Speed::M100));
        phy.write(BMCR, BMCR_POWER_DOWN, 0);
        phy.advance(u64::MAX);
        assert_eq!(phy.link(), None);
    }

    #[test]
    fn banks_keep_what_is_written_to_them() {
        let mut phy = linked();
        phy.write(AUXCTL, 0xf107, 0);
        phy.write(AUXCTL, 0x0402, 0);
        phy.write(AUXCTL, 0x7007, 0);
        assert_eq!(phy.read(AUXCTL), 0x7107);
        phy.write(SHADOW, SHADOW_WRITE | (3 << 10) | 0x155, 0);
        phy.write(SHADOW, 5 << 10, 0);
        assert_eq!(phy.read(SHADOW), 5 << 10);
        phy.write(SHADOW, 3 << 10, 0);
        assert_eq!(phy.read(SHADOW), (3 << 10) | 0x155);
        phy.write(EXP_SELECT, 0x0f04, 0);
        phy.write(EXP_DATA, 0x1234, 0);
        phy.write(EXP_SELECT, 0x0f05, 0);
        assert_eq!(phy.read(EXP_DATA), 0);
        phy.write(EXP_SELECT, 0x0f04, 0);
        assert_eq!(phy.read(EXP_DATA), 0x1234);
    }

    #[test]
    fn clause_45_registers_are_reached_through_two() {
        let mut phy = linked();
        for (address, seen) in [(60, 6), (61, 0), (99, 0)] {
            phy.write(MMD_CTRL, 7, 0);
            phy.write(MMD_DATA, address, 0);
            phy.write(MMD_CTRL, 0x4007, 0);
            if address == 60 {
                phy.write(MMD_DATA, 6, 0);
            }
            assert_eq!(phy.read(MMD_DATA), seen, "7.{address}");
        }
    }
}
