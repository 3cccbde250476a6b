// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data cache maintenance by address to the point of coherency, for what is not coherent with the cores.
//!
//! EMMC2, GENET and the VideoCore read and write memory past the caches. A line is 64 bytes on the Cortex-A72;
//! a buffer given to a device must own its lines, or maintenance destroys its neighbours.
use core::arch::asm;

/// Bytes in a cache line of the Cortex-A72 (all levels).
pub const LINE_BYTES: usize = 64;

/// Lines in one turn of the loop: 2 KiB.
const UNROLLED: usize = 32;

macro_rules! by_line {
    ($name:ident, $op:literal, $doc:literal) => {
        #[doc = $doc]
        pub fn $name(start: usize, bytes: usize) {
            let mut line = start & !(LINE_BYTES - 1);
            let end = start + bytes;
            // A MiB is 16,384 lines: what the loop itself costs, it costs for each.
            while line + UNROLLED * LINE_BYTES <= end {
                // SAFETY: maintenance by address changes no value that the cores see: the cores are coherent
                // among themselves, and clean+invalidate writes dirty data back first.
                unsafe {
                    asm!(
                        concat!(".rept {unrolled}\n", $op, ", {line}\nadd {line}, {line}, #{bytes}\n.endr"),
                        line = inout(reg) line,
                        unrolled = const UNROLLED,
                        bytes = const LINE_BYTES,
                        options(nostack, preserves_flags)
                    )
                };
            }
            while line < end {
                // SAFETY: as above.
                unsafe { asm!(concat!($op, ", {}"), in(reg) line, options(nostack, preserves_flags)) };
                line += LINE_BYTES;
            }
            // SAFETY: a barrier.
            unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
        }
    };
}

by_line!(
    clean,
    "dc cvac",
    "Writes dirty lines back: before a device (or a core without caches) reads `bytes` from `start`."
);
by_line!(
    clean_invalidate,
    "dc civac",
    "Writes back and drops the lines: before, and again after, a device writes `bytes` at `start`."
);
