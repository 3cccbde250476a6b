// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first lines of Rust on each core, and what the kernel is told about the boot.
//!
//! Order (start.S, then here): interrupts masked, image moved to its link address, BSS cleared, EL2 left for
//! EL1, [`before_mmu`] on the boot stack, caches invalidated, MMU and caches on, [`kernel_main`].
//!
//! References: Linux `booting.rst` (arm64 Image header); BCM2711 stub `armstub8.S`; TF-A `plat/rpi/rpi4`.
use super::mmu;
use crate::fdt;
use crate::map::{DEVICES_BASE, KERNEL_BASE};
use core::arch::global_asm;
use core::cell::UnsafeCell;

global_asm!(include_str!("start.S"), options(raw));

unsafe extern "Rust" {
    /// The kernel on the first core: MMU on, interrupts masked, no heap.
    safe fn kernel_main(boot: Boot) -> !;
    /// The kernel on a later core `cpu`, entered at exception level `entry_el`: same state.
    safe fn kernel_secondary(cpu: usize, entry_el: u8) -> !;
}

unsafe extern "C" {
    /// First instruction of a core that firmware starts for us.
    fn secondary_entry();
}

/// What the first core found when it was entered.
pub struct Boot {
    /// The device tree (or ATAG list) that the firmware passed, copied; empty if there was none.
    pub firmware_data: &'static [u8],
    /// Address that the firmware passed in x0.
    pub firmware_data_addr: usize,
    /// What x1, x2 and x3 held: zeros, says the boot protocol.
    pub other_registers: [usize; 3],
    /// Exception level of entry: 2 from the firmware, 1 from some boot loaders.
    pub entry_el: u8,
}

/// Physical address at which [`power`](super::power) starts a core.
pub fn secondary_entry_addr() -> usize {
    secondary_entry as *const () as usize
}

/// Copy of the firmware's device tree: the original lies in memory that becomes heap.
struct Copy(UnsafeCell<[u64; fdt::MAX_BYTES / 8]>);
// SAFETY: written by one core before the MMU is on, only read after that.
unsafe impl Sync for Copy {}
static COPY: Copy = Copy(UnsafeCell::new([0; fdt::MAX_BYTES / 8]));

/// Runs with MMU and caches off: no atomics, no formatted output, nothing that can panic.
#[unsafe(no_mangle)]
extern "C" fn before_mmu(firmware_data: usize) {
    let to = COPY.0.get().cast::<u64>();
    if firmware_data.is_multiple_of(8)
        && (0x100..DEVICES_BASE - fdt::MAX_BYTES).contains(&firmware_data)
    {
        let from = firmware_data as *const u64;
        // SAFETY: RAM below the devices, read with the MMU off; `to` is ours alone. The length in the header is
        // bounded by the buffer; an ATAG list is bounded by one page.
        unsafe {
            let words = fdt::bytes_to_copy(from.read()) / 8;
            for i in 0..words {
                to.add(i).write(from.add(i).read());
            }
            if words != 0 {
                to.write(fdt::with_length(to.read(), words * 8));
            }
        }
    }
    // SAFETY: the only core, MMU off.
    unsafe { mmu::build_tables() };
}

#[unsafe(no_mangle)]
extern "C" fn first_core_in_rust(
    firmware_data_addr: usize,
    entry_el: u8,
    x1: usize,
    x2: usize,
    x3: usize,
) -> ! {
    // SAFETY: nobody writes COPY any more.
    let all: &'static [u8] =
        unsafe { core::slice::from_raw_parts(COPY.0.get().cast(), fdt::MAX_BYTES) };
    let bytes = all
        .first_chunk()
        .map_or(0, |head| fdt::bytes_to_copy(u64::from_le_bytes(*head)));
    kernel_main(Boot {
        firmware_data: &all[..bytes],
        firmware_data_addr,
        other_registers: [x1, x2, x3],
        entry_el,
    })
}

#[unsafe(no_mangle)]
extern "C" fn secondary_in_rust(cpu: usize, entry_el: u8) -> ! {
    kernel_secondary(cpu, entry_el)
}

/// The 128 stack slots of the linker script: 32 KiB each, the lowest page unmapped.
pub mod stacks {
    use super::super::mmu::symbol;

    /// Bytes from one slot to the next.
    pub const SLOT_BYTES: usize = 0x8000;
    /// Bytes at the bottom of a slot that fault.
    pub const GUARD_BYTES: usize = 0x1000;
    /// Number of slots: 0..4 boot and idle stacks, 4..8 for traps that found no stack, the rest threads'.
    pub const SLOTS: usize = 128;
    /// First slot that a thread other than an idle thread may have.
    pub const FIRST_FREE: usize = 8;

    /// Address just above slot `slot`: the initial stack pointer.
    pub fn top(slot: usize) -> usize {
        assert!(slot < SLOTS, "stack slot {slot} of {SLOTS}");
        symbol::stacks() + (slot + 1) * SLOT_BYTES
    }

    /// The slot that contains `address`, and whether it lies in the guard page.
    pub fn locate(address: usize) -> Option<(usize, bool)> {
        let offset = address.checked_sub(symbol::stacks())?;
        let slot = offset / SLOT_BYTES;
        (slot < SLOTS).then_some((slot, offset % SLOT_BYTES < GUARD_BYTES))
    }
}

const _: () = assert!(KERNEL_BASE == 0x80000, "start.S and link.ld say 0x80000");
