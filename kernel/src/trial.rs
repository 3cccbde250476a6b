// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts for trial: lines that no device drives, which the kernel sets pending itself, one of each device domain.
//!
//! # Contexts
//! [`establish`], [`disestablish`]: threads. The rest: any.
use crate::intr::{self, DeviceDomain, Handler, SourceError};
use crate::thread::{self, ThreadCx};
use crate::torture;
use alloc::vec::Vec;
use arm_gic::IntId;
use bsp::map;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::domain::{Bio, Net, Tty};
use sync::kmutex::IntrCookie;

/// One of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Of domain Bio.
    Bio = 1,
    /// Of domain Net.
    Net,
    /// Of domain Tty.
    Tty,
}

/// All of them.
pub const LINES: [Line; 3] = [Line::Bio, Line::Net, Line::Tty];

/// How often who sleeps until something is done looks whether it is.
const LOOK_NS: u64 = 100_000;

/// What ran, 4 bits each, the latest lowest.
static ORDER: AtomicU64 = AtomicU64::new(0);

/// A line's interrupt.
pub fn intid(line: Line) -> IntId {
    map::IRQ_UNUSED[line as usize - 1]
}

fn note(line: Line) {
    // ORDERING: one word, and who asks for the order has the lines on one CPU.
    let _always = ORDER.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |order| {
        Some(order << 4 | line as u64)
    });
}

fn bio(cx: &mut ThreadCx, _: usize) {
    note(Line::Bio);
    torture::in_interrupt(cx, &torture::BIO);
}

fn net(cx: &mut ThreadCx, _: usize) {
    note(Line::Net);
    torture::in_interrupt(cx, &torture::NET);
}

fn tty(cx: &mut ThreadCx, _: usize) {
    note(Line::Tty);
    torture::in_interrupt(cx, &torture::TTY);
}

/// The lines, connected.
#[derive(Default)]
pub struct Established(
    Option<IntrCookie<Bio>>,
    Option<IntrCookie<Net>>,
    Option<IntrCookie<Tty>>,
);

/// Connects the lines to the [torture](crate::torture) and to [`take_order`], each on the CPU given.
pub fn establish(cx: &mut ThreadCx, cpus: [usize; 3]) -> Result<Established, SourceError> {
    let handlers = (
        Handler::Threaded(bio),
        Handler::Threaded(net),
        Handler::Threaded(tty),
    );
    establish_as(cx, cpus, handlers)
}

/// Connects the lines to handlers, each on the CPU given; a handler's argument is its line's place in [`LINES`].
pub fn establish_as(
    cx: &mut ThreadCx,
    cpus: [usize; 3],
    handlers: (Handler<Bio>, Handler<Net>, Handler<Tty>),
) -> Result<Established, SourceError> {
    let mut lines = Established::default();
    match connect(cx, &mut lines, cpus, handlers) {
        Ok(()) => Ok(lines),
        Err(error) => disestablish(cx, lines).and(Err(error)),
    }
}

fn connect(
    cx: &mut ThreadCx,
    lines: &mut Established,
    cpus: [usize; 3],
    (bio, net, tty): (Handler<Bio>, Handler<Net>, Handler<Tty>),
) -> Result<(), SourceError> {
    let [b, n, t] = LINES.map(intid);
    lines.0 = Some(intr::establish(cx, b, "trial bio", bio, 0)?);
    lines.1 = Some(intr::establish(cx, n, "trial net", net, 1)?);
    lines.2 = Some(intr::establish(cx, t, "trial tty", tty, 2)?);
    let mut places = LINES.into_iter().zip(cpus);
    places.try_for_each(|(line, cpu)| intr::move_to(cx, intid(line).into(), cpu))
}

/// Disconnects them; what they still had to do is done.
pub fn disestablish(cx: &mut ThreadCx, lines: Established) -> Result<(), SourceError> {
    let bio = lines.0.map_or(Ok(()), |line| intr::disestablish(cx, line));
    let net = lines.1.map_or(Ok(()), |line| intr::disestablish(cx, line));
    let tty = lines.2.map_or(Ok(()), |line| intr::disestablish(cx, line));
    bio.and(net).and(tty)
}

/// Does `work` with one line connected to `handler`, on `cpu`.
pub fn with_line<D: DeviceDomain, R>(
    cx: &mut ThreadCx,
    line: Line,
    name: &'static str,
    handler: Handler<D>,
    cpu: usize,
    work: impl FnOnce(&mut ThreadCx) -> R,
) -> Result<R, SourceError> {
    let cookie = intr::establish(cx, intid(line), name, handler, 0)?;
    let done = intr::move_to(cx, intid(line).into(), cpu).map(|()| work(cx));
    intr::disestablish(cx, cookie)?;
    done
}

/// Waits until `done`, at most `patience_ns`, without giving up the CPU; true if it is.
pub fn spin_until(patience_ns: u64, done: impl Fn() -> bool) -> bool {
    let end = now_ns() + patience_ns;
    while !done() {
        if now_ns() > end {
            return false;
        }
        bsp::cpu::relax();
    }
    true
}

/// Sleeps until `done`, at most `patience_ns`; true if it is.
pub fn sleep_until(cx: &mut ThreadCx, patience_ns: u64, done: impl Fn() -> bool) -> bool {
    let end = now_ns() + patience_ns;
    while !done() && now_ns() < end {
        thread::sleep_until(cx, now_ns() + LOOK_NS);
    }
    done()
}

/// Has `line` interrupt.
pub fn set_pending(line: Line) {
    intr::set_pending(intid(line));
}

/// Times that each line was handled, and times that it was deferred.
pub fn counts(cx: &mut ThreadCx) -> [(u32, u32); 3] {
    let all = intr::lines(cx);
    LINES.map(|line| {
        let line = all.iter().find(|l| l.intid == u32::from(intid(line)));
        line.map_or((0, 0), |l| (l.counts.iter().sum(), l.deferred))
    })
}

/// Which handlers ran since the last call, in order: the last sixteen.
pub fn take_order() -> Vec<Line> {
    let order = ORDER.swap(0, Ordering::Relaxed);
    let numbers = (0..16).rev().map(|n| (order >> (4 * n) & 15) as usize);
    numbers
        .filter_map(|n| LINES.get(n.wrapping_sub(1)).copied())
        .collect()
}
