// SPDX-License-Identifier: MIT OR Apache-2.0
//! SD memory cards and eMMC: the protocol above a host controller.
//!
//! # Theory
//! [`Card::init`] takes a card from whatever state the boot firmware left it in to the transfer state, with the fastest
//! bus that card, controller and board can: four data lines; DDR50 or SDR50 if the board can change the signals'
//! voltage, else high speed. From then on a transfer is one command: the controller ends those of several blocks with
//! CMD12 by itself. (CMD23 instead would save the card a guess, but EMMC2 wants CMD12 after reads, and the modes that
//! cannot go without CMD23 are beyond it.)
//!
//! [`Card::start`] and [`Card::interrupt`] never wait. A written block is believed only when the card says so afterwards:
//! its data are followed by CMD13, which the same transfer's next interrupt answers, for only then does the card tell
//! whether it could keep what it took.
//!
//! After [`Progress::Failed`] nothing goes until [`Card::recover`] has run, in a thread. It brings the card back to
//! the transfer state by the gentlest way that works: the controller's circuits are reset and the card asked for its
//! state and stopped if it still sends or receives; a card that does not answer is identified anew, and is the
//! same one if its CID is. Whether to repeat the transfer is the owner's affair.
//!
//! A card with a volatile cache that had to begin anew may have forgotten what it took. The writes were told to be done;
//! so [`Card::flush`] fails from then on, until something is written again.
//!
//! # Contexts
//! [`Card::start`], [`Card::interrupt`], [`Card::give_up`]: any. The rest: threads, or early boot; they wait for the
//! card, up to seconds if it fails.
//!
//! # References
//! SD Specifications Part 1, Physical Layer Simplified Specification 9.10, chapter 4; JEDEC JESD84-B51 (eMMC 5.1).
mod command;
mod emmc;
mod error;
mod init;
mod recover;
mod registers;
#[cfg(test)]
mod tests;
mod transfer;

pub use command::{Command, Response, ResponseKind};
pub(crate) use command::{STATUS_ERRORS, STOP_TRANSMISSION};
pub use error::Error;
pub use registers::Cid;
pub use transfer::{Direction, Progress, Segment, TransferData};

use crate::sdhci::{self, Sdhci, Slot, Step};
pub use crate::sdhci::{Blame, Timing};
use crate::{DmaBuffer, Io};
use core::fmt;

/// Bytes in a block, on every card.
pub const BLOCK_BYTES: usize = 512;

/// A card's kind, which tells how blocks are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up to 2 GiB (some say 4); the card counts bytes.
    Sdsc,
    /// Up to 32 GiB; blocks.
    Sdhc,
    /// Up to 2 TiB; blocks.
    Sdxc,
    /// Embedded: blocks above 2 GiB, bytes below.
    Emmc {
        /// It counts blocks.
        by_block: bool,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sdsc => "SDSC",
            Self::Sdhc => "SDHC",
            Self::Sdxc => "SDXC",
            Self::Emmc { .. } => "eMMC",
        })
    }
}

/// What a card is, and how it is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its kind.
    pub kind: Kind,
    /// How many blocks of 512 bytes it has.
    pub capacity_blocks: u64,
    /// Who made it.
    pub cid: Cid,
    /// It, or the slot's switch, says that it must not be written.
    pub read_only: bool,
    /// How the bus is driven.
    pub timing: Timing,
    /// The bus clock in Hz, as far as the controller's base clock is known.
    pub clock_hz: u32,
    /// 1 or 4.
    pub data_lines: u8,
    /// It keeps what was written in volatile memory until [`Card::flush`].
    pub volatile_cache: bool,
}

impl Info {
    /// The card's size in bytes.
    pub const fn capacity_bytes(&self) -> u64 {
        self.capacity_blocks * BLOCK_BYTES as u64
    }
}

/// A card in the transfer state, with its host.
#[derive(Debug)]
pub struct Card<I: Io, B: DmaBuffer, S: Slot> {
    host: Sdhci<I, B, S>,
    rca: u16,
    info: Info,
    stage: Stage,
    pace: Pace,
    /// Since it was brought up.
    bad_crcs: u32,
    /// It was sought and not found, or another one was.
    lost: bool,
    /// Its volatile cache may hold what was written.
    unflushed: bool,
    /// And may have forgotten it since.
    loss: Loss,
}

/// How far a card is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// As it is after its identification.
    Plain,
    /// As far as it goes at 3.3 V.
    High,
    /// At 1.8 V, too: none of those timings has failed with this card.
    Fastest,
}

/// What the transfer under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is none.
    Idle,
    /// This command and its data.
    Data(Command),
    /// The status after a write by this command, asked for so often.
    Status(Command, u32),
}

/// Whether a volatile cache may have lost what was told to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    None,
    /// And nobody knows yet.
    Untold,
    /// A flush has failed for it. Repeated, it fails again, until something is written anew.
    Told,
}

/// How often the status is asked for after a write by interrupts, before the recovery does it in peace.
const STATUS_QUESTIONS: u32 = 20;

/// Card status (§4.10.1).
mod status {
    pub const WP_VIOLATION: u32 = 1 << 26;
    pub const READY_FOR_DATA: u32 = 1 << 8;
    pub const STATE_SHIFT: u32 = 9;
    pub const STATE_MASK: u32 = 0xf;
    pub const STANDBY: u32 = 3;
    pub const TRANSFER: u32 = 4;
    pub const SENDING_DATA: u32 = 5;
    pub const RECEIVING_DATA: u32 = 6;

    pub const fn state(status: u32) -> u32 {
        status >> STATE_SHIFT & STATE_MASK
    }

