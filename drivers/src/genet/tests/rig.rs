// SPDX-License-Identifier: MIT OR Apache-2.0
//! An owner for the driver: what a kernel does around it, step by step.
use super::bench::{Bench, Buffer, Pauses};
use crate::genet::frame::HEADROOM;
use crate::genet::{Error, FrameBuffer, Genet, Link, Phy, PhyMode, Received, Stall, TxChecksum};
use std::collections::VecDeque;
use std::vec::Vec;

pub const OWN: [u8; 6] = [0xdc, 0xa6, 0x32, 1, 2, 3];
/// Frames for one pass.
const BUDGET: usize = 32;
pub const SECOND_NS: u64 = 1_000_000_000;

/// The driver with its owner.
pub struct Rig<'a> {
    pub bench: &'a Bench,
    pub genet: Genet<&'a Bench, Buffer<'a>>,
    pub phy: Option<Phy<&'a Bench>>,
    /// What came in.
    pub got: VecDeque<(Vec<u8>, Received)>,
    /// There is a buffer for every frame.
    pub has_buffers: bool,
    /// Frames that were given back.
    pub given_back: usize,
}

impl<'a> Rig<'a> {
    /// Reset and started, the PHY negotiating.
    pub fn started(bench: &'a Bench) -> Result<Self, Error> {
        let mut genet = Genet::new(bench);
        genet.reset(OWN, PhyMode::RgmiiRxId, &mut Pauses(bench))?;
        let phy = Phy::attach(bench, PhyMode::RgmiiRxId, &mut Pauses(bench))?;
        let mut rig = Self {
            bench,
            genet,
            phy: Some(phy),
            got: VecDeque::new(),
            has_buffers: true,
            given_back: 0,
        };
        rig.start()?;
        Ok(rig)
    }

    /// With a link.
    pub fn up(bench: &'a Bench) -> Self {
        let mut rig = Self::started(bench).expect("comes up");
        bench.pass(genet_model::AUTONEG_NS);
        rig.serve();
        assert!(rig.genet.link().is_some(), "no link");
        rig
    }

    pub fn start(&mut self) -> Result<(), Error> {
        let bench = self.bench;
        self.genet
            .start(&mut || bench.buffer(), &mut |buffer| bench.put(buffer))
    }

    pub fn stop(&mut self) -> Result<(), Error> {
        let bench = self.bench;
        self.genet
            .stop(&mut |buffer| bench.put(buffer), &mut Pauses(bench))
    }

    pub fn recover(&mut self) -> Result<(), Error> {
        let bench = self.bench;
        let given_back = &mut self.given_back;
        let give_back = &mut |buffer| {
            *given_back += 1;
            bench.put(buffer);
        };
        self.genet
            .recover(&mut || bench.buffer(), give_back, &mut Pauses(bench))
    }

    /// What the link's thread does.
    pub fn poll(&mut self) -> Result<Option<Link>, Error> {
        let mut pauses = Pauses(self.bench);
        let phy = self.phy.as_mut().expect("attached");
        let link = phy.poll(&mut pauses)?;
        if link != self.genet.link() {
            self.genet.set_link(link, &mut pauses);
        }
        Ok(link)
    }

    pub fn queue_with(&mut self, frame: &[u8], checksum: Option<TxChecksum>) -> bool {
        let mut buffer = self.bench.buffer().expect("a buffer");
        buffer.bytes_mut()[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        let refused = self.genet.transmit(buffer, frame.len(), checksum);
        match refused {
            Ok(()) => true,
            Err(buffer) => {
                self.bench.put(buffer);
                false
            }
        }
    }

    pub fn queue(&mut self, frame: &[u8]) -> bool {
        self.queue_with(frame, None)
    }

    /// Sends one frame at once.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        let queued = self.queue(frame);
        self.genet.kick();
        queued
    }

    pub fn reclaim(&mut self) -> usize {
        let bench = self.bench;
        self.genet.reclaim(&mut |buffer| bench.put(buffer))
    }

    /// One pass over the receive ring.
    pub fn receive(&mut self, budget: usize) -> usize {
        let (bench, got, has) = (self.bench, &mut self.got, self.has_buffers);
        self.genet.receive(
            budget,
            &mut || if has { bench.buffer() } else { None },
            &mut |buffer, received| {
                let end = received.start + received.bytes;
                got.push_back((buffer.bytes()[received.start..end].to_vec(), received));
                bench.put(buffer);
            },
        )
    }

    /// What the handler does as long as the line is up; how often it was called.
    pub fn serve(&mut self) -> u32 {
        let mut calls = 0;
        while self.bench.lines.get()[0] {
            calls += 1;
            assert!(calls < 10_000, "the line stays up");
            let causes = self.genet.interrupt();
            assert!(!causes.is_none(), "the line is up for nothing");
            if causes.link {
                let _ = self.poll();
            }
            if causes.receive || causes.transmit {
                self.pass();
            }
        }
        calls
    }

    /// What follows an interrupt for frames.
    pub fn pass(&mut self) {
        loop {
            self.receive(BUDGET);
            self.reclaim();
            if !self.genet.rearm() {
                break;
            }
        }
    }

    /// What the link's thread does each tenth of a second, for so long; what the watchdog said.
    pub fn watch(&mut self, ns: u64) -> Vec<Stall> {
        let mut said = Vec::new();
        let end_ns = self.bench.clock.now_ns() + ns;
        while self.bench.clock.now_ns() < end_ns {
            self.bench.pass(SECOND_NS / 10);
            self.serve();
            let Some(stall) = self.genet.watchdog(self.bench.clock.now_ns()) else {
                continue;
            };
            said.push(stall);
            if stall.needs_recovery() {
                self.recover().expect("recovers");
            } else {
                self.pass();
            }
        }
        said
    }

    /// The next frame that came in.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.got.pop_front().map(|(frame, _)| frame)
    }

    /// Stops; then no buffer may be missing, and nothing may have been done that is not known.
    pub fn end(mut self) {
        self.stop().expect("stops");
        assert_eq!(self.bench.out(), 0, "buffers that were not given back");
        assert_eq!(self.bench.dropped.get(), 0, "buffers that were dropped");
        assert_eq!(self.bench.strays(), [""; 0]);
        assert_eq!(self.bench.lines.get(), [false; 2]);
    }
}

/// A frame for this driver, of so many bytes.
pub fn frame(bytes: usize, seed: u8) -> Vec<u8> {
    let mut frame = OWN.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    frame.extend((14..bytes).map(|i| (i as u8).wrapping_mul(31) ^ seed));
    frame
}
