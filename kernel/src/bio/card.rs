// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card as a block device: EMMC2 or the Arasan below a queue, by DMA if the controller can, by interrupt always.
//!
//! # Theory
//! Both controllers share one interrupt, and one of them has the card. Its threaded handler advances the command
//! under way. While a thread has the controller, to identify a card or to recover from an error, the handler only makes
//! it let go of the line, and wakes the thread.
//!
//! # Contexts
//! [`Card`]'s `start` and `look`: under the queue's lock. The rest: threads.
use super::disk::{Command, Disk, Progress, Strategy};
use super::queue::Limits;
use super::request::Transfer;
use super::{DiskError, SECTOR_BYTES};
use crate::board;
use crate::dma::Words;
use crate::intr::{self, Handler, SourceError};
use crate::lock_order;
use crate::thread::{self, Kernel, ThreadCx, ThreadDelay};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use drivers::mailbox::{Clock, ExpanderPin, PowerDomain};
use drivers::sd::{self, Direction, Info, Segment, TransferData};
use drivers::sdhci::{self, Blame, Sdhci, Slot};
use embedded_hal::delay::DelayNs;
use log::{debug, warn};
use spin::Once;
use sync::domain::{Before, Bio, Cx, MaySleep};
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

/// How long the signals' regulator takes to settle (device tree: `regulator-settling-time-us`).
const IO_VOLTAGE_NS: u64 = 5_000_000;
/// How long a card without supply takes to forget everything (Physical Layer §6.4.1: 1 ms; capacitors want more).
const POWER_OFF_NS: u64 = 20_000_000;
/// Descriptors of a command: of 4 KiB each, 1 MiB; of 64 KiB, 16.
const DESCRIPTORS: usize = 256;
/// Sectors in one command of several transfers: it should not keep others waiting for long. 1 MiB takes 25 ms at 40 MB/s.
const MOST_SECTORS: u64 = 2048;

/// A controller that may have the card.
#[derive(Clone, Copy, Debug)]
pub struct Controller {
    /// Its name.
    pub name: &'static str,
    base: usize,
    clock: Clock,
    has_dma: bool,
}

/// The board's slot first, for there the other is the WiFi's.
const CONTROLLERS: [Controller; 2] = [
    Controller {
        name: "EMMC2",
        base: map::SDHCI_EMMC2,
        clock: Clock::Emmc2,
        has_dma: true,
    },
    Controller {
        name: "Arasan",
        base: map::SDHCI_ARASAN,
        clock: Clock::Emmc,
        has_dma: false,
    },
];

/// The queue that the interrupt belongs to.
static DISK: Once<Arc<Disk>> = Once::new();
/// The registers of the controller that is in use. ORDERING: Relaxed: an address; the queue's lock orders the rest.
static IN_USE: AtomicUsize = AtomicUsize::new(map::SDHCI_EMMC2);
/// Its base clock in Hz, as the firmware tells it; 0 if it does not. ORDERING: Relaxed, as above.
static IN_USE_HZ: AtomicU32 = AtomicU32::new(0);
/// The controller has interrupted while a thread has it.
static EVENT: KMutex<bool, lock_order::CardEvent> = KMutex::new(false);
static EVENT_CAME: KCondvar<Kernel> = KCondvar::new();

/// The card's queue; its interrupt is established with it.
///
/// # Errors
/// The interrupt is not to be had.
pub fn disk(cx: &mut ThreadCx) -> Result<&'static Arc<Disk>, SourceError> {
    if let Some(disk) = DISK.get() {
        return Ok(disk);
    }
    let handler = Handler::<Bio>::Threaded(interrupt);
    let cookie = intr::establish(cx, map::IRQ_EMMC, "emmc", handler, 0)?;
    let disk = Disk::for_interrupt(cx, "card", &cookie).map_err(SourceError::Threads)?;
    Ok(DISK.call_once(|| disk))
}

/// The address of the controller that has the card, and its base clock in Hz, if the firmware tells it, else 0. Asked by
/// who has found the card, under the disks' lock.
pub fn in_use() -> (usize, u32) {
    (
        IN_USE.load(Ordering::Relaxed),
        IN_USE_HZ.load(Ordering::Relaxed),
    )
}

fn interrupt(cx: &mut ThreadCx, _: usize) {
    if let Some(disk) = DISK.get()
        && disk.interrupt(cx, wake_thread)
    {
        intr::note_work(map::IRQ_EMMC);
    }
}

