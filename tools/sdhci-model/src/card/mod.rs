// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card at the other end of the bus: an SD card or an eMMC.
//!
//! # Theory
//! A card hears commands, answers or is silent, and then is in a data phase, or busy, or neither.
//! It knows no time: while it is busy, [`Card::work`] does a part of what it is busy with, and
//! whoever has a clock says when. What goes wrong on the medium is in the card's status as long
//! as no answer has told it; see `status`.
//!
//! # References
//! SD Physical Layer Simplified Specification 6.00; JEDEC JESD84-B51 (eMMC 5.1).

mod emmc;
mod ext_csd;
mod registers;
mod sd;
pub(crate) mod status;
mod stream;
mod switch;

use crate::medium::Medium;
use registers::{STANDARD_MAX, usable};
use status::State;
use stream::Stream;

pub(crate) use stream::Broken;

/// Bytes that a busy card erases before it looks up again.
const ERASE_STEP: u64 = 4 << 20;

/// What a card answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 48 bits with index and check sequence: R1, R6, R7
    Short(u32),
    /// 48 bits without them: R3
    Bare(u32),
    /// 136 bits: R2
    Long(u128),
}

/// What kind of card.
enum Kind {
    Sd(sd::Sd),
    Emmc(emmc::Emmc),
}

/// A card, out of power until it is put into a slot that has some.
pub struct Card {
    kind: Kind,
    core: Core,
}

/// What both kinds have.
struct Core {
    medium: Box<dyn Medium>,
    /// Bytes of the medium that the card offers.
    bytes: u64,
    /// Addresses are in bytes: standard capacity.
    standard: bool,
    state: State,
    rca: u16,
    /// Errors that no answer has told yet.
    errors: u32,
    /// The command before was illegal.
    illegal: bool,
    block_bytes: u32,
    /// CMD23's block count.
    count: Option<u32>,
    stream: Option<Stream>,
    /// Blocks written well by the last write.
    written: u32,
    erase_from: Option<u64>,
    /// The last byte's successor.
    erase_to: Option<u64>,
    erasing: Option<(u64, u64)>,
    flushing: bool,
    flushes: u64,
    /// Asked once already whether it has started up.
    started: bool,
}

impl Core {
    fn new(medium: Box<dyn Medium>, standard: bool) -> Self {
        Self {
            bytes: usable(medium.bytes(), standard),
            medium,
            standard,
            state: State::Idle,
            rca: 0,
            errors: 0,
            illegal: false,
            block_bytes: 512,
            count: None,
            stream: None,
            written: 0,
            erase_from: None,
            erase_to: None,
            erasing: None,
            flushing: false,
            flushes: 0,
            started: false,
        }
    }

    /// CMD0.
    fn idle(&mut self) {
        self.state = State::Idle;
        self.rca = 0;
        self.errors = 0;
        self.block_bytes = 512;
        self.count = None;
        self.stream = None;
        self.erase_from = None;
        self.erase_to = None;
        self.erasing = None;
        self.flushing = false;
        self.started = false;
    }

    /// The card status, which then forgets the errors.
    fn r1(&mut self, was_illegal: bool, app: bool) -> Answer {
        let mut bits = std::mem::take(&mut self.errors) | (self.state as u32) << 9;
        if was_illegal {
            bits |= status::ILLEGAL_COMMAND;
        }
        if app {
            bits |= status::APP_CMD;
        }
        if self.state != State::Programming {
            bits |= status::READY_FOR_DATA;
        }
        Answer::Short(bits)
    }

    /// R1 of a command that was heard in this state, with the errors that it found in its argument.
    fn answer_from(&mut self, state: State, was_illegal: bool) -> Option<Answer> {
        let now = std::mem::replace(&mut self.state, state);
        let answer = self.r1(was_illegal, false);
        self.state = now;
        Some(answer)
    }

    fn illegal(&mut self) -> Option<Answer> {
        self.illegal = true;
        None
    }

    fn is_addressed(&self, argument: u32) -> bool {
        argument >> 16 == self.rca.into()
    }

    /// A command's address in bytes; beyond the end none, which the status then says.
    fn address(&mut self, argument: u32) -> Option<u64> {
        let at = match self.standard {
            true => argument.into(),
            false => u64::from(argument) * registers::BLOCK,
        };
        if at >= self.bytes {
            self.errors |= status::OUT_OF_RANGE;
            return None;
        }
        Some(at)
    }

