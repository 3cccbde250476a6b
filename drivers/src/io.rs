// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seam between a driver and its registers: hardware in the kernel, a model in a host test.
use core::marker::PhantomData;
use tock_registers::fields::FieldValue;
use tock_registers::{LocalRegisterCopy, RegisterLongName};

/// The 32-bit registers of one device, by byte offset from its base.
///
/// Every block of the BCM2711 that the kernel drives takes 32-bit accesses, and several take nothing else
/// (EMMC2: the BCM2711 SDHCI drops byte and half-word writes).
pub trait Io {
    /// Reads the register at byte offset `offset`.
    fn read32(&self, offset: usize) -> u32;
    /// Writes the register at byte offset `offset`.
    fn write32(&self, offset: usize, value: u32);
}

/// A borrowed device is a device: a test keeps the model that its driver works on.
impl<T: Io + ?Sized> Io for &T {
    fn read32(&self, offset: usize) -> u32 {
        (**self).read32(offset)
    }
    fn write32(&self, offset: usize, value: u32) {
        (**self).write32(offset, value);
    }
}

/// A register's byte offset, with the bit fields (`register_bitfields!`) that it holds.
pub struct Reg<N: RegisterLongName = ()> {
    /// Byte offset from the device's base.
    pub offset: usize,
    fields: PhantomData<N>,
}

impl<N: RegisterLongName> Reg<N> {
    /// The register at byte offset `offset`.
    pub const fn at(offset: usize) -> Self {
        Self {
            offset,
            fields: PhantomData,
        }
    }

    /// One read of the device; its fields are then taken from the copy.
    pub fn read(&self, io: &impl Io) -> LocalRegisterCopy<u32, N> {
        LocalRegisterCopy::new(io.read32(self.offset))
    }

    /// Writes the fields given and zero elsewhere.
    pub fn write(&self, io: &impl Io, fields: FieldValue<u32, N>) {
        io.write32(self.offset, fields.value);
    }

    /// Reads, replaces the fields given, writes back.
    pub fn modify(&self, io: &impl Io, fields: FieldValue<u32, N>) {
        io.write32(self.offset, fields.modify(io.read32(self.offset)));
    }
}
