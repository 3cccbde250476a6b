// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables: physical = virtual, write xor execute, guard pages under every stack.
//!
//! # Theory
//! One set of tables for all cores, 39-bit addresses. The first 8 MiB, which hold the kernel, are mapped by 4 KiB
//! pages: text read-only and executable, constants read-only, data never executable, nothing below 0x80000 (the
//! firmware's, and where null pointers lead), nothing in the guard pages. Devices (0xFC000000 up) are
//! Device-nGnRE, never executable. RAM beyond is added as 2 MiB and 1 GiB blocks when the device tree has said
//! where it is. SCTLR_EL1.WXN makes the hardware refuse a page that is both writable and executable.
//!
//! After boot only one entry ever changes: [`with_low_page`]'s.
//!
//! # Rejected
//! A higher-half kernel: there is no user space below it, and DMA addresses would no longer be pointers.
//!
//! References: ARM DDI 0487, D8 (VMSAv8-64); BCM2711 ARM Peripherals, 1.2.
use crate::map::{CPUS, DEVICES_BASE, KERNEL_BASE, KERNEL_LIMIT};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ops::Range;

const PAGE: usize = 1 << 12;
const BLOCK: usize = 1 << 21;
const GIB: usize = 1 << 30;

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 1 << 1;
const DEVICE: u64 = 0 << 2; // MAIR index 0
const NORMAL: u64 = 1 << 2; // MAIR index 1
const UNCACHED: u64 = 2 << 2; // MAIR index 2
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const PRIVILEGED_NX: u64 = 1 << 53;
const USER_NX: u64 = 1 << 54;
const NX: u64 = PRIVILEGED_NX | USER_NX;

const RAM: u64 = VALID | NORMAL | INNER_SHAREABLE | ACCESSED | NX;
const RODATA: u64 = RAM | READ_ONLY;
const TEXT: u64 = VALID | NORMAL | INNER_SHAREABLE | ACCESSED | USER_NX | READ_ONLY;
const REGISTERS: u64 = VALID | DEVICE | ACCESSED | NX;

type Table = [u64; 512];

#[repr(C, align(4096))]
struct Tables {
    level1: Table,
    /// Level 2 of the first GiB and of the fourth, the two that are not all RAM.
    level2: [Table; 2],
    /// Level 3 of the first 8 MiB.
    level3: [Table; KERNEL_LIMIT / BLOCK],
}

struct Shared(UnsafeCell<Tables>);
// SAFETY: written by the first core alone: before the MMU is on, then in `map_ram` before any other core runs;
// after that only `with_low_page`, whose entry nobody else reads.
unsafe impl Sync for Shared {}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.tables")]
static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    level1: [0; 512],
    level2: [[0; 512]; 2],
    level3: [[0; 512]; KERNEL_LIMIT / BLOCK],
}));

/// The linker script's symbols, as addresses.
pub mod symbol {
    macro_rules! symbols {
        ($($name:ident = $symbol:ident),*) => { $(
            #[doc = concat!("Address of `", stringify!($symbol), "`.")]
            pub fn $name() -> usize {
                unsafe extern "C" { static $symbol: u8; }
                (&raw const $symbol) as usize
            }
        )* };
    }
    symbols!(
        text_start = __text_start,
        text_end = __text_end,
        build_id = __build_id,
        rodata_end = __rodata_end,
        bss_start = __bss_start,
        ksyms_start = __ksyms_start,
        ksyms_end = __ksyms_end,
        stacks = __stacks,
        end = __end
    );
}

