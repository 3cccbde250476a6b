// SPDX-License-Identifier: MIT OR Apache-2.0
//! An SD card: its commands and the states in which it hears them.
//!
//! Physical Layer Simplified Specification, table 4-35 (state transitions). Left out: locking,
//! write protection by group, speed class control, general commands.

use super::registers::{scr, sd_cid, sd_csd, sd_status};
use super::status::State;
use super::switch::{csd_speed, switch};
use super::{Answer, Core};

/// 2.7 to 3.6 V.
const VOLTAGES: u32 = 0x00ff_8000;
const OCR_READY: u32 = 1 << 31;
const OCR_HIGH_CAPACITY: u32 = 1 << 30;
const OCR_LOW_VOLTAGE: u32 = 1 << 24;
/// CMD8: 2.7 to 3.6 V.
const SUPPLIED: u32 = 1;
/// What a new address differs from the one before by.
const RCA_STEP: u16 = 0x1357;
/// The pattern of CMD19.
pub(crate) const TUNING: [u8; 64] = [
    0xff, 0x0f, 0xff, 0x00, 0xff, 0xcc, 0xc3, 0xcc, 0xc3, 0x3c, 0xcc, 0xff, 0xfe, 0xff, 0xfe, 0xef,
    0xff, 0xdf, 0xff, 0xdd, 0xff, 0xfb, 0xff, 0xfb, 0xbf, 0xff, 0x7f, 0xff, 0x77, 0xf7, 0xbd, 0xef,
    0xff, 0xf0, 0xff, 0xf0, 0x0f, 0xfc, 0xcc, 0x3c, 0xcc, 0x33, 0xcc, 0xcf, 0xff, 0xef, 0xff, 0xee,
    0xff, 0xfd, 0xff, 0xfd, 0xdf, 0xff, 0xbf, 0xff, 0xbb, 0xff, 0xf7, 0xff, 0xf7, 0x7f, 0x7b, 0xde,
];

/// What only an SD card has.
#[derive(Default)]
pub(super) struct Sd {
    /// The next command is one of the application's.
    app: bool,
    /// CMD8 was heard: the host knows of high capacity.
    knows_v2: bool,
    four_bits: bool,
    /// Signals at 1.8 V.
    low_voltage: bool,
    /// ACMD41 agreed to change to 1.8 V.
    may_switch: bool,
    /// Between CMD11 and the return of the clock.
    pub(super) switching: bool,
    /// Bus speed, as CMD6 numbers it.
    speed: u8,
    last_rca: u16,
}

impl Sd {
    pub(super) fn width(&self) -> u8 {
        if self.four_bits { 4 } else { 1 }
    }

    pub(super) fn voltage_switched(&mut self, low: bool) {
        // At 3.3 V still: the switch has failed, and only a loss of power helps.
        self.low_voltage = low;
        self.switching = !low;
    }

    pub(super) fn command(&mut self, index: u8, argument: u32, core: &mut Core) -> Option<Answer> {
        let was_illegal = std::mem::take(&mut core.illegal);
        // What the application does not have is heard as the standard command.
        if std::mem::take(&mut self.app)
            && let Some(answer) = self.app_command(index, argument, core, was_illegal)
        {
            return answer;
        }
        self.standard_command(index, argument, core, was_illegal)
    }

