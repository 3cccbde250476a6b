// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread that looks after what the board itself does: it is slowed down by its supply or its temperature, and
//! random numbers want a new key.
//!
//! The firmware tells how it stands and does not call; so it is asked, a mailbox exchange of some 50 µs each two
//! seconds. What begins or ends within two seconds is not seen here; the firmware remembers it since power-up
//! (`board`).
use super::mailbox;
use crate::cpu::CpuSet;
use crate::random;
use crate::thread::{self, PRIORITY_NORMAL, ThreadCx, TooManyThreads};
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicU32, Ordering};
use drivers::mailbox::Throttled;
use log::{info, warn};

const LOOK_NS: u64 = 2_000_000_000;
/// Five minutes.
const LOOKS_A_KEY: u64 = 150;

/// How it stood at the last look. A test changes it behind the kernel's back.
static LAST: AtomicU32 = AtomicU32::new(0);

/// Starts it.
///
/// # Errors
/// There is no thread left.
pub fn start(cx: &mut ThreadCx) -> Result<(), TooManyThreads> {
    thread::spawn(cx, "board", PRIORITY_NORMAL, CpuSet::ALL, watch).map(drop)
}

fn watch(cx: &mut ThreadCx) {
    let mut answers = true;
    for look in 1_u64.. {
        // A firmware that does not know the tag will not learn it.
        answers = answers && compare(cx);
        thread::sleep_until(cx, now_ns() + LOOK_NS);
        if look.is_multiple_of(LOOKS_A_KEY) {
            random::seed(cx);
        }
    }
}

/// Logs what has changed; false: the firmware does not tell.
fn compare(cx: &mut ThreadCx) -> bool {
    let Some(now) = mailbox(cx, |m| m.throttled()) else {
        return false;
    };
    // ORDERING: Relaxed: with nobody; one thread alone writes and reads it.
    let before = LAST.swap(now, Ordering::Relaxed);
    for (what, begins) in Throttled(now).changes(Throttled(before)) {
        if begins {
            warn!("board: {what}: the CPUs may be slowed down");
        } else {
            info!("board: no longer {what}");
        }
    }
    true
}
