// SPDX-License-Identifier: MIT OR Apache-2.0
//! A card, for the host tests: its states, registers and memory, with faults on demand.
use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

pub(crate) const RCA: u16 = 0xb368;

/// How a card is, and what it does wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Make {
    /// Made to version 2.00 or later: knows CMD8.
    pub since_2_00: bool,
    pub high_capacity: bool,
    pub csd: u128,
    pub capacity_blocks: u64,
    pub ocr: u32,
    pub scr: u64,
    pub high_speed: bool,
    /// CMD6 says yes to the question and no to the switch.
    pub refuses_switch: bool,
    pub locked: bool,
    /// Questions by ACMD41 until it is up.
    pub not_ready: u32,
    /// CMD8's echo.
    pub echo: u32,
    /// Does not answer at all.
    pub silent: bool,
    /// Questions by CMD13 until a write is programmed.
    pub programming: u32,
    /// Error bits in the next status after a write.
    pub write_errors: u32,
}

impl Make {
    /// 4 GiB, high speed.
    pub(crate) const SDHC: Self = Self {
        since_2_00: true,
        high_capacity: true,
        csd: 1 << 126 | 0x5b5 << 84 | 9 << 80 | 8_191 << 48,
        capacity_blocks: 8_192 * 1024,
        ocr: 0x00ff_8000,
        scr: 0x0235_8003_0000_0000,
        high_speed: true,
        refuses_switch: false,
        locked: false,
        not_ready: 2,
        echo: 0x1aa,
        silent: false,
        programming: 2,
        write_errors: 0,
    };
    /// 64 MiB, version 2, no high speed.
    pub(crate) const SDSC: Self = Self {
        high_capacity: false,
        csd: 0x5b5 << 84 | 9 << 80 | 2_047 << 62 | 4 << 47,
        capacity_blocks: 2_048 * 64,
        high_speed: false,
        ..Self::SDHC
    };
    /// Version 1.01: neither CMD8 nor CMD6, one data line.
    pub(crate) const OLD: Self = Self {
        since_2_00: false,
        csd: Self::SDSC.csd & !(1 << 94),
        scr: 1 << 48,
        ..Self::SDSC
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Ready,
    Identification,
    Standby,
    Transfer,
    Sending,
    Receiving,
    Programming(u32),
}

/// A card with its memory.
pub(crate) struct CardModel {
    pub(crate) make: Make,
    state: Cell<State>,
    app: Cell<bool>,
    asked_41: Cell<u32>,
    four_lines: Cell<bool>,
    fast: Cell<bool>,
    errors: Cell<u32>,
    memory: RefCell<BTreeMap<u64, Vec<u8>>>,
    next_block: Cell<u64>,
    own_data: RefCell<Option<Vec<u8>>>,
    /// Every command and its argument, application commands as 100 + index.
    log: RefCell<Vec<(u8, u32)>>,
}

impl CardModel {
    pub(crate) fn new(make: Make) -> Self {
        Self {
            make,
            state: Cell::new(State::Idle),
            app: Cell::new(false),
            asked_41: Cell::new(0),
            four_lines: Cell::new(false),
            fast: Cell::new(false),
            errors: Cell::new(0),
            memory: RefCell::default(),
            next_block: Cell::new(0),
            own_data: RefCell::default(),
            log: RefCell::default(),
        }
    }

    pub(crate) fn four_lines(&self) -> bool {
        self.four_lines.get()
    }

    /// The fastest clock that this card follows now.
    pub(crate) fn limit_hz(&self) -> u32 {
        match self.state.get() {
            State::Idle | State::Ready | State::Identification => 400_000,
            _ if self.fast.get() => 50_000_000,
            _ => 25_000_000,
        }
    }

    /// How often command `index` came; 100 more for application commands.
    pub(crate) fn count(&self, index: u8) -> usize {
        self.log
            .borrow()
            .iter()
            .filter(|(i, _)| *i == index)
            .count()
    }

    /// The last argument of command `index`.
    pub(crate) fn last(&self, index: u8) -> Option<u32> {
        self.log
            .borrow()
            .iter()
            .rev()
            .find(|(i, _)| *i == index)
            .map(|(_, a)| *a)
    }

    /// What block `lba` holds.
    pub(crate) fn block(&self, lba: u64) -> Vec<u8> {
        self.memory
            .borrow()
            .get(&lba)
            .cloned()
            .unwrap_or_else(|| vec![0; 512])
    }

