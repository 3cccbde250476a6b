// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the model needs of the world: time, guest memory, one interrupt line.

/// The guest's memory refused an access: nothing at that address, or the bus said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusError;

/// The world around the model. Whoever drives the model implements it: a test, an emulator.
///
/// The model calls it from inside its own methods. An implementation must not call back into the
/// model.
pub trait Outside {
    /// Time that never goes backwards, in nanoseconds.
    fn now_ns(&mut self) -> u64;
    /// The controller reads guest memory.
    fn dma_read(&mut self, address: u64, into: &mut [u8]) -> Result<(), BusError>;
    /// The controller writes guest memory.
    fn dma_write(&mut self, address: u64, from: &[u8]) -> Result<(), BusError>;
    /// The interrupt line changed its level.
    fn interrupt(&mut self, level: bool);
}
