// SPDX-License-Identifier: MIT OR Apache-2.0
//! The storm: an interrupt line that is stuck, on the console's CPU.
//!
//! The line is real: the mini UART's, which asks for characters to send and gets none. Its handler does nothing, so it
//! comes again as soon as it may. The kernel has to notice, name it and leave it alone now and then; meanwhile
//! interrupts of the trial lines go to that CPU and must be handled, and the console's: Ctrl-C ends it.
use super::{PATIENCE_NS, check_counts, handled, send, with_lines};
use crate::console::shell::{Refusal, interrupted};
use crate::intr::{self, Handler};
use crate::thread::{self, ThreadCx};
use crate::trial::{LINES, spin_until};
use bsp::map;
use bsp::mmio::Mmio;
use bsp::timer::now_ns;
use core::fmt::Write;
use drivers::aux::MiniUart;
use sync::domain::Tty;

/// How long it lasts unless told otherwise, and at most.
pub const SECONDS: u64 = 2;
pub const MAX_SECONDS: u64 = 3600;
/// How often the trial lines are sent, and how often the console says how it goes.
const SEND_NS: u64 = 10_000_000;
const NEWS_NS: u64 = 500_000_000;

/// What the table of interrupts says of one: its CPU, how often it was handled there, how often throttled.
fn look(cx: &mut ThreadCx, intid: u32) -> (usize, u32, u32) {
    let lines = intr::lines(cx);
    let line = lines.iter().find(|line| line.intid == intid);
    line.map_or((0, 0, 0), |line| {
        let cpu = line.cpu.unwrap_or(0);
        (cpu, line.counts[cpu], line.storms)
    })
}

/// Has the line stuck for so long, with a direct or a threaded handler, or until Ctrl-C.
pub fn run(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    threaded: bool,
    seconds: u64,
) -> Result<(), Refusal> {
    let handler = if threaded {
        Handler::<Tty>::Threaded(|_, _| ())
    } else {
        Handler::Direct(|_, _| ())
    };
    let (cpu, ..) = look(cx, map::IRQ_UART0.into());
    with_lines(cx, [cpu; 3], |cx| {
        let stuck = intr::establish(cx, map::IRQ_AUX, "mini uart", handler, 0)?;
        let moved = intr::move_to(cx, map::IRQ_AUX.into(), cpu);
        // SAFETY: the auxiliary block; nobody else drives it, for its interrupt was free, and commands run one at a time.
        let mut uart = MiniUart::new(unsafe { Mmio::new(map::AUX) });
        let lived = moved.map_err(Refusal::from).and_then(|()| {
            uart.assert_line();
            let lived = live(cx, out, cpu, now_ns() + seconds * 1_000_000_000);
            uart.release_line();
            lived
        });
        intr::disestablish(cx, stuck)?;
        lived
    })
}

/// Lives with the storm on `cpu` until `end_ns`.
fn live(cx: &mut ThreadCx, out: &mut dyn Write, cpu: usize, end_ns: u64) -> Result<(), Refusal> {
    let (_, console_before, _) = look(cx, map::IRQ_UART0.into());
    writeln!(
        out,
        "the mini UART's line (interrupt {}) is stuck, on CPU {cpu}, the console's",
        u32::from(map::IRQ_AUX)
    )?;
    let mut news_ns = now_ns() + NEWS_NS;
    while now_ns() < end_ns && !interrupted(cx) {
        for line in 0..LINES.len() {
            send(line);
            if !spin_until(PATIENCE_NS, || handled(line)) {
                return Err(Refusal("demo: FAILED: the other lines starve".into()));
            }
        }
        thread::sleep_until(cx, now_ns() + SEND_NS);
        if now_ns() > news_ns {
            let (_, count, storms) = look(cx, map::IRQ_AUX.into());
            writeln!(
                out,
                "  it came {count} times, and was throttled {storms} times"
            )?;
            news_ns = now_ns() + NEWS_NS;
        }
    }
    let (_, count, storms) = look(cx, map::IRQ_AUX.into());
    let (_, console, _) = look(cx, map::IRQ_UART0.into());
    let others = check_counts()?;
    let console = console - console_before;
    writeln!(
        out,
        "it came {count} times, and was throttled {storms} times; of other lines {others} were\n\
         sent to that CPU and {others} handled; the console's interrupt was handled {console} times"
    )?;
    if storms == 0 {
        return Err(Refusal("demo: FAILED: it was not throttled".into()));
    }
    Ok(())
}
