// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the interrupts of the card and of the network wait: each that is held off is counted, where that is decided.
//!
//! # Theory
//! What is put aside in memory is looked at as it arrives: the word of the thread says what is held, of which domain, and
//! how much of it belongs to handlers that run ([`Mask::cause`]). What a ladder holds off stays in the GIC, and nobody
//! sees it; so there it is looked at when the priority mask register is about to open: of both sources, whether one is pending
//! for this CPU, was below the mask and will no longer be. An interrupt whose line is up while its handler's thread is
//! still at it is *active*; it waits for that, and does not count.
//!
//! Looking costs accesses to the distributor. So it is off, unless somebody [counts](count).
//!
//! # Contexts
//! [`put_aside`], [`opens`]: IRQ masked, on the CPU in question. The rest: any.
use super::gic;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::ipl::Ipl;
use sync::spl::{Cause, Mask};

/// The sources that are looked at: interrupt and class.
pub const SOURCES: [(arm_gic::IntId, Ipl); 2] = [
    (bsp::map::IRQ_EMMC, Ipl::Bio),
    (bsp::map::IRQ_GENET, Ipl::Net),
];

/// Of each source, how often it waited for which [`Cause`].
pub type Counts = [[u64; Cause::ALL.len()]; SOURCES.len()];

static ON: AtomicBool = AtomicBool::new(false);
// ORDERING: Relaxed: counters, which nothing follows from.
static COUNTS: [[AtomicU64; Cause::ALL.len()]; SOURCES.len()] =
    [const { [const { AtomicU64::new(0) }; Cause::ALL.len()] }; SOURCES.len()];

/// From now on it is counted, or no longer.
pub fn count(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// What was counted since the machine started.
pub fn counts() -> Counts {
    COUNTS
        .each_ref()
        .map(|causes| causes.each_ref().map(|count| count.load(Ordering::Relaxed)))
}

fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn note(source: usize, mask: Mask) {
    let (_, class) = SOURCES[source];
    COUNTS[source][mask.cause(class) as usize].fetch_add(1, Ordering::Relaxed);
}

/// Interrupt `intid` is put aside under `mask`.
pub(super) fn put_aside(intid: u32, mask: Mask) {
    if is_on() {
        let mut sources = SOURCES.iter();
        if let Some(source) = sources.position(|(source, _)| u32::from(*source) == intid) {
            note(source, mask);
        }
    }
}

/// The priority mask register is about to open: it has stood for `from`.
pub(super) fn opens(from: Mask, to: Mask) {
    if !is_on() {
        return;
    }
    for (n, (intid, class)) in SOURCES.into_iter().enumerate() {
        let was_held_off = Some(class) <= from.level() && Some(class) > to.level();
        if was_held_off && gic::waits_here(intid) {
            note(n, from);
        }
    }
}
