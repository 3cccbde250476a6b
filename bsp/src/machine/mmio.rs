// SPDX-License-Identifier: MIT OR Apache-2.0
//! An address becomes a device here, and nowhere else.
use drivers::Io;

/// The registers of one device block.
#[derive(Clone, Copy)]
pub struct Mmio {
    base: usize,
}

impl Mmio {
    /// The device block at physical address `base`.
    ///
    /// # Safety
    /// `base` must be a device block of this board (`map.rs`), so that no access to it can touch memory that
    /// Rust knows of, and the caller must be its only driver.
    pub const unsafe fn new(base: usize) -> Self {
        Self { base }
    }
}

impl Io for Mmio {
    #[inline]
    fn read32(&self, offset: usize) -> u32 {
        // SAFETY: `new` promised a device block; it is mapped as Device memory, which aliases nothing.
        unsafe { ((self.base + offset) as *const u32).read_volatile() }
    }

    #[inline]
    fn write32(&self, offset: usize, value: u32) {
        // SAFETY: as in `read32`.
        unsafe { ((self.base + offset) as *mut u32).write_volatile(value) }
    }
}
