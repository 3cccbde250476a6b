// SPDX-License-Identifier: MIT OR Apache-2.0
//! GENET v5, the Ethernet controller of the Raspberry Pi 4, as a model that knows no emulator.
//!
//! # Theory
//! Whoever embeds the model maps its 64 KiB of registers to [`Genet::read`] and [`Genet::write`],
//! hands it frames by [`Genet::receive`], and gives it memory, time, wire and interrupt lines by
//! [`Outside`]. Every method does all of its work before it returns; what must happen later has
//! a time, [`Genet::deadline_ns`], at which [`Genet::advance`] wants to be called. The model keeps
//! no thread, no clock and no state outside itself, so that a test can drive it step by step
//! and an emulator can run it under its own lock.
//!
//! One file holds one block of the silicon; `tx` and `rx` hold the way of a frame through them.
//! Nothing here is taken on trust from one driver: where the sources disagree, or only infer,
//! the block's file says so. What a driver does that the sources do not know is counted by name
//! ([`Strays`]), and errors that a board can produce are produced by plan ([`Plan`]).
//!
//! # Left out
//! Energy-efficient Ethernet, magic packets and half duplex: their registers keep their values.
//! Rate control of the transmit rings. Frames take no time on the wire.
//!
//! # References
//! Linux `bcmgenet.c`, `bcmmii.c`, `unimac.h`; U-Boot `bcmgenet.c`; NetBSD and FreeBSD
//! `if_genet.c`; EDK2 `BcmGenetDxe`. IEEE 802.3, clauses 22, 28, 31 and annex 31B. RFC 1071.
#![forbid(unsafe_code)]

mod buf;
mod dma;
mod fault;
mod frame;
mod hfb;
mod intrl2;
mod link;
pub mod map;
mod mdio;
mod mib;
mod outside;
mod phy;
mod ring;
mod rx;
mod stray;
mod sys;
mod tx;
mod umac;

use std::collections::VecDeque;

pub use buf::STATUS_BLOCK;
pub use dma::{DEFAULT_RING, RINGS, status};
pub use fault::{Fault, Plan, PlanError};
pub use hfb::FILTERS;
pub use intrl2::a as intr;
pub use mib::Counter;
pub use outside::{BusError, Line, Outside};
pub use phy::{ADDRESS as PHY_ADDRESS, AUTONEG_NS};
pub use ring::{DESCRIPTOR_WORDS, DESCRIPTORS};
pub use rx::Received;
pub use stray::{Stray, Strays};
pub use sys::REVISION;
pub use umac::Speed;

use dma::{Direction, Dma};
use fault::Faults;
use map::Block;
use mdio::Started;

/// Called with the name of each doubtful act, the first time that it happens.
pub type OnStray = Box<dyn FnMut(Stray) + Send>;

/// UMAC: clears the counters.
const MIB_CTRL: u32 = 0x580;

/// The controller with its PHY.
pub struct Genet {
    sys: sys::Sys,
    ext: sys::Ext,
    intr: [intrl2::Intrl2; 2],
    levels: [bool; 2],
    rbuf: buf::Rbuf,
    tbuf: buf::Tbuf,
    umac: umac::Umac,
    mib: mib::Mib,
    mdio: mdio::Mdio,
    phy: phy::Phy,
    hfb: hfb::Hfb,
    rdma: Dma,
    tdma: Dma,
    faults: Faults,
    strays: Strays,
    on_stray: Option<OnStray>,

    tx_paused_until_ns: Option<u64>,
    tx_again_ns: Option<u64>,
    tx_late: VecDeque<tx::Late>,
    rx_late: VecDeque<(u64, Vec<u8>)>,
    rx_timeout_ns: Option<u64>,
    looped: VecDeque<Vec<u8>>,
    /// The link as it was when it was last looked at.
    link: Option<Speed>,
    flap: Option<link::Flap>,
}

impl Default for Genet {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Genet {
    /// A controller out of hardware reset, its cable unplugged, that will fail as planned.
    pub fn new(plans: &[Plan]) -> Self {
        Self {
            sys: sys::Sys::default(),
            ext: sys::Ext::default(),
            intr: [intrl2::Intrl2::new(), intrl2::Intrl2::new()],
            levels: [false; 2],
            rbuf: buf::Rbuf::default(),
            tbuf: buf::Tbuf::default(),
            umac: umac::Umac::new(),
            mib: mib::Mib::new(),
            mdio: mdio::Mdio::new(),
            phy: phy::Phy::new(),
            hfb: hfb::Hfb::new(),
            rdma: Dma::new(Direction::Rx),
            tdma: Dma::new(Direction::Tx),
            faults: Faults::new(plans),
            strays: Strays::default(),
            on_stray: None,
            tx_paused_until_ns: None,
            tx_again_ns: None,
            tx_late: VecDeque::new(),
            rx_late: VecDeque::new(),
            rx_timeout_ns: None,
            looped: VecDeque::new(),
            link: None,
            flap: None,
        }
    }

