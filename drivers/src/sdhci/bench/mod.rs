// SPDX-License-Identifier: MIT OR Apache-2.0
//! The register model on a bench: memory with two truths, a clock, an interrupt line, and a liar in between.
//!
//! # Theory
//! The model of `tools/sdhci-model` is a controller with a card, with faults of its own. What it leaves out is looked at
//! here: that slow writes keep their distance, that the divisor changes only while the bus stands, that the bus is
//! never faster than the card follows. What no good controller or card does is told by a [`Lie`]: words
//! changed on their way to the driver; or by an [`Event`]: bits forced upon INT_STATUS.
mod data;
mod lie;

use super::{Sdhci, Slot, asserts, silence};
use crate::Io;
use crate::testing::{Clock, Memory, TwoCopies};
use core::cell::{Cell, RefCell};
pub(crate) use data::{Data, by_interrupts, carry, pattern};
use embedded_hal::delay::DelayNs;
pub(crate) use lie::{Event, Lie};
use sdhci_model::{BusError, Card as CardModel, Outside, Sparse};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

/// CAPS of EMMC2 on a board (the model's own), and of QEMU's Arasan, which has no DMA.
pub(crate) const CAPS_ARASAN: u32 = 0x0521_34b4;
/// Words of a descriptor table: 64 descriptors.
pub(crate) const TABLE_WORDS: usize = 128;
/// Where the tests' memory lies on the controller's bus.
const MEMORY: u32 = 0xc010_0000;

/// The world as the model sees it.
struct World<'a> {
    bench: &'a Bench,
}

impl Outside for World<'_> {
    fn now_ns(&mut self) -> u64 {
        self.bench.clock.now_ns()
    }
    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError> {
        match self.bench.memory.device_reads(address, into) {
            true => Ok(()),
            false => Err(BusError),
        }
    }
    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError> {
        match self.bench.memory.device_writes(address, from) {
            true => Ok(()),
            false => Err(BusError),
        }
    }
    fn interrupt(&mut self, level: bool) {
        self.bench.line.set(level);
    }
}

/// The bench.
pub(crate) struct Bench {
    model: RefCell<sdhci_model::Sdhci>,
    pub(crate) medium: Arc<Mutex<Sparse>>,
    pub(crate) clock: Clock,
    pub(crate) memory: Memory,
    pub(crate) line: Cell<bool>,
    /// The board can change the signals' voltage.
    pub(crate) regulator: Cell<bool>,
    /// The regulator does what it is told.
    pub(crate) regulator_works: Cell<bool>,
    /// How often the card lost its power.
    pub(crate) power_cycles: Cell<u32>,
    lies: RefCell<Vec<Lie>>,
    events: RefCell<Vec<Event>>,
    /// Every command that was sent, its argument, and the bus clock.
    log: RefCell<Vec<(u8, u32, u32)>>,
    /// Words through the buffer port since the last command.
    pub(crate) port_words: Cell<u32>,
    last_write: RefCell<BTreeMap<usize, u64>>,
    /// When the bus clock was stopped.
    stopped_ns: Cell<u64>,
    /// Reads and writes of registers so far.
    pub(crate) accesses: Cell<u32>,
}

impl Bench {
    /// A controller with a card that `make` makes of `bytes` bytes.
    pub(crate) fn with(make: fn(Box<dyn sdhci_model::Medium>) -> CardModel, bytes: u64) -> Self {
        let bench = Self::empty(bytes);
        let medium = Box::new(bench.medium.clone());
        bench.model.borrow_mut().insert(Some(make(medium)));
        bench
    }

    /// A high-capacity SD card of 64 MiB.
    pub(crate) fn sdhc() -> Self {
        Self::with(CardModel::sdhc, 64 << 20)
    }

    /// A controller without a card.
    pub(crate) fn empty(bytes: u64) -> Self {
        Self {
            model: RefCell::default(),
            medium: Arc::new(Mutex::new(Sparse::new(bytes))),
            clock: Clock::default(),
            memory: Memory::at(MEMORY),
            line: Cell::new(false),
            regulator: Cell::new(false),
            regulator_works: Cell::new(true),
            power_cycles: Cell::new(0),
            lies: RefCell::default(),
            events: RefCell::default(),
            log: RefCell::default(),
            port_words: Cell::new(0),
            last_write: RefCell::default(),
            stopped_ns: Cell::new(0),
            accesses: Cell::new(0),
        }
    }

