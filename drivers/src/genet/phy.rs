// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PHY: a BCM54213PE at address 1, or whatever else answers.
//!
//! # Theory
//! Boards came with other PHYs, so the identity is told and not asked for: the registers of IEEE 802.3 are enough,
//! but for the clock delays, which only Broadcom's PHYs have where they are written to here.
//!
//! The link status latches low: a loss of link between two looks is seen, counted, and what the new one is, is read anew.
//!
//! # References
//! IEEE 802.3, clauses 22 and 28, annex 28B (pause), clause 40 (registers 9 and 10), 45.2.7.13 (EEE); Linux
//! `broadcom.c`, `bcm-phy-lib.c` for what is Broadcom's own.
use super::Error;
use super::link::{Link, PhyMode, Speed};
use super::mdio::Mdio;
use crate::Io;
use core::fmt;
use embedded_hal::delay::DelayNs;

/// Where the board's PHY is.
const USUAL_ADDRESS: u8 = 1;
const ADDRESSES: u8 = 32;
/// Clause 22 allows half a second.
const RESET_TIMEOUT_US: u32 = 500_000;
const RESET_STEP_US: u32 = 1_000;

const BMCR: u8 = 0;
const BMCR_RESET: u16 = 1 << 15;
const BMCR_AUTONEGOTIATE: u16 = 1 << 12;
const BMCR_RESTART: u16 = 1 << 9;
const BMSR: u8 = 1;
const BMSR_NEGOTIATED: u16 = 1 << 5;
const BMSR_LINK: u16 = 1 << 2;
const ID: [u8; 2] = [2, 3];
const ADVERTISED: u8 = 4;
const PARTNER: u8 = 5;
const SELECTOR: u16 = 1;
const CAN_10_HALF: u16 = 1 << 5;
const CAN_10_FULL: u16 = 1 << 6;
const CAN_100_HALF: u16 = 1 << 7;
const CAN_100_FULL: u16 = 1 << 8;
const PAUSE: u16 = 1 << 10;
const PAUSE_ASYMMETRIC: u16 = 1 << 11;
const ADVERTISED_1000: u8 = 9;
const CAN_1000_HALF: u16 = 1 << 8;
const CAN_1000_FULL: u16 = 1 << 9;
const PARTNER_1000: u8 = 10;
/// The partner's bits of register 10 are those of register 9, further up.
const PARTNER_1000_SHIFT: u16 = 2;
const MASTER_SLAVE_FAULT: u16 = 1 << 15;
/// Clause 45 registers through clause 22: function and device, then address or data.
const MMD: [u8; 2] = [13, 14];
const MMD_DATA: u16 = 1 << 14;
const MMD_AUTONEGOTIATION: u16 = 7;
const EEE_ADVERTISED: u16 = 60;
const EEE_PARTNER: u16 = 61;

/// Broadcom's auxiliary control: bank 7, selected for reading by 7 in bits 14:12 as well.
const AUX: u8 = 0x18;
const AUX_READ_MISC: u16 = 0x7007;
const AUX_WRITE: u16 = 1 << 15;
const AUX_MISC: u16 = 7;
const AUX_RX_SKEW: u16 = 1 << 8;
/// Broadcom's shadow registers, of ten bits; number 3 is the clocks'.
const SHADOW: u8 = 0x1c;
const SHADOW_WRITE: u16 = 1 << 15;
const SHADOW_CLOCKS: u16 = 3 << 10;
const SHADOW_BITS: u16 = 0x3ff;
const GTXCLK_DELAY: u16 = 1 << 9;
/// Broadcom's two identifiers as the first register shows them.
const BROADCOM: [u16; 3] = [0x600d, 0x0143, 0xae02];

/// What the partner is told: all that GENET can, and to pause both ways or towards here only.
const OWN: Abilities = Abilities {
    base: SELECTOR
        | CAN_10_HALF
        | CAN_10_FULL
        | CAN_100_HALF
        | CAN_100_FULL
        | PAUSE
        | PAUSE_ASYMMETRIC,
    gigabit: CAN_1000_FULL,
};

/// What an end of a cable says that it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Register 4, or 5 of the partner.
    base: u16,
    /// Register 9, or 10 of the partner in 9's places.
    gigabit: u16,
}

/// What there is to tell of a PHY, as of the last time that a link came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhyView {
    /// Registers 2 and 3.
    pub id: u32,
    /// On the MDIO bus.
    pub address: u8,
    /// What this end advertises.
    pub advertised: Abilities,
    /// What the other end does; nothing before the first link.
    pub partner: Abilities,
    /// Both ends would save energy: never, if the PHY obeys.
    pub eee: bool,
    /// How often the link was lost.
    pub losses: u64,
}