    /// Executes a command; the response, short or long.
    pub(crate) fn command(&self, index: u8, argument: u32) -> Option<u128> {
        if self.make.silent {
            return None;
        }
        let app = self.app.replace(false);
        self.log
            .borrow_mut()
            .push((if app { 100 + index } else { index }, argument));
        let addressed = argument >> 16 == u32::from(RCA);
        let status = self.status();
        let state = self.state.get();
        match (index, state) {
            (0, _) => {
                self.state.set(State::Idle);
                self.asked_41.set(0);
                self.four_lines.set(false);
                self.fast.set(false);
                None
            }
            (8, State::Idle) if self.make.since_2_00 => Some(self.make.echo.into()),
            (55, State::Idle) => self.expect_app(status),
            (55, _) if addressed => self.expect_app(status),
            (41, State::Idle) if app => Some(self.operating_conditions(argument).into()),
            (2, State::Ready) => {
                self.state.set(State::Identification);
                Some(0x0353_4453_5533_3247_8052_4b5b_3c01_4600 >> 8)
            }
            (3, State::Identification) => {
                self.state.set(State::Standby);
                Some(u128::from(RCA) << 16 | 0x500)
            }
            (9, State::Standby) if addressed => Some(self.make.csd >> 8),
            (7, State::Standby) if addressed => {
                self.state.set(State::Transfer);
                Some(status | u128::from(self.make.locked) << 25)
            }
            (6, State::Transfer) if app => {
                self.four_lines.set(argument & 0b11 == 0b10);
                Some(status)
            }
            (51, State::Transfer) if app => self.own(self.make.scr.to_be_bytes().into(), status),
            (6, State::Transfer) if self.make.csd & 1 << 94 != 0 => self.switch(argument, status),
            (16, State::Transfer) if !self.make.high_capacity => {
                assert_eq!(argument, 512);
                Some(status)
            }
            (13, _) if addressed => self.tell_status(status),
            (12, State::Sending) => {
                self.state.set(State::Transfer);
                Some(status)
            }
            (12, State::Receiving) => {
                self.written();
                Some(status)
            }
            (17 | 18, State::Transfer) => self.access(argument, status, State::Sending),
            (24 | 25, State::Transfer) => self.access(argument, status, State::Receiving),
            _ => None,
        }
    }

    fn status(&self) -> u128 {
        let state = match self.state.get() {
            State::Idle => 0,
            State::Ready => 1,
            State::Identification => 2,
            State::Standby => 3,
            State::Transfer => 4,
            State::Sending => 5,
            State::Receiving => 6,
            // At last the card has programmed, but has no room yet.
            State::Programming(0 | 1) => 4,
            State::Programming(_) => 7,
        };
        let ready = !matches!(self.state.get(), State::Programming(_));
        state << 9 | u128::from(ready) << 8 | u128::from(self.errors.get())
    }

    fn tell_status(&self, status: u128) -> Option<u128> {
        self.errors.set(0);
        match self.state.get() {
            State::Programming(u32::MAX) => {}
            State::Programming(0) => self.state.set(State::Transfer),
            State::Programming(more) => self.state.set(State::Programming(more - 1)),
            _ => {}
        }
        Some(status)
    }

    fn expect_app(&self, status: u128) -> Option<u128> {
        self.app.set(true);
        Some(status | 1 << 5)
    }

    fn operating_conditions(&self, argument: u32) -> u32 {
        let asked = self.asked_41.replace(self.asked_41.get().saturating_add(1));
        let welcome = !self.make.high_capacity || argument & 1 << 30 != 0;
        if asked < self.make.not_ready || !welcome || argument & self.make.ocr == 0 {
            return self.make.ocr;
        }
        self.state.set(State::Ready);
        self.make.ocr | 1 << 31 | u32::from(self.make.high_capacity) << 30
    }

    fn own(&self, data: Vec<u8>, status: u128) -> Option<u128> {
        *self.own_data.borrow_mut() = Some(data);
        self.state.set(State::Sending);
        Some(status)
    }

    fn switch(&self, argument: u32, status: u128) -> Option<u128> {
        let mut data = vec![0; 64];
        data[13] = if self.make.high_speed { 0b11 } else { 0b01 };
        let takes = self.make.high_speed && argument & 0xf == 1;
        let sets = argument >> 31 != 0;
        data[16] = match takes {
            true if sets && self.make.refuses_switch => 0xf,
            true => 1,
            false => 0xf,
        };
        self.fast.set(sets && data[16] == 1);
        self.own(data, status)
    }

    fn access(&self, argument: u32, status: u128, state: State) -> Option<u128> {
        let lba = match self.make.high_capacity {
            true => argument.into(),
            false => {
                assert_eq!(argument % 512, 0, "this card counts bytes");
                u64::from(argument / 512)
            }
        };
        if lba >= self.make.capacity_blocks {
            return Some(status | 1 << 31);
        }
        self.next_block.set(lba);
        self.state.set(state);
        Some(status)
    }

    fn written(&self) {
        self.state.set(State::Programming(self.make.programming));
        self.errors.set(self.make.write_errors);
    }

    /// The next block that the card sends.
    pub(crate) fn send_block(&self, multiple: bool) -> Vec<u8> {
        assert_eq!(self.state.get(), State::Sending);
        if let Some(data) = self.own_data.take() {
            self.state.set(State::Transfer);
            return data;
        }
        let lba = self.next_block.get();
        self.next_block.set(lba + 1);
        if !multiple {
            self.state.set(State::Transfer);
        }
        self.block(lba)
    }

    /// Takes a block.
    pub(crate) fn take_block(&self, data: &[u8], multiple: bool) {
        assert_eq!(self.state.get(), State::Receiving);
        assert_eq!(data.len(), 512);
        let lba = self.next_block.get();
        assert!(lba < self.make.capacity_blocks);
        self.next_block.set(lba + 1);
        self.memory.borrow_mut().insert(lba, data.into());
        if !multiple {
            self.written();
        }
    }
}
