// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest with a driver in it that does the least that a driver does.
#![allow(
    dead_code,
    reason = "each test program compiles this for itself and uses a part of it"
)]

use std::sync::{Arc, Mutex, MutexGuard};

use sdhci_model::regs::{self, clock, command, host, intr, mode};
use sdhci_model::{BusError, Card, Outside, Plan, Sdhci, Sparse};

pub const MEMORY: usize = 0x20_0000;
/// Where the tests keep tables.
pub const TABLE: u32 = 0x10_0000;
pub const BLOCK: usize = 512;
/// Response types with their checks.
pub const R1: u32 = command::RESPONSE_48 | command::CHECK_CRC | command::CHECK_INDEX;
pub const R1B: u32 = command::RESPONSE_48_BUSY | command::CHECK_CRC | command::CHECK_INDEX;
pub const R2: u32 = command::RESPONSE_136 | command::CHECK_CRC;
pub const R3: u32 = command::RESPONSE_48;
pub const NONE: u32 = 0;

/// Memory, time and the interrupt line.
#[derive(Default)]
pub struct World {
    pub memory: Vec<u8>,
    pub now_ns: u64,
    pub line: bool,
    /// What the model's last call moved, and in how many accesses.
    pub moved: usize,
    pub accesses: usize,
}

impl World {
    fn range(&self, address: u64, bytes: usize) -> Result<std::ops::Range<usize>, BusError> {
        let start = usize::try_from(address).map_err(|_| BusError)?;
        let end = start.checked_add(bytes).ok_or(BusError)?;
        (end <= self.memory.len())
            .then_some(start..end)
            .ok_or(BusError)
    }
}

impl Outside for World {
    fn now_ns(&mut self) -> u64 {
        self.now_ns
    }

    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError> {
        into.copy_from_slice(&self.memory[self.range(address, into.len())?]);
        self.moved += into.len();
        self.accesses += 1;
        Ok(())
    }

    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError> {
        let range = self.range(address, from.len())?;
        self.memory[range].copy_from_slice(from);
        self.moved += from.len();
        self.accesses += 1;
        Ok(())
    }

    fn interrupt(&mut self, level: bool) {
        assert_ne!(self.line, level, "no change");
        self.line = level;
    }
}

/// The kind of card that a test wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Standard,
    High,
    Emmc,
}

/// How a driver moves data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Pio,
    Sdma,
    Adma,
}

/// The model, its world, and what a driver knows.
pub struct Rig {
    pub sdhci: Sdhci,
    pub world: World,
    pub medium: Arc<Mutex<Sparse>>,
    pub kind: Kind,
    pub rca: u32,
}

/// How a wait ended: the bits that were waited for, or errors.
pub type Outcome = Result<u32, u32>;

impl Rig {
    /// A controller with clock and power, and a card that nobody has spoken to.
    pub fn bare(kind: Kind, bytes: u64, faults: &[&str]) -> Self {
        let plans: Vec<Plan> = faults.iter().map(|f| f.parse().unwrap()).collect();
        let medium = Arc::new(Mutex::new(Sparse::new(bytes)));
        let boxed = Box::new(medium.clone());
        let card = match kind {
            Kind::Standard => Card::sd(boxed),
            Kind::High => Card::sdhc(boxed),
            Kind::Emmc => Card::emmc(boxed),
        };
        let mut sdhci = Sdhci::new(&plans);
        sdhci.insert(Some(card));
        let world = World {
            memory: vec![0; MEMORY],
            ..World::default()
        };
        let mut rig = Self {
            sdhci,
            world,
            medium,
            kind,
            rca: 0,
        };
        rig.bring_up();
        rig
    }

    /// A card that is selected, on 4 lines.
    pub fn new(kind: Kind, bytes: u64, faults: &[&str]) -> Self {
        let mut rig = Self::bare(kind, bytes, &[]);
        rig.identify();
        rig.set_faults(faults);
        rig
    }

    pub fn set_faults(&mut self, faults: &[&str]) {
        let plans: Vec<Plan> = faults.iter().map(|f| f.parse().unwrap()).collect();
        self.sdhci.set_faults(&plans);
    }