    /// A driver for it, with a table.
    pub(crate) fn host(&self) -> Host<'_> {
        self.host_with(self.memory.buffer(TABLE_WORDS))
    }

    /// A driver for it, with this table.
    pub(crate) fn host_with<'a>(&'a self, table: TwoCopies<'a>) -> Host<'a> {
        Sdhci::new(self, Some(table), BenchSlot(self), None)
    }

    /// A driver for it that has no table.
    pub(crate) fn host_by_port(&self) -> Host<'_> {
        Sdhci::new(self, None, BenchSlot(self), None)
    }

    /// From now on `plans` go wrong, and nothing else that was planned.
    pub(crate) fn plan(&self, plans: &[&str]) {
        let plans: Vec<_> = plans.iter().map(|p| p.parse().unwrap()).collect();
        self.model.borrow_mut().set_faults(&plans);
    }

    pub(crate) fn tell(&self, lie: Lie) {
        self.lies.borrow_mut().push(lie);
    }

    pub(crate) fn force(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// No lies and events any more.
    pub(crate) fn behave(&self) {
        self.lies.borrow_mut().clear();
        self.events.borrow_mut().clear();
        self.plan(&[]);
    }

    /// Takes the card out, or puts it back.
    pub(crate) fn insert(&self, card: Option<CardModel>) -> Option<CardModel> {
        self.model.borrow_mut().insert(card)
    }

    /// How often command `index` was sent.
    pub(crate) fn count(&self, index: u8) -> usize {
        let log = self.log.borrow();
        log.iter().filter(|(i, ..)| *i == index).count()
    }

    /// The last argument of command `index`.
    pub(crate) fn last(&self, index: u8) -> Option<u32> {
        let log = self.log.borrow();
        log.iter().rfind(|(i, ..)| *i == index).map(|(_, a, _)| *a)
    }

    /// What the driver did that the specification does not allow.
    pub(crate) fn strays(&self) -> Vec<String> {
        let model = self.model.borrow();
        model.strays().iter().map(|(s, _)| s.to_string()).collect()
    }

    /// How many descriptors the controller has fetched.
    pub(crate) fn descriptors(&self) -> u64 {
        self.model.borrow().counters().descriptors
    }

    /// What the medium holds of block `lba`.
    pub(crate) fn block(&self, lba: u64) -> [u8; 512] {
        let mut block = [0; 512];
        let mut medium = self.medium.lock().unwrap();
        sdhci_model::Medium::read(&mut *medium, lba * 512, &mut block).unwrap();
        block
    }

    /// Time passes until something is due, but no more than `ns`; false if nothing was.
    pub(crate) fn pass(&self, ns: u64) -> bool {
        let end_ns = self.clock.now_ns() + ns;
        let due_ns = self.model.borrow().deadline_ns();
        let next_ns = due_ns.filter(|due| *due <= end_ns);
        self.clock.move_to_ns(next_ns.unwrap_or(end_ns));
        let mut model = self.model.borrow_mut();
        model.advance(&mut World { bench: self });
        next_ns.is_some()
    }

    /// The bus clock in Hz: 0 while it stands.
    pub(crate) fn bus_hz(&self) -> u32 {
        let clock = self.peek(0x2c);
        if clock & 0b101 != 0b101 {
            return 0;
        }
        let n = clock >> 8 & 0xff | (clock >> 6 & 0b11) << 8;
        let base_hz = (self.lied(0x40, self.peek(0x40)) >> 8 & 0xff) * 1_000_000;
        if n == 0 { base_hz } else { base_hz / (2 * n) }
    }

    fn peek(&self, offset: usize) -> u32 {
        let mut model = self.model.borrow_mut();
        model.read(offset as u32, 4, &mut World { bench: self })
    }

    fn poke(&self, offset: usize, value: u32) {
        let mut model = self.model.borrow_mut();
        model.write(offset as u32, 4, value, &mut World { bench: self });
    }

    fn lied(&self, offset: usize, word: u32) -> u32 {
        let last = self.log.borrow().last().map(|(index, ..)| *index);
        let mut lies = self.lies.borrow_mut();
        let port_words = self.port_words.get();
        let mut told = word;
        for lie in lies.iter_mut() {
            let here = lie.offset == offset && (offset != 0x20 || lie.nth == port_words);
            if lie.times > 0 && here && (lie.after.is_none() || lie.after == last) {
                lie.times -= u32::from(lie.times != u32::MAX);
                told = told & lie.keep | lie.set;
            }
        }
        told
    }

    /// The event that befalls command `index` now.
    fn event(&self, index: u8) -> Option<Event> {
        let mut events = self.events.borrow_mut();
        let mut due = events
            .iter_mut()
            .filter(|e| e.command == index && e.times > 0);
        let event = due.next()?;
        if event.skip > 0 {
            event.skip -= 1;
            return None;
        }
        event.times -= 1;
        Some(*event)
    }

    fn command(&self, word: u32) {
        let (index, hz) = ((word >> 24) as u8, self.bus_hz());
        assert!(hz >= 200_000, "CMD{index} at {hz} Hz");
        assert_eq!(self.peek(0x28) & 0xf00, 0xf00, "3.3 V are on");
        let argument = self.peek(0x08);
        self.log.borrow_mut().push((index, argument, hz));
        self.port_words.set(0);
        let event = self.event(index);
        if event.is_none_or(|e| !e.deaf) {
            self.poke(0x0c, word);
        }
        if let Some(event) = event {
            self.poke(0x50, event.bits);
        }
    }

    /// The identification's limit, before the card was selected; later any that a mode has.
    pub(crate) fn assert_slow_until_selected(&self) {
        let log = self.log.borrow();
        let mut slow = true;
        for (index, _, hz) in log.iter() {
            match index {
                0 => slow = true,
                7 => slow = false,
                _ => assert!(!slow || *hz <= 400_000, "CMD{index} at {hz} Hz"),
            }
        }
    }
}

