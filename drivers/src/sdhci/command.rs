// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that a thread waits for: identification, recovery.
//!
//! # Theory
//! The thread takes what the controller tells as an interrupt would, and sleeps in [`Slot::wait_event`] in between. The
//! handler that wakes it has let go of the interrupt line by clearing INT_SIGNAL_ENABLE, so that is written again
//! before each sleep; what came meanwhile interrupts at once.
//!
//! Not every controller tells the end of busy (U-Boot says so of this one): so the lines themselves are looked at,
//! too, at first after a millisecond, then after twice as long each time.
use super::engine::Awaits;
use super::port::Port;
use super::regs::{INT, INT_SIGNAL_ENABLE, INT_STATUS, PRESENT_STATE};
use super::{Error, Sdhci, Slot, Step};
use crate::sd::{
    BLOCK_BYTES, Command, Direction, Response, ResponseKind, STOP_TRANSMISSION, Segment,
    TransferData,
};
use crate::{DmaBuffer, Io};

/// Until the lines are free. A card may be busy for 500 ms after a write.
const INHIBIT_TIMEOUT_US: u32 = 1_000_000;
/// The controller itself gives a response up after 64 clocks, 160 us at 400 kHz.
const COMMAND_TIMEOUT_US: u32 = 100_000;
/// Until the next block comes or is taken.
const DATA_TIMEOUT_US: u32 = 2_000_000;
const BUSY_STEP_US: u32 = 1_000;
/// What a card may take while the controller's own time-out is for data.
const USUAL_BUSY_US: u32 = 1_000_000;
/// Wake-ups without an event, until the interrupt line is taken to be broken.
const IDLE_WAKEUPS_MAX: u32 = 1_000;

/// The data of a command that has none, and one block for those that tell something.
pub(super) struct OneBlock(pub [u8; BLOCK_BYTES]);

impl TransferData for OneBlock {
    fn lba(&self) -> u64 {
        0
    }
    fn blocks(&self) -> u32 {
        1
    }
    fn direction(&self) -> Direction {
        Direction::Read
    }
    fn segments(&self) -> impl Iterator<Item = Segment> {
        core::iter::empty()
    }
    fn block(&mut self, _: u32) -> &mut [u8; BLOCK_BYTES] {
        &mut self.0
    }
}

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// Sends a command without data, and waits for its response and, with R1b, for the end of busy.
    ///
    /// # Errors
    /// Any of the device's and the medium's.
    pub fn command(&mut self, command: Command) -> Result<Response, Error> {
        let busy = command.response == ResponseKind::R1b;
        let patient = command.busy_us > USUAL_BUSY_US;
        if patient {
            self.be_patient(true);
        }
        let result = self.ready(busy && command.index != STOP_TRANSMISSION);
        let result = result.and_then(|()| {
            self.start(command)?;
            self.finish(&mut OneBlock([0; BLOCK_BYTES]))
        });
        let result = self.recovered(result);
        if patient {
            self.be_patient(false);
        }
        result
    }

    /// Sends a command that brings a block of `data.len()` bytes: whole words, at most 512 bytes.
    ///
    /// # Errors
    /// Any of the device's and the medium's.
    pub(crate) fn read_block(&mut self, command: Command, data: &mut [u8]) -> Result<(), Error> {
        let bytes = data.len() as u16;
        let awaits = Awaits::Port(Port::new(Direction::Read, bytes, 1));
        let block = self.read_block_for(command, bytes, awaits)?;
        data.copy_from_slice(&block[..data.len()]);
        Ok(())
    }

    pub(super) fn read_block_for(
        &mut self,
        command: Command,
        bytes: u16,
        awaits: Awaits,
    ) -> Result<[u8; BLOCK_BYTES], Error> {
        let mut block = OneBlock([0; BLOCK_BYTES]);
        let result = self.ready(true).and_then(|()| {
            self.start_reading(command, bytes, awaits);
            self.finish(&mut block)
        });
        self.recovered(result).map(|_| block.0)
    }

    /// Waits until the transfer that was started has ended.
    ///
    /// # Errors
    /// Any.
    pub(crate) fn finish(&mut self, transfer: &mut impl TransferData) -> Result<Response, Error> {
        let result = self.wait_for_end(transfer);
        // The handler may have cleared it behind our back.
        self.put(&INT_SIGNAL_ENABLE, 0);
        self.signals = 0;
        result
    }

    fn wait_for_end(&mut self, transfer: &mut impl TransferData) -> Result<Response, Error> {
        let (mut waited_us, mut idle_wakeups) = (0, 0);
        loop {
            match self.interrupt(transfer) {
                Step::Done(response) => return Ok(response),
                Step::Failed(error) => return Err(error),
                Step::Going => (waited_us, idle_wakeups) = (0, 0),
                Step::NotMine => {}
            }
            let Some(active) = self.active else {
                return Err(Error::NotRecovered);
            };
            let (timeout_us, step_us) = match active.awaits {
                Awaits::Response => (COMMAND_TIMEOUT_US, COMMAND_TIMEOUT_US),
                Awaits::Idle if self.is_idle() => return self.end_of_busy(active.command),
                Awaits::Idle => (active.command.busy_us, BUSY_STEP_US.max(waited_us)),
                _ => (DATA_TIMEOUT_US, DATA_TIMEOUT_US),
            };
            let (io, signals) = (&self.io, self.signals);
            let arm = || io.write32(INT_SIGNAL_ENABLE.offset, signals);
            let came = self.slot.wait_event(step_us.min(timeout_us), arm);
            self.settle();
            if came && idle_wakeups < IDLE_WAKEUPS_MAX {
                idle_wakeups += 1;
                continue;
            }
            waited_us += step_us;
            if waited_us >= timeout_us {
                match self.give_up(transfer) {
                    Step::Done(response) => return Ok(response),
                    Step::Failed(error) => return Err(error),
                    Step::Going | Step::NotMine => waited_us = 0,
                }
            }
        }
    }

    /// The response has come, and the card is not busy.
    fn is_idle(&self) -> bool {
        let (told, lines) = (INT_STATUS.read(&self.io), PRESENT_STATE.read(&self.io));
        told.is_set(INT::COMMAND_COMPLETE)
            && !told.is_set(INT::ERROR)
            && !lines.is_set(PRESENT_STATE::COMMAND_INHIBIT_DAT)
            && lines.is_set(PRESENT_STATE::DAT0_LEVEL)
    }

    /// Waits until the command line is free and, if `data`, the data lines too; forgets old events.
    fn ready(&mut self, data: bool) -> Result<(), Error> {
        let inhibit = PRESENT_STATE::COMMAND_INHIBIT_CMD::SET
            + PRESENT_STATE::COMMAND_INHIBIT_DAT.val(data.into());
        let free = self.comes(INHIBIT_TIMEOUT_US, |io| {
            PRESENT_STATE.read(io).get() & inhibit.value == 0
        });
        self.put(&INT_STATUS, u32::MAX);
        if free {
            Ok(())
        } else {
            Err(Error::InhibitStuck)
        }
    }

    /// After an error, resets the command and data circuits.
    fn recovered<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.reset_lines()?;
        }
        result
    }
}
