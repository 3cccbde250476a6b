// SPDX-License-Identifier: MIT OR Apache-2.0
//! EMMC2, the card's controller of the Raspberry Pi 4, with a card, as a model that knows no emulator.
//!
//! # Theory
//! Whoever embeds the model maps its 256 bytes of registers to [`Sdhci::read`] and [`Sdhci::write`],
//! puts a [`Card`] on some [`Medium`] into it, and gives it memory, time and an interrupt line by
//! [`Outside`]. No method does more than a slice of work, 64 KiB; what goes on later has a time,
//! [`Sdhci::deadline_ns`], at which [`Sdhci::advance`] wants to be called. The model keeps no
//! thread, no clock and no state outside itself, so that a test can drive it step by step and
//! an emulator can run it under its own lock.
//!
//! The controller is a standard one, version 3.00, with the board's capabilities and peculiarities:
//! writes of other than 32 bits are lost, the card detect and write protect pins are not wired.
//! What a driver does that the specification does not allow is counted by name ([`Strays`]), and
//! errors that a board or a card can produce are produced by plan ([`Plan`]).
//!
//! # Left out
//! Card interrupts and wake-up (SDIO), suspend and resume, 64-bit ADMA2 (the board has none), the
//! boot operation, preset values. Blocks take no time on the wire unless [`Sdhci::set_rate`] says so;
//! two writes to one register may follow each other at once. The clock's frequency has no effect,
//! and neither has the bus speed beyond what the card says of it.
//!
//! # References
//! SD Host Controller Simplified Specification 3.00; SD Physical Layer Simplified Specification
//! 6.00; JESD84-B51. Linux `sdhci.c`, `sdhci-iproc.c`; U-Boot `sdhci.c`.
#![forbid(unsafe_code)]

mod card;
mod command;
mod dma;
mod fault;
mod intr;
mod medium;
mod outside;
mod pio;
pub mod regs;
mod slot;
mod staging;
mod stray;
mod transfer;
mod window;

pub use card::Card;
pub use fault::{Fault, Plan, PlanError};
pub use medium::{Medium, MediumError, Sparse};
pub use outside::{BusError, Outside};
pub use stray::{Stray, Strays};
pub use transfer::SLICE;

use fault::Faults;
use regs::{clock, intr as bits};
use slot::{Slot, Until};
use transfer::Transfer;

/// Called with the name of each doubtful act, the first time that it happens.
pub type OnStray = Box<dyn FnMut(Stray) + Send>;

/// What the controller did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commands, its own among them
    pub commands: u64,
    /// Blocks that came from the card
    pub blocks_read: u64,
    /// Blocks that went to the card
    pub blocks_written: u64,
    /// ADMA descriptors
    pub descriptors: u64,
    /// Slices of transfers
    pub slices: u64,
    /// How often the interrupt line rose
    pub interrupts: u64,
    /// How often the card wrote its cache back
    pub flushes: u64,
}

/// The controller with its slot.
pub struct Sdhci {
    sdma_address: u32,
    block: u32,
    argument: u32,
    command: u32,
    response: [u32; 4],
    host_control: u32,
    clock: u32,
    auto_error: u32,
    host2: u32,
    adma_error: u32,
    adma_address: u32,
    intr: intr::Intr,
    /// The level of the interrupt line.
    level: bool,
    /// A command that does not end before a reset.
    command_stuck: bool,
    /// Data lines that stay in use until a reset.
    data_stuck: bool,
    transfer: Option<Transfer>,
    /// When the controller has waited for DAT0 for too long.
    busy_wait: Option<u64>,
    was_busy: bool,
    /// A software reset that does not end.
    resetting: Option<(u32, Until)>,
    tuning_left: u8,
    /// Bytes a second on the wire; 0 is no limit.
    rate: u64,
    staging: Box<[u8]>,
    slot: Slot,
    /// The card has power: as the driver last said it, which a software reset does not undo.
    powered: bool,
    faults: Faults,
    strays: Strays,
    on_stray: Option<OnStray>,
    counters: Counters,
}

impl Default for Sdhci {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Sdhci {
    /// A controller out of hardware reset, its slot empty, that will fail as planned.
    pub fn new(plans: &[Plan]) -> Self {
        Self {
            sdma_address: 0,
            block: 0,
            argument: 0,
            command: 0,
            response: [0; 4],
            host_control: 0,
            clock: 0,
            auto_error: 0,
            host2: 0,
            adma_error: 0,
            adma_address: 0,
            intr: intr::Intr::default(),
            level: false,
            command_stuck: false,
            data_stuck: false,
            transfer: None,
            busy_wait: None,
            was_busy: false,
            resetting: None,
            tuning_left: 0,
            rate: 0,
            staging: vec![0; SLICE].into(),
            slot: Slot::default(),
            powered: false,
            faults: Faults::new(plans),
            strays: Strays::default(),
            on_stray: None,
            counters: Counters::default(),
        }
    }

    /// Another plan of faults, from now on.
    pub fn set_faults(&mut self, plans: &[Plan]) {
        self.faults = Faults::new(plans);
    }

