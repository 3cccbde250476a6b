// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults on purpose, for the console's `panic` command: they show that each ends in a report that names it.
use core::hint::black_box;

/// Recurses until the stack is used up.
#[inline(never)]
pub fn stack_overflow(depth: u64) -> u64 {
    let mut local = [depth; 64];
    black_box(&mut local);
    if depth == u64::MAX {
        0
    } else {
        stack_overflow(depth + 1) + local[black_box(7)]
    }
}

/// Reads through a null pointer.
#[inline(never)]
pub fn null_dereference() -> u64 {
    // SAFETY: unsound on purpose; nothing is mapped there, so it traps.
    unsafe { core::ptr::without_provenance::<u64>(black_box(8)).read_volatile() }
}

/// Writes to the kernel's text.
#[inline(never)]
pub fn write_text() {
    let text = bsp::mmu::symbol::text_start() as *mut u32;
    // SAFETY: unsound on purpose; text is mapped read-only, so it traps.
    unsafe { black_box(text).write_volatile(0) };
}

/// Jumps to a word of data.
#[inline(never)]
pub fn jump_to_data() {
    static DATA: [u32; 2] = [0xD65F_03C0; 2]; // `ret`, were it executable
    // SAFETY: unsound on purpose; constants are mapped execute-never, so it traps.
    let function: extern "C" fn() = unsafe { core::mem::transmute(black_box(DATA.as_ptr())) };
    function();
}
