// SPDX-License-Identifier: MIT OR Apache-2.0
//! One command from start to response, the waiting for events, and what errors mean (§3.7, §3.10).
use super::regs::{
    ARGUMENT, BLOCK, CLOCK_CONTROL, COMMAND, INT, INT_STATUS, PRESENT_STATE, RESPONSE,
};
use super::{STEP_US, Sdhci};
use crate::Io;
use crate::sd::{Command, HostError, Response, ResponseKind};
use crate::wait::wait_until;
use embedded_hal::delay::DelayNs;
use tock_registers::LocalRegisterCopy;
use tock_registers::fields::FieldValue;

/// Until the lines are free. A card may be busy for 500 ms after a write.
const INHIBIT_TIMEOUT_US: u32 = 1_000_000;
/// The controller itself gives a response up after 64 clocks, 160 us at 400 kHz.
const COMMAND_TIMEOUT_US: u32 = 100_000;
/// Until a block comes or is taken, and until busy ends: the card's limits are 100 ms and 500 ms.
pub(super) const DATA_TIMEOUT_US: u32 = 1_000_000;
const EVENT_STEP_US: u32 = 1;

const STOP_TRANSMISSION: u8 = 12;

type Mode = FieldValue<u32, COMMAND::Register>;
pub(super) type Event = FieldValue<u32, INT::Register>;

/// What the controller must know of a command's data.
pub(super) struct Transfer {
    pub block: FieldValue<u32, BLOCK::Register>,
    pub mode: Mode,
}

impl<I: Io, D: DelayNs> Sdhci<I, D> {
    /// Sends `command` and waits for its response and, with R1b, for the end of busy. With a transfer, its data
    /// follow.
    pub(super) fn run(
        &mut self,
        command: Command,
        transfer: Option<Transfer>,
    ) -> Result<Response, HostError> {
        let busy = command.response == ResponseKind::R1b;
        self.wait_free(transfer.is_some() || (busy && command.index != STOP_TRANSMISSION))?;
        self.put(&INT_STATUS, u32::MAX);
        let mut mode = mode_of(command);
        if let Some(transfer) = transfer {
            self.put(&BLOCK, transfer.block.value);
            mode += transfer.mode;
        }
        self.put(&ARGUMENT, command.argument);
        self.put(&COMMAND, mode.value);
        self.wait_for(
            INT::COMMAND_COMPLETE::SET,
            COMMAND_TIMEOUT_US,
            HostError::CommandStuck,
        )?;
        let words = RESPONSE.map(|register| u128::from(register.read(&self.io).get()));
        let bits = match command.response {
            ResponseKind::None => 0,
            ResponseKind::R2 => words[3] << 96 | words[2] << 64 | words[1] << 32 | words[0],
            _ => words[0],
        };
        if busy {
            self.wait_not_busy()?;
        }
        command.check(Response(bits))
    }

    /// Waits until the command line is free and, if `data`, the data lines too.
    fn wait_free(&mut self, data: bool) -> Result<(), HostError> {
        let inhibit = PRESENT_STATE::COMMAND_INHIBIT_CMD::SET
            + PRESENT_STATE::COMMAND_INHIBIT_DAT.val(data.into());
        let io = &self.io;
        let free = wait_until(&mut self.delay, INHIBIT_TIMEOUT_US, STEP_US, || {
            PRESENT_STATE.read(io).get() & inhibit.value == 0
        });
        if free {
            Ok(())
        } else {
            Err(HostError::InhibitStuck)
        }
    }

    /// Waits for the end of busy. Not every controller reports it as an event (U-Boot says so of this one), so the
    /// lines themselves are believed, too.
    fn wait_not_busy(&mut self) -> Result<(), HostError> {
        let io = &self.io;
        let ended = wait_until(&mut self.delay, DATA_TIMEOUT_US, STEP_US, || {
            let lines = PRESENT_STATE.read(io);
            INT_STATUS.read(io).is_set(INT::TRANSFER_COMPLETE)
                || (!lines.is_set(PRESENT_STATE::COMMAND_INHIBIT_DAT)
                    && lines.is_set(PRESENT_STATE::DAT0_LEVEL))
        });
        if ended { Ok(()) } else { Err(HostError::Busy) }
    }

