// SPDX-License-Identifier: MIT OR Apache-2.0
//! The check of moving interrupts from CPU to CPU while they come.
use super::{PATIENCE_NS, PRIORITY, Verdict, join, require, spawn};
use crate::cpu::{self, CPUS, CpuSet};
use crate::intr::{self, Handler};
use crate::thread::{self, Kernel, ThreadCx};
use crate::trial::{self, LINES};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::cpu::index;
use bsp::timer::{Spin, now_ns};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use embedded_hal::delay::DelayNs;
use sync::domain::{Cx, Interrupt, Tty, Vm};
use sync::spl::{splvm, splx};

/// Times that each line was sent, and handled on each CPU.
static SENT: [AtomicU32; LINES.len()] = [const { AtomicU32::new(0) }; LINES.len()];
static HANDLED: [[AtomicU32; CPUS]; LINES.len()] =
    [const { [const { AtomicU32::new(0) }; CPUS] }; LINES.len()];
static STOP: AtomicBool = AtomicBool::new(false);

fn note(line: usize) {
    // ORDERING: pairs with the Acquire in `handled`: who has seen that it was handled sends the next.
    HANDLED[line][index()].fetch_add(1, Ordering::Release);
}

fn direct(_: &mut Cx<Interrupt<Tty>>, line: usize) {
    note(line);
}

fn threaded(_: &mut ThreadCx, line: usize) {
    note(line);
}

fn handled(line: usize) -> [u32; CPUS] {
    HANDLED[line].each_ref().map(|n| n.load(Ordering::Acquire))
}

fn total(line: usize) -> u32 {
    handled(line).iter().sum()
}

/// Sends every line whenever its last one was handled.
fn send_again(cx: &mut ThreadCx) {
    while !STOP.load(Ordering::Relaxed) {
        for (line, sent) in SENT.iter().enumerate() {
            // One that was handled twice stops it: of two sent at a time the GIC would make one.
            if total(line) == sent.load(Ordering::Relaxed) {
                sent.fetch_add(1, Ordering::Relaxed);
                trial::set_pending(LINES[line]);
            }
        }
        thread::sleep_until(cx, now_ns() + 20_000);
    }
}

/// Holds all lines off now and then, so that one is often taken, and waits, where it is moved away from.
fn hold_again(cx: &mut ThreadCx) {
    while !STOP.load(Ordering::Relaxed) {
        let spl = splvm::<Kernel>();
        Spin.delay_us(200);
        splx::<Vm, Kernel>(spl);
        thread::sleep_until(cx, now_ns() + 200_000);
    }
}

pub fn moves(cx: &mut ThreadCx) -> Verdict {
    for count in SENT.iter().chain(HANDLED.iter().flatten()) {
        count.store(0, Ordering::Relaxed);
    }
    STOP.store(false, Ordering::Relaxed);
    let handlers = (
        Handler::Threaded(threaded),
        Handler::Legacy(|_, line| note(line)),
        Handler::Direct(direct),
    );
    let lines = trial::establish_as(cx, [0; 3], handlers).map_err(|error| format!("{error}"))?;
    let mut threads = Vec::new();
    let started = cpu::online().iter().try_for_each(|cpu| {
        threads.push(spawn(
            cx,
            "holder",
            PRIORITY,
            CpuSet::only(cpu),
            hold_again,
        )?);
        Ok(())
    });
    let went = started.and_then(|()| {
        threads.push(spawn(cx, "sender", PRIORITY, CpuSet::ALL, send_again)?);
        move_around(cx)
    });
    STOP.store(true, Ordering::Relaxed);
    let went = join(cx, threads).and(went);
    let sent = SENT.each_ref().map(|n| n.load(Ordering::Relaxed));
    let all_handled = || [0, 1, 2].map(total) == sent;
    let _counted_below = trial::sleep_until(cx, PATIENCE_NS, all_handled);
    trial::disestablish(cx, lines).map_err(|error| format!("{error}"))?;
    went?;
    let handled = [0, 1, 2].map(total);
    require(sent == handled, || {
        format!("sent {sent:?}, handled {handled:?}")
    })
}

/// Moves each line over all CPUs: it must come there, and nowhere else.
fn move_around(cx: &mut ThreadCx) -> Verdict {
    const MOVES: usize = 60;
    const MORE: u32 = 3;
    let online: Vec<usize> = cpu::online().iter().collect();
    for n in 0..MOVES {
        let cpus = [0, 1, 2].map(|line| online[(n + line) % online.len()]);
        // The last ones came as holders let them: not always then.
        thread::sleep_until(cx, now_ns() + (n as u64 * 70_000) % 500_000);
        let mut before = [[0; CPUS]; LINES.len()];
        for (line, cpu) in cpus.into_iter().enumerate() {
            intr::move_to(cx, trial::intid(LINES[line]).into(), cpu)
                .map_err(|error| format!("move {n} of line {line}: {error}"))?;
            before[line] = handled(line);
        }
        let came = |line: usize| handled(line)[cpus[line]] >= before[line][cpus[line]] + MORE;
        let all_came = || (0..LINES.len()).all(came);
        let _looked_at_below = trial::sleep_until(cx, PATIENCE_NS, all_came);
        for (line, cpu) in cpus.into_iter().enumerate() {
            let after = handled(line);
            let stray = |other: &usize| *other != cpu && after[*other] != before[line][*other];
            let strays: Vec<usize> = (0..CPUS).filter(stray).collect();
            require(came(line) && strays.is_empty(), || -> String {
                format!("line {line} moved to CPU {cpu}: {before:?} before, {after:?} after")
            })?;
        }
    }
    Ok(())
}
