// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine is: the firmware's description, the command line, and what the VideoCore's mailbox says.
//!
//! Filled on the first CPU before the others run, read by all.
pub mod watch;

use crate::cmdline::Options;
pub use crate::cmdline::{CpuOff, OnPanic};
use crate::dma::Words;
use crate::klog;
use crate::lock_order;
use crate::thread::{ThreadCx, ThreadDelay};
use bsp::fdt::Board;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::start::Boot;
use bsp::trap;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use drivers::mailbox::{BUFFER_WORDS, Mailbox};
use drivers::thermal;
use log::{info, warn};
use spin::Once;
use sync::domain::{Before, Cx, MaySleep};
use sync::kmutex::KMutex;

struct Machine {
    board: Board<'static>,
    options: Options,
    entry_el: u8,
    firmware_data_addr: usize,
    other_registers: [usize; 3],
}

static MACHINE: Once<Machine> = Once::new();
static FIRMWARE_REVISION: AtomicU32 = AtomicU32::new(0);
/// A CPU that PSCI switched off did not come back.
static PSCI_LOSES_CPUS: AtomicBool = AtomicBool::new(false);

/// Revisions below this are no build times: an emulator's constant. The Pi 4 is of 2019.
const FIRST_REAL_REVISION: u32 = 1_500_000_000;

type PropertyMailbox = Mailbox<Mmio, Words, ThreadDelay>;

static MAILBOX: KMutex<Option<PropertyMailbox>, lock_order::Mailbox> = KMutex::new(None);

/// Reads what the firmware passed. First CPU, once.
pub fn init(boot: &Boot) {
    let board = Board::parse(boot.firmware_data);
    let options = Options::parse(board.command_line, |word| {
        warn!("command line: {word} means nothing")
    });
    klog::set_console_level(options.log);
    let (entry_el, firmware_data_addr) = (boot.entry_el, boot.firmware_data_addr);
    MACHINE.call_once(|| Machine {
        board,
        options,
        entry_el,
        firmware_data_addr,
        other_registers: boot.other_registers,
    });
}

fn machine() -> &'static Machine {
    MACHINE.get().expect("board::init comes first")
}

/// What the firmware said.
pub fn get() -> &'static Board<'static> {
    &machine().board
}

/// The command line's options; the defaults before it is known.
pub fn options() -> Options {
    MACHINE.get().map_or(Options::DEFAULT, |m| m.options)
}

/// Exception level of entry, and the address that the firmware passed in x0.
pub fn entry() -> (u8, usize) {
    (machine().entry_el, machine().firmware_data_addr)
}

/// What x1, x2 and x3 held at entry.
pub fn other_registers() -> [usize; 3] {
    machine().other_registers
}

/// True if the firmware is an emulator's; [`ask_firmware`] has found out.
pub fn is_emulated() -> bool {
    FIRMWARE_REVISION.load(Ordering::Relaxed) < FIRST_REAL_REVISION
}

/// When the firmware was built, in seconds since 1970; an emulator's constant; 0: it does not say.
pub fn firmware_revision() -> u32 {
    // ORDERING: with nobody; a number of its own, written before other threads ask.
    FIRMWARE_REVISION.load(Ordering::Relaxed)
}

/// The word that tells the chip's stepping.
///
/// # Errors
/// Why it cannot be read.
pub fn chip_revision() -> Result<u32, &'static str> {
    let word = trap::read(map::CHIP_REVISION, 4);
    word.map(|word| word as u32)
        .map_err(|trap::Faulted| "no such register")
}

/// The chip's temperature by its own sensor, in thousandths of a degree Celsius, if there is one.
pub fn sensor_millidegrees() -> Option<i32> {
    const STATUS: usize = 0x200;
    trap::read(map::AVS + STATUS, 4).ok()?;
    // SAFETY: the monitor's block, which answers; nobody writes to it.
    thermal::millidegrees(&unsafe { Mmio::new(map::AVS) })
}

/// PSCI switches CPUs off and not on again, whatever the command line says.
pub fn park_from_now_on() {
    // ORDERING: with nobody; a flag of its own, set and read under the lock of `smp`, or before a CPU leaves under it.
    PSCI_LOSES_CPUS.store(true, Ordering::Relaxed);
}

/// How a CPU goes off here.
pub fn cpu_off() -> CpuOff {
    if PSCI_LOSES_CPUS.load(Ordering::Relaxed) {
        return CpuOff::Park;
    }
    let guess = if is_emulated() {
        CpuOff::Park
    } else {
        CpuOff::Psci
    };
    options().cpu_off.unwrap_or(guess)
}

/// Whether the chip's watchdog shall guard the kernel: an emulator's may reset at once ([`drivers::pm`]).
pub fn hwwatchdog() -> bool {
    options().hwwatchdog.unwrap_or(!is_emulated())
}

/// Asks the mailbox; `None` if it does not answer.
pub fn mailbox<K: Before<lock_order::Mailbox> + MaySleep, R>(
    cx: &mut Cx<K>,
    ask: impl FnOnce(&mut PropertyMailbox) -> Result<R, drivers::mailbox::Error>,
) -> Option<R> {
    let (mut mailbox, _) = MAILBOX.enter(cx);
    if mailbox.is_none() {
        let buffer = Words::new(BUFFER_WORDS, map::VC_BUS_ALIAS).ok()?;
        // SAFETY: the mailbox's registers; the lock makes this the only user.
        *mailbox = Some(Mailbox::new(
            unsafe { Mmio::new(map::MAILBOX) },
            buffer,
            ThreadDelay,
        ));
    }
    let mailbox = mailbox.as_mut()?;
    ask(mailbox).map_err(|error| info!("mailbox: {error}")).ok()
}

/// Learns the firmware's revision. Once, before a CPU may go off.
pub fn ask_firmware(cx: &mut ThreadCx) {
    let revision = mailbox(cx, |m| m.firmware_revision()).unwrap_or(0);
    FIRMWARE_REVISION.store(revision, Ordering::Relaxed);
    let model = mailbox(cx, |m| m.board_revision()).unwrap_or(0);
    let kind = if is_emulated() { "emulator" } else { "board" };
    info!("firmware {revision}, board revision {model:#x}: {kind}");
}
