// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine is: the firmware's description, the command line, and what the VideoCore's mailbox says.
//!
//! Filled on the first CPU before the others run, read by all.
use crate::cmdline::Options;
pub use crate::cmdline::{CpuOff, OnPanic};
use crate::klog;
use crate::lock_order;
use crate::thread::{ThreadCx, ThreadDelay};
use bsp::fdt::Board;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::start::Boot;
use bsp::vc::MailboxBuffer;
use core::sync::atomic::{AtomicU32, Ordering};
use drivers::mailbox::Mailbox;
use log::{info, warn};
use spin::Once;
use sync::domain::{Before, Cx, MaySleep};
use sync::kmutex::KMutex;

struct Machine {
    board: Board<'static>,
    options: Options,
    entry_el: u8,
    firmware_data_addr: usize,
}

static MACHINE: Once<Machine> = Once::new();
static FIRMWARE_REVISION: AtomicU32 = AtomicU32::new(0);

/// Revisions below this are no build times: an emulator's constant. The Pi 4 is of 2019.
const FIRST_REAL_REVISION: u32 = 1_500_000_000;

type PropertyMailbox = Mailbox<Mmio, MailboxBuffer, ThreadDelay>;

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

/// True if the firmware is an emulator's; [`ask_firmware`] has found out.
pub fn is_emulated() -> bool {
    FIRMWARE_REVISION.load(Ordering::Relaxed) < FIRST_REAL_REVISION
}

/// How a CPU goes off here.
pub fn cpu_off() -> CpuOff {
    let guess = if is_emulated() {
        CpuOff::Park
    } else {
        CpuOff::Psci
    };
    options().cpu_off.unwrap_or(guess)
}

/// Asks the mailbox; `None` if it does not answer.
pub fn mailbox<K: Before<lock_order::Mailbox> + MaySleep, R>(
    cx: &mut Cx<K>,
    ask: impl FnOnce(&mut PropertyMailbox) -> Result<R, drivers::mailbox::Error>,
) -> Option<R> {
    let (mut mailbox, _) = MAILBOX.enter(cx);
    // SAFETY: the mailbox's registers and its one buffer; the lock makes this the only user.
    let mailbox = mailbox.get_or_insert_with(|| unsafe {
        Mailbox::new(Mmio::new(map::MAILBOX), MailboxBuffer::take(), ThreadDelay)
    });
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
