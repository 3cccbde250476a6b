// SPDX-License-Identifier: MIT OR Apache-2.0
//! An SDHCI controller with a card in it, for the host tests: strict about its use, with faults on demand.
use crate::Io;
use crate::sd::model::CardModel;
use crate::testing::Clock;
use core::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

/// CAPS of EMMC2 on a board, and of QEMU's Arasan.
pub(super) const CAPS_EMMC2: u32 = 0x45ee_6432;
pub(super) const CAPS_QEMU: u32 = 0x0521_34b4;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The reset bits stay set.
    Reset,
    /// The clock does not become stable.
    Clock,
    /// The command line stays taken.
    Inhibit,
    /// Nothing comes of a command.
    Command(u8),
    /// A command ends with these error bits of INT_STATUS.
    CommandError(u8, u32),
    /// At this block of a transfer, these error bits; none: silence.
    Data(u16, u32),
    /// After the last block, these error bits, with "transfer complete" if so.
    End(u32, bool),
    /// R1b: busy for ever.
    Busy,
    /// R1b: "transfer complete" never comes, but the lines tell the end.
    BusyWithoutEvent,
}

/// The controller.
pub(super) struct Controller<'a> {
    card: &'a CardModel,
    clock: &'a Clock,
    caps: u32,
    pub(super) version: Cell<u32>,
    registers: RefCell<BTreeMap<usize, u32>>,
    fault: Cell<Option<(Fault, u32)>>,
    fifo: RefCell<VecDeque<u32>>,
    blocks_left: Cell<u16>,
    block_number: Cell<u16>,
    data_circuit_busy: Cell<bool>,
    last_write: RefCell<BTreeMap<usize, u64>>,
}

impl<'a> Controller<'a> {
    pub(super) fn new(card: &'a CardModel, clock: &'a Clock, caps: u32) -> Self {
        Self {
            card,
            clock,
            caps,
            version: Cell::new(0x1002_0000),
            registers: RefCell::default(),
            fault: Cell::new(None),
            fifo: RefCell::default(),
            blocks_left: Cell::new(0),
            block_number: Cell::new(0),
            data_circuit_busy: Cell::new(false),
            last_write: RefCell::default(),
        }
    }

    /// From now on `fault` happens so many times.
    pub(super) fn fail(&self, fault: Fault, times: u32) {
        self.fault.set(Some((fault, times)));
    }

    /// Does a fault that `wanted` accepts happen now?
    fn faulty(&self, wanted: impl Fn(Fault) -> bool) -> Option<Fault> {
        let (fault, times) = self.fault.get().filter(|(f, _)| wanted(*f))?;
        self.fault.set((times > 1).then_some((fault, times - 1)));
        Some(fault)
    }

    fn get(&self, offset: usize) -> u32 {
        self.registers.borrow().get(&offset).copied().unwrap_or(0)
    }

    fn set(&self, offset: usize, value: u32) {
        self.registers.borrow_mut().insert(offset, value);
    }

    /// The bus clock in Hz: 0 while it stands.
    pub(super) fn bus_hz(&self) -> u32 {
        let clock = self.get(0x2c);
        if clock & 0b101 != 0b101 {
            return 0;
        }
        let n = clock >> 8 & 0xff | (clock >> 6 & 0b11) << 8;
        let base = (self.caps >> 8 & 0xff) * 1_000_000;
        if n == 0 { base } else { base / (2 * n) }
    }

    /// Raises events that are enabled.
    fn raise(&self, events: u32) {
        let error = if events >> 16 != 0 { 1 << 15 } else { 0 };
        self.set(0x30, self.get(0x30) | (events & self.get(0x34)) | error);
    }

    fn inhibit(&self) -> u32 {
        let command = matches!(self.fault.get(), Some((Fault::Inhibit, _)));
        u32::from(command) | u32::from(self.data_circuit_busy.get()) << 1
    }

    fn control_clock(&self, value: u32) {
        let old = self.get(0x2c);
        if old & value & 1 << 2 != 0 {
            assert_eq!(
                old & 0xffc0,
                value & 0xffc0,
                "divisor changed while the bus clock runs"
            );
        }
        let mut value = value & !(1 << 1);
        if self
            .faulty(|f| f == Fault::Reset && value >> 24 != 0)
            .is_none()
        {
            if value & 1 << 24 != 0 {
                self.registers.borrow_mut().clear();
                value = 0;
            }
            if value & 1 << 26 != 0 {
                self.data_circuit_busy.set(false);
                self.fifo.borrow_mut().clear();
            }
            value &= 0xff_ffff;
        }
        if value & 1 != 0 && self.faulty(|f| f == Fault::Clock).is_none() {
            value |= 1 << 1;
        }
        self.set(0x2c, value);
    }