    /// Waits for `event` and clears it. `late` is the error if neither it nor an error comes in time.
    pub(super) fn wait_for(
        &mut self,
        event: Event,
        timeout_us: u32,
        late: HostError,
    ) -> Result<(), HostError> {
        let io = &self.io;
        let mut status = INT_STATUS.read(io);
        if !wait_until(&mut self.delay, timeout_us, EVENT_STEP_US, || {
            status = INT_STATUS.read(io);
            status.any_matching_bits_set(event + INT::ERROR::SET)
        }) {
            return Err(late);
        }
        // "Transfer complete" outweighs the data time-out that came with it (§2.2.18).
        let only_late = status.read(INT::ALL_ERRORS) == DATA_TIMEOUT_ALONE;
        let complete = event.mask() & INT::TRANSFER_COMPLETE::SET.mask() & status.get() != 0;
        if status.is_set(INT::ERROR) && !(complete && only_late) {
            return Err(meaning(status));
        }
        self.put(&INT_STATUS, event.value);
        Ok(())
    }

    /// After an error, resets the command and data circuits.
    pub(super) fn recovered<T>(&mut self, result: Result<T, HostError>) -> Result<T, HostError> {
        if result.is_err() {
            self.reset(CLOCK_CONTROL::RESET_CMD::SET + CLOCK_CONTROL::RESET_DAT::SET)?;
        }
        result
    }
}

const DATA_TIMEOUT_ALONE: u32 = 1 << 4;

/// The upper half: response, checks, type and index (§2.2.6, table 2-12).
fn mode_of(command: Command) -> Mode {
    let checked = COMMAND::CRC_CHECK::SET + COMMAND::INDEX_CHECK::SET;
    let response = match command.response {
        ResponseKind::None => COMMAND::RESPONSE::None,
        ResponseKind::R2 => COMMAND::RESPONSE::Bits136 + COMMAND::CRC_CHECK::SET,
        ResponseKind::R3 => COMMAND::RESPONSE::Bits48,
        ResponseKind::R1b => COMMAND::RESPONSE::Bits48Busy + checked,
        ResponseKind::R1 | ResponseKind::R6 | ResponseKind::R7 => {
            COMMAND::RESPONSE::Bits48 + checked
        }
    };
    let kind = match command.index {
        STOP_TRANSMISSION => COMMAND::TYPE::Abort,
        _ => COMMAND::TYPE::Normal,
    };
    COMMAND::INDEX.val(command.index.into()) + kind + response
}

/// The first thing that went wrong, of what INT_STATUS tells.
fn meaning(status: LocalRegisterCopy<u32, INT::Register>) -> HostError {
    let told = |event: Event| status.any_matching_bits_set(event);
    // Time-out and CRC together: another drove the command line (§2.2.18, table 2-30).
    if told(INT::COMMAND_CRC::SET) {
        HostError::CommandCrc
    } else if told(INT::COMMAND_TIMEOUT::SET) {
        HostError::NoResponse
    } else if told(INT::COMMAND_END_BIT::SET) {
        HostError::CommandEndBit
    } else if told(INT::COMMAND_INDEX::SET) {
        HostError::CommandIndex
    } else if told(INT::DATA_CRC::SET) {
        HostError::DataCrc
    } else if told(INT::DATA_END_BIT::SET) {
        HostError::DataEndBit
    } else if told(INT::AUTO_CMD::SET) {
        HostError::AutoCommand
    } else if told(INT::DATA_TIMEOUT::SET) {
        HostError::DataTimeout
    } else {
        HostError::Unexpected(status.read(INT::ALL_ERRORS) as u16)
    }
}