    pub fn medium(&self) -> MutexGuard<'_, Sparse> {
        self.medium.lock().unwrap()
    }

    /// One call into the model; what is due already and what is asked for make two slices at most.
    pub fn bounded<R>(&mut self, call: impl FnOnce(&mut Sdhci, &mut World) -> R) -> R {
        (self.world.moved, self.world.accesses) = (0, 0);
        let result = call(&mut self.sdhci, &mut self.world);
        assert!(self.world.moved <= 2 * (sdhci_model::SLICE + 8 * 1024));
        assert!(self.world.accesses <= 2 * 2048 + 2);
        result
    }

    pub fn read(&mut self, offset: u32) -> u32 {
        self.bounded(|sdhci, world| sdhci.read(offset, 4, world))
    }

    pub fn write(&mut self, offset: u32, value: u32) {
        self.bounded(|sdhci, world| sdhci.write(offset, 4, value, world));
    }

    /// The controller after a reset: power, clock, all status enabled.
    pub fn bring_up(&mut self) {
        self.write(regs::CLOCK, clock::RESET_ALL);
        self.write(regs::HOST_CONTROL, 0xf << 8);
        self.write(regs::CLOCK, clock::INTERNAL);
        self.write(regs::CLOCK, clock::INTERNAL | clock::CARD | 0xe << 16);
        self.write(regs::STATUS_ENABLE, u32::MAX);
    }

    /// Time passes.
    pub fn pass(&mut self, ns: u64) {
        self.world.now_ns += ns;
        self.bounded(|sdhci, world| sdhci.advance(world));
    }

    /// Until one of these bits stands: whatever is due happens when it is due. `Err(0)`: that
    /// would be never, or after very long.
    pub fn wait(&mut self, wanted: u32) -> Outcome {
        for _ in 0..20_000 {
            let status = self.read(regs::STATUS);
            if status & intr::ERRORS != 0 {
                self.write(regs::STATUS, status);
                return Err(status & intr::ERRORS);
            }
            if status & wanted != 0 {
                self.write(regs::STATUS, wanted & status);
                return Ok(wanted & status);
            }
            let Some(due_ns) = self.sdhci.deadline_ns() else {
                break;
            };
            self.world.now_ns = self.world.now_ns.max(due_ns);
            self.pass(0);
        }
        Err(0)
    }

    /// A command without data: its response.
    pub fn command(&mut self, index: u32, argument: u32, response: u32) -> Result<u32, u32> {
        self.write(regs::ARGUMENT, argument);
        self.write(regs::COMMAND, index << command::INDEX_SHIFT | response);
        self.wait(intr::COMMAND_COMPLETE)?;
        if response & command::RESPONSE == command::RESPONSE_48_BUSY {
            self.wait(intr::TRANSFER_COMPLETE)?;
        }
        Ok(self.read(regs::RESPONSE))
    }

    pub fn app_command(&mut self, index: u32, argument: u32, response: u32) -> Result<u32, u32> {
        self.command(55, self.rca, R1)?;
        self.command(index, argument, response)
    }

    /// As a driver finds a card.
    pub fn identify(&mut self) {
        self.try_identify().unwrap();
    }

    pub fn try_identify(&mut self) -> Result<(), u32> {
        self.rca = 0;
        self.command(0, 0, NONE)?;
        if self.kind != Kind::Emmc {
            self.command(8, 0x1aa, R1)?;
        }
        self.ready()?;
        self.command(2, 0, R2)?;
        if self.kind == Kind::Emmc {
            self.rca = 1 << 16;
            self.command(3, self.rca, R1)?;
        } else {
            self.rca = self.command(3, 0, R1)? & 0xffff_0000;
        }
        self.command(7, self.rca, R1B)?;
        if self.kind == Kind::Emmc {
            self.command(6, 3 << 24 | 183 << 16 | 1 << 8, R1B)?;
        } else {
            self.app_command(6, 2, R1)?;
        }
        self.write(regs::HOST_CONTROL, 0xf << 8 | 1 << 1);
        Ok(())
    }

    /// Until the card has started up: its OCR.
    pub fn ready(&mut self) -> Result<u32, u32> {
        for _ in 0..100 {
            let ocr = match self.kind {
                Kind::Emmc => self.command(1, 0x40ff_8080, R3)?,
                _ => self.app_command(41, 0x41ff_8000, R3)?,
            };
            if ocr >> 31 != 0 {
                return Ok(ocr);
            }
        }
        Err(0)
    }

    /// A sector's address on this card.
    pub fn address(&self, sector: u32) -> u32 {
        match self.kind {
            Kind::High => sector,
            _ => sector * BLOCK as u32,
        }
    }

    /// Sends a command with data; the data itself has to follow.
    pub fn start(&mut self, index: u32, argument: u32, block: u32, transfer_mode: u32) -> Outcome {
        self.write(regs::BLOCK, block);
        self.write(regs::ARGUMENT, argument);
        let word = index << command::INDEX_SHIFT | command::DATA | R1 | transfer_mode;
        self.write(regs::COMMAND, word);
        self.wait(intr::COMMAND_COMPLETE)
    }

    /// Writes an ADMA table of these pieces, the last marked as the end.
    pub fn table(&mut self, pieces: &[(u32, u32)]) {
        for (n, (address, bytes)) in pieces.iter().enumerate() {
            let end = if n + 1 == pieces.len() { 2 } else { 0 };
            self.descriptor(n, 0x21 | end | (bytes & 0xffff) << 16, *address);
        }
        self.write(regs::ADMA_ADDRESS, TABLE);
    }

    pub fn descriptor(&mut self, n: usize, word: u32, address: u32) {
        let at = TABLE as usize + 8 * n;
        self.world.memory[at..at + 4].copy_from_slice(&word.to_le_bytes());
        self.world.memory[at + 4..at + 8].copy_from_slice(&address.to_le_bytes());
    }

    /// Reads or writes so many blocks at memory's start, with CMD12 by the controller.
    pub fn blocks(&mut self, read: bool, by: By, sector: u32, blocks: u32) -> Outcome {
        let multi = blocks > 1;
        let index = [[24, 25], [17, 18]][usize::from(read)][usize::from(multi)];
        let mut transfer_mode = if read { mode::READ } else { 0 };
        if multi {
            transfer_mode |= mode::MULTI | mode::COUNT | mode::AUTO_CMD12;
        }
        let four_lines = 0xf << 8 | 1 << 1;
        match by {
            By::Pio => {}
            By::Sdma => {
                transfer_mode |= mode::DMA;
                self.write(regs::HOST_CONTROL, four_lines);
                self.write(regs::SDMA_ADDRESS, 0);
            }
            By::Adma => {
                transfer_mode |= mode::DMA;
                self.write(regs::HOST_CONTROL, four_lines | host::DMA_ADMA2);
                let bytes = blocks * BLOCK as u32;
                let piece = |at: u32| (at, (bytes - at).min(0x1_0000));
                let pieces: Vec<_> = (0..bytes).step_by(0x1_0000).map(piece).collect();
                self.table(&pieces);
            }
        }
        let block = blocks << 16 | 7 << 12 | BLOCK as u32;
        let argument = self.address(sector);
        self.start(index, argument, block, transfer_mode)?;
        match by {
            By::Pio => self.port(read, blocks as usize)?,
            By::Sdma => {
                for _ in 0..100 {
                    let seen = self.wait(intr::TRANSFER_COMPLETE | intr::DMA)?;
                    if seen & intr::TRANSFER_COMPLETE != 0 {
                        return Ok(seen);
                    }
                    let next = self.read(regs::SDMA_ADDRESS);
                    self.write(regs::SDMA_ADDRESS, next);
                }
                return Err(0);
            }
            By::Adma => {}
        }
        self.wait(intr::TRANSFER_COMPLETE)
    }

    /// Moves memory's start through the buffer port.
    pub fn port(&mut self, read: bool, blocks: usize) -> Result<(), u32> {
        for block in 0..blocks {
            self.wait(if read {
                intr::BUFFER_READ
            } else {
                intr::BUFFER_WRITE
            })?;
            for at in (block * BLOCK..(block + 1) * BLOCK).step_by(4) {
                if read {
                    let word = self.read(regs::BUFFER).to_le_bytes();
                    self.world.memory[at..at + 4].copy_from_slice(&word);
                } else {
                    let bytes: [u8; 4] = self.world.memory[at..at + 4].try_into().unwrap();
                    self.write(regs::BUFFER, u32::from_le_bytes(bytes));
                }
            }
        }
        Ok(())
    }

    /// What a driver does after an error.
    pub fn recover(&mut self) {
        let clocked = clock::INTERNAL | clock::CARD | 0xe << 16;
        self.write(
            regs::CLOCK,
            clocked | clock::RESET_COMMAND | clock::RESET_DATA,
        );
        self.write(regs::STATUS, u32::MAX);
        let _ = self.command(12, 0, R1B);
    }

    /// The card's status.
    pub fn status(&mut self) -> u32 {
        self.command(13, self.rca, R1).unwrap()
    }

    pub fn stray_names(&self) -> Vec<String> {
        let strays = self.sdhci.strays().iter();
        strays.map(|(stray, _)| stray.to_string()).collect()
    }
}

/// Bytes that differ.
pub fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes)
        .map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed)
        .collect()
}