/// The interrupt of a controller that a thread has.
fn wake_thread(cx: &mut Cx<lock_order::BioQueue>) {
    let (mut came, mut cx) = EVENT.enter(cx);
    // SAFETY: the controller's block. A thread drives it, and what `silence` touches is for the handler.
    let io = unsafe { Mmio::new(IN_USE.load(Ordering::Relaxed)) };
    if sdhci::silence(&io) {
        *came = true;
        EVENT_CAME.signal(&mut cx);
    }
}

/// What a controller's driver needs of the kernel and of the board.
#[derive(Debug)]
pub struct Surroundings;

impl DelayNs for Surroundings {
    fn delay_ns(&mut self, ns: u32) {
        ThreadDelay.delay_ns(ns);
    }
}

impl Surroundings {
    fn pin(&self, pin: ExpanderPin, on: bool) -> bool {
        if board::is_emulated() {
            return false; // QEMU's firmware has no expander.
        }
        // SAFETY: it leads to the mailbox, whose lock comes after all that a thread that drives a card may hold.
        let mut cx = unsafe { thread::boundary() };
        board::mailbox(&mut cx, |m| m.set_expander_pin(pin, on)).is_some()
    }

    fn settle(&self, ns: u64) {
        // SAFETY: a thread that drives a card may sleep.
        let mut cx = unsafe { thread::boundary() };
        thread::sleep_until(&mut cx, now_ns() + ns);
    }
}

impl Slot for Surroundings {
    fn wait_event(&mut self, timeout_us: u32, arm: impl FnOnce()) -> bool {
        // SAFETY: it leads to this lock of the Bio domain; a thread that drives a card holds none.
        let mut cx = unsafe { thread::boundary() };
        let end = now_ns() + u64::from(timeout_us) * 1_000;
        let (mut came, mut cx) = EVENT.enter(&mut cx);
        arm();
        while !*came && now_ns() < end {
            let _either = EVENT_CAME.timed_wait(&mut came, &mut cx, end);
        }
        core::mem::take(&mut *came)
    }

    fn cycle_power(&mut self) -> bool {
        let off = self.pin(ExpanderPin::SdPowerOn, false);
        self.settle(POWER_OFF_NS);
        self.pin(ExpanderPin::SdIoSel1V8, false);
        // Not every board can switch the supply: it stays on then.
        let on = self.pin(ExpanderPin::SdPowerOn, true);
        self.settle(IO_VOLTAGE_NS);
        off && on
    }

    fn lower_signal_voltage(&mut self) -> bool {
        let lowered = self.pin(ExpanderPin::SdIoSel1V8, true);
        self.settle(IO_VOLTAGE_NS);
        lowered
    }
}

/// A card that was identified.
pub struct Card {
    card: sd::Card<Mmio, Words, Surroundings>,
    /// What EMMC2 adds to physical addresses.
    bus: u32,
    limits: Limits,
}

/// The slot's supply on, and its signals at 3.3 V. The firmware left it so, unless another system ran since.
fn power_slot<K: Before<lock_order::Mailbox> + MaySleep>(cx: &mut Cx<K>) {
    board::mailbox(cx, |m| m.power_on(PowerDomain::SdCard));
    let slot = Surroundings;
    slot.pin(ExpanderPin::SdIoSel1V8, false);
    if slot.pin(ExpanderPin::SdPowerOn, true) {
        slot.settle(IO_VOLTAGE_NS);
    }
}

impl Card {
    /// Looks for a card, and identifies it. Says on which controller it is.
    ///
    /// # Errors
    /// A sentence: there is none, or it cannot be used.
    pub fn find<K>(cx: &mut Cx<K>) -> Result<(&'static str, Self), String>
    where
        K: Before<lock_order::Mailbox> + MaySleep,
    {
        power_slot(cx);
        for controller in CONTROLLERS {
            let hz = board::mailbox(cx, |m| m.clock_rate_hz(controller.clock));
            IN_USE.store(controller.base, Ordering::Relaxed);
            IN_USE_HZ.store(hz.unwrap_or(0), Ordering::Relaxed);
            match Self::on(controller, hz.filter(|hz| *hz != 0)) {
                Ok(card) => return Ok((controller.name, card)),
                Err(sd::Error::NoCard) => debug!("{}: no card", controller.name),
                Err(error) => return Err(format!("card on {}: {error}", controller.name)),
            }
        }
        Err("no card in either slot (EMMC2, Arasan)".into())
    }

    fn on(controller: Controller, hz: Option<u32>) -> Result<Self, sd::Error> {
        let bus = board::get().emmc2_bus.filter(|_| controller.has_dma);
        let table = bus.and_then(|bus| Words::new(2 * DESCRIPTORS, bus).ok());
        // SAFETY: the controller's block; the card's disk has no device now, so nobody else drives it.
        let io = unsafe { Mmio::new(controller.base) };
        let mut card =
            sd::Card::init(Sdhci::new(io, table, Surroundings, hz)).map_err(|(error, _)| error)?;
        let limits = Limits {
            sectors: MOST_SECTORS,
            segments: if card.has_dma() {
                card.max_segments()
            } else {
                usize::MAX
            },
        };
        let bus = bus.unwrap_or(0);
        Ok(Self { card, bus, limits })
    }

    /// What it says of itself, and how it is driven.
    pub fn info(&self) -> &Info {
        self.card.info()
    }
}

/// A command as the driver sees it.
struct OnBus<'a, 'b> {
    command: &'a mut Command<'b>,
    bus: u32,
}

impl TransferData for OnBus<'_, '_> {
    fn lba(&self) -> u64 {
        self.command.batch.lba
    }

