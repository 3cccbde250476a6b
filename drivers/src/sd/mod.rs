// SPDX-License-Identifier: MIT OR Apache-2.0
//! SD memory cards: the protocol above a host controller.
//!
//! # Theory
//! [`Card::init`] takes a card from whatever state the boot firmware left it in to the transfer state: four data
//! lines and high speed, where card and host can. UHS modes (1.8 V) are not tried. From then on a transfer is one
//! command: the host ends those of several blocks with CMD12 by itself.
//!
//! A transfer that fails on the bus is repeated, twice at most: the card is asked for its state (CMD13), stopped if
//! it still sends or receives, and waited for. After a write the card is asked too, for only then does it tell
//! whether it could keep what it took.
//!
//! # Contexts
//! Thread, or early boot: every call waits for the card, up to seconds if it fails.
//!
//! # References
//! SD Specifications Part 1, Physical Layer Simplified Specification 9.10, chapter 4.
mod error;
#[cfg(test)]
mod fake;
mod host;
mod init;
#[cfg(test)]
pub(crate) mod model;
mod registers;
#[cfg(test)]
mod tests;

pub use error::{Blame, Error};
pub use host::{Command, Host, HostError, Response, ResponseKind, Speed};
pub use registers::Cid;

use core::fmt;

/// Bytes in a block, on every card.
pub const BLOCK_BYTES: usize = 512;

/// A longer transfer is split, so that a repetition does not start from far back. 1 MiB.
const CHUNK_BLOCKS: usize = 2048;
const REPETITIONS: u32 = 2;
/// A write may take 250 ms, on SDXC 500 (§4.6.2.2).
const BUSY_TIMEOUT_US: u32 = 1_000_000;
const BUSY_STEP_US: u32 = 100;

/// A card's capacity class, which tells how blocks are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up to 2 GiB (some say 4); the card counts bytes.
    Sdsc,
    /// Up to 32 GiB; blocks.
    Sdhc,
    /// Up to 2 TiB; blocks.
    Sdxc,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sdsc => "SDSC",
            Self::Sdhc => "SDHC",
            Self::Sdxc => "SDXC",
        })
    }
}

/// What a card is, and how it is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its capacity class.
    pub kind: Kind,
    /// How many blocks of 512 bytes it has.
    pub capacity_blocks: u64,
    /// Who made it.
    pub cid: Cid,
    /// It says that it must not be written.
    pub read_only: bool,
    /// It runs in high-speed mode.
    pub high_speed: bool,
    /// The bus clock in Hz, as far as the controller's base clock is known.
    pub clock_hz: u32,
    /// 1 or 4.
    pub data_lines: u8,
}

impl Info {
    /// The card's size in bytes.
    pub const fn capacity_bytes(&self) -> u64 {
        self.capacity_blocks * BLOCK_BYTES as u64
    }
}

/// A card in the transfer state, with its host.
#[derive(Debug)]
pub struct Card<H: Host> {
    host: H,
    rca: u16,
    info: Info,
}

/// Which way a chunk goes.
enum Chunk<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl<H: Host> Card<H> {
    /// Brings up the card in `host`'s slot. An empty slot is told within some milliseconds.
    ///
    /// # Errors
    /// With the host, for a later try: the medium's or the device's.
    pub fn init(mut host: H) -> Result<Self, (Error, H)> {
        let mut repetitions = 0;
        loop {
            match init::bring_up(&mut host) {
                Ok((rca, info)) => return Ok(Self { host, rca, info }),
                Err(Error::Bus { cause, .. })
                    if cause.is_transient() && repetitions < REPETITIONS =>
                {
                    repetitions += 1;
                }
                Err(error) => return Err((error, host)),
            }
        }
    }

    /// What the card is.
    pub const fn info(&self) -> &Info {
        &self.info
    }

    /// Gives the host back, to bring up the card that is in the slot then.
    pub fn into_host(self) -> H {
        self.host
    }

    /// Reads as many blocks of 512 bytes as `data` holds, from block `lba` on.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] and [`Error::PartialBlock`] with `data` untouched; else the medium's or the device's.
    pub fn read_blocks(&mut self, lba: u64, data: &mut [u8]) -> Result<(), Error> {
        let first = self.check_range(lba, data.len())?;
        for (chunk, data) in (0..).zip(data.chunks_mut(CHUNK_BLOCKS * BLOCK_BYTES)) {
            self.transfer(first + chunk * CHUNK_BLOCKS as u32, Chunk::Read(data))?;
        }
        Ok(())
    }

