// SPDX-License-Identifier: GPL-2.0-or-later
//! SDMA beyond the first boundary, which QEMU 10.0's SDHCI does not do.
//!
//! # Theory
//! SDMA stops at each boundary (512 KiB, as drivers set it), says so by an interrupt, and goes on
//! when the driver writes the next address. QEMU's controller stops as it should, but leaves "read
//! (or write) transfer active" set in its state and, since a fix against writes in the middle
//! of a transfer, throws the address away while that is set: the transfer never ends. U-Boot
//! hangs in reads above 512 KiB.
//!
//! So the address register gets a window of its own over QEMU's. A write that ends a stop by
//! SDMA clears the two bits, and then goes on to QEMU's register, which starts the rest. QEMU's
//! SDMA never runs while a guest runs: whoever can write the register finds it stopped.
//!
//! The controller's state is found through the table by which QEMU would migrate it: names and
//! offsets of its fields.
//!
//! # References
//! SD Host Controller Simplified Specification 3.00, sections 1.13.2 (SDMA) and 2.2.1.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use crate::board;
use crate::qemu::{
    self, Implemented, LITTLE_ENDIAN, MemoryRegion, MemoryRegionOps, Object, Valid, qemu,
};

/// PRESENT_STATE: write transfer active, read transfer active.
const TRANSFER_ACTIVE: u32 = 1 << 8 | 1 << 9;
/// TRANSFER_MODE: DMA is on.
const DMA_ENABLE: u16 = 1 << 0;
/// HOST_CONTROL: which DMA; 0 is SDMA.
const DMA_SELECT: u8 = 3 << 3;
const REGISTER_BYTES: u64 = 4;
/// Above the controller's own window.
const OVER: c_int = 1;

/// One line of a migration table.
#[repr(C)]
struct Field {
    name: *const c_char,
    err_hint: *const c_char,
    offset: usize,
    size: usize,
    others: [usize; 9],
}

/// Where the table keeps its fields.
const FIELDS_AT: usize = 0x48;
/// A table has an end; a layout that is not what it is taken for may have none.
const FIELDS_MAX: usize = 64;

struct Stopped {
    region: *mut MemoryRegion,
    present_state: *mut u32,
    transfer_mode: *const u16,
    host_control: *const u8,
}

// SAFETY: the pointers lead into a controller that stays, and are used with QEMU's lock held.
unsafe impl Send for Stopped {}
// SAFETY: as above.
unsafe impl Sync for Stopped {}

static STOPPED: OnceLock<Stopped> = OnceLock::new();

/// Puts the window over the controller's address register.
///
/// # Safety
/// `sdhci` is a realized controller of QEMU's with this window, and stays. `owner` is another device:
/// QEMU refuses an access to a device from inside an access to the same.
pub unsafe fn repair(
    owner: *mut Object,
    sdhci: *mut Object,
    region: *mut MemoryRegion,
    address: u64,
) -> Result<(), String> {
    let state = sdhci.cast::<u8>();
    let find =
        |name, bytes| field(name, bytes).ok_or("QEMU's SDHCI is not the one that this pack knows");
    // SAFETY: the offsets are those of QEMU's own table, inside the controller.
    let stopped = unsafe {
        Stopped {
            region,
            present_state: state.add(find(c"prnsts", 4)?).cast(),
            transfer_mode: state.add(find(c"trnmod", 2)?).cast(),
            host_control: state.add(find(c"hostctl1", 1)?),
        }
    };
    STOPPED.get_or_init(|| stopped);
    let window = Box::leak(Box::new(MemoryRegion::new()));
    // SAFETY: the window is never freed and its name a constant; the owner is a device.
    unsafe {
        let name = c"pi4-emmc2-sdma".as_ptr();
        let nothing = std::ptr::null_mut();
        (qemu().memory_region_init_io)(window, owner, &OPS, nothing, name, REGISTER_BYTES);
        board::map(window, address, OVER);
    }
    Ok(())
}

/// The offset of a field of the controller's state.
fn field(name: &CStr, bytes: usize) -> Option<usize> {
    let table = qemu().sdhci_vmstate.cast::<u8>();
    // SAFETY: the table and its fields are constants of QEMU's, of the layout that `board` has
    // found this version to have; the last has no name.
    unsafe {
        let mut at: *const Field = *table.add(FIELDS_AT).cast();
        for _ in 0..FIELDS_MAX {
            if (*at).name.is_null() {
                return None;
            }
            if CStr::from_ptr((*at).name) == name {
                return ((*at).size == bytes).then_some((*at).offset);
            }
            at = at.add(1);
        }
    }
    None
}

static OPS: MemoryRegionOps = MemoryRegionOps {
    read,
    write,
    read_with_attrs: std::ptr::null(),
    write_with_attrs: std::ptr::null(),
    endianness: LITTLE_ENDIAN,
    valid: Valid {
        min: 1,
        max: 4,
        unaligned: false,
        accepts: std::ptr::null(),
    },
    implemented: Implemented {
        min: 1,
        max: 4,
        unaligned: false,
    },
};

unsafe extern "C" fn read(_: *mut c_void, at: u64, bytes: u32) -> u64 {
    let mut value = 0;
    if let Some(stopped) = STOPPED.get() {
        // SAFETY: the controller's window stays.
        unsafe {
            let size = bytes.trailing_zeros();
            let attributes = qemu::MEMTX_UNSPECIFIED;
            (qemu().memory_region_dispatch_read)(stopped.region, at, &mut value, size, attributes);
        }
    }
    value
}

unsafe extern "C" fn write(_: *mut c_void, at: u64, value: u64, bytes: u32) {
    let Some(stopped) = STOPPED.get() else { return };
    // SAFETY: the controller's state and window stay, and QEMU's lock is held.
    unsafe {
        let sdma =
            *stopped.transfer_mode & DMA_ENABLE != 0 && *stopped.host_control & DMA_SELECT == 0;
        // The register's last byte is what starts the transfer.
        if sdma && at + u64::from(bytes) == REGISTER_BYTES {
            *stopped.present_state &= !TRANSFER_ACTIVE;
        }
        let size = bytes.trailing_zeros();
        let attributes = qemu::MEMTX_UNSPECIFIED;
        (qemu().memory_region_dispatch_write)(stopped.region, at, value, size, attributes);
    }
}