    fn start(&self, word: u32) {
        let index = (word >> 24) as u8;
        let (response, data) = (word >> 16 & 0b11, word & 1 << 21 != 0);
        assert_eq!(self.get(0x28) & 0xf00, 0xf00, "3.3 V are on");
        let hz = self.bus_hz();
        assert!(
            (200_000..=self.card.limit_hz()).contains(&hz),
            "CMD{index} at {hz} Hz"
        );
        assert_eq!(
            self.inhibit() & 1,
            0,
            "CMD{index} while the command line is taken"
        );
        assert!(
            !(data && self.data_circuit_busy.get()),
            "CMD{index} while the data lines are taken"
        );
        if self.faulty(|f| f == Fault::Command(index)).is_some() {
            return;
        }
        if let Some(Fault::CommandError(_, bits)) =
            self.faulty(|f| matches!(f, Fault::CommandError(i, _) if i == index))
        {
            return self.raise(bits);
        }
        let Some(bits) = self.card.command(index, self.get(0x08)) else {
            return self.raise(if response == 0 { 1 } else { 1 << 16 });
        };
        for (word, offset) in [0x10, 0x14, 0x18, 0x1c].into_iter().enumerate() {
            self.set(offset, (bits >> (32 * word)) as u32);
        }
        self.raise(1);
        if response == 3 {
            match self.faulty(|f| matches!(f, Fault::Busy | Fault::BusyWithoutEvent)) {
                Some(Fault::Busy) => self.data_circuit_busy.set(true),
                Some(_) => {}
                None => self.raise(1 << 1),
            }
        }
        if data {
            let (multiple, count) = (word & 1 << 5 != 0, (self.get(0x04) >> 16) as u16);
            assert_eq!(multiple, matches!(index, 18 | 25));
            assert_eq!(
                word & 0b1111,
                if multiple { 0b0110 } else { 0 },
                "block count, auto CMD12"
            );
            self.blocks_left.set(if multiple { count } else { 1 });
            self.block_number.set(0);
            self.data_circuit_busy.set(true);
            self.next_block();
        }
    }

    fn mode(&self, bit: u32) -> bool {
        self.get(0x0c) & 1 << bit != 0
    }

    /// The next block begins, or the transfer ends.
    fn next_block(&self) {
        let number = self.block_number.replace(self.block_number.get() + 1);
        if let Some(Fault::Data(_, bits)) =
            self.faulty(|f| matches!(f, Fault::Data(n, _) if n == number))
        {
            return self.raise(bits);
        }
        let lines = if self.get(0x28) & 0b10 != 0 { 4 } else { 1 };
        if (lines == 4) != self.card.four_lines() {
            return self.raise(1 << 21); // host and card disagree: no CRC can be right
        }
        if self.blocks_left.get() == 0 {
            return self.end();
        }
        if self.mode(4) {
            let block = self.card.send_block(self.mode(5));
            assert_eq!(block.len(), self.get(0x04) as usize & 0xfff);
            let (words, _) = block.as_chunks();
            self.fifo
                .borrow_mut()
                .extend(words.iter().map(|w| u32::from_le_bytes(*w)));
            self.raise(1 << 5);
        } else {
            self.raise(1 << 4);
        }
    }

    fn end(&self) {
        if self.mode(2) {
            self.card.command(12, 0);
        }
        self.data_circuit_busy.set(false);
        match self.faulty(|f| matches!(f, Fault::End(..))) {
            Some(Fault::End(bits, complete)) => self.raise(bits | u32::from(complete) << 1),
            _ => self.raise(1 << 1),
        }
    }

    fn write_port(&self, value: u32) {
        assert!(self.data_circuit_busy.get() && !self.mode(4));
        self.fifo.borrow_mut().push_back(value);
        if self.fifo.borrow().len() * 4 == self.get(0x04) as usize & 0xfff {
            let words = self.fifo.take();
            let block: std::vec::Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            self.card.take_block(&block, self.mode(5));
            self.blocks_left.set(self.blocks_left.get() - 1);
            self.next_block();
        }
    }

    fn read_port(&self) -> u32 {
        assert_eq!(
            self.get(0x30) & 1 << 5,
            0,
            "the event is cleared before the block is read"
        );
        let word = self
            .fifo
            .borrow_mut()
            .pop_front()
            .expect("the port is read when it has data");
        if self.fifo.borrow().is_empty() {
            self.blocks_left.set(self.blocks_left.get() - 1);
            self.next_block();
        }
        word
    }
}

impl Io for Controller<'_> {
    fn read32(&self, offset: usize) -> u32 {
        match offset {
            0x20 => self.read_port(),
            0x24 => 0x1fff_0000 & !(self.inhibit() << 19 & 1 << 20) | self.inhibit(),
            0x28 => self.get(0x28) | 1 << 23, // as EMMC2 does
            0x40 => self.caps,
            0xfc => self.version.get(),
            0x0c | 0x10 | 0x14 | 0x18 | 0x1c | 0x2c | 0x30 => self.get(offset),
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let now_us = self.clock.now_us();
        let last_us = self.last_write.borrow_mut().insert(offset, now_us);
        if let (Some(last_us), 1..=400_000, false) = (last_us, self.bus_hz(), offset == 0x20) {
            let clocks = (now_us - last_us) * u64::from(self.bus_hz()) / 1_000_000;
            assert!(
                clocks >= 2,
                "two writes to {offset:#x} within {clocks} bus clocks"
            );
        }
        match offset {
            0x04 | 0x08 | 0x28 | 0x34 => self.set(offset, value),
            0x0c => {
                self.set(offset, value);
                self.start(value);
            }
            0x20 => self.write_port(value),
            0x2c => self.control_clock(value),
            0x30 => {
                let left = self.get(0x30) & !value;
                self.set(
                    0x30,
                    if left >> 16 == 0 {
                        left & !(1 << 15)
                    } else {
                        left
                    },
                );
            }
            0x38 => assert_eq!(value, 0, "interrupts are polled"),
            _ => panic!("write of {value:#x} to {offset:#x}"),
        }
    }
}
