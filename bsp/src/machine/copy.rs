// SPDX-License-Identifier: MIT OR Apache-2.0
//! `memcpy` for a CPU that loads and stores at any address.
//!
//! # Theory
//! The compiler's own assumes nothing of the CPU: where source and destination are not aligned alike it shifts words
//! together, at one and a half instructions a byte, and a frame's payload never is aligned like the buffer that it goes to. Here it is
//! pairs of 64-bit registers, whatever the addresses; the end is one more pair that overlaps with the last. That is a
//! sixth of an instruction a byte.
//!
//! Between normal memory any address will do. Before the MMU is on, and on devices, only aligned ones: what
//! is copied there, structures, is aligned, and lengths that are multiples of 8 keep it so.
//!
//! # Contexts
//! Any. No floating-point registers: they are not saved.
//!
//! References: Arm ARM B2.5.2 (alignment); Cortex-A72 Software Optimization Guide, 4.5.
use core::arch::global_asm;

// x0 destination, returned; x1 source; x2 bytes. x3 runs in the destination; x4, x5 are the ends.
global_asm!(
    r#"
    .section .text.memcpy, "ax"
    .global memcpy
    .type memcpy, %function
    .balign 64
memcpy:
    mov     x3, x0
    add     x4, x1, x2
    add     x5, x0, x2
    cmp     x2, #16
    b.lo    5f
    cmp     x2, #64
    b.lo    3f
    and     x12, x2, #63
    sub     x2, x2, x12
2:  ldp     x6, x7, [x1]
    ldp     x8, x9, [x1, #16]
    ldp     x10, x11, [x1, #32]
    ldp     x13, x14, [x1, #48]
    add     x1, x1, #64
    stp     x6, x7, [x3]
    stp     x8, x9, [x3, #16]
    stp     x10, x11, [x3, #32]
    stp     x13, x14, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.ne    2b
    mov     x2, x12
3:  subs    x2, x2, #16
    b.lo    4f
    ldp     x6, x7, [x1], #16
    stp     x6, x7, [x3], #16
    b       3b
4:  adds    x2, x2, #16
    b.eq    9f
    ldp     x6, x7, [x4, #-16]      // at least 16 bytes in all: overlaps what was copied
    stp     x6, x7, [x5, #-16]
    ret
5:  tbz     x2, #3, 6f
    ldr     x6, [x1]
    ldr     x7, [x4, #-8]
    str     x6, [x3]
    str     x7, [x5, #-8]
    ret
6:  tbz     x2, #2, 7f
    ldr     w6, [x1]
    ldr     w7, [x4, #-4]
    str     w6, [x3]
    str     w7, [x5, #-4]
    ret
7:  cbz     x2, 9f
    ldrb    w6, [x1]                // 1 to 3 bytes: first, middle, last
    lsr     x8, x2, #1
    ldrb    w7, [x1, x8]
    ldrb    w9, [x4, #-1]
    strb    w6, [x3]
    strb    w7, [x3, x8]
    strb    w9, [x5, #-1]
9:  ret
    .size memcpy, . - memcpy
"#
);
