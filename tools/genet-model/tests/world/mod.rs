// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest of 64 KiB with a driver in it that does the least that a driver does.
#![allow(
    dead_code,
    reason = "each test program compiles this for itself and uses a part of it"
)]

use genet_model::{BusError, Genet, Line, Outside, Plan, status};

pub const TX_BUFFERS: u64 = 0x8000;
pub const BUFFER: u64 = 0x800;
pub const OWN: [u8; 6] = [0xdc, 0xa6, 0x32, 1, 2, 3];

pub const RING_CFG: u32 = 0x1040;
pub const CTRL: u32 = 0x1044;
pub const RDMA: u32 = 0x2000;
pub const TDMA: u32 = 0x4000;
pub const CMD: u32 = 0x808;
pub const RBUF_CTRL: u32 = 0x300;
pub const TBUF_CTRL: u32 = 0x600;
pub const INTR_A: u32 = 0x200;
pub const INTR_B: u32 = 0x240;
/// Speed 1000, receiver and transmitter on.
pub const CMD_ON: u32 = 2 << 2 | 3;

/// Memory, time and wire.
#[derive(Default)]
pub struct World {
    pub memory: Vec<u8>,
    pub now_ns: u64,
    pub sent: Vec<Vec<u8>>,
    pub lines: [bool; 2],
    /// How often a line changed.
    pub edges: u32,
}

impl World {
    fn range(&self, address: u64, bytes: usize) -> Result<std::ops::Range<usize>, BusError> {
        let start = usize::try_from(address).map_err(|_| BusError)?;
        let end = start.checked_add(bytes).ok_or(BusError)?;
        (end <= self.memory.len())
            .then_some(start..end)
            .ok_or(BusError)
    }
}

impl Outside for World {
    fn now_ns(&mut self) -> u64 {
        self.now_ns
    }

    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError> {
        into.copy_from_slice(&self.memory[self.range(address, into.len())?]);
        Ok(())
    }

    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError> {
        let range = self.range(address, from.len())?;
        self.memory[range].copy_from_slice(from);
        Ok(())
    }

    fn transmit(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }

    fn interrupt(&mut self, line: Line, level: bool) {
        assert_ne!(self.lines[line as usize], level, "no change");
        self.lines[line as usize] = level;
        self.edges += 1;
    }
}

/// The model, its world, and a driver's indices.
pub struct Rig {
    pub genet: Genet,
    pub world: World,
    pub ring: u32,
    pub size: u32,
    pub first: u32,
    pub consumer: u16,
    pub producer: u16,
}

impl Rig {
    /// A controller with the link up and no driver yet.
    pub fn bare(faults: &[&str]) -> Self {
        let plans: Vec<Plan> = faults.iter().map(|f| f.parse().unwrap()).collect();
        let mut world = World {
            memory: vec![0; 0x1_0000],
            ..World::default()
        };
        let mut genet = Genet::new(&plans);
        genet.set_cable(true, &mut world);
        world.now_ns += genet_model::AUTONEG_NS;
        genet.advance(&mut world);
        Self {
            genet,
            world,
            ring: 16,
            size: 8,
            first: 0,
            consumer: 0,
            producer: 0,
        }
    }

    /// A driver on ring 16 with 8 descriptors each way.
    pub fn new(faults: &[&str]) -> Self {
        let mut rig = Self::bare(faults);
        rig.bring_up(16, 0, 8);
        rig
    }

    pub fn read(&mut self, offset: u32) -> u32 {
        self.genet.read(offset, 4, &mut self.world)
    }

    pub fn write(&mut self, offset: u32, value: u32) {
        self.genet.write(offset, 4, value, &mut self.world);
    }

    /// A register of this driver's ring.
    pub fn ring_at(&self, dma: u32, register: u32) -> u32 {
        dma + 0xc00 + 0x40 * self.ring + register
    }

    pub fn bring_up(&mut self, ring: u32, first: u32, size: u32) {
        (self.ring, self.first, self.size) = (ring, first, size);
        self.write(0x004, 3);
        self.write(0x08c, 1 << 6);
        self.write(0x80c, 0xdca6_3201);
        self.write(0x810, 0x0203);
        self.write(CMD, CMD_ON);
        for dma in [RDMA, TDMA] {
            for (register, value) in [
                (0x08, 0),
                (0x0c, 0),
                (0x10, size << 16 | BUFFER as u32),
                (0x14, first * 3),
                (0x1c, (first + size) * 3 - 1),
                (0x24, 1),
            ] {
                let at = self.ring_at(dma, register);
                self.write(at, value);
            }
            self.write(dma + RING_CFG, 1 << ring);
            self.write(dma + CTRL, 2 << ring | 1);
        }
        for n in 0..size {
            self.write(RDMA + (first + n) * 12 + 4, (u64::from(n) * BUFFER) as u32);
        }
        self.write(INTR_A + 0x14, 0x7e000);
        self.write(INTR_B + 0x14, u32::MAX);
        (self.consumer, self.producer) = (0, 0);
    }

    /// Waits as a driver does that has nothing else to do.
    pub fn pass(&mut self, ns: u64) {
        self.world.now_ns += ns;
        self.genet.advance(&mut self.world);
    }

    /// Queues one buffer with these flags; the producer index does not move yet.
    pub fn queue(&mut self, bytes: &[u8], flags: u32) {
        let slot = u32::from(self.producer) % self.size;
        let at = TX_BUFFERS + u64::from(slot) * BUFFER;
        self.world.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        let descriptor = TDMA + (self.first + slot) * 12;
        self.write(descriptor + 4, at as u32);
        self.write(descriptor, (bytes.len() as u32) << 16 | 0x3f << 7 | flags);
        self.producer = self.producer.wrapping_add(1);
    }

    pub fn kick(&mut self) {
        let at = self.ring_at(TDMA, 0x0c);
        self.write(at, self.producer.into());
    }

    /// Sends one frame from one buffer.
    pub fn send(&mut self, frame: &[u8]) {
        self.queue(frame, status::SOP | status::EOP | status::TX_APPEND_CRC);
        self.kick();
    }

    pub fn tx_consumer(&mut self) -> u16 {
        let at = self.ring_at(TDMA, 0x08);
        self.read(at) as u16
    }

    pub fn receive(&mut self, frame: &[u8]) -> genet_model::Received {
        self.genet.receive(frame, &mut self.world)
    }

    /// The next received buffer: its status word and what lies in it. It is given back.
    pub fn take(&mut self) -> Option<(u32, Vec<u8>)> {
        let at = self.ring_at(RDMA, 0x08);
        if self.read(at) as u16 == self.consumer {
            return None;
        }
        let slot = u32::from(self.consumer) % self.size;
        let word = self.read(RDMA + (self.first + slot) * 12);
        let start = (u64::from(slot) * BUFFER) as usize;
        let length = (word >> 16 & 0xfff) as usize;
        let bytes = self.world.memory[start..start + length].to_vec();
        self.consumer = self.consumer.wrapping_add(1);
        let at = self.ring_at(RDMA, 0x0c);
        self.write(at, self.consumer.into());
        Some((word, bytes))
    }

    pub fn stray_names(&self) -> Vec<String> {
        let strays = self.genet.strays().iter();
        strays.map(|(stray, _)| stray.to_string()).collect()
    }
}

/// A frame for this driver, of so many bytes.
pub fn frame(bytes: usize, seed: u8) -> Vec<u8> {
    let mut frame = OWN.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    frame.extend((14..bytes).map(|i| (i as u8).wrapping_mul(31) ^ seed));
    frame.truncate(bytes);
    frame
}