/// A PHY, negotiating or with a link.
#[derive(Debug)]
pub struct Phy<I: Io> {
    mdio: Mdio<I>,
    id: u32,
    link: Option<Link>,
    partner: Abilities,
    eee: bool,
    losses: u64,
}

impl<I: Io> Phy<I> {
    /// Finds the PHY behind GENET's registers `io`, sets its clock delays after `mode`, and has it negotiate. After
    /// [`Genet::reset`](super::Genet::reset). Takes up to half a second.
    ///
    /// # Errors
    /// [`Error::NoPhy`], [`Error::NoAnswer`], [`Error::MdioStuck`], [`Error::PhyStuck`].
    pub fn attach(io: I, mode: PhyMode, delay: &mut impl DelayNs) -> Result<Self, Error> {
        let mut mdio = Mdio::new(io, USUAL_ADDRESS);
        let others = (0..ADDRESSES).filter(|address| *address != USUAL_ADDRESS);
        let id = [USUAL_ADDRESS]
            .into_iter()
            .chain(others)
            .find_map(|address| {
                mdio.address = address;
                identify(&mdio, delay).transpose()
            });
        let id = id.unwrap_or(Err(Error::NoPhy))?;
        let mut phy = Self {
            mdio,
            id,
            link: None,
            partner: Abilities::default(),
            eee: false,
            losses: 0,
        };
        phy.set_up(mode, delay)?;
        Ok(phy)
    }

    fn set_up(&mut self, mode: PhyMode, delay: &mut impl DelayNs) -> Result<(), Error> {
        self.mdio.write(BMCR, BMCR_RESET, delay)?;
        let mut left = RESET_TIMEOUT_US / RESET_STEP_US;
        while self.mdio.read(BMCR, delay)? & BMCR_RESET != 0 {
            if left == 0 {
                return Err(Error::PhyStuck);
            }
            left -= 1;
            delay.delay_us(RESET_STEP_US);
        }
        if BROADCOM.contains(&((self.id >> 16) as u16)) {
            self.set_delays(mode, delay)?;
        }
        self.select_mmd(MMD_AUTONEGOTIATION, EEE_ADVERTISED, delay)?;
        self.mdio.write(MMD[1], 0, delay)?;
        self.mdio.write(ADVERTISED, OWN.base, delay)?;
        self.mdio.write(ADVERTISED_1000, OWN.gigabit, delay)?;
        self.renegotiate(delay)
    }

    /// The RGMII's clock delays that are the PHY's.
    fn set_delays(&self, mode: PhyMode, delay: &mut impl DelayNs) -> Result<(), Error> {
        self.mdio.write(AUX, AUX_READ_MISC, delay)?;
        let misc = self.mdio.read(AUX, delay)? & !AUX_RX_SKEW;
        let skew = if mode.delays_rx() { AUX_RX_SKEW } else { 0 };
        self.mdio
            .write(AUX, misc | skew | AUX_WRITE | AUX_MISC, delay)?;
        self.mdio.write(SHADOW, SHADOW_CLOCKS, delay)?;
        let clocks = self.mdio.read(SHADOW, delay)? & SHADOW_BITS & !GTXCLK_DELAY;
        let gtxclk = if mode.delays_tx() { GTXCLK_DELAY } else { 0 };
        self.mdio.write(
            SHADOW,
            clocks | gtxclk | SHADOW_CLOCKS | SHADOW_WRITE,
            delay,
        )
    }

    /// The registers with the RGMII's clock delays, AUXCTL's "misc" and the shadow register of the clocks, if it is one of
    /// Broadcom's.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::MdioStuck`].
    pub fn delays(&self, delay: &mut impl DelayNs) -> Result<Option<[u16; 2]>, Error> {
        if !BROADCOM.contains(&((self.id >> 16) as u16)) {
            return Ok(None);
        }
        self.mdio.write(AUX, AUX_READ_MISC, delay)?;
        let misc = self.mdio.read(AUX, delay)?;
        self.mdio.write(SHADOW, SHADOW_CLOCKS, delay)?;
        let clocks = self.mdio.read(SHADOW, delay)? & SHADOW_BITS;
        Ok(Some([misc, clocks]))
    }

    /// Selects a clause 45 register; its data are then in [`MMD`]'s second one.
    fn select_mmd(
        &self,
        device: u16,
        register: u16,
        delay: &mut impl DelayNs,
    ) -> Result<(), Error> {
        for (at, value) in [
            (MMD[0], device),
            (MMD[1], register),
            (MMD[0], device | MMD_DATA),
        ] {
            self.mdio.write(at, value, delay)?;
        }
        Ok(())
    }

    /// Negotiates anew; the link goes down meanwhile.
    ///
    /// # Errors
    /// [`Error::MdioStuck`].
    pub fn renegotiate(&mut self, delay: &mut impl DelayNs) -> Result<(), Error> {
        self.mdio
            .write(BMCR, BMCR_AUTONEGOTIATE | BMCR_RESTART, delay)
    }

