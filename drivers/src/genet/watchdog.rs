// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who notices that nothing happens any more.
//!
//! # Theory
//! The sender stalls if frames are queued, the link is up, and the consumer index has not moved for longer than a pause
//! frame can ask for (65,535 times 512 bits are 3.4 s at 10 Mbit/s). The receiver stalls if its buffer overflows
//! again and again while the ring has room and the producer index stays. An index that no ring can
//! have says that the device is not to be believed at all. An interrupt is lost if frames that were in the ring at one
//! look still are at the next.
use super::regs::{RBUF_OVERFLOWS, RX_PRODUCER, TDMA};
use super::{FrameBuffer, Genet};
use crate::Io;

/// Longer than any pause.
const STALL_NS: u64 = 5_000_000_000;

/// What does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// An interrupt was lost: receive, reclaim, and rearm, as after one.
    Interrupt,
    /// Frames are not sent.
    Transmit,
    /// Frames are not received.
    Receive,
    /// The transmit ring's index is not one it can have.
    TransmitIndex,
    /// The receive ring's index is not one it can have.
    ReceiveIndex,
}

impl Stall {
    /// Does it take a [`Genet::recover`]?
    pub const fn needs_recovery(self) -> bool {
        !matches!(self, Self::Interrupt)
    }
}

/// What was seen at the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// An index that cannot be.
    pub(super) nonsense: Option<Stall>,
    /// Frames were received since the last look.
    pub(super) received: bool,
    /// Frames waited at the last look.
    rx_waited: bool,
    /// Room waited to be told at the last look.
    tx_waited: bool,
    /// TX: consumer index, and since when it is that.
    tx: Option<(u16, u64)>,
    /// RX: producer index and overflows; since when the one stays and the other does not.
    rx: Option<(u16, u32, u64)>,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self {
            nonsense: None,
            received: false,
            rx_waited: false,
            tx_waited: false,
            tx: None,
            rx: None,
        }
    }

    /// The link has changed: time counts from now on.
    pub(super) fn rest(&mut self) {
        (self.tx, self.rx) = (None, None);
    }
}

impl<I: Io, B: FrameBuffer> Genet<I, B> {
    /// It is `now_ns` on a clock that never goes back: does anything stall? To be called between ten times a second
    /// and once; what is lost is found at the second call after it. Three register reads.
    pub fn watchdog(&mut self, now_ns: u64) -> Option<Stall> {
        if !self.running {
            return None;
        }
        self.look_for_frames();
        let sent = TDMA.device_index.read(&self.io).read(RX_PRODUCER::INDEX) as u16;
        let overflows = RBUF_OVERFLOWS.read(&self.io).get();
        let lost = self.interrupt_lost(sent);
        let stall = self
            .watch
            .nonsense
            .or_else(|| self.sender_stalls(now_ns, sent))
            .or_else(|| self.receiver_stalls(now_ns, overflows));
        match stall {
            Some(_) => {
                self.counters.stalls += 1;
                stall
            }
            None if lost => {
                self.counters.interrupts_lost += 1;
                Some(Stall::Interrupt)
            }
            None => None,
        }
    }

    fn interrupt_lost(&mut self, sent: u16) -> bool {
        let rx_waits = self.rx.waiting() != 0;
        let tx_waits = self.tx.wanted && sent != self.tx.done;
        let lost = rx_waits && self.watch.rx_waited && !self.watch.received
            || tx_waits && self.watch.tx_waited;
        (self.watch.rx_waited, self.watch.tx_waited) = (rx_waits, tx_waits);
        self.watch.received = false;
        lost
    }

    fn sender_stalls(&mut self, now_ns: u64, sent: u16) -> Option<Stall> {
        if self.link.is_none() || !self.tx.owes(sent) {
            self.watch.tx = None;
            return None;
        }
        match self.watch.tx {
            Some((index, since_ns)) if index == sent => {
                (now_ns.saturating_sub(since_ns) >= STALL_NS).then_some(Stall::Transmit)
            }
            _ => {
                self.watch.tx = Some((sent, now_ns));
                None
            }
        }
    }

    fn receiver_stalls(&mut self, now_ns: u64, overflows: u32) -> Option<Stall> {
        let seen = self.rx.seen;
        match self.watch.rx {
            Some((index, before, since_ns)) if index == seen && before != overflows => {
                self.watch.rx = Some((seen, overflows, since_ns));
                let has_room = self.rx.waiting() == 0;
                let long = now_ns.saturating_sub(since_ns) >= STALL_NS;
                (has_room && long).then_some(Stall::Receive)
            }
            _ => {
                self.watch.rx = Some((seen, overflows, now_ns));
                None
            }
        }
    }
}
