// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the model needs of the world: time, guest memory, the wire, two interrupt lines.

/// The guest's memory refused an access: nothing at that address, or the bus said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusError;

/// GENET's two interrupt lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// INTRL2_0, SPI 157: MAC, MDIO, link, ring 16
    A,
    /// INTRL2_1, SPI 158: rings 0 to 15
    B,
}

/// The world around the model. Whoever drives the model implements it: a test, an emulator.
///
/// The model calls it from inside its own methods. An implementation must not call back into the
/// model; a frame that answers a sent frame at once has to wait until the model's method returned.
pub trait Outside {
    /// Time that never goes backwards, in nanoseconds.
    fn now_ns(&mut self) -> u64;
    /// The device reads guest memory.
    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError>;
    /// The device writes guest memory.
    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError>;
    /// A frame leaves on the wire, destination address first, without its frame check sequence.
    fn transmit(&mut self, frame: &[u8]);
    /// An interrupt line changed its level.
    fn interrupt(&mut self, line: Line, level: bool);
}
