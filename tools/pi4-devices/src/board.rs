// SPDX-License-Identifier: GPL-2.0-or-later
//! What both devices need of the board: its machine, its interrupts, its address space.

use std::ffi::{CStr, c_int, c_void};

use crate::qemu::{self, MemoryRegion, Object, qemu};

/// The QEMU that the hand-written layouts are for, whatever its third number.
const MADE_FOR: [i64; 2] = [10, 0];
const PERIPHERALS: &CStr = c"/machine/soc/peripherals";
/// Above QEMU's own devices and placeholders.
const PRIORITY: c_int = 10;

/// The board's peripherals, which also hold the interrupt controller's inputs.
#[derive(Clone, Copy)]
pub struct Board {
    peripherals: *mut Object,
}

impl Board {
    /// Finds the board, or says why there is none.
    pub fn find() -> Result<Self, String> {
        let [major, minor, micro] = qemu::version();
        if [major, minor] != MADE_FOR {
            return Err(format!(
                "this is QEMU {major}.{minor}.{micro}; these devices are made for {}.{}: the layouts \
                 in tools/pi4-devices/src/qemu.rs must be checked against it first",
                MADE_FOR[0], MADE_FOR[1]
            ));
        }
        let peripherals = object(PERIPHERALS)
            .ok_or("there is no Raspberry Pi 4 in this machine; use -M raspi4b")?;
        Ok(Self { peripherals })
    }

    /// The interrupt controller's shared input of this number.
    pub fn spi(self, number: c_int) -> *mut c_void {
        // SAFETY: the object is the board's, which passes on the interrupt controller's inputs.
        unsafe { (qemu().qdev_get_gpio_in)(self.peripherals, number) }
    }
}

/// The object at this path.
pub fn object(path: &CStr) -> Option<*mut Object> {
    // SAFETY: the path is a C string, and QEMU takes no notice of ambiguity without a place for it.
    let found = unsafe { (qemu().object_resolve_path)(path.as_ptr(), std::ptr::null_mut()) };
    (!found.is_null()).then_some(found)
}

/// Puts a window of registers into the address space, over what QEMU has there.
///
/// # Safety
/// The region is initialised and stays for as long as QEMU runs.
pub unsafe fn map(region: *mut MemoryRegion, address: u64) {
    let q = qemu();
    // SAFETY: the caller's promise; system memory is QEMU's own.
    unsafe {
        let memory = (q.get_system_memory)();
        (q.memory_region_add_subregion_overlap)(memory, address, region, PRIORITY);
    }
}
