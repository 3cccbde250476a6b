// SPDX-License-Identifier: MIT OR Apache-2.0
//! GENET v5, the Ethernet controller of the Raspberry Pi 4.
//!
//! # Theory
//! One ring each way, number 16, which takes all 256 descriptors (`rings.rs`). A frame lies in one buffer, whose first
//! 64 bytes are a status block: with it go the checksums, and the length of a received frame is in memory and not in
//! a register. Frames cross by ownership: a buffer in a ring is the ring's until the device is done with it, and a
//! stopped ring gives all of them back.
//!
//! An access to a register is the dearest thing here, on the board (some hundred nanoseconds) as on an emulator. So:
//!
//! | What                                    | Reads | Writes |
//! |-----------------------------------------|-------|--------|
//! | a received frame                        | 0     | 1      |
//! | its pass: [`Genet::receive`] of n of them | 1   | 1 and one for each 64 |
//! | its interrupt: [`Genet::interrupt`]     | 1     | 1      |
//! | and its end: [`Genet::rearm`]           | 1     | 2, or 1 if there is more (then the next pass reads nothing) |
//! | a sent frame                            | 0     | 2      |
//! | [`Genet::kick`], for all before it      | 0     | 1      |
//! | [`Genet::reclaim`], for all before it   | 1     | 0      |
//!
//! (And one for a frame whose buffer's address differs from its predecessor's in the upper 8 of 40 bits.)
//!
//! After a reset the MAC is held in software reset until the PHY has link: without the PHY's clock it comes out of it
//! receiving, but never sending (Linux, commit 88f6c8bf1aae).
//!
//! The PHY is another object ([`Phy`]), since it is asked through MDIO by a thread that sleeps meanwhile; what it finds
//! goes to [`Genet::set_link`]. Both use the same window, but no register together. A reset of the MAC would spoil an
//! MDIO transfer: who calls [`Genet::reset`] or [`Genet::recover`] is the thread that owns the [`Phy`].
//!
//! # Contexts
//! [`Genet::interrupt`], [`Genet::rearm`], [`Genet::receive`], [`Genet::transmit`], [`Genet::kick`],
//! [`Genet::reclaim`], [`Genet::want_room`], [`Genet::adapt`], [`Genet::watchdog`]: any, they never wait.
//! [`Genet::set_link`] spins for 2 us. [`Genet::reset`], [`Genet::stop`], [`Genet::recover`] and the [`Phy`]:
//! threads, they sleep.
//!
//! # Memory ordering
//! Registers are Device-nGnRE: accesses to them reach the device in program order. Buffers are cached memory.
//! 1. *A frame is in memory before the device hears of it.* [`FrameBuffer::prewrite`] ends with a barrier (DSB) that
//!    orders the register writes after it; descriptor and producer index come after that.
//! 2. *The index is read before the frame.* A branch on the index orders neither loads nor cache maintenance behind
//!    it, so a fence (DMB) stands between reading the producer index and the first [`FrameBuffer::postread`].
//!    What was fetched by speculation before, `postread` throws away, and its barrier orders the loads after it.
//! 3. *A buffer is out of use before the device gets it.* No dirty line: [`FrameBuffer::preread`], with its barrier. No
//!    load still to be answered, neither of a bad frame that stays nor of a clean buffer's last owner: a fence (DMB)
//!    before the consumer index is written.
//!
//! # Rejected
//! Several rings, and the filters that feed them: transmit time-outs on Linux with more than one. Energy-efficient
//! Ethernet: its bits in RBUF stop reception on this chip. Frames in several buffers: a frame fits in one. The
//! device's own verdict on TCP checksums: it parses what it knows; a sum serves every protocol.
//! Having the RBUF discard bad frames: no other driver does.
//!
//! # References
//! Linux `bcmgenet.c`, `bcmmii.c`, `mdio-bcm-unimac.c`; U-Boot `bcmgenet.c`; NetBSD `bcmgenet.c`; EDK2 `BcmGenetDxe`;
//! 9front `ethergenet.c`. There is no public manual.
mod coalesce;
mod counters;
mod error;
mod filter;
mod frame;
mod link;
mod mdio;
mod mib;
mod phy;
mod regs;
mod reset;
mod rings;
mod rx;
#[cfg(test)]
mod tests;
mod tx;
mod watchdog;

use crate::Io;
pub use coalesce::Coalescing;
pub use counters::{Counters, RxError};
pub use error::{Blame, Error};
use filter::Filter;
pub use frame::{
    BUFFER_BYTES, FrameBuffer, HEADROOM, MAX_FRAME, MIN_FRAME, RX_START, Received, TxChecksum,
};
pub use link::{Link, PhyMode, Speed};
pub use mib::{Mib, NAMES as MIB_NAMES};
pub use phy::{Abilities, Phy, PhyView};
use regs::{INTR, INTR_CLEAR, INTR_MASK_CLEAR, INTR_MASK_SET, INTR_STATUS};
pub use rings::RING;
use rx::Rx;
use tock_registers::fields::FieldValue;
use tx::Tx;
pub use watchdog::Stall;
use watchdog::Watch;

type Events = FieldValue<u32, INTR::Register>;

