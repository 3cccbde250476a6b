// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command's way from start to end, as INT_STATUS tells it (§3.7, §3.12, §3.13).
//!
//! # Theory
//! Few register accesses, for each is a trip to the device: a read by ADMA2 takes four writes to start (a fifth if the
//! command before it was to interrupt for other events), one read and one write of INT_STATUS, and the response;
//! that of an automatic CMD12, too.
//!
//! "Transfer complete" outweighs the data time-out that came with it, but no other error (§2.2.18).
use super::port::Port;
use super::regs::{
    ADMA_ADDRESS, ADMA_ERROR, ARGUMENT, BLOCK, COMMAND, HOST_CONTROL_2, INT, INT_SIGNAL_ENABLE,
    INT_STATUS, RESPONSE,
};
use super::{Error, Sdhci, Slot, adma};
use crate::sd::{
    BLOCK_BYTES, Command, Direction, Response, ResponseKind, STATUS_ERRORS, STOP_TRANSMISSION,
    TransferData,
};
use crate::{DmaBuffer, Io};
use tock_registers::LocalRegisterCopy;
use tock_registers::fields::FieldValue;

type Mode = FieldValue<u32, COMMAND::Register>;
pub(super) type Event = FieldValue<u32, INT::Register>;
type Status = LocalRegisterCopy<u32, INT::Register>;

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The controller told nothing.
    NotMine,
    /// It goes on.
    Going,
    /// It has ended well, data and all.
    Done(Response),
    /// It has failed. Before the next one, [`Sdhci::reset_lines`].
    Failed(Error),
}

/// What a command waits for before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Its response.
    Response,
    /// Its response, and the card's end of busy.
    Idle,
    /// Its data, which the controller moves.
    Dma,
    /// Its data, which the CPU moves.
    Port(Port),
    /// A tuning block, which the controller looks at itself.
    TuningBlock,
}

/// The command under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub command: Command,
    pub awaits: Awaits,
    /// An automatic CMD12 ends it.
    stopped: bool,
}

impl Awaits {
    /// The events that end or advance it.
    fn events(self) -> Event {
        match self {
            Self::Response => INT::COMMAND_COMPLETE::SET,
            Self::Idle | Self::Dma => INT::TRANSFER_COMPLETE::SET,
            Self::TuningBlock => INT::BUFFER_READ_READY::SET,
            Self::Port(port) => INT::TRANSFER_COMPLETE::SET + port.ready_event(),
        }
    }
}

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

/// The lower half, of data; several blocks are ended by an automatic CMD12.
fn data_mode(direction: Direction, blocks: u16) -> Mode {
    let way = match direction {
        Direction::Read => COMMAND::DIRECTION::Read,
        Direction::Write => COMMAND::DIRECTION::Write,
    };
    let one = COMMAND::DATA_PRESENT::SET + way;
    match blocks {
        1 => one,
        _ => {
            one + COMMAND::MULTI_BLOCK::SET
                + COMMAND::BLOCK_COUNT_ENABLE::SET
                + COMMAND::AUTO_CMD::Cmd12
        }
    }
}

impl<I: Io, B: DmaBuffer, S: Slot> Sdhci<I, B, S> {
    /// Starts a command without data. It goes on by [`Self::interrupt`].
    ///
    /// # Errors
    /// [`Error::Occupied`], [`Error::NotRecovered`].
    pub fn start(&mut self, command: Command) -> Result<(), Error> {
        let awaits = match command.response {
            ResponseKind::R1b => Awaits::Idle,
            _ => Awaits::Response,
        };
        self.check_free()?;
        self.issue(command, mode_of(command), awaits);
        Ok(())
    }

    /// Starts a command with the data of `transfer`. It goes on by [`Self::interrupt`].
    ///
    /// # Errors
    /// The caller's; nothing was started.
    pub fn start_transfer(
        &mut self,
        command: Command,
        transfer: &mut impl TransferData,
    ) -> Result<(), Error> {
        self.check_free()?;
        let (blocks, direction) = (transfer.blocks(), transfer.direction());
        let bytes = blocks.saturating_mul(BLOCK_BYTES as u32);
        let Ok(blocks @ 1..) = u16::try_from(blocks) else {
            let bytes = bytes as usize;
            return Err(Error::Length { bytes });
        };
        let mut mode = mode_of(command) + data_mode(direction, blocks);
        let awaits = match &mut self.table {
            Some(table) if self.dma => {
                adma::describe(table, transfer.segments(), bytes)?;
                let table_address = table.bus_address();
                self.put(&ADMA_ADDRESS, table_address);
                mode += COMMAND::DMA::SET;
                Awaits::Dma
            }
            _ => Awaits::Port(Port::new(direction, BLOCK_BYTES as u16, blocks)),
        };
        let shape = BLOCK::SIZE.val(BLOCK_BYTES as u32) + BLOCK::COUNT.val(blocks.into());
        self.put(&BLOCK, shape.value);
        self.issue(command, mode, awaits);
        Ok(())
    }