    /// Data takes its time on the wire: so many bytes a second. 0, as at first: no time.
    pub fn set_rate(&mut self, bytes_per_s: u64) {
        self.rate = bytes_per_s;
    }

    /// Tells `hear` of each kind of doubtful act once.
    pub fn on_stray(&mut self, hear: OnStray) {
        self.on_stray = Some(hear);
    }

    /// Puts a card in, or none, and hands back the one that was there.
    pub fn insert(&mut self, card: Option<Card>) -> Option<Card> {
        self.was_busy = false;
        self.slot.put(card)
    }

    /// The board's reset: the controller, and the card loses its power. The plan of faults stays, and
    /// what was counted.
    pub fn reset(&mut self, out: &mut dyn Outside) {
        self.reset_all();
        self.powered = false;
        self.slot.power_cycle();
        self.settle(out);
    }

    /// The driver reads `bytes` at this offset of the window.
    pub fn read(&mut self, offset: u32, bytes: u32, out: &mut dyn Outside) -> u32 {
        self.run_time(out);
        let inside = offset & 3;
        let value = if !matches!(bytes, 1 | 2 | 4) || inside + bytes > 4 {
            self.note(Stray::Width(offset));
            0
        } else if offset & !3 == regs::BUFFER {
            self.read_port(bytes, out)
        } else {
            let word = self.read_register(offset & !3);
            if word.is_none() {
                self.note(Stray::Read(offset));
            }
            let mask = u32::MAX >> (32 - 8 * bytes);
            word.unwrap_or_default() >> (8 * inside) & mask
        };
        self.settle(out);
        value
    }

    /// The driver writes `bytes` at this offset of the window.
    pub fn write(&mut self, offset: u32, bytes: u32, value: u32, out: &mut dyn Outside) {
        self.run_time(out);
        if bytes != 4 || !offset.is_multiple_of(4) {
            self.note(Stray::NarrowWrite(offset));
        } else if self.is_resetting(clock::RESET_ALL) {
            // A controller in reset hears nothing.
        } else if self.write_register(offset, value, out).is_none() {
            self.note(Stray::Write(offset));
        }
        self.settle(out);
    }

    /// Does what is due by now, a slice at most.
    pub fn advance(&mut self, out: &mut dyn Outside) {
        self.run_time(out);
        self.settle(out);
    }

    /// When `advance` has something to do; a time that has passed says: at once.
    pub fn deadline_ns(&self) -> Option<u64> {
        [
            self.transfer.as_ref().and_then(Transfer::deadline_ns),
            self.slot.deadline_ns(),
            self.busy_wait,
            self.resetting.and_then(|(_, until)| until.time()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the driver did that the specification does not allow.
    pub fn strays(&self) -> &Strays {
        &self.strays
    }

    /// What the controller did.
    pub fn counters(&self) -> Counters {
        Counters {
            flushes: self.slot.flushes(),
            ..self.counters
        }
    }

    /// A software reset comes to its end.
    fn reset_circuits(&mut self, resets: u32) {
        self.resetting = None;
        if resets & clock::RESET_ALL != 0 {
            self.reset_all();
        }
        if resets & clock::RESET_COMMAND != 0 {
            self.command_stuck = false;
            self.intr.clear(bits::COMMAND_COMPLETE);
        }
        if resets & clock::RESET_DATA != 0 {
            self.data_stuck = false;
            self.transfer = None;
            self.busy_wait = None;
            self.intr.clear(
                bits::TRANSFER_COMPLETE
                    | bits::BLOCK_GAP
                    | bits::DMA
                    | bits::BUFFER_READ
                    | bits::BUFFER_WRITE,
            );
        }
    }

    /// All registers; the card notices nothing.
    fn reset_all(&mut self) {
        let mut fresh = Self::new(&[]);
        fresh.level = self.level;
        fresh.was_busy = self.was_busy;
        fresh.counters = self.counters;
        fresh.rate = self.rate;
        fresh.powered = self.powered;
        std::mem::swap(&mut fresh.staging, &mut self.staging);
        std::mem::swap(&mut fresh.slot, &mut self.slot);
        std::mem::swap(&mut fresh.faults, &mut self.faults);
        std::mem::swap(&mut fresh.strays, &mut self.strays);
        fresh.on_stray = self.on_stray.take();
        *self = fresh;
    }

    /// Everything whose time has come.
    fn run_time(&mut self, out: &mut dyn Outside) {
        let now_ns = out.now_ns();
        if let Some((resets, until)) = self.resetting
            && until.is_over(now_ns)
        {
            self.reset_circuits(resets);
        }
        self.run_busy(out);
        self.run_transfer(out);
    }

    /// The end of every method: the line takes its level.
    fn settle(&mut self, out: &mut dyn Outside) {
        if self.intr.level() && !self.level && self.faults.strike(Fault::IrqLost).is_some() {
            self.intr.lose();
        }
        let level = self.intr.level();
        if level != self.level {
            self.level = level;
            self.counters.interrupts += u64::from(level);
            out.interrupt(level);
        }
    }

    fn note(&mut self, stray: Stray) {
        if self.strays.count(stray)
            && let Some(hear) = &mut self.on_stray
        {
            hear(stray);
        }
    }
}