    fn standard_command(
        &mut self,
        index: u8,
        argument: u32,
        core: &mut Core,
        was_illegal: bool,
    ) -> Option<Answer> {
        use State::{
            Disconnected, Ident, Idle, Programming, Ready, Receiving, Sending, Standby, Transfer,
        };
        let state = core.state;
        let r1 = |core: &mut Core| Some(core.r1(was_illegal, false));
        match (index, state) {
            (0, _) => {
                core.idle();
                *self = Self {
                    low_voltage: self.low_voltage,
                    last_rca: self.last_rca,
                    ..Self::default()
                };
                None
            }
            (2, Ready) => {
                core.state = Ident;
                Some(Answer::Long(self.cid()))
            }
            (3, Ident | Standby) => {
                self.last_rca = self.last_rca.wrapping_add(RCA_STEP).max(1);
                core.rca = self.last_rca;
                let Some(Answer::Short(r1)) = r1(core) else {
                    return None;
                };
                core.state = Standby;
                let bits = r1 >> 8 & 0xc000 | r1 >> 6 & 0x2000 | r1 & 0x1fff;
                Some(Answer::Short(u32::from(core.rca) << 16 | bits))
            }
            (4, Standby) => None,
            (6, Transfer) => {
                let answer = r1(core);
                core.send_register(switch(argument, self.low_voltage, &mut self.speed));
                answer
            }
            (7, _) => core.select(argument, was_illegal),
            (8, Idle) => {
                if argument >> 8 & 0xf != SUPPLIED {
                    return None;
                }
                self.knows_v2 = true;
                Some(Answer::Short(argument & 0xfff))
            }
            (9, Standby) if core.is_addressed(argument) => {
                let speed = csd_speed(self.speed);
                Some(Answer::Long(sd_csd(core.bytes, core.standard, speed)))
            }
            (10, Standby) if core.is_addressed(argument) => Some(Answer::Long(self.cid())),
            (11, Ready) if self.may_switch => {
                self.may_switch = false;
                self.switching = true;
                r1(core)
            }
            (12, Sending | Receiving) => {
                let answer = r1(core);
                core.stop();
                answer
            }
            (13, Standby | Transfer | Sending | Receiving | Programming | Disconnected)
                if core.is_addressed(argument) =>
            {
                r1(core)
            }
            (15, Standby | Transfer | Sending | Receiving | Programming | Disconnected)
                if core.is_addressed(argument) =>
            {
                core.state = State::Inactive;
                None
            }
            (
                9 | 10 | 13 | 15,
                Standby | Transfer | Sending | Receiving | Programming | Disconnected,
            ) if !core.is_addressed(argument) => None,
            (16, Transfer) => {
                core.set_block_length(argument);
                r1(core)
            }
            (17 | 18 | 24 | 25, Transfer) => {
                core.transfer(index < 20, matches!(index, 18 | 25), argument);
                core.answer_from(state, was_illegal)
            }
            (19, Transfer) if self.low_voltage => {
                let answer = r1(core);
                core.send_register(TUNING.to_vec());
                answer
            }
            (23, Transfer) => {
                core.count = Some(argument);
                r1(core)
            }
            (32 | 33, Transfer) => {
                core.erase_bound(argument, index == 33);
                r1(core)
            }
            (38, Transfer) => {
                core.erase();
                core.answer_from(state, was_illegal)
            }
            (55, Idle | Standby | Transfer | Sending | Receiving | Programming | Disconnected) => {
                if !core.is_addressed(argument) {
                    return None;
                }
                self.app = true;
                Some(core.r1(was_illegal, true))
            }
            _ => core.illegal(),
        }
    }

    /// A command after CMD55; `None` if the application has none of this number.
    fn app_command(
        &mut self,
        index: u8,
        argument: u32,
        core: &mut Core,
        was_illegal: bool,
    ) -> Option<Option<Answer>> {
        if index == 41 {
            return Some(match core.state {
                State::Idle => self.operating_condition(argument, core),
                _ => core.illegal(),
            });
        }
        if !matches!(index, 6 | 13 | 22 | 23 | 42 | 51) {
            return None;
        }
        if core.state != State::Transfer {
            return Some(core.illegal());
        }
        let answer = core.r1(was_illegal, true);
        match index {
            6 => match argument & 3 {
                0 => self.four_bits = false,
                2 => self.four_bits = true,
                _ => core.errors |= super::status::ERROR,
            },
            13 => core.send_register(sd_status(self.four_bits)),
            22 => core.send_register(core.written.to_be_bytes().to_vec()),
            51 => core.send_register(scr().to_vec()),
            _ => {} // blocks to erase beforehand; the pull-up on DAT3
        }
        Some(Some(answer))
    }

    /// ACMD41: ready when it is asked the second time.
    fn operating_condition(&mut self, argument: u32, core: &mut Core) -> Option<Answer> {
        let mut ocr = VOLTAGES;
        let voltages = argument & VOLTAGES;
        let high_capacity = argument & OCR_HIGH_CAPACITY != 0 && self.knows_v2;
        if voltages == 0 {
            return Some(Answer::Bare(ocr)); // only asked
        }
        // A host that knows nothing of high capacity waits for such a card for ever.
        if core.started && (core.standard || high_capacity) {
            core.state = State::Ready;
            ocr |= OCR_READY;
            if !core.standard {
                ocr |= OCR_HIGH_CAPACITY;
            }
            if argument & OCR_LOW_VOLTAGE != 0 && !self.low_voltage && !core.standard {
                self.may_switch = true;
                ocr |= OCR_LOW_VOLTAGE;
            }
        }
        core.started = true;
        Some(Answer::Bare(ocr))
    }

    fn cid(&self) -> u128 {
        sd_cid(0x0123_4567)
    }
}
