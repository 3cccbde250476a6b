// SPDX-License-Identifier: MIT OR Apache-2.0
//! From any state to a known one, to running rings, and back.
//!
//! # Theory
//! Firmware that booted from the network, or another kernel, may have left the DMA running into memory that is ours by
//! now: it is stopped before anything else. What it left in registers is overwritten, each that this driver knows:
//! wake-up filters, energy saving, a half-finished set-up of other rings.
//!
//! As long as the DMA may run, its buffers are not given back: they would be written to in other hands.
use super::frame::{BUFFER_BYTES, MAX_ON_WIRE};
use super::regs::*;
use super::rings::{RING, RING_16};
use super::watchdog::Watch;
use super::{Error, FrameBuffer, Genet, Halted, PhyMode, link_events};
use crate::Io;
use crate::wait::wait_until;
use core::sync::atomic::{Ordering, fence};
use embedded_hal::delay::DelayNs;

/// For reset and flush bits to be seen.
const SETTLE_US: u32 = 10;
/// For a frame that is just coming in to end.
const DRAIN_MS: u32 = 2;
/// Between the stop of one direction's DMA and the other's: what is under way drains.
const BETWEEN_MS: u32 = 10;
/// For a DMA to say that it is disabled.
const DISABLE_TIMEOUT_US: u32 = 5_000;
const STEP_US: u32 = 10;
/// At so few free descriptors the partner is asked to pause; at so many it may go on (Linux's).
const XOFF: u32 = 5;
const XON: u32 = 16;
/// Who waits for room is told when so much of the ring is sent, or all.
const TX_THRESHOLD: u32 = 64;

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// Brings the controller from any state into one in which rings can be started, the MAC held in reset until there
    /// is a link. `mac` is the station's address. Takes 15 to 40 ms.
    ///
    /// # Errors
    /// [`Error::NotStopped`], [`Error::Version`], [`Error::ReceiveStuck`], [`Error::TransmitStuck`].
    pub fn reset(
        &mut self,
        mac: [u8; 6],
        mode: PhyMode,
        delay: &mut impl DelayNs,
    ) -> Result<(), Error> {
        if self.running || self.holds_buffers() {
            return Err(Error::NotStopped);
        }
        self.was_reset = false;
        let revision = REV_CTRL.read(&self.io);
        if !revision.matches_all(REV_CTRL::MAJOR::V5) {
            return Err(Error::Version(revision.get()));
        }
        (self.mac, self.mode) = (mac, mode);
        self.silence();
        self.halt(delay)?;
        self.reset_mac(delay);
        self.set_up_buffers();
        self.set_up_mac();
        // Until here, a recovery that is tried again knows what the link was.
        self.link = None;
        self.was_reset = true;
        self.apply_filter();
        self.mib.settle(&self.io);
        Ok(())
    }

    /// Do the rings hold buffers?
    fn holds_buffers(&self) -> bool {
        !(self.rx.slots.is_empty() && self.tx.is_empty())
    }

    /// Masks and forgets all interrupts, those of the other rings, too, until [`Genet::start`]: for an owner who is about
    /// to stop it outside the lock under which interrupts are handled. Four register writes.
    pub fn silence(&mut self) {
        for (mask, clear) in [
            (INTR_MASK_SET.offset, INTR_CLEAR.offset),
            (INTR1_MASK_SET.offset, INTR1_CLEAR.offset),
        ] {
            self.io.write32(mask, u32::MAX);
            self.io.write32(clear, u32::MAX);
        }
        self.unmasked = 0;
    }

    /// Stops receiver, DMA and transmitter, in the order in which nothing is cut off, and empties their buffers. If the
    /// DMA does not stop, the MAC is reset, which takes what it may wait for.
    fn halt(&mut self, delay: &mut impl DelayNs) -> Result<(), Error> {
        let command = CMD.read(&self.io);
        if command.is_set(CMD::RX_ENABLE) && !command.is_set(CMD::SW_RESET) {
            CMD.modify(&self.io, CMD::RX_ENABLE::CLEAR);
            delay.delay_ms(DRAIN_MS);
        }
        let before = self.indices();
        let sent = disable(&self.io, &TDMA, delay);
        delay.delay_ms(BETWEEN_MS);
        let received = disable(&self.io, &RDMA, delay);
        if before != [0; 4] {
            let after = self.indices();
            self.halted = Halted { before, after };
        }
        CMD.modify(&self.io, CMD::TX_ENABLE::CLEAR);
        if !(sent && received) {
            // It forgets its address, its filters, and that there is a link.
            self.was_reset = false;
            self.reset_mac(delay);
        }
        self.io.write32(TX_FLUSH.offset, 1);
        delay.delay_us(SETTLE_US);
        self.io.write32(TX_FLUSH.offset, 0);
        if !disable(&self.io, &TDMA, delay) {
            return Err(Error::TransmitStuck);
        }
        if !disable(&self.io, &RDMA, delay) {
            return Err(Error::ReceiveStuck);
        }
        Ok(())
    }

    fn indices(&self) -> [u16; 4] {
        let of = |dma: &Dma| {
            let device = dma.device_index.read(&self.io).read(RX_PRODUCER::INDEX);
            [device as u16, dma.driver_index.read(&self.io).get() as u16]
        };
        let ([rx, rx_taken], [tx_sent, tx]) = (of(&RDMA), of(&TDMA));
        [rx, rx_taken, tx_sent, tx]
    }

    /// Resets the MAC, and leaves it in software reset.
    fn reset_mac(&mut self, delay: &mut impl DelayNs) {
        let kept = RBUF_FLUSH.read(&self.io).get();
        for value in [
            kept | RBUF_FLUSH::UMAC_RESET::SET.value,
            kept & !RBUF_FLUSH::UMAC_RESET::SET.value,
            0,
        ] {
            self.io.write32(RBUF_FLUSH.offset, value);
            delay.delay_us(SETTLE_US);
        }
        self.io.write32(CMD.offset, 0);
        delay.delay_us(SETTLE_US);
        CMD.write(&self.io, CMD::SW_RESET::SET);
        delay.delay_us(SETTLE_US);
    }

    /// What is between MAC and DMA.
    fn set_up_buffers(&mut self) {
        RBUF_CTRL.write(
            &self.io,
            RBUF_CTRL::STATUS_BLOCK::SET + RBUF_CTRL::ALIGN_2B::SET,
        );
        RBUF_CHK_CTRL.write(
            &self.io,
            RBUF_CHK_CTRL::ENABLE::SET + RBUF_CHK_CTRL::L3_PARSE_DISABLE::SET,
        );
        TBUF_CTRL.write(&self.io, TBUF_CTRL::STATUS_BLOCK::SET);
        for (register, value) in [
            (&TBUF_SIZE_CTRL, 1),
            (&RBUF_ENERGY, 0),
            (&TBUF_ENERGY, 0),
            (&HFB_CTRL, 0),
            (&HFB_ENABLE[0], 0),
            (&HFB_ENABLE[1], 0),
        ] {
            self.io.write32(register.offset, value);
        }
    }

    /// The MAC, its counters, its address, and its port.
    fn set_up_mac(&mut self) {
        let [a, b, c, d, e, f] = self.mac;
        PORT_CTRL.write(&self.io, PORT_CTRL::MODE::ExternalGphy);
        let delays = RGMII_OOB::ID_MODE_DISABLE.val((self.mode == PhyMode::Rgmii).into());
        RGMII_OOB.modify(
            &self.io,
            delays
                + RGMII_OOB::MODE_ENABLE::SET
                + RGMII_OOB::OOB_DISABLE::CLEAR
                + RGMII_OOB::LINK::CLEAR,
        );
        let all = MIB_CTRL::RX::SET + MIB_CTRL::RUNT::SET + MIB_CTRL::TX::SET;
        MIB_CTRL.write(&self.io, all);
        self.io.write32(MIB_CTRL.offset, 0);
        for (register, value) in [
            (&MAX_FRAME, MAX_ON_WIRE as u32),
            (&PAUSE_QUANTA, 0xffff),
            (&EEE_CTRL, 0),
            (&MPD_CTRL, 0),
            (&MAC_ADDRESS[0], u32::from_be_bytes([a, b, c, d])),
            (&MAC_ADDRESS[1], u32::from_be_bytes([0, 0, e, f])),
        ] {
            self.io.write32(register.offset, value);
        }
    }

    /// Starts the rings, with 256 buffers from `fresh`, of which all lines may be dirty. Frames pass as soon as there is
    /// a link.
    ///
    /// # Errors
    /// [`Error::NotReset`], [`Error::NotStopped`]; [`Error::NoBuffers`], and `give_back` has those that there were.
    pub fn start(
        &mut self,
        fresh: &mut impl FnMut() -> Option<B>,
        give_back: &mut impl FnMut(B),
    ) -> Result<(), Error> {
        if self.running || self.holds_buffers() {
            return Err(Error::NotStopped);
        }
        if !self.was_reset {
            return Err(Error::NotReset);
        }
        let index = self.rx.slots.configure(&self.io, &RDMA);
        for n in 0..RING as u16 {
            let Some(mut buffer) = fresh() else {
                self.rx.slots.drain(give_back);
                return Err(Error::NoBuffers(n.into()));
            };
            buffer.preread(0..BUFFER_BYTES);
            self.rx
                .slots
                .put(&self.io, &RDMA, index.wrapping_add(n), buffer);
        }
        self.rx.begin(index);
        let flow = XON_XOFF::XOFF.val(XOFF) + XON_XOFF::XON.val(XON);
        RDMA.flow.write(&self.io, flow);
        self.apply_coalescing();
        self.tx.begin(&self.io);
        self.io.write32(TDMA.flow.offset, 0);
        self.io.write32(TDMA.threshold.offset, TX_THRESHOLD);
        self.io.write32(TDMA_ARBITER.offset, 0);
        // (3) in the module's header.
        fence(Ordering::SeqCst);
        for dma in [&RDMA, &TDMA] {
            self.io.write32(dma.ring_cfg.offset, RING_16);
            let enable = DMA_CTRL::ENABLE::SET + DMA_CTRL::RING_16::SET;
            dma.ctrl.write(&self.io, enable);
        }
        self.running = true;
        self.watch = Watch::new();
        self.enable_mac();
        self.io.write32(INTR_CLEAR.offset, u32::MAX);
        self.unmask(link_events() + INTR::RX_DONE::SET);
        Ok(())
    }

    /// Stops the rings and gives back every buffer in them, sent or not, filled or not. What was filled and not received
    /// is lost. They can be started again, unless the DMA stopped only when the MAC was reset; then a reset comes first.
    /// Takes 15 to 35 ms.
    ///
    /// # Errors
    /// [`Error::TransmitStuck`], [`Error::ReceiveStuck`]: nothing is given back; it may be tried again.
    pub fn stop(
        &mut self,
        give_back: &mut impl FnMut(B),
        delay: &mut impl DelayNs,
    ) -> Result<(), Error> {
        self.silence();
        let was_running = core::mem::take(&mut self.running);
        if !was_running && !self.holds_buffers() {
            return Ok(());
        }
        self.halt(delay)?;
        let sent = TDMA.device_index.read(&self.io).read(RX_PRODUCER::INDEX) as u16;
        let unsent = self.tx.drain(sent, give_back);
        self.counters.tx_unsent += u64::from(unsent);
        self.rx.slots.drain(give_back);
        Ok(())
    }

    /// Stops, resets and starts, with address, filter and link as they were; what a [`Stall`](super::Stall) asks for.
    /// All frames of before are given back.
    ///
    /// # Errors
    /// Those of [`Genet::stop`], [`Genet::reset`] and [`Genet::start`]: it stands still, and it may be tried again.
    pub fn recover(
        &mut self,
        fresh: &mut impl FnMut() -> Option<B>,
        give_back: &mut impl FnMut(B),
        delay: &mut impl DelayNs,
    ) -> Result<(), Error> {
        let link = self.link;
        self.stop(give_back, delay)?;
        self.update_mib();
        self.reset(self.mac, self.mode, delay)?;
        self.set_link(link, delay);
        self.start(fresh, give_back)?;
        self.counters.recoveries += 1;
        Ok(())
    }
}

/// Stops a DMA block, all of its rings; whether it says that it has.
fn disable(io: &impl Io, dma: &Dma, delay: &mut impl DelayNs) -> bool {
    io.write32(dma.ctrl.offset, 0);
    let stopped = wait_until(delay, DISABLE_TIMEOUT_US, STEP_US, || {
        dma.status.read(io).is_set(DMA_STATUS::DISABLED)
    });
    io.write32(dma.ring_cfg.offset, 0);
    stopped
}