impl Io for Bench {
    fn read32(&self, offset: usize) -> u32 {
        self.accesses.set(self.accesses.get() + 1);
        let word = self.lied(offset, self.peek(offset));
        if offset == 0x20 {
            self.port_words.set(self.port_words.get() + 1);
        }
        word
    }

    fn write32(&self, offset: usize, value: u32) {
        self.accesses.set(self.accesses.get() + 1);
        let (now_ns, hz) = (self.clock.now_ns(), self.bus_hz());
        let last_ns = self.last_write.borrow_mut().insert(offset, now_ns);
        if let (Some(last_ns), 1..=400_000, false) = (last_ns, hz, offset == 0x20) {
            let clocks = (now_ns - last_ns) * u64::from(hz) / 1_000_000_000;
            assert!(
                clocks >= 2,
                "two writes to {offset:#x} within {clocks} clocks"
            );
        }
        if offset == 0x2c && hz != 0 && value & 0b100 != 0 {
            let old = self.peek(0x2c);
            assert_eq!(old & 0xffc0, value & 0xffc0, "divisor of a running clock");
        }
        match offset {
            0x0c => self.command(value),
            _ => self.poke(offset, value),
        }
        let last = self.log.borrow().last().map(|(index, ..)| *index);
        match (hz, self.bus_hz()) {
            (1.., 0) => self.stopped_ns.set(now_ns),
            (0, 1..) if last == Some(11) && self.peek(0x3c) & 1 << 19 != 0 => {
                assert!(now_ns - self.stopped_ns.get() >= 5_000_000, "5 ms at 1.8 V");
            }
            _ => {}
        }
    }
}

/// The bench as the driver's surroundings.
pub(crate) struct BenchSlot<'a>(pub(crate) &'a Bench);

pub(crate) type Host<'a> = Sdhci<&'a Bench, TwoCopies<'a>, BenchSlot<'a>>;
pub(crate) type Card<'a> = crate::sd::Card<&'a Bench, TwoCopies<'a>, BenchSlot<'a>>;

impl DelayNs for BenchSlot<'_> {
    fn delay_ns(&mut self, ns: u32) {
        let end_ns = self.0.clock.now_ns() + u64::from(ns);
        while self.0.clock.now_ns() < end_ns {
            let left_ns = end_ns - self.0.clock.now_ns();
            if !self.0.pass(left_ns) {
                break;
            }
        }
        self.0.clock.move_to_ns(end_ns);
    }
}

impl Slot for BenchSlot<'_> {
    fn wait_event(&mut self, timeout_us: u32, arm: impl FnOnce()) -> bool {
        arm();
        let end_ns = self.0.clock.now_ns() + u64::from(timeout_us) * 1000;
        loop {
            // A lie may hide what the line tells.
            if self.0.line.get() && asserts(self.0) {
                assert!(silence(self.0));
                assert!(!self.0.line.get() && !silence(self.0));
                return true;
            }
            // And a fault may keep the line down.
            let left_ns = end_ns.saturating_sub(self.0.clock.now_ns());
            if left_ns == 0 {
                return false;
            }
            self.0.pass(left_ns);
        }
    }

    fn cycle_power(&mut self) -> bool {
        if self.0.regulator.get() {
            self.0.power_cycles.set(self.0.power_cycles.get() + 1);
            let card = self.0.insert(None);
            self.0.insert(card);
        }
        self.0.regulator.get()
    }

    fn lower_signal_voltage(&mut self) -> bool {
        self.0.regulator.get() && self.0.regulator_works.get()
    }
}