    /// Another plan of faults, from now on.
    pub fn set_faults(&mut self, plans: &[Plan]) {
        self.faults = Faults::new(plans);
    }

    /// Tells `hear` of each kind of doubtful act once.
    pub fn on_stray(&mut self, hear: OnStray) {
        self.on_stray = Some(hear);
    }

    /// The board's reset: all of it but the cable, the plan of faults and what was counted of the
    /// driver's doubtful acts.
    pub fn reset(&mut self, out: &mut dyn Outside) {
        let plugged = self.phy.is_plugged();
        let levels = self.levels;
        let mut fresh = Self::new(&[]);
        std::mem::swap(&mut fresh.faults, &mut self.faults);
        std::mem::swap(&mut fresh.strays, &mut self.strays);
        fresh.on_stray = self.on_stray.take();
        *self = fresh;
        self.levels = levels;
        self.phy.set_cable(plugged, out.now_ns());
        self.settle(out);
    }

    /// Plugs the cable in or out. The link comes up after autonegotiation.
    pub fn set_cable(&mut self, plugged: bool, out: &mut dyn Outside) {
        self.run_time(out);
        self.phy.set_cable(plugged, out.now_ns());
        self.settle(out);
    }

    /// The driver reads `bytes` at this offset of the window.
    pub fn read(&mut self, offset: u32, bytes: u32, out: &mut dyn Outside) -> u32 {
        if bytes == 4 && map::is_descriptor(offset) {
            return self.read_register(offset).unwrap_or_default();
        }
        self.run_time(out);
        let value = if bytes == 4 && offset.is_multiple_of(4) {
            let value = self.read_register(offset);
            if value.is_none() {
                self.note(Stray::Read(offset));
            }
            value.unwrap_or_default()
        } else {
            self.note(Stray::Width(offset));
            0
        };
        self.settle(out);
        value
    }

    /// The driver writes `bytes` at this offset of the window.
    pub fn write(&mut self, offset: u32, bytes: u32, value: u32, out: &mut dyn Outside) {
        // Most accesses are to descriptors, memory that time does not change and that changes nothing
        // until an index is moved.
        if bytes == 4 && map::is_descriptor(offset) {
            self.write_register(offset, value, out);
            return;
        }
        self.run_time(out);
        if bytes != 4 || !offset.is_multiple_of(4) {
            self.note(Stray::Width(offset));
        } else if self.write_register(offset, value, out).is_none() {
            self.note(Stray::Write(offset));
        }
        self.settle(out);
    }

    /// Does what is due by now.
    pub fn advance(&mut self, out: &mut dyn Outside) {
        self.run_time(out);
        self.settle(out);
    }