/// Fills the tables for the kernel and the devices.
///
/// # Safety
/// First core, MMU off, BSS cleared.
pub(super) unsafe fn build_tables() {
    // SAFETY: the caller is alone.
    let t = unsafe { &mut *TABLES.0.get() };
    t.level1[0] = &raw const t.level2[0] as u64 | VALID | TABLE_OR_PAGE;
    t.level1[3] = &raw const t.level2[1] as u64 | VALID | TABLE_OR_PAGE;
    for (i, table) in t.level3.iter().enumerate() {
        t.level2[0][i] = table as *const Table as u64 | VALID | TABLE_OR_PAGE;
    }
    let guard = super::start::stacks::locate;
    for address in (KERNEL_BASE..KERNEL_LIMIT).step_by(PAGE) {
        let attributes = if address < symbol::text_end() {
            TEXT
        } else if address < symbol::rodata_end()
            || (symbol::ksyms_start()..symbol::ksyms_end()).contains(&address)
        {
            RODATA
        } else if matches!(guard(address), Some((_, true))) {
            continue;
        } else {
            RAM
        };
        t.level3[address / BLOCK][address % BLOCK / PAGE] =
            address as u64 | attributes | TABLE_OR_PAGE;
    }
    for address in (DEVICES_BASE..4 * GIB).step_by(BLOCK) {
        t.level2[1][address % GIB / BLOCK] = address as u64 | REGISTERS;
    }
}

/// Maps `ram` beyond the kernel's first 8 MiB; what does not fill whole 2 MiB blocks (below 1 GiB and from 3 to
/// 4 GiB) or whole GiBs (elsewhere) is left out. Returns the bytes mapped.
///
/// # Safety
/// `ram` must be memory, nobody's yet, and no other core may run.
pub unsafe fn map_ram(ram: Range<usize>) -> usize {
    // SAFETY: the caller is the only core; entries go from invalid to valid, which needs no TLB maintenance.
    let t = unsafe { &mut *TABLES.0.get() };
    let mut mapped = 0;
    let mut address = ram.start.max(KERNEL_LIMIT).next_multiple_of(BLOCK);
    while address + BLOCK <= ram.end {
        let entry = address as u64 | RAM;
        let step = match address / GIB {
            0 => {
                t.level2[0][address / BLOCK] = entry;
                BLOCK
            }
            3 if address < DEVICES_BASE => {
                t.level2[1][address % GIB / BLOCK] = entry;
                BLOCK
            }
            gib @ (1 | 2 | 4..512) if address.is_multiple_of(GIB) && address + GIB <= ram.end => {
                t.level1[gib] = entry;
                GIB
            }
            _ => {
                address += BLOCK;
                continue;
            }
        };
        mapped += step;
        address += step;
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb") };
    mapped
}

/// Empties this core's TLB, though no translation has changed.
pub fn empty_tlb() {
    // SAFETY: what is walked anew is as it was.
    unsafe { asm!("tlbi vmalle1", "dsb nsh", "isb") };
}

/// Gives `f` a window onto the physical page at `physical`, which must lie below 0x80000 (the stub's spin table).
/// The window is uncached, at 0x7F000, and gone afterwards.
///
/// # Safety
/// The stub, not TF-A, must own that page and expect the kernel's write; one caller at a time.
pub unsafe fn with_low_page(physical: usize, f: impl FnOnce(usize)) {
    const WINDOW: usize = KERNEL_BASE - PAGE;
    assert!(
        physical < KERNEL_BASE,
        "{physical:#x} is not below the kernel"
    );
    let entry = (physical & !(PAGE - 1)) as u64 | RAM & !NORMAL | UNCACHED | TABLE_OR_PAGE;
    // SAFETY: nobody else uses this entry; break-before-make is kept, for it was and becomes invalid.
    unsafe {
        let slot = &raw mut (*TABLES.0.get()).level3[0][WINDOW / PAGE];
        slot.write_volatile(entry);
        asm!("dsb ishst", "isb");
        f(WINDOW + physical % PAGE);
        slot.write_volatile(0);
        asm!("dsb ishst", "tlbi vaae1is, {}", "dsb ish", "isb", in(reg) WINDOW >> 12);
    }
}

const _: () = assert!(CPUS <= 4 && size_of::<Tables>() == 7 * 4096);