    /// Writes `data`, whole blocks of 512 bytes, from block `lba` on; returns when the card has programmed them.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::PartialBlock`] and [`Error::ReadOnly`] with nothing written; else the
    /// medium's or the device's, and what the blocks hold is then unknown.
    pub fn write_blocks(&mut self, lba: u64, data: &[u8]) -> Result<(), Error> {
        let first = self.check_range(lba, data.len())?;
        if self.info.read_only {
            return Err(Error::ReadOnly);
        }
        for (chunk, data) in (0..).zip(data.chunks(CHUNK_BLOCKS * BLOCK_BYTES)) {
            self.transfer(first + chunk * CHUNK_BLOCKS as u32, Chunk::Write(data))?;
        }
        Ok(())
    }

    /// The first block's number, if all lie on the card. A card has 2^32 blocks at most.
    fn check_range(&self, lba: u64, bytes: usize) -> Result<u32, Error> {
        if !bytes.is_multiple_of(BLOCK_BYTES) {
            return Err(Error::PartialBlock { bytes });
        }
        let capacity_blocks = self.info.capacity_blocks;
        let blocks = (bytes / BLOCK_BYTES) as u64;
        match (u32::try_from(lba), lba.checked_add(blocks)) {
            (Ok(first), Some(end)) if end <= capacity_blocks => Ok(first),
            _ => Err(Error::OutOfRange {
                lba,
                blocks,
                capacity_blocks,
            }),
        }
    }

    fn transfer(&mut self, lba: u32, mut chunk: Chunk<'_>) -> Result<(), Error> {
        let argument = match self.info.kind {
            Kind::Sdsc => lba * BLOCK_BYTES as u32,
            Kind::Sdhc | Kind::Sdxc => lba,
        };
        let index = match &chunk {
            Chunk::Read(data) => 17 + u8::from(data.len() > BLOCK_BYTES),
            Chunk::Write(data) => 24 + u8::from(data.len() > BLOCK_BYTES),
        };
        let command = Command::new(index, argument, ResponseKind::R1);
        let mut repetitions = 0;
        loop {
            let result = match &mut chunk {
                Chunk::Read(data) => self.host.read(command, BLOCK_BYTES, data),
                Chunk::Write(data) => self.host.write(command, data),
            };
            match result {
                Ok(_) if matches!(chunk, Chunk::Read(_)) => return Ok(()),
                // Only now does the card tell whether it could keep what it took.
                Ok(_) => match self.settle()? {
                    0 => return Ok(()),
                    bits => {
                        let cause = HostError::Status(bits);
                        return Err(Error::Bus {
                            command: index,
                            cause,
                        });
                    }
                },
                Err(cause) => {
                    let settled = self.settle();
                    if !cause.is_transient() || repetitions == REPETITIONS {
                        return Err(Error::Bus {
                            command: index,
                            cause,
                        });
                    }
                    settled?;
                    repetitions += 1;
                }
            }
        }
    }

    /// Brings the card back to the transfer state, ready for data; all the error bits it told on the way.
    fn settle(&mut self) -> Result<u32, Error> {
        const READY_FOR_DATA: u32 = 1 << 8;
        const TRANSFER: u32 = 4;
        const SENDING_DATA: u32 = 5;
        const RECEIVING_DATA: u32 = 6;
        let ask = Command::new(13, u32::from(self.rca) << 16, ResponseKind::R1);
        let stop = Command::new(12, 0, ResponseKind::R1b);
        let (mut told, mut waited_us) = (0, 0);
        loop {
            let mut command = ask;
            let mut answer = self.host.command(ask);
            if let Ok(status) = answer.map(Response::short) {
                match status >> 9 & 0xf {
                    TRANSFER if status & READY_FOR_DATA != 0 => return Ok(told),
                    SENDING_DATA | RECEIVING_DATA => {
                        command = stop;
                        answer = self.host.command(stop);
                    }
                    _ => {}
                }
            }
            match answer {
                Ok(_) => {}
                Err(HostError::Status(bits)) => told |= bits, // and telling has cleared them
                // The transfer had ended by itself.
                Err(HostError::NoResponse) if command == stop => {}
                Err(cause) => {
                    return Err(Error::Bus {
                        command: command.index,
                        cause,
                    });
                }
            }
            if waited_us >= BUSY_TIMEOUT_US {
                return Err(Error::StillBusy);
            }
            self.host.delay_us(BUSY_STEP_US);
            waited_us += BUSY_STEP_US;
        }
    }
}