    /// Starts a command with one block from the card, of at most 512 bytes in whole words, through the buffer port.
    pub(super) fn start_reading(&mut self, command: Command, block_bytes: u16, awaits: Awaits) {
        let mode = mode_of(command) + data_mode(Direction::Read, 1);
        self.put(&BLOCK, BLOCK::SIZE.val(block_bytes.into()).value);
        self.issue(command, mode, awaits);
    }

    fn check_free(&self) -> Result<(), Error> {
        match &self.active {
            _ if self.failed => Err(Error::NotRecovered),
            Some(_) => Err(Error::Occupied),
            None => Ok(()),
        }
    }

    fn issue(&mut self, command: Command, mode: Mode, awaits: Awaits) {
        self.signal((awaits.events() + INT::ALL_ERRORS::SET).value);
        self.put(&ARGUMENT, command.argument);
        self.active = Some(Active {
            command,
            awaits,
            stopped: mode.value & COMMAND::AUTO_CMD::Cmd12.value != 0,
        });
        self.put(&COMMAND, mode.value);
    }

    /// Lets the controller interrupt for `events`.
    pub(super) fn signal(&mut self, events: u32) {
        if self.signals != events {
            self.signals = events;
            self.put(&INT_SIGNAL_ENABLE, events);
        }
    }

    /// Takes what the controller tells, and moves the command under way by it. `transfer` is the one that it was
    /// started with; for a command without data, any.
    pub fn interrupt(&mut self, transfer: &mut impl TransferData) -> Step {
        let status = INT_STATUS.read(&self.io);
        if status.get() & self.signals == 0 {
            return Step::NotMine;
        }
        self.put(&INT_STATUS, status.get());
        let Some(mut active) = self.active else {
            return Step::NotMine;
        };
        let ended = match error_of(status) {
            Some(error) => Err(self.explained(error, active.command)),
            None => self.advance(&mut active, status, transfer),
        };
        match ended {
            Ok(None) => {
                self.active = Some(active);
                Step::Going
            }
            Ok(Some(response)) => {
                self.active = None;
                Step::Done(response)
            }
            Err(error) => self.fail(error),
        }
    }

    /// Takes back an interrupt that came with no command under way: an automatic CMD12 may end late.
    pub fn hush(&mut self) {
        let status = INT_STATUS.read(&self.io);
        self.put(&INT_STATUS, status.get());
    }

    /// Does the command under way want nothing but its response, or the end of data that were moved?
    pub fn ends_soon(&self) -> bool {
        self.active.is_some_and(|active| match active.awaits {
            Awaits::Response => true,
            Awaits::Port(port) => port.is_through(),
            Awaits::Idle | Awaits::Dma | Awaits::TuningBlock => false,
        })
    }

    /// What `status`, in which there is no error, means for the command under way: its response, if it has ended.
    fn advance(
        &mut self,
        active: &mut Active,
        status: Status,
        transfer: &mut impl TransferData,
    ) -> Result<Option<Response>, Error> {
        let complete = status.is_set(INT::TRANSFER_COMPLETE);
        let ended = match &mut active.awaits {
            // The controller looks at it, and keeps no response.
            Awaits::TuningBlock => return Ok(Some(Response::default())),
            Awaits::Response => true,
            Awaits::Idle | Awaits::Dma => complete,
            Awaits::Port(port) => self.move_blocks(port, transfer, complete)?,
        };
        if !ended {
            return Ok(None);
        }
        if active.stopped {
            self.check_stop(transfer.direction())?;
        }
        self.response(active.command).map(Some)
    }

    /// Gives the command under way up, unless the controller has something to tell that nobody was interrupted for.
    pub fn give_up(&mut self, transfer: &mut impl TransferData) -> Step {
        let step = self.interrupt(transfer);
        let (Step::NotMine, Some(active)) = (step, self.active) else {
            return step;
        };
        let responded = INT_STATUS.read(&self.io).is_set(INT::COMMAND_COMPLETE);
        let error = match active.awaits {
            Awaits::Response => Error::CommandStuck,
            Awaits::Idle => Error::Busy,
            _ if responded => self.explained(Error::DataTimeout, active.command),
            _ => Error::DataTimeout,
        };
        self.fail(error)
    }

