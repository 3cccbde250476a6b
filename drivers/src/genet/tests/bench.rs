// SPDX-License-Identifier: MIT OR Apache-2.0
//! The register model on a bench: buffers with two truths, a clock, interrupt lines, and a liar in between.
//!
//! # Theory
//! The model of `tools/genet-model` has faults of its own. What no good controller does is told here: registers that
//! read otherwise than they are ([`Lie`]), registers that do not hear what is written to them. A buffer that is
//! dropped instead of being given back is counted.
use crate::Io;
use crate::genet::frame::{BUFFER_BYTES, FrameBuffer, LINE_BYTES};
use crate::genet::regs::MDIO_CMD;
use crate::testing::Clock;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use embedded_hal::delay::DelayNs;
use genet_model::{BusError, Genet as Model, Line, Outside, Received, Stray};
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

/// Buffers on the bench: more than both rings hold.
pub const BUFFERS: usize = 700;
/// Where they lie: across the border of 32 bits, so that both rings get either kind.
pub const BASE: u64 = 0x1_0000_0000 - 300 * BUFFER_BYTES as u64;
/// What the CPU sees of a buffer that it has not written.
const CPU_JUNK: u8 = 0x5a;
/// What the device sees of memory that nobody has written back.
const DEVICE_JUNK: u8 = 0xdb;

/// A call that all buffers leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgets {
    Prewrite,
    Preread,
    Postread,
}

/// A register that reads `value & keep | set`, so often.
#[derive(Clone, Copy, Debug)]
pub struct Lie {
    pub offset: usize,
    pub keep: u32,
    pub set: u32,
    pub times: u32,
}

/// The bench.
pub struct Bench {
    model: RefCell<Model>,
    pub clock: Clock,
    /// What the device sees.
    memory: RefCell<Vec<u8>>,
    free: RefCell<Vec<usize>>,
    /// Buffers that were dropped.
    pub dropped: Cell<usize>,
    pub forgets: Cell<Option<Forgets>>,
    pub sent: RefCell<Vec<Vec<u8>>>,
    pub lines: Cell<[bool; 2]>,
    pub reads: Cell<u32>,
    pub writes: Cell<u32>,
    /// Offsets that were written, oldest first.
    pub log: RefCell<Vec<(usize, u32)>>,
    lies: RefCell<Vec<Lie>>,
    /// Registers that do not hear.
    deaf: RefCell<Vec<usize>>,
    /// The PHY's address.
    pub phy_at: Cell<u32>,
    /// Registers of the PHY that read otherwise: number, bits kept, bits set.
    pub phy_lies: RefCell<Vec<(u32, u32, u32)>>,
    mdio_register: Cell<u32>,
}

struct World<'a>(&'a Bench);

impl World<'_> {
    fn range(address: u64, bytes: usize) -> Result<Range<usize>, BusError> {
        let start = address.checked_sub(BASE).ok_or(BusError)? as usize;
        let end = start.checked_add(bytes).ok_or(BusError)?;
        let there = end <= BUFFERS * BUFFER_BYTES;
        there.then_some(start..end).ok_or(BusError)
    }
}

impl Outside for World<'_> {
    fn now_ns(&mut self) -> u64 {
        self.0.clock.now_ns()
    }
    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError> {
        let range = Self::range(address, into.len())?;
        into.copy_from_slice(&self.0.memory.borrow()[range]);
        Ok(())
    }
    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError> {
        let range = Self::range(address, from.len())?;
        self.0.memory.borrow_mut()[range].copy_from_slice(from);
        Ok(())
    }
    fn transmit(&mut self, frame: &[u8]) {
        self.0.sent.borrow_mut().push(frame.to_vec());
    }
    fn interrupt(&mut self, line: Line, level: bool) {
        let mut lines = self.0.lines.get();
        lines[line as usize] = level;
        self.0.lines.set(lines);
    }
}

