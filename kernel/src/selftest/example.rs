// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver in two domains, the guide's example: what a disk's interrupt brings, a network's takes away.
//!
//! The devices are the lines that no device drives ([`crate::trial`]). A chapter of the guide shows and explains it
//! (docs/guide/driver.md).
use super::{Verdict, require};
use alloc::format;

// ANCHOR: driver
use crate::intr::{self, Handler, SourceError};
use crate::lock_order::{TrialBio, TrialNet};
use crate::thread::{Kernel, ThreadCx};
use crate::trial::{self, Line};
use bsp::timer::now_ns;
use spin::Once;
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

/// What threads and handlers share: blocks that came from the disk, and packets that the network has to send.
struct Relay {
    arrived: KMutex<u32, TrialBio>,
    came: KCondvar<Kernel>,
    to_send: KMutex<u32, TrialNet>,
    sent: KCondvar<Kernel>,
}

static RELAY: Once<Relay> = Once::new();

/// The disk has read a block. A threaded handler: it may enter its device's mutex.
fn disk_interrupt(cx: &mut ThreadCx, _: usize) {
    let Some(relay) = RELAY.get() else { return };
    let (mut arrived, mut cx) = relay.arrived.enter(cx);
    *arrived += 1;
    relay.came.signal(&mut cx);
}

/// The network has sent a packet. It may come while a CPU holds the disk's mutex, and does not wait for it.
fn net_interrupt(cx: &mut ThreadCx, _: usize) {
    let Some(relay) = RELAY.get() else { return };
    let (mut to_send, mut cx) = relay.to_send.enter(cx);
    *to_send = to_send.saturating_sub(1);
    relay.sent.signal(&mut cx);
}

impl Relay {
    /// Reads a block; false if none came in time. While it waits, the mutex is open, and with it the disk's interrupt.
    fn read(&self, cx: &mut ThreadCx, deadline_ns: u64) -> bool {
        let (mut arrived, mut cx) = self.arrived.enter(cx);
        trial::set_pending(Line::Bio); // a real driver starts a transfer
        while *arrived == 0 && now_ns() < deadline_ns {
            let _wakeup = self.came.timed_wait(&mut arrived, &mut cx, deadline_ns);
        }
        // Here `self.to_send.enter(&mut cx)` does not compile: a lock of Net under one of Bio.
        core::mem::take(&mut *arrived) > 0
    }

    /// Hands a packet to the network, and waits until it is sent; false if that is not in time.
    fn send(&self, cx: &mut ThreadCx, deadline_ns: u64) -> bool {
        let (mut to_send, mut cx) = self.to_send.enter(cx);
        *to_send += 1;
        trial::set_pending(Line::Net); // a real driver writes its device's register
        while *to_send > 0 && now_ns() < deadline_ns {
            let _wakeup = self.sent.timed_wait(&mut to_send, &mut cx, deadline_ns);
        }
        *to_send == 0
    }
}

/// Establishes both interrupts, makes the mutexes from their cookies, and relays `blocks` blocks; how many went through.
fn relay(cx: &mut ThreadCx, blocks: u32) -> Result<u32, SourceError> {
    let handler = Handler::Threaded(disk_interrupt);
    let disk = intr::establish(cx, trial::intid(Line::Bio), "example disk", handler, 0)?;
    let handler = Handler::Threaded(net_interrupt);
    let net = match intr::establish(cx, trial::intid(Line::Net), "example net", handler, 0) {
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
    while relayed < blocks && relay.read(cx, deadline_ns) && relay.send(cx, deadline_ns) {
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
