// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts for trial: a line of each device domain that no device drives, and the kernel sets pending itself.
//!
//! # Contexts
//! [`establish`]: threads. The rest: any.
use crate::{intr, torture};
use alloc::vec::Vec;
use arm_gic::IntId;
use bsp::map;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;
use sync::domain::{Bio, Cx, Interrupt, Net, Tty};

/// One of the lines, all of which interrupt CPU 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Of domain Bio.
    Bio = 1,
    /// Of domain Net.
    Net,
    /// Of domain Tty.
    Tty,
}

const LINES: [Line; 3] = [Line::Bio, Line::Net, Line::Tty];

/// What ran, 4 bits each, the latest lowest.
static ORDER: AtomicU64 = AtomicU64::new(0);

fn intid(line: Line) -> IntId {
    map::IRQ_UNUSED[line as usize - 1]
}

fn note(line: Line) {
    // ORDERING: the handlers, and who asks, run on one CPU.
    let order = ORDER.load(Ordering::Relaxed);
    ORDER.store(order << 4 | line as u64, Ordering::Relaxed);
}

fn bio(cx: &mut Cx<Interrupt<Bio>>, _: usize) {
    note(Line::Bio);
    torture::in_interrupt(cx, &torture::BIO);
}

fn net(cx: &mut Cx<Interrupt<Net>>, _: usize) {
    note(Line::Net);
    torture::in_interrupt(cx, &torture::NET);
}

fn tty(cx: &mut Cx<Interrupt<Tty>>, _: usize) {
    note(Line::Tty);
    torture::in_interrupt(cx, &torture::TTY);
}

/// Connects the lines, the first time.
pub fn establish() {
    static ESTABLISHED: Once<()> = Once::new();
    ESTABLISHED.call_once(|| {
        let _cookie = intr::establish(intid(Line::Bio), "trial bio", bio, 0);
        let _cookie = intr::establish(intid(Line::Net), "trial net", net, 0);
        let _cookie = intr::establish(intid(Line::Tty), "trial tty", tty, 0);
    });
}

/// Has `line` interrupt.
pub fn set_pending(line: Line) {
    intr::set_pending(intid(line));
}

/// Times that a line's handler ran or was deferred.
pub fn arrived() -> u32 {
    let lines =
        intr::lines().filter(|line| LINES.iter().any(|l| u32::from(intid(*l)) == line.intid));
    lines
        .map(|line| line.counts.iter().sum::<u32>() + line.deferred)
        .sum()
}

/// Which handlers ran since the last call, in order: the last sixteen.
pub fn take_order() -> Vec<Line> {
    let order = ORDER.swap(0, Ordering::Relaxed);
    let numbers = (0..16).rev().map(|n| (order >> (4 * n) & 15) as usize);
    numbers
        .filter_map(|n| LINES.get(n.wrapping_sub(1)).copied())
        .collect()
}
