// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debugger on a stopped machine: a prompt on the serial line that needs nothing of the kernel's to work.
//!
//! # Theory
//! It is entered by a break on the line, by the command `ddb`, and with `panic=ddb` by a panic. It stops the other CPUs
//! ([`crate::stop`]) and talks by polling the UART. It enters no lock, allocates nothing and waits for no interrupt: what locks
//! guard it reads past them, as whoever was stopped has left it. Addresses that may be wrong are read by guarded loads, and
//! a command that faults all the same loses its frame and the way back to the kernel, not the debugger.
//!
//! A break gets in whichever CPU hangs: where the UART's interrupt is not served, the watchdog's tick looks
//! (`console/tty.rs`).
//!
//! Continuing lets all go on where they were. The clock has gone on meanwhile: what waited for a time that has passed is
//! due at once. Interrupts that came are pending in the GIC and come then.
//!
//! # Contexts
//! [`enter`]: any; it masks IRQ itself.
//!
//! # Rejected
//! - The console's own commands: they take locks and allocate.
//! - A table of all threads' registers written as they are stopped: the frame of the trap that stopped a CPU has them.
//!
//! References: NetBSD ddb(4).
mod commands;
pub mod show;

pub(crate) use commands::registers;

use crate::console::line::{Event, LineEditor};
use crate::console::tty::{self, Polled};
use crate::cpu::{CPUS, CpuSet, irq_save};
use crate::stop::{self, Stopped};
use crate::watchdog;
use bsp::cpu::{index, irq_restore};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};

const PROMPT: &str = "db> ";

/// The CPU that is in here; `CPUS`: none.
static ACTIVE: AtomicUsize = AtomicUsize::new(CPUS);

struct Editor(UnsafeCell<LineEditor>);
// SAFETY: reached by the CPU that has stopped the others, in `prompt`.
unsafe impl Sync for Editor {}
static EDITOR: Editor = Editor(UnsafeCell::new(LineEditor::new()));

/// What follows a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The prompt.
    Prompt,
    /// The kernel.
    Continue,
}

/// Stops the machine and asks what to do, until told to continue. If another CPU has stopped it, waits for that to end.
pub fn enter(why: &str) {
    let daif = irq_save();
    let Some(others) = stop::stop_others(CpuSet(0)) else {
        stop::stay();
        irq_restore(daif);
        return;
    };
    stop::note_here();
    watchdog::suspend();
    watchdog::stop_ticking();
    ACTIVE.store(index(), Ordering::Relaxed);
    // SAFETY: all others are stopped, but those that do not answer.
    let stopped = unsafe { Stopped::assume() };
    let _ = writeln!(
        Polled,
        "\n\nstopped on CPU {}: {why}; help lists the commands",
        index()
    );
    let _ = show::silent(&stopped, &mut Polled, others);
    while prompt(&stopped) != Next::Continue {}
    let _ = writeln!(Polled, "continuing");
    ACTIVE.store(CPUS, Ordering::Relaxed);
    watchdog::start_ticking();
    watchdog::resume();
    stop::release(others);
    irq_restore(daif);
}

/// As above, on a machine that has panicked and told why: there is no way on.
pub fn after_panic() -> ! {
    ACTIVE.store(index(), Ordering::Relaxed);
    // SAFETY: the panic stopped all others.
    let stopped = unsafe { Stopped::assume() };
    loop {
        if prompt(&stopped) == Next::Continue {
            let _ = writeln!(
                Polled,
                "there is nothing to continue: reboot starts it again"
            );
        }
    }
}

/// A panic on a CPU that is in the debugger: tells `what`, and goes on with the prompt. Returns if it is not.
pub fn recover(what: impl Fn(&mut dyn Write) -> fmt::Result) {
    // ORDERING: Relaxed: written by this CPU, or not equal to its number.
    if ACTIVE.load(Ordering::Relaxed) == index() {
        let _ = what(&mut Polled);
        let _ = writeln!(Polled, "    in the debugger; the way back is lost");
        after_panic();
    }
}

/// As typed and echoed, without translation.
struct Raw;

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        tty::write_polled_raw(text.as_bytes());
        Ok(())
    }
}

/// Asks for a line, and does it.
fn prompt(stopped: &Stopped) -> Next {
    // SAFETY: this CPU alone is in here, and the last use of this reference, `line`, is over before the next call.
    let editor = unsafe { &mut *EDITOR.0.get() };
    editor.prompt(PROMPT, &mut Raw);
    loop {
        match editor.feed(tty::read_polled(), &mut Raw, &mut commands::complete) {
            Event::Pending | Event::EndOfFile => {}
            Event::Interrupt => return Next::Prompt,
            Event::Refused(error) => {
                let _ = writeln!(Polled, "{error}");
                return Next::Prompt;
            }
            Event::Line(line) => return commands::execute(stopped, line, &mut Polled),
        }
    }
}