    /// When `advance` has something to do.
    pub fn deadline_ns(&self) -> Option<u64> {
        [
            self.phy.deadline_ns(),
            self.mdio.deadline_ns(),
            self.tx_again_ns,
            self.tx_late.iter().map(|late| late.due_ns).min(),
            self.rx_late.front().map(|(due_ns, _)| *due_ns),
            self.rx_timeout_ns,
            self.flap.map(|flap| flap.at_ns),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the driver did that the sources do not know.
    pub fn strays(&self) -> &Strays {
        &self.strays
    }

    /// A counter of the MAC.
    pub fn counter(&self, counter: Counter) -> u32 {
        self.mib.get(counter)
    }

    /// The link's speed while it is up.
    pub fn link(&self) -> Option<Speed> {
        self.phy.link()
    }

    fn read_register(&mut self, offset: u32) -> Option<u32> {
        let (block, inside) = map::block(offset);
        match block {
            Block::Sys => self.sys.read(inside),
            Block::Ext => self.ext.read(inside),
            Block::Intrl2A => self.intr[0].read(inside),
            Block::Intrl2B => self.intr[1].read(inside),
            Block::Rbuf => self.rbuf.read(inside),
            Block::Tbuf => self.tbuf.read(inside),
            Block::Umac => match inside {
                mib::START..mib::END => self.mib.read(inside),
                MIB_CTRL => Some(0),
                mdio::CMD => Some(self.mdio.read()),
                mdio::CFG => Some(self.mdio.cfg),
                _ => self.umac.read(inside, self.phy.link()),
            },
            Block::Rdma => self.rdma.read(inside),
            Block::Tdma => self.tdma.read(inside),
            Block::Hfb => self.hfb.read_pattern(inside),
            Block::HfbRegs => self.hfb.read(inside),
            Block::Unknown => None,
        }
    }

    fn write_register(&mut self, offset: u32, value: u32, out: &mut dyn Outside) -> Option<()> {
        let (block, inside) = map::block(offset);
        match block {
            Block::Sys => {
                self.sys.write(inside, value)?;
                if inside == sys::RBUF_FLUSH {
                    self.flush(value);
                }
            }
            Block::Ext => self.ext.write(inside, value)?,
            Block::Intrl2A => self.intr[0].write(inside, value)?,
            Block::Intrl2B => self.intr[1].write(inside, value)?,
            Block::Rbuf => self.rbuf.write(inside, value)?,
            Block::Tbuf => self.tbuf.write(inside, value)?,
            Block::Umac => self.write_umac(inside, value, out)?,
            Block::Rdma => self.write_dma(Direction::Rx, inside, value, out)?,
            Block::Tdma => self.write_dma(Direction::Tx, inside, value, out)?,
            Block::Hfb => self.hfb.write_pattern(inside, value)?,
            Block::HfbRegs => self.hfb.write(inside, value)?,
            Block::Unknown => return None,
        }
        Some(())
    }

    fn write_umac(&mut self, inside: u32, value: u32, out: &mut dyn Outside) -> Option<()> {
        match inside {
            mib::START..mib::END => return None,
            MIB_CTRL => self.mib.control(value),
            mdio::CFG => self.mdio.cfg = value,
            mdio::CMD => {
                let dead =
                    value & mdio::START_BUSY != 0 && self.faults.strike(Fault::PhyDead).is_some();
                let phy = (!dead).then_some(&mut self.phy);
                match self.mdio.write(value, phy, out.now_ns()) {
                    Started::Busy => self.note(Stray::MdioBusy),
                    Started::NoSuchOp => self.note(Stray::MdioOp),
                    Started::No | Started::Yes => {}
                }
            }
            _ => {
                self.umac.write(inside, value)?;
                self.run_tx(out);
            }
        }
        Some(())
    }

    fn write_dma(
        &mut self,
        direction: Direction,
        inside: u32,
        value: u32,
        out: &mut dyn Outside,
    ) -> Option<()> {
        let mut seen = Vec::new();
        let dma = match direction {
            Direction::Rx => &mut self.rdma,
            Direction::Tx => &mut self.tdma,
        };
        let moved = dma.write(inside, value, &mut |stray| seen.push(stray))?;
        for stray in seen {
            self.note(stray);
        }
        if moved {
            match direction {
                Direction::Rx => (0..RINGS).for_each(|n| self.pause_partner(n, out)),
                Direction::Tx => self.run_tx(out),
            }
        }
        Some(())
    }

    /// RBUF_FLUSH: resets the MAC, or empties the receive buffer.
    fn flush(&mut self, value: u32) {
        if value & sys::FLUSH_UMAC_RESET != 0 {
            self.umac = umac::Umac::new();
            self.mib = mib::Mib::new();
            self.tx_paused_until_ns = None;
        }
        if value & sys::FLUSH_RX != 0 {
            self.rx_late.clear();
        }
    }

    /// Whether frames pass between MAC and wire.
    fn wire_is_up(&self) -> bool {
        let held = self.sys.rbuf_flush & sys::FLUSH_UMAC_RESET != 0;
        let port = self.sys.port_is_external() && self.ext.rgmii_is_on();
        port && !held && self.phy.link().is_some() && self.phy.link() == self.umac.speed()
    }

    /// Everything whose time has come.
    fn run_time(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        self.run_flap(now_ns);
        self.phy.advance(now_ns);
        self.see_link(now_ns);
        if let Some(failed) = self.mdio.advance(now_ns) {
            self.raise(Line::A, intr::MDIO_DONE);
            if failed {
                self.raise(Line::A, intr::MDIO_ERROR);
            }
        }
        self.run_late_tx(now_ns);
        self.run_late_rx(now_ns, out);
        if self.tx_again_ns.is_some_and(|at_ns| now_ns >= at_ns) {
            self.run_tx(out);
        }
    }

    /// The end of every method: what was looped back comes in, the lines take their level.
    fn settle(&mut self, out: &mut dyn Outside) {
        while let Some(frame) = self.looped.pop_front() {
            self.take_in(&frame, out);
        }
        let now_ns = out.now_ns();
        self.see_link(now_ns);
        self.rx_timeout_ns = self.rx_timeouts(now_ns);
        for (n, line) in [Line::A, Line::B].into_iter().enumerate() {
            let level = self.intr[n].level();
            if level != self.levels[n] {
                self.levels[n] = level;
                out.interrupt(line, level);
            }
        }
    }

    fn raise(&mut self, line: Line, bits: u32) {
        self.intr[line as usize].raise(bits);
    }

    fn note(&mut self, stray: Stray) {
        if self.strays.count(stray)
            && let Some(hear) = &mut self.on_stray
        {
            hear(stray);
        }
    }

    /// Whether the bus took the access.
    fn dma_read(&mut self, address: u64, into: &mut [u8], out: &mut dyn Outside) -> bool {
        let struck = self.faults.strike(Fault::DmaRead).is_some();
        let done = !struck && out.dma_read(address, into).is_ok();
        if !done && !struck {
            self.note(Stray::DmaAddress);
        }
        done
    }

    fn dma_write(&mut self, address: u64, from: &[u8], out: &mut dyn Outside) -> bool {
        let struck = self.faults.strike(Fault::DmaWrite).is_some();
        let done = !struck && out.dma_write(address, from).is_ok();
        if !done && !struck {
            self.note(Stray::DmaAddress);
        }
        done
    }
}
