// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets on their way from the Net interrupt to the soft interrupt: one queue for each CPU, bounded.
//!
//! # Theory
//! The interrupt puts in on the CPU where it runs, and the soft interrupt that it schedules takes out on the same: so
//! the lock around a queue is contended only while the interrupt is moved to another CPU. What finds the queue
//! full is dropped there, and counted there.
use super::mbuf::{Mbuf, Packet};
use alloc::collections::VecDeque;

/// Most packets in a queue.
pub const QUEUE_PACKETS: usize = 512;

/// Packets in order of arrival.
pub struct Queue {
    packets: VecDeque<Packet>,
    figures: QueueFigures,
}

/// What went through a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Packets that were put in.
    pub packets: u64,
    /// Packets that found it full.
    pub dropped: u64,
    /// The most that it ever held.
    pub deepest: usize,
}

impl Queue {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            packets: VecDeque::new(),
            figures: QueueFigures {
                packets: 0,
                dropped: 0,
                deepest: 0,
            },
        }
    }

    /// Puts a packet in; or gives its buffer back, for the queue is full.
    pub fn put(&mut self, packet: Packet) -> Option<Mbuf> {
        if self.packets.len() == QUEUE_PACKETS {
            self.figures.dropped += 1;
            return Some(packet.mbuf);
        }
        self.packets.push_back(packet);
        self.figures.packets += 1;
        self.figures.deepest = self.figures.deepest.max(self.packets.len());
        None
    }

    /// Moves all packets to the end of `to`.
    pub fn drain_into(&mut self, to: &mut VecDeque<Packet>) {
        to.append(&mut self.packets);
    }

    /// What went through it.
    pub fn figures(&self) -> QueueFigures {
        self.figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(start: u16) -> Packet {
        Packet {
            mbuf: Mbuf::new(0).unwrap(),
            start,
            bytes: 60,
            sum: None,
        }
    }

    #[test]
    fn a_full_queue_drops_what_comes_last_and_counts_it() {
        let mut queue = Queue::new();
        for n in 0..QUEUE_PACKETS as u16 {
            assert!(queue.put(packet(n)).is_none());
        }
        assert!(queue.put(packet(9999)).is_some());
        let mut out = VecDeque::new();
        queue.drain_into(&mut out);
        assert!(out.iter().map(|p| p.start).eq(0..QUEUE_PACKETS as u16));
        let figures = QueueFigures {
            packets: QUEUE_PACKETS as u64,
            dropped: 1,
            deepest: QUEUE_PACKETS,
        };
        assert_eq!(queue.figures(), figures);
    }
}