    /// CMD17, 18, 24, 25: begins a data phase if address and length allow.
    fn transfer(&mut self, read: bool, multi: bool, argument: u32) {
        let count = self.count.take().filter(|count| multi && *count > 0);
        let Some(at) = self.address(argument) else {
            return;
        };
        let length = match self.standard {
            true => self.block_bytes,
            false => 512,
        };
        if length == 0 || !read && length != 512 {
            self.errors |= status::BLOCK_LEN_ERROR;
            return;
        }
        if at % registers::BLOCK + u64::from(length) > registers::BLOCK {
            self.errors |= status::ADDRESS_ERROR;
            return;
        }
        let left = if multi { count } else { Some(1) };
        self.stream = Some(Stream::medium(read, at, length as usize, left));
        self.state = if read {
            State::Sending
        } else {
            State::Receiving
        };
    }

    fn send_register(&mut self, bytes: Vec<u8>) {
        self.stream = Some(Stream::register(bytes));
        self.state = State::Sending;
    }

    /// CMD12, in a data phase.
    fn stop(&mut self) {
        self.state = match self.stream.take() {
            Some(stream) if !stream.read => {
                self.written = stream.written;
                State::Programming
            }
            _ => State::Transfer,
        };
    }

    /// CMD16.
    fn set_block_length(&mut self, bytes: u32) {
        if bytes > 512 {
            self.errors |= status::BLOCK_LEN_ERROR;
        } else {
            self.block_bytes = bytes;
        }
    }

    /// CMD7: selects this card, or another.
    fn select(&mut self, argument: u32, was_illegal: bool) -> Option<Answer> {
        let mine = self.is_addressed(argument) && self.rca != 0;
        let (state, answers) = match (self.state, mine) {
            (State::Standby, true) => (State::Transfer, true),
            (State::Disconnected, true) => (State::Programming, true),
            (State::Transfer | State::Sending, false) => (State::Standby, false),
            (State::Programming, false) => (State::Disconnected, false),
            (State::Standby | State::Disconnected, false) => return None,
            _ => return self.illegal(),
        };
        let answer = self.r1(was_illegal, false);
        self.state = state;
        if state == State::Standby {
            self.stream = None;
        }
        answers.then_some(answer)
    }

    /// The first or the last address to erase.
    fn erase_bound(&mut self, argument: u32, last: bool) {
        match self.address(argument) {
            Some(at) if last => {
                self.erase_to = Some(at / registers::BLOCK * registers::BLOCK + 512)
            }
            Some(at) => self.erase_from = Some(at / registers::BLOCK * registers::BLOCK),
            None => (self.erase_from, self.erase_to) = (None, None),
        }
    }

    /// CMD38.
    fn erase(&mut self) {
        match (self.erase_from.take(), self.erase_to.take()) {
            (Some(from), Some(to)) if from < to => {
                self.erasing = Some((from, to));
                self.state = State::Programming;
            }
            (Some(_), Some(_)) => self.errors |= status::ERASE_PARAM,
            _ => self.errors |= status::ERASE_SEQ_ERROR,
        }
    }

    fn is_busy(&self) -> bool {
        matches!(self.state, State::Programming | State::Disconnected)
    }

    fn work(&mut self) {
        if !self.is_busy() {
            return;
        }
        if std::mem::take(&mut self.flushing) {
            self.flushes += 1;
            if self.medium.flush().is_err() {
                self.errors |= status::ERROR;
            }
        }
        if let Some((from, to)) = self.erasing.take() {
            let bytes = (to - from).min(ERASE_STEP);
            if self.medium.erase(from, bytes).is_err() {
                self.errors |= status::ERROR;
            } else if from + bytes < to {
                self.erasing = Some((from + bytes, to));
                return;
            }
        }
        self.state = match self.state {
            State::Disconnected => State::Standby,
            _ => State::Transfer,
        };
    }
}

impl Card {
    /// An SD card, of standard capacity up to 2 GiB, of high capacity above.
    pub fn sd(medium: Box<dyn Medium>) -> Self {
        let standard = medium.bytes() <= STANDARD_MAX;
        Self::sd_of(medium, standard)
    }