/// What GENET interrupted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// The link came or went, as far as this chip tells: ask the PHY.
    pub link: bool,
    /// Frames came in: [`Genet::receive`], then [`Genet::rearm`].
    pub receive: bool,
    /// Room that somebody waited for: [`Genet::reclaim`], then [`Genet::rearm`].
    pub transmit: bool,
}

impl Causes {
    /// It was not GENET that interrupted.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// The rings' indices around the moment in which the DMA is disabled: receive producer and consumer, transmit consumer
/// and producer. Whether the chip clears them is not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halted {
    /// While it was enabled.
    pub before: [u16; 4],
    /// When it had said that it is disabled.
    pub after: [u16; 4],
}

/// The controller behind its registers, with the buffers in its rings.
#[derive(Debug)]
pub struct Genet<I: Io, B: FrameBuffer> {
    io: I,
    rx: Rx<B>,
    tx: Tx<B>,
    /// The rings run; every descriptor of the receive ring has a buffer.
    running: bool,
    /// A reset has ended well since the last failure.
    was_reset: bool,
    mac: [u8; 6],
    mode: PhyMode,
    link: Option<Link>,
    filter: Filter,
    /// The events that are not masked.
    unmasked: u32,
    coalescing: coalesce::Chooser,
    watch: Watch,
    counters: Counters,
    mib: Mib,
    halted: Halted,
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// The controller at `io`. Nothing is touched yet: [`Genet::reset`] comes first.
    pub const fn new(io: I) -> Self {
        Self {
            io,
            rx: Rx::new(),
            tx: Tx::new(),
            running: false,
            was_reset: false,
            mac: [0; 6],
            mode: PhyMode::RgmiiRxId,
            link: None,
            filter: Filter::new(),
            unmasked: 0,
            coalescing: coalesce::Chooser::new(),
            watch: Watch::new(),
            counters: Counters::new(),
            mib: Mib::new(),
            halted: Halted {
                before: [0; 4],
                after: [0; 4],
            },
        }
    }

    /// What the interrupt was for. Those of frames are masked until [`Genet::rearm`].
    pub fn interrupt(&mut self) -> Causes {
        let status = INTR_STATUS.read(&self.io);
        let unmasked = |events: Events| status.get() & self.unmasked & events.value != 0;
        let causes = Causes {
            link: unmasked(INTR::LINK_UP::SET + INTR::LINK_DOWN::SET),
            receive: unmasked(INTR::RX_DONE::SET),
            transmit: unmasked(INTR::TX_DONE::SET),
        };
        // The receiver's bit is cleared by `rearm`, before it looks a last time, the sender's by `want_room`.
        let clear = status.get()
            & (link_events() + INTR::TBUF_UNDERRUN::SET + INTR::RBUF_OVERFLOW::SET).value;
        if causes.receive || causes.transmit {
            self.mask(INTR::RX_DONE::SET + INTR::TX_DONE::SET);
        }
        if causes.transmit {
            self.tx.wanted = false;
        }
        if clear != 0 {
            self.io.write32(INTR_CLEAR.offset, clear);
            let underrun = clear & INTR::TBUF_UNDERRUN::SET.value != 0;
            self.counters.tx_underruns += u64::from(underrun);
        }
        self.counters.interrupts += u64::from(!causes.is_none());
        causes
    }

    /// Lets frames interrupt again. True: there are frames already, and it does not; receive them first.
    pub fn rearm(&mut self) -> bool {
        if !self.running {
            return false;
        }
        if self.rx.waiting() == 0 {
            // From here on a frame sets the bit again, masked or not: what comes after the look, interrupts.
            INTR_CLEAR.write(&self.io, INTR::RX_DONE::SET);
            self.look_for_frames();
        }
        if self.rx.waiting() != 0 {
            return true;
        }
        let mut events = INTR::RX_DONE::SET;
        if self.tx.wanted {
            events += INTR::TX_DONE::SET;
        }
        self.unmask(events);
        false
    }

    fn mask(&mut self, events: Events) {
        self.unmasked &= !events.value;
        INTR_MASK_SET.write(&self.io, events);
    }

    fn unmask(&mut self, events: Events) {
        self.unmasked |= events.value;
        INTR_MASK_CLEAR.write(&self.io, events);
    }

    /// Do the rings run?
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// The station's address.
    pub const fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The link, as [`Genet::set_link`] was told it.
    pub const fn link(&self) -> Option<Link> {
        self.link
    }

    /// What the rings' indices were when the DMA was last disabled in mid-count.
    pub const fn halted(&self) -> Halted {
        self.halted
    }

    /// The register that says who delays the RGMII's clocks, as it is.
    pub fn rgmii_oob(&self) -> u32 {
        regs::RGMII_OOB.read(&self.io).get()
    }

    /// What this driver counted since it was made.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the MAC counted, as of the last [`Genet::update_mib`].
    pub const fn mib(&self) -> &Mib {
        &self.mib
    }

    /// Adds up what the MAC counted since the last time. At least every 30 s, for its count of bytes wraps after 34 s
    /// of full load. Some 60 register reads.
    pub fn update_mib(&mut self) {
        self.mib.update(&self.io);
    }
}

/// The link's events are hints: on boards they were seen not to come.
fn link_events() -> Events {
    INTR::LINK_UP::SET + INTR::LINK_DOWN::SET
}