    pub const fn takes_data(status: u32) -> bool {
        state(status) == TRANSFER && status & READY_FOR_DATA != 0
    }
}

impl<I: Io, B: DmaBuffer, S: Slot> Card<I, B, S> {
    /// What the card is.
    pub const fn info(&self) -> &Info {
        &self.info
    }

    /// Do the data of transfers go by DMA?
    pub const fn has_dma(&self) -> bool {
        self.host.has_dma()
    }

    /// How many segments of at most 64 KiB a transfer may have.
    pub fn max_segments(&mut self) -> usize {
        self.host.max_segments()
    }

    /// Gives the host back, to bring up the card that is in the slot then.
    pub fn into_host(self) -> Sdhci<I, B, S> {
        self.host
    }

    /// Starts `transfer`. Then interrupts drive it: see [`Self::interrupt`].
    ///
    /// # Errors
    /// The caller's, with nothing started: [`Error::OutOfRange`], [`Error::ReadOnly`], [`Error::Bus`].
    pub fn start(&mut self, transfer: &mut impl TransferData) -> Result<(), Error> {
        let (lba, blocks) = (transfer.lba(), u64::from(transfer.blocks()));
        let capacity_blocks = self.info.capacity_blocks;
        if lba
            .checked_add(blocks)
            .is_none_or(|end| end > capacity_blocks)
        {
            return Err(Error::OutOfRange {
                lba,
                blocks,
                capacity_blocks,
            });
        }
        let first = match transfer.direction() {
            Direction::Read => 17,
            Direction::Write if self.info.read_only => return Err(Error::ReadOnly),
            Direction::Write => 24,
        };
        let index = first + u8::from(blocks > 1);
        // A card that counts bytes has 2^23 blocks at most, one that counts blocks 2^32.
        let argument = match self.info.kind {
            Kind::Sdsc | Kind::Emmc { by_block: false } => lba as u32 * BLOCK_BYTES as u32,
            Kind::Sdhc | Kind::Sdxc | Kind::Emmc { by_block: true } => lba as u32,
        };
        let command = Command::new(index, argument, ResponseKind::R1);
        let started = self.host.start_transfer(command, transfer);
        started.map_err(|cause| bus(command, cause))?;
        self.stage = Stage::Data(command);
        Ok(())
    }

    /// Takes back an interrupt that came with no transfer under way.
    pub fn hush(&mut self) {
        self.host.hush();
    }

    /// Takes what the controller tells, and moves the transfer that was started with `transfer`. Without interrupts,
    /// asked again and again.
    pub fn interrupt(&mut self, transfer: &mut impl TransferData) -> Progress {
        let step = self.host.interrupt(transfer);
        let mut progress = self.advance(step, transfer.direction());
        // What a fast controller has told by now spares an interrupt.
        while progress == Progress::Going && self.host.ends_soon() {
            match self.host.interrupt(transfer) {
                Step::NotMine => break,
                step => progress = self.advance(step, transfer.direction()),
            }
        }
        progress
    }

    /// For a transfer that has taken too long: ends it, as failed unless its end was told and the interrupt lost.
    pub fn give_up(&mut self, transfer: &mut impl TransferData) -> Progress {
        let step = self.host.give_up(transfer);
        self.advance(step, transfer.direction())
    }

    fn advance(&mut self, step: Step, direction: Direction) -> Progress {
        let command = match self.stage {
            Stage::Idle => return Progress::NotMine,
            Stage::Data(command) | Stage::Status(command, _) => command,
        };
        match (step, self.stage) {
            (Step::NotMine, _) => Progress::NotMine,
            (Step::Going, _) => Progress::Going,
            (Step::Failed(cause), _) => self.fail(command, cause),
            (Step::Done(_), Stage::Data(_)) if direction == Direction::Write => {
                self.ask_status(command, 0)
            }
            (Step::Done(response), Stage::Status(_, asked))
                if !status::takes_data(response.short()) =>
            {
                self.ask_status(command, asked + 1)
            }
            (Step::Done(_), _) => {
                self.stage = Stage::Idle;
                if direction == Direction::Write && self.info.volatile_cache {
                    self.unflushed = true;
                    if self.loss == Loss::Told {
                        self.loss = Loss::None;
                    }
                }
                Progress::Done
            }
        }
    }

    /// Asks the card how the write by `command` went.
    fn ask_status(&mut self, command: Command, asked: u32) -> Progress {
        self.stage = Stage::Status(command, asked);
        let question = match asked {
            STATUS_QUESTIONS => Err(sdhci::Error::Busy),
            _ => self.host.start(self.status_question()),
        };
        match question {
            Ok(()) => Progress::Going,
            Err(cause) => self.fail(command, cause),
        }
    }

    fn fail(&mut self, command: Command, cause: sdhci::Error) -> Progress {
        use sdhci::Error::{CommandCrc, CommandEndBit, DataCrc, DataEndBit};
        if matches!(cause, CommandCrc | CommandEndBit | DataCrc | DataEndBit) {
            self.bad_crcs += 1;
        }
        self.host.refuse();
        self.stage = Stage::Idle;
        Progress::Failed(match cause {
            sdhci::Error::Status(bits) if bits & status::WP_VIOLATION != 0 => Error::WriteProtected,
            cause => bus(command, cause),
        })
    }

    fn status_question(&self) -> Command {
        Command::new(13, u32::from(self.rca) << 16, ResponseKind::R1)
    }
}

/// The error of a command that `cause` befell.
const fn bus(command: Command, cause: sdhci::Error) -> Error {
    Error::Bus {
        command: command.index,
        cause,
    }
}