impl Bench {
    /// A controller out of reset, with a cable, which goes wrong as planned.
    pub fn new(plans: &[&str]) -> Self {
        let bench = Self {
            model: RefCell::new(Model::new(&[])),
            clock: Clock::default(),
            memory: RefCell::new(vec![DEVICE_JUNK; BUFFERS * BUFFER_BYTES]),
            free: RefCell::new((0..BUFFERS).collect()),
            dropped: Cell::new(0),
            forgets: Cell::new(None),
            sent: RefCell::default(),
            lines: Cell::new([false; 2]),
            reads: Cell::new(0),
            writes: Cell::new(0),
            log: RefCell::default(),
            lies: RefCell::default(),
            deaf: RefCell::default(),
            phy_at: Cell::new(genet_model::PHY_ADDRESS),
            phy_lies: RefCell::default(),
            mdio_register: Cell::new(0),
        };
        bench.set_cable(true);
        bench.plan(plans);
        bench
    }

    /// From now on `plans` go wrong, and nothing else that was planned.
    pub fn plan(&self, plans: &[&str]) {
        let plans: Vec<_> = plans.iter().map(|plan| plan.parse().unwrap()).collect();
        self.model.borrow_mut().set_faults(&plans);
    }

    pub fn set_cable(&self, plugged: bool) {
        self.model.borrow_mut().set_cable(plugged, &mut World(self));
    }

    /// A frame comes in on the wire.
    pub fn feed(&self, frame: &[u8]) -> Received {
        self.model.borrow_mut().receive(frame, &mut World(self))
    }

    /// What the driver did that the sources do not know, but for frames lost without a link.
    pub fn strays(&self) -> Vec<String> {
        let model = self.model.borrow();
        let strays = model.strays().iter().map(|(stray, _)| stray);
        strays
            .filter(|stray| !matches!(stray, Stray::TxOff | Stray::RxOff))
            .map(|stray| stray.to_string())
            .collect()
    }

    /// How often the model noted this.
    pub fn stray(&self, stray: Stray) -> u64 {
        self.model.borrow().strays().of(stray)
    }

    pub fn lie(&self, offset: usize, keep: u32, set: u32, times: u32) {
        self.lies.borrow_mut().push(Lie {
            offset,
            keep,
            set,
            times,
        });
    }

    pub fn deafen(&self, offset: usize) {
        self.deaf.borrow_mut().push(offset);
    }

    /// Tells the truth again, and hears.
    pub fn behave(&self) {
        self.lies.borrow_mut().clear();
        self.deaf.borrow_mut().clear();
        self.phy_lies.borrow_mut().clear();
    }

    /// An MDIO command on its way to a PHY that is elsewhere.
    fn redirect(&self, command: u32) -> u32 {
        self.mdio_register.set(command >> 16 & 0x1f);
        let address = if command >> 21 & 0x1f == self.phy_at.get() {
            genet_model::PHY_ADDRESS
        } else {
            31
        };
        command & !(0x1f << 21) | address << 21
    }

    /// The outcome of an MDIO command, if the PHY lies.
    fn phy_says(&self, outcome: u32) -> u32 {
        let lies = self.phy_lies.borrow();
        let lies = lies.iter().filter(|lie| lie.0 == self.mdio_register.get());
        lies.fold(outcome, |value, (_, keep, set)| {
            value & (keep | !0xffff) | set
        })
    }

    /// A buffer, whose CPU's copy was just written.
    pub fn buffer(&self) -> Option<Buffer<'_>> {
        let slot = self.free.borrow_mut().pop()?;
        Some(Buffer {
            bench: self,
            slot,
            cpu: vec![CPU_JUNK; BUFFER_BYTES],
            dirty: u32::MAX,
            returned: false,
        })
    }

    /// Writes what the device would, at an address of the device's.
    pub fn scribble(&self, address: u64, bytes: &[u8]) {
        let mut world = World(self);
        world.dma_write(address, bytes).expect("a buffer's address");
    }

    /// Gives a buffer back.
    pub fn put(&self, mut buffer: Buffer<'_>) {
        buffer.returned = true;
        self.free.borrow_mut().push(buffer.slot);
    }

    /// Buffers that are not given back.
    pub fn out(&self) -> usize {
        BUFFERS - self.free.borrow().len()
    }

    /// Time passes, and what is due happens.
    pub fn pass(&self, ns: u64) {
        let end_ns = self.clock.now_ns() + ns;
        loop {
            let due_ns = self
                .model
                .borrow()
                .deadline_ns()
                .filter(|due| *due <= end_ns);
            self.clock.move_to_ns(due_ns.unwrap_or(end_ns));
            self.model.borrow_mut().advance(&mut World(self));
            if due_ns.is_none() {
                return;
            }
        }
    }

    /// The accesses since the last call: reads, writes.
    pub fn accesses(&self) -> (u32, u32) {
        (self.reads.take(), self.writes.take())
    }

    /// Reads a register past the liar.
    pub fn peek(&self, offset: usize) -> u32 {
        let mut model = self.model.borrow_mut();
        model.read(offset as u32, 4, &mut World(self))
    }

    /// Writes a register past the driver.
    pub fn poke(&self, offset: usize, value: u32) {
        let mut model = self.model.borrow_mut();
        model.write(offset as u32, 4, value, &mut World(self));
    }
}