    /// Ends a command after which the card is no longer busy, though the controller does not tell.
    pub(super) fn end_of_busy(&mut self, command: Command) -> Result<Response, Error> {
        self.put(&INT_STATUS, u32::MAX);
        self.active = None;
        self.response(command)
    }

    fn fail(&mut self, error: Error) -> Step {
        self.refuse();
        Step::Failed(error)
    }

    /// Ends whatever is under way, and starts nothing more before [`Self::reset_lines`].
    pub fn refuse(&mut self) {
        self.signal(0);
        self.active = None;
        self.failed = true;
    }

    /// The response of `command`, which has come.
    fn response(&self, command: Command) -> Result<Response, Error> {
        let word = |n: usize| u128::from(RESPONSE[n].read(&self.io).get());
        let response = Response(match command.response {
            ResponseKind::None => 0,
            ResponseKind::R2 => word(3) << 96 | word(2) << 64 | word(1) << 32 | word(0),
            _ => word(0),
        });
        match command.errors(response) {
            0 => Ok(response),
            bits => Err(Error::Status(bits)),
        }
    }

    /// What the card told as an automatic CMD12 stopped it. Not every controller keeps that response: it is believed
    /// where it names the state that a card is stopped in. Out of range does not count for a read: the card may have
    /// begun with blocks beyond those that were asked for (§4.3.3 of the Physical Layer).
    fn check_stop(&self, direction: Direction) -> Result<(), Error> {
        const OUT_OF_RANGE: u32 = 1 << 31;
        const SENDING_DATA: u32 = 5;
        const RECEIVING_DATA: u32 = 6;
        let (state, ignored) = match direction {
            Direction::Read => (SENDING_DATA, OUT_OF_RANGE),
            Direction::Write => (RECEIVING_DATA, 0),
        };
        let status = RESPONSE[3].read(&self.io).get();
        match status & STATUS_ERRORS & !ignored {
            bits if bits != 0 && status >> 9 & 0xf == state => Err(Error::Status(bits)),
            _ => Ok(()),
        }
    }

    /// An error with what more the controller and the card know of it.
    fn explained(&self, error: Error, command: Command) -> Error {
        match error {
            Error::AutoCommand(_) => {
                let told = HOST_CONTROL_2.read(&self.io);
                Error::AutoCommand(told.read(HOST_CONTROL_2::AUTO_CMD_ERROR) as u8)
            }
            Error::Adma { .. } => Error::Adma {
                error: ADMA_ERROR.read(&self.io).read(ADMA_ERROR::ALL) as u8,
                bus_address: ADMA_ADDRESS.read(&self.io).get(),
            },
            // No data come of a command that the card refused.
            Error::DataTimeout => self.response(command).err().unwrap_or(error),
            error => error,
        }
    }
}

/// The first thing that went wrong, of what INT_STATUS tells.
fn error_of(status: Status) -> Option<Error> {
    let told = |event: Event| status.any_matching_bits_set(event);
    let errors = status.read(INT::ALL_ERRORS);
    if errors == 0 {
        return None;
    }
    Some(if told(INT::COMMAND_CRC::SET) {
        // With a time-out: another drove the command line (§2.2.18, table 2-30).
        Error::CommandCrc
    } else if told(INT::COMMAND_TIMEOUT::SET) {
        Error::NoResponse
    } else if told(INT::COMMAND_END_BIT::SET) {
        Error::CommandEndBit
    } else if told(INT::COMMAND_INDEX::SET) {
        Error::CommandIndex
    } else if told(INT::DATA_CRC::SET) {
        Error::DataCrc
    } else if told(INT::DATA_END_BIT::SET) {
        Error::DataEndBit
    } else if told(INT::ADMA::SET) {
        Error::Adma {
            error: 0,
            bus_address: 0,
        }
    } else if told(INT::AUTO_CMD::SET) {
        Error::AutoCommand(0)
    } else if !told(INT::DATA_TIMEOUT::SET) {
        Error::Unexpected(errors as u16)
    } else if told(INT::TRANSFER_COMPLETE::SET) && errors == DATA_TIMEOUT_ALONE {
        return None;
    } else {
        Error::DataTimeout
    })
}

/// As [`INT::ALL_ERRORS`] reads.
const DATA_TIMEOUT_ALONE: u32 = 1 << 4;
