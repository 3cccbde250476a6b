// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver in two domains, the guide's example: what a disk's interrupt brings, a network's takes away.
//!
//! The devices are the lines that no device drives ([`crate::trial`]). A chapter of the guide explains it
//! (docs/guide/driver.md).
use super::{Verdict, require};
use crate::intr::{self, Handler, SourceError};
use crate::lock_order::{TrialBio, TrialNet};
use crate::thread::{Kernel, ThreadCx};
use crate::trial::{self, Line};
use alloc::format;
use bsp::timer::now_ns;
use spin::Once;
use sync::domain::{Bio, Net};
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;

// ANCHOR: driver
/// What threads and handlers share: what has come from the disk, and what the network still has to send.
struct Relay {
    arrived: KMutex<u32, TrialBio>,
    came: KCondvar<Kernel>,
    to_send: KMutex<u32, TrialNet>,
    sent: KCondvar<Kernel>,
}

static RELAY: Once<Relay> = Once::new();

/// The disk has read a block. A threaded handler: it may enter its device's mutex.
fn disk_interrupt(cx: &mut ThreadCx, _: usize) {
    if let Some(relay) = RELAY.get() {
        let (mut arrived, mut cx) = relay.arrived.enter(cx);
        *arrived += 1;
        relay.came.signal(&mut cx);
    }
}

/// The network has sent a packet. It may come while a CPU holds the disk's mutex, and does not wait for it.
fn net_interrupt(cx: &mut ThreadCx, _: usize) {
    if let Some(relay) = RELAY.get() {
        let (mut to_send, mut cx) = relay.to_send.enter(cx);
        *to_send = to_send.saturating_sub(1);
        relay.sent.signal(&mut cx);
    }
}

impl Relay {
    /// Waits for a block. The condition variable opens the mutex, and with it the disk's interrupt, while it waits.
    fn take_block(&self, cx: &mut ThreadCx, deadline_ns: u64) -> bool {
        let (mut arrived, mut cx) = self.arrived.enter(cx);
        while *arrived == 0 {
            if self.came.timed_wait(&mut arrived, &mut cx, deadline_ns) == Wakeup::TimedOut {
                return false;
            }
        }
        *arrived -= 1;
        // Here `self.to_send.enter(&mut cx)` does not compile: a lock of Net under one of Bio.
        true
    }

    /// Hands a packet to the network, and waits until it is sent.
    fn send(&self, cx: &mut ThreadCx, deadline_ns: u64) -> bool {
        let (mut to_send, mut cx) = self.to_send.enter(cx);
        *to_send += 1;
        trial::set_pending(Line::Net); // a real driver writes its device's register
        while *to_send > 0 {
            if self.sent.timed_wait(&mut to_send, &mut cx, deadline_ns) == Wakeup::TimedOut {
                return false;
            }
        }
        true
    }
}

/// Establishes both interrupts, makes the mutexes from their cookies, and relays `blocks` blocks; how many went through.
fn relay(cx: &mut ThreadCx, blocks: u32) -> Result<u32, SourceError> {
    let [disk, net] = [Line::Bio, Line::Net].map(trial::intid);
    let disk = intr::establish(
        cx,
        disk,
        "example disk",
        Handler::<Bio>::Threaded(disk_interrupt),
        0,
    )?;
    let net = match intr::establish(
        cx,
        net,
        "example net",
        Handler::<Net>::Threaded(net_interrupt),
        0,
    ) {
        Ok(net) => net,
        Err(error) => return intr::disestablish(cx, disk).and(Err(error)),
    };
    let relay = RELAY.call_once(|| Relay {
        arrived: KMutex::for_interrupt(0, &disk),
        came: KCondvar::new(),
        to_send: KMutex::for_interrupt(0, &net),
        sent: KCondvar::new(),
    });
    let deadline_ns = now_ns() + 10_000_000_000;
    let mut relayed = 0;
    while relayed < blocks {
        trial::set_pending(Line::Bio); // a real driver starts a transfer
        if !relay.take_block(cx, deadline_ns) || !relay.send(cx, deadline_ns) {
            break;
        }
        relayed += 1;
    }
    intr::disestablish(cx, net)?;
    intr::disestablish(cx, disk)?;
    Ok(relayed)
}
// ANCHOR_END: driver

/// Every block that the disk's interrupt brings goes out by the network's.
pub fn example(cx: &mut ThreadCx) -> Verdict {
    const BLOCKS: u32 = 100;
    let relayed = relay(cx, BLOCKS).map_err(|error| format!("{error}"))?;
    require(relayed == BLOCKS, || {
        format!("{relayed} of {BLOCKS} blocks went through")
    })
}