impl Io for Bench {
    fn read32(&self, offset: usize) -> u32 {
        self.reads.set(self.reads.get() + 1);
        let mut value = self.peek(offset);
        for lie in self.lies.borrow_mut().iter_mut() {
            if lie.offset == offset && lie.times > 0 {
                lie.times -= 1;
                value = value & lie.keep | lie.set;
            }
        }
        if offset == MDIO_CMD.offset {
            value = self.phy_says(value);
        }
        value
    }

    fn write32(&self, offset: usize, value: u32) {
        self.writes.set(self.writes.get() + 1);
        self.log.borrow_mut().push((offset, value));
        if !self.deaf.borrow().contains(&offset) {
            let is_mdio = offset == MDIO_CMD.offset;
            self.poke(offset, if is_mdio { self.redirect(value) } else { value });
        }
    }
}

/// Pauses that pass the bench's time.
#[derive(Clone, Copy)]
pub struct Pauses<'a>(pub &'a Bench);

impl DelayNs for Pauses<'_> {
    fn delay_ns(&mut self, ns: u32) {
        self.0.pass(ns.into());
    }
}

/// A frame's buffer: the CPU's copy; the device's lies in the bench's memory.
pub struct Buffer<'a> {
    bench: &'a Bench,
    slot: usize,
    cpu: Vec<u8>,
    /// Lines that the CPU has written and nobody has written back, a bit each.
    dirty: u32,
    returned: bool,
}

impl Buffer<'_> {
    fn device(&self, range: Range<usize>) -> Range<usize> {
        let at = self.slot * BUFFER_BYTES;
        assert!(
            range.start.is_multiple_of(LINE_BYTES) && range.end.is_multiple_of(LINE_BYTES),
            "{range:?} are not whole lines"
        );
        at + range.start..at + range.end
    }

    fn lines(range: &Range<usize>) -> u32 {
        (range.start / LINE_BYTES..range.end / LINE_BYTES).fold(0, |lines, line| lines | 1 << line)
    }

    /// Writes back what is dirty of these lines.
    fn write_back(&mut self, lines: u32) {
        for line in (0..32).filter(|line| self.dirty & lines & 1 << line != 0) {
            let range = line * LINE_BYTES..(line + 1) * LINE_BYTES;
            let device = self.device(range.clone());
            self.bench.memory.borrow_mut()[device].copy_from_slice(&self.cpu[range]);
        }
        self.dirty &= !lines;
    }
}

impl FrameBuffer for Buffer<'_> {
    fn bus_address(&self) -> u64 {
        BASE + (self.slot * BUFFER_BYTES) as u64
    }
    fn bytes(&self) -> &[u8] {
        &self.cpu
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.dirty = u32::MAX;
        &mut self.cpu
    }
    fn prewrite(&mut self, range: Range<usize>) {
        if self.bench.forgets.get() != Some(Forgets::Prewrite) {
            let lines = Self::lines(&range);
            self.device(range);
            self.write_back(lines);
        }
    }
    fn preread(&mut self, range: Range<usize>) {
        if self.bench.forgets.get() != Some(Forgets::Preread) {
            self.dirty &= !Self::lines(&range);
            self.device(range.clone());
            self.cpu[range].fill(CPU_JUNK);
        }
    }
    fn postread(&mut self, range: Range<usize>) {
        // What was left dirty before has been evicted by now, on top of what the device wrote.
        self.write_back(Self::lines(&range));
        if self.bench.forgets.get() != Some(Forgets::Postread) {
            let device = self.device(range.clone());
            self.cpu[range].copy_from_slice(&self.bench.memory.borrow()[device]);
        }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if !self.returned {
            self.bench.dropped.set(self.bench.dropped.get() + 1);
        }
    }
}
