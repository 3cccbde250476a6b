// SPDX-License-Identifier: GPL-2.0-or-later
//! The chip's small blocks: `pi4-pm`, `pi4-rng`, `pi4-avs`.
//!
//! Each is a register model without DMA and without an interrupt, one window, and at most a timer. QEMU has a PM
//! block whose watchdog does not count, and nothing at the other two addresses.

mod avs;
mod pm;
mod rng;

use std::ffi::{CStr, c_void};

use crate::board::{self, Board};
use crate::qemu::{CLOCK_VIRTUAL, MemoryRegion, MemoryRegionOps, Object, qemu};

pub use avs::TYPE as AVS;
pub use pm::TYPE as PM;
pub use rng::TYPE as RNG;

/// The guest's time.
fn now_ns() -> u64 {
    // SAFETY: asks a clock.
    let now_ns = unsafe { (qemu().qemu_clock_get_ns)(CLOCK_VIRTUAL) };
    u64::try_from(now_ns).unwrap_or_default()
}

/// A block's registers in the address space.
struct Window {
    name: &'static CStr,
    address: u64,
    bytes: u64,
    ops: &'static MemoryRegionOps,
    reset: unsafe extern "C" fn(*mut c_void),
}

impl Window {
    /// Maps it, once its device is there to answer.
    fn insert(&self, owner: *mut Object) -> Result<(), String> {
        // The version is looked at before anything of QEMU's layout is used.
        Board::find()?;
        let (q, nothing) = (qemu(), std::ptr::null_mut());
        let region = Box::leak(Box::new(MemoryRegion::new()));
        // SAFETY: the region is never freed; names are constants; the owner is QEMU's new device. The
        // machine's lock is held.
        unsafe {
            (q.memory_region_init_io)(
                region,
                owner,
                self.ops,
                nothing,
                self.name.as_ptr(),
                self.bytes,
            );
            board::map(region, self.address);
            (q.qemu_register_reset)(self.reset, nothing);
        }
        Ok(())
    }
}
