// SPDX-License-Identifier: MIT OR Apache-2.0
//! An eMMC: its commands and the states in which it hears them.
//!
//! JESD84-B51, table 61 (state transitions). It has the user's area alone: no boot partitions, no
//! replay-protected memory; and no sleep, no locking, no command queue.

use super::ext_csd::{BUS_WIDTH, CACHE_CTRL, ExtCsd, FLUSH_CACHE};
use super::registers::{emmc_cid, emmc_csd};
use super::status::{self, State};
use super::{Answer, Core, sd};

/// 2.7 to 3.6 V, and 1.7 to 1.95 V.
const VOLTAGES: u32 = 0x00ff_8080;
const OCR_READY: u32 = 1 << 31;
const OCR_BY_BLOCK: u32 = 1 << 30;
/// CMD0's argument that starts the boot operation: there are no boot partitions.
const BOOT: u32 = 0xffff_fffa;
/// How CMD6 accesses EXT_CSD: set or clear bits, write a byte; 0 is another command set.
const SET_BITS: u32 = 1;
const CLEAR_BITS: u32 = 2;
const WRITE_BYTE: u32 = 3;

/// What only an eMMC has.
pub(super) struct Emmc {
    ext_csd: ExtCsd,
}

impl Emmc {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            ext_csd: ExtCsd::new(bytes),
        }
    }

    pub(super) fn width(&self) -> u8 {
        match self.ext_csd.get(BUS_WIDTH) {
            0 => 1,
            1 | 5 => 4,
            _ => 8,
        }
    }

    pub(super) fn command(&mut self, index: u8, argument: u32, core: &mut Core) -> Option<Answer> {
        use State::{
            Disconnected, Ident, Idle, Programming, Ready, Receiving, Sending, Standby, Transfer,
        };
        let was_illegal = std::mem::take(&mut core.illegal);
        let state = core.state;
        let r1 = |core: &mut Core| Some(core.r1(was_illegal, false));
        match (index, state) {
            (0, _) if argument == BOOT => None,
            (0, _) => {
                let bytes = core.bytes;
                core.idle();
                *self = Self::new(bytes);
                None
            }
            (1, Idle | Ready) => Some(Self::operating_condition(argument, core)),
            (2, Ready) => {
                core.state = Ident;
                Some(Answer::Long(Self::cid()))
            }
            (3, Ident) => {
                let answer = r1(core);
                core.rca = (argument >> 16) as u16;
                core.state = Standby;
                answer
            }
            (4, Standby) => None,
            (6, Transfer) => {
                let answer = r1(core);
                self.switch(argument, core);
                answer
            }
            (7, _) => core.select(argument, was_illegal),
            (8, Transfer) => {
                let answer = r1(core);
                core.send_register(self.ext_csd.bytes());
                answer
            }
            (
                9 | 10 | 13 | 15,
                Standby | Transfer | Sending | Receiving | Programming | Disconnected,
            ) if !core.is_addressed(argument) => None,
            (9, Standby) => Some(Answer::Long(emmc_csd(core.bytes, core.standard))),
            (10, Standby) => Some(Answer::Long(Self::cid())),
            (12, Sending | Receiving) => {
                let answer = r1(core);
                core.stop();
                answer
            }
            (13, Standby | Transfer | Sending | Receiving | Programming | Disconnected) => r1(core),
            (15, Standby | Transfer | Sending | Receiving | Programming | Disconnected) => {
                core.state = State::Inactive;
                None
            }
            (16, Transfer) => {
                core.set_block_length(argument);
                r1(core)
            }
            (17 | 18 | 24 | 25, Transfer) => {
                core.transfer(index < 20, matches!(index, 18 | 25), argument);
                core.answer_from(state, was_illegal)
            }
            (21, Transfer) => {
                let answer = r1(core);
                core.send_register(self.tuning());
                answer
            }
            (23, Transfer) => {
                // The upper half asks for reliable writes, tags and contexts.
                core.count = Some(argument & 0xffff);
                r1(core)
            }
            (35 | 36, Transfer) => {
                core.erase_bound(argument, index == 36);
                r1(core)
            }
            (38, Transfer) => {
                core.erase();
                core.answer_from(state, was_illegal)
            }
            _ => core.illegal(),
        }
    }

    /// CMD1: ready when it is asked the second time.
    fn operating_condition(argument: u32, core: &mut Core) -> Answer {
        let mut ocr = VOLTAGES;
        if !core.standard {
            ocr |= OCR_BY_BLOCK;
        }
        if argument & VOLTAGES != 0 {
            if core.started {
                ocr |= OCR_READY;
                core.state = State::Ready;
            }
            core.started = true;
        }
        Answer::Bare(ocr)
    }

    /// CMD6.
    fn switch(&mut self, argument: u32, core: &mut Core) {
        let (index, value) = ((argument >> 16) as u8, (argument >> 8) as u8);
        let now = self.ext_csd.get(index);
        let value = match argument >> 24 & 3 {
            SET_BITS => now | value,
            CLEAR_BITS => now & !value,
            WRITE_BYTE => value,
            _ => return core.state = State::Programming, // the one command set that there is
        };
        if !self.ext_csd.set(index, value) {
            core.errors |= status::SWITCH_ERROR;
        } else if index == FLUSH_CACHE && value & 1 != 0
            || index == CACHE_CTRL && now & 1 != 0 && value & 1 == 0
        {
            core.flushing = true;
        }
        core.state = State::Programming;
    }

    /// CMD21: on 8 lines each nibble of SD's pattern comes twice.
    fn tuning(&self) -> Vec<u8> {
        match self.width() {
            8 => sd::TUNING
                .iter()
                .flat_map(|b| [b >> 4, b & 0xf].map(|n| n * 0x11))
                .collect(),
            _ => sd::TUNING.to_vec(),
        }
    }

    fn cid() -> u128 {
        emmc_cid(0x0123_4567)
    }
}