    /// The link as it is: none while there is none, or it is being negotiated. To be called once a second, and when
    /// GENET tells of a change. Takes some 200 us.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::MdioStuck`]: the PHY is to be attached again.
    pub fn poll(&mut self, delay: &mut impl DelayNs) -> Result<Option<Link>, Error> {
        let latched = self.mdio.read(BMSR, delay)?;
        let status = match latched & BMSR_LINK {
            0 => self.mdio.read(BMSR, delay)?,
            _ => latched,
        };
        if self.link.is_some() && latched & BMSR_LINK == 0 {
            self.losses += 1;
            self.link = None;
        }
        let ready = BMSR_LINK | BMSR_NEGOTIATED;
        if status & ready == ready && self.link.is_none() {
            self.link = self.resolve(delay)?;
        }
        Ok(self.link)
    }

    fn resolve(&mut self, delay: &mut impl DelayNs) -> Result<Option<Link>, Error> {
        let gigabit = self.mdio.read(PARTNER_1000, delay)?;
        self.partner = Abilities {
            base: self.mdio.read(PARTNER, delay)?,
            gigabit: match gigabit & MASTER_SLAVE_FAULT {
                0 => gigabit >> PARTNER_1000_SHIFT,
                _ => 0,
            },
        };
        self.eee = true;
        for register in [EEE_ADVERTISED, EEE_PARTNER] {
            self.select_mmd(MMD_AUTONEGOTIATION, register, delay)?;
            self.eee &= self.mdio.read(MMD[1], delay)? != 0;
        }
        Ok(outcome(OWN, self.partner))
    }

    /// The link at the last poll.
    pub const fn link(&self) -> Option<Link> {
        self.link
    }

    /// What there is to tell of it. Nothing is asked.
    pub const fn view(&self) -> PhyView {
        PhyView {
            id: self.id,
            address: self.mdio.address,
            advertised: OWN,
            partner: self.partner,
            eee: self.eee,
            losses: self.losses,
        }
    }

    /// Which PHY it is: registers 2 and 3.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Its address on the MDIO bus.
    pub const fn address(&self) -> u8 {
        self.mdio.address
    }
}

/// Who answers at this address; none: nobody.
fn identify<I: Io>(mdio: &Mdio<I>, delay: &mut impl DelayNs) -> Result<Option<u32>, Error> {
    // The first access after a reset may go wrong unseen.
    let _dummy = mdio.read(BMSR, delay);
    let mut id = 0;
    for register in ID {
        id = id << 16
            | match mdio.read(register, delay) {
                Ok(half) => u32::from(half),
                Err(Error::NoAnswer(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
    }
    let nobody = id & 0x1fff_ffff == 0x1fff_ffff || id == 0;
    Ok((!nobody).then_some(id))
}

/// Speed and duplex by their bits, best first (28B.3): of register 9, then of register 4.
const GIGABIT: [(u16, bool); 2] = [(CAN_1000_FULL, true), (CAN_1000_HALF, false)];
const BASE: [(u16, Speed, bool); 4] = [
    (CAN_100_FULL, Speed::M100, true),
    (CAN_100_HALF, Speed::M100, false),
    (CAN_10_FULL, Speed::M10, true),
    (CAN_10_HALF, Speed::M10, false),
];

impl Abilities {
    /// Speeds and duplexes, best first.
    fn modes(self) -> impl Iterator<Item = (Speed, bool)> {
        let gigabit = GIGABIT
            .iter()
            .filter(move |(bit, _)| self.gigabit & bit != 0);
        let base = BASE.iter().filter(move |(bit, ..)| self.base & bit != 0);
        let gigabit = gigabit.map(|(_, full)| (Speed::M1000, *full));
        gigabit.chain(base.map(|(_, speed, full)| (*speed, *full)))
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (speed, full) in self.modes() {
            let duplex = if full { "full" } else { "half" };
            write!(f, "{}/{duplex} ", speed.mbits())?;
        }
        f.write_str(match self.base & (PAUSE | PAUSE_ASYMMETRIC) {
            0 => "no pause",
            PAUSE => "pause both ways",
            PAUSE_ASYMMETRIC => "pause sent only",
            _ => "pause both ways or received only",
        })
    }
}

/// The best that both can (28.2.3.3), and who may ask whom to pause (table 28B-3).
fn outcome(own: Abilities, partner: Abilities) -> Option<Link> {
    let common = Abilities {
        base: own.base & partner.base,
        gigabit: own.gigabit & partner.gigabit,
    };
    let (speed, full_duplex) = common.modes().next()?;
    let can = |what| full_duplex && common.base & what != 0;
    Some(Link {
        speed,
        full_duplex,
        rx_pause: can(PAUSE) || can(PAUSE_ASYMMETRIC),
        tx_pause: can(PAUSE),
    })
}
