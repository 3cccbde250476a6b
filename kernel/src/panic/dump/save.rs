// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing the dump: the card's polled path. The theory is in `mod.rs`.
use super::area::{Area, Doubt, fingerprint};
use super::build;
use super::format::{self, HEADER_SECTOR, Header, Sector, TEXT_SECTOR};
use super::keep;
use super::text::{self, Text};
use crate::bio::SECTOR_BYTES;
use crate::bio::gpt::crc32;
use crate::console::tty::Polled as Console;
use crate::cpu::CPUS;
use crate::ddb::registers;
use crate::ddb::show;
use crate::dma::Words;
use crate::panic::backtrace::{self, Place};
use crate::stop::Stopped;
use crate::{board, clock, klog};
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use core::fmt::{self, Write};
use drivers::sd::{self, Card, Direction, Segment, TransferData};
use drivers::sdhci::{Polled, Sdhci};
use embedded_hal::delay::DelayNs;

/// All pauses together, of the stop and of the writing.
const LIMIT_US: u32 = 4_000_000;

/// Time by the counter, which needs no interrupt.
struct Spin;

impl DelayNs for Spin {
    fn delay_ns(&mut self, ns: u32) {
        let end = now_ns() + u64::from(ns);
        while now_ns() < end {
            core::hint::spin_loop();
        }
    }
}

type Host = Sdhci<Mmio, Words, Polled<Mmio, Spin>>;
type Taken = Card<Mmio, Words, Polled<Mmio, Spin>>;

fn host(area: &Area) -> Host {
    // SAFETY: the address of a controller's block, by a checksum; all other CPUs are stopped, so this is its only driver.
    let io = unsafe { Mmio::new(area.controller as usize) };
    let clock_hz = (area.clock_hz != 0).then_some(area.clock_hz);
    // Without a table for descriptors: by the buffer port, so that no memory of the dump goes by a cache.
    Sdhci::new(io, None, Polled::new(io, Spin, LIMIT_US), clock_hz)
}

/// Stops what the card's controller does to memory, and begins the text. All other CPUs are stopped.
pub fn begin() {
    if let Ok(area) = keep::area() {
        host(&area).stop_dma();
    }
    let _ = writeln!(Text, "== report ==");
}

/// Writes the rest of the text and puts it on the card; says on the console what became of it.
pub fn save() {
    let _ = writeln!(super::Tee, "{}", Kernel);
    let _ = collect(&mut Text);
    let _ = match write() {
        Ok(header) => writeln!(
            Console,
            "crash dump {}: {} KiB on the card; after the next boot lastpanic shows it",
            header.sequence,
            header.text_bytes.div_ceil(1024)
        ),
        Err(refusal) => writeln!(Console, "no crash dump: {refusal}"),
    };
}

/// The kernel and its build.
struct Kernel;

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        write!(f, "kernel {version}, build {}", build::id())
    }
}

/// What the report does not say. Nothing in here waits for a lock, or takes memory.
fn collect(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "== machine ==")?;
    let board = board::get();
    writeln!(out, "{}\n{}", Kernel, board.model)?;
    writeln!(out, "command line: {}", board.command_line)?;
    // SAFETY: the panic has stopped all others, for good.
    let stopped = &unsafe { Stopped::assume() };
    writeln!(out, "== cpus ==")?;
    show::cpus(stopped, out)?;
    for n in 0..CPUS {
        if let Place::Interrupted(frame) = backtrace::place_of(n) {
            writeln!(out, "registers of CPU {n}:")?;
            registers(frame, out)?;
        }
    }
    writeln!(out, "== locks ==")?;
    show::held_locks(stopped, out)?;
    writeln!(out, "== threads ==")?;
    show::threads(stopped, out)?;
    writeln!(out, "== interrupts ==")?;
    show::interrupts(stopped, out)?;
    show::callouts(stopped, out)?;
    writeln!(out, "== log ==")?;
    let print = |line: &[u8]| {
        let _ = writeln!(out, "{}", core::str::from_utf8(line).unwrap_or("?"));
    };
    // SAFETY: the machine is stopped. As many lines as the log has bytes: all.
    unsafe { klog::for_last_stopped(klog::RING_BYTES, print) };
    Ok(())
}

/// Why nothing, or not all, was written.
enum Refusal {
    Doubt(Doubt),
    Card(sd::Error),
}

impl From<Doubt> for Refusal {
    fn from(doubt: Doubt) -> Self {
        Self::Doubt(doubt)
    }
}

impl From<sd::Error> for Refusal {
    fn from(error: sd::Error) -> Self {
        Self::Card(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubt(doubt) => doubt.fmt(f),
            Self::Card(error) => write!(f, "the card: {error}"),
        }
    }
}

/// Sectors on their way.
struct Sectors<'a> {
    lba: u64,
    direction: Direction,
    memory: &'a mut [Sector],
}

impl TransferData for Sectors<'_> {
    fn lba(&self) -> u64 {
        self.lba
    }

    fn blocks(&self) -> u32 {
        self.memory.len() as u32
    }

    fn direction(&self) -> Direction {
        self.direction
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        core::iter::empty() // there is no DMA
    }

    fn block(&mut self, number: u32) -> &mut Sector {
        &mut self.memory[number as usize]
    }
}

/// The card, and the place on it that is proved to be ours.
struct Proved {
    card: Taken,
    area: Area,
}

impl Proved {
    fn prove(area: Area) -> Result<Self, Refusal> {
        let mut host = host(&area);
        host.take_over();
        let mut card = Card::init_plain(host).map_err(|(error, _)| error)?;
        if fingerprint(&card.info().cid) != area.card {
            return Err(Doubt::OtherCard.into());
        }
        let first = read(&mut card, 0)?;
        if !area.place.stands(&first, card.info().capacity_blocks) {
            return Err(Doubt::Table.into());
        }
        let label = read(&mut card, u64::from(area.place.start()))?;
        match format::is_label(&label) {
            true => Ok(Self { card, area }),
            false => Err(Doubt::Label.into()),
        }
    }

    fn write(&mut self, sector: u32, memory: &mut [Sector]) -> Result<(), Refusal> {
        let lba = self.area.place.lba(sector, memory.len() as u32);
        let mut data = Sectors {
            lba: lba.ok_or(Doubt::Damaged)?,
            direction: Direction::Write,
            memory,
        };
        Ok(self.card.carry(&mut data)?)
    }
}

fn read(card: &mut Taken, lba: u64) -> Result<Sector, sd::Error> {
    let mut sector = [0; SECTOR_BYTES];
    card.carry(&mut Sectors {
        lba,
        direction: Direction::Read,
        memory: core::slice::from_mut(&mut sector),
    })?;
    Ok(sector)
}

fn write() -> Result<Header, Refusal> {
    let mut proved = Proved::prove(keep::area()?)?;
    let place = proved.area.place;
    let header_lba = place.lba(HEADER_SECTOR, 1).ok_or(Doubt::Damaged)?;
    let before = Header::decode(&read(&mut proved.card, header_lba)?, place.sectors());
    let (memory, bytes) = text::take((place.sectors() - TEXT_SECTOR) as usize);
    let header = Header {
        text_bytes: bytes as u32,
        text_sum: crc32(&memory.as_flattened()[..bytes]),
        sequence: before.map_or(0, |before| before.sequence).wrapping_add(1),
        uptime_ns: now_ns(),
        utc_ns: clock::utc_ns(now_ns()).unwrap_or(0),
        build: build::id(),
    };
    proved.write(TEXT_SECTOR, memory)?;
    proved.write(HEADER_SECTOR, &mut [header.encode()])?;
    Ok(header)
}