    /// An SD card of high capacity, of whatever size: a multiple of 512 KiB.
    pub fn sdhc(medium: Box<dyn Medium>) -> Self {
        Self::sd_of(medium, false)
    }

    fn sd_of(medium: Box<dyn Medium>, standard: bool) -> Self {
        Self {
            kind: Kind::Sd(sd::Sd::default()),
            core: Core::new(medium, standard),
        }
    }

    /// An eMMC, addressed by byte up to 2 GiB, by block above.
    pub fn emmc(medium: Box<dyn Medium>) -> Self {
        let standard = medium.bytes() <= STANDARD_MAX;
        let core = Core::new(medium, standard);
        Self {
            kind: Kind::Emmc(emmc::Emmc::new(core.bytes)),
            core,
        }
    }

    /// The bytes that it offers: what its kind can say of the medium's size.
    pub fn bytes(&self) -> u64 {
        self.core.bytes
    }

    /// How often it has made what was written last.
    pub(crate) fn flushes(&self) -> u64 {
        self.core.flushes
    }

    /// Power goes off and on.
    pub(crate) fn power_cycle(&mut self) {
        self.core.idle();
        self.core.illegal = false;
        match &mut self.kind {
            Kind::Sd(sd) => *sd = sd::Sd::default(),
            Kind::Emmc(emmc) => *emmc = emmc::Emmc::new(self.core.bytes),
        }
    }

    /// Hears a command. `None`: silence.
    pub(crate) fn command(&mut self, index: u8, argument: u32) -> Option<Answer> {
        if self.core.state == State::Inactive {
            return None;
        }
        match &mut self.kind {
            Kind::Sd(sd) => sd.command(index, argument, &mut self.core),
            Kind::Emmc(emmc) => emmc.command(index, argument, &mut self.core),
        }
    }

    /// The data phase that it is in: whether the card sends, and in blocks of so many bytes.
    pub(crate) fn phase(&self) -> Option<(bool, usize)> {
        let stream = self.core.stream.as_ref()?;
        Some((stream.read, stream.block_bytes))
    }

    /// Sends whole blocks: how many bytes, and why no more.
    pub(crate) fn send(&mut self, into: &mut [u8]) -> (usize, Option<Broken>) {
        let core = &mut self.core;
        let Some(stream) = core.stream.as_mut().filter(|s| s.read) else {
            return (0, Some(Broken::Silence));
        };
        let (good, mut why, errors) = stream.send(into, core.medium.as_mut(), core.bytes);
        core.errors |= errors;
        if stream.is_over() {
            core.stop();
            if why.is_none() && good < into.len() {
                why = Some(Broken::Silence);
            }
        }
        (good, why)
    }

    /// Takes whole blocks; false if it waits for none.
    pub(crate) fn receive(&mut self, from: &[u8]) -> bool {
        let core = &mut self.core;
        let Some(stream) = core.stream.as_mut().filter(|s| !s.read) else {
            return false;
        };
        core.errors |= stream.receive(from, core.medium.as_mut(), core.bytes);
        if stream.is_over() {
            core.stop();
        }
        true
    }

    /// The card refuses the write that it has just been told of.
    pub(crate) fn protect(&mut self) {
        if let Some(stream) = self.core.stream.as_mut().filter(|s| !s.read) {
            stream.refuse();
            self.core.errors |= status::WP_VIOLATION;
        }
    }

    /// Whether it holds DAT0 low.
    pub(crate) fn is_busy(&self) -> bool {
        self.core.state == State::Programming
    }

    /// A busy card does a part of its work, and then perhaps is no longer busy.
    pub(crate) fn work(&mut self) {
        self.core.work();
    }

    /// How many data lines it uses.
    pub(crate) fn width(&self) -> u8 {
        match &self.kind {
            Kind::Sd(sd) => sd.width(),
            Kind::Emmc(emmc) => emmc.width(),
        }
    }

    /// Whether it has answered CMD11 and waits for the clock to stop and the voltage to change.
    pub(crate) fn switches_voltage(&self) -> bool {
        matches!(&self.kind, Kind::Sd(sd) if sd.switching)
    }

    /// The clock is back; the signals are at 1.8 V or not.
    pub(crate) fn voltage_switched(&mut self, low: bool) {
        if let Kind::Sd(sd) = &mut self.kind {
            sd.voltage_switched(low);
        }
    }
}