    fn blocks(&self) -> u32 {
        self.command.batch.sectors as u32 // one transfer, or MOST_SECTORS at most
    }

    fn direction(&self) -> Direction {
        if self.command.batch.op.writes() {
            Direction::Write
        } else {
            Direction::Read
        }
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        self.command.transfers().map(|transfer| Segment {
            bus_address: transfer.buffer.bus_address(transfer.range.start, self.bus),
            bytes: transfer.range.len() as u32,
        })
    }

    fn block(&mut self, number: u32) -> &mut [u8; SECTOR_BYTES] {
        let mut at = number as usize * SECTOR_BYTES;
        let holds = |transfer: &Transfer| {
            let bytes = transfer.range.len();
            let here = at < bytes;
            if !here {
                at -= bytes;
            }
            here
        };
        let which = self.command.transfers().position(holds);
        let transfer = which.and_then(|which| self.command.transfer_mut(which));
        let transfer = transfer.expect("a block that the command has");
        let at = transfer.range.start + at;
        let (blocks, _) = transfer.buffer.bytes_mut()[at..].as_chunks_mut();
        &mut blocks[0]
    }
}

/// What a failed command means to who asked for it.
fn meaning(error: sd::Error, command: &Command) -> DiskError {
    warn!(
        "card: {} sectors from {}: {error}",
        command.batch.sectors, command.batch.lba
    );
    let lba = command.batch.lba;
    match error {
        sd::Error::NoCard | sd::Error::Removed | sd::Error::Exchanged => DiskError::Removed,
        sd::Error::ReadOnly => DiskError::ReadOnly,
        error if error.blame() != Blame::Medium => {
            DiskError::Device("the controller does not work; see dmesg")
        }
        _ if command.batch.op.writes() => DiskError::Unwritable { lba },
        _ => DiskError::Medium { lba },
    }
}

fn told(progress: sd::Progress, command: &Command) -> Progress {
    match progress {
        sd::Progress::NotMine => Progress::Nothing,
        sd::Progress::Going => Progress::Going,
        sd::Progress::Done => Progress::Done,
        sd::Progress::Failed(error) => Progress::Failed(meaning(error, command)),
    }
}

impl Strategy for Card {
    fn sectors(&self) -> u64 {
        self.info().capacity_blocks
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn has_dma(&self) -> bool {
        self.card.has_dma()
    }

    fn has_volatile_cache(&self) -> bool {
        self.info().volatile_cache
    }

    fn start(&mut self, command: &mut Command) -> Progress {
        let bus = self.bus;
        match self.card.start(&mut OnBus { command, bus }) {
            Ok(()) => Progress::Going,
            Err(error) => Progress::Failed(meaning(error, command)),
        }
    }

    fn look(&mut self, command: &mut Command) -> Progress {
        let bus = self.bus;
        let progress = self.card.interrupt(&mut OnBus { command, bus });
        told(progress, command)
    }

    fn give_up(&mut self, command: &mut Command) -> Progress {
        let bus = self.bus;
        let progress = self.card.give_up(&mut OnBus { command, bus });
        told(progress, command)
    }

    fn hush(&mut self) {
        self.card.hush();
    }

    fn recover(&mut self) -> Result<(), DiskError> {
        self.card.recover().map_err(|error| {
            warn!("card: it does not recover: {error}");
            match error.blame() {
                Blame::Medium => DiskError::Removed,
                _ => DiskError::Device("the controller does not recover; see dmesg"),
            }
        })
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.card.flush().map_err(|error| {
            warn!("card: flush: {error}");
            DiskError::Device("the card did not write its cache; see dmesg")
        })
    }
}
