// SPDX-License-Identifier: MIT OR Apache-2.0
// Exception vectors: every entry builds a trap frame (trap.rs, `Frame`) and calls Rust.
//
// An interrupt runs on the interrupted thread's stack, for the scheduler may leave from there. If that stack is used
// up, and always for a fault, the core's emergency stack is taken. A slot is 32 KiB aligned and its lowest page
// unmapped, so bits 14:12 of a stack pointer that lies in the guard page are all zero.

.equ FRAME_BYTES, 304
.equ F_ELR, 248
.equ F_SPSR, 256
.equ F_ESR, 264
.equ F_FAR, 272
.equ F_SP, 280
.equ F_RECORD, 288                  // a frame record {x29, elr}, so that backtraces pass through the trap
.equ OVERFLOWED, 16                 // added to the vector's number

.macro fault_vector number
.balign 128
    msr     tpidrro_el0, x0         // scratch: there is no user space
    msr     tpidr_el0, x1
    mov     x1, #\number
    mov     x0, sp
    b       fault
.endm

.macro interrupt_vector number
.balign 128
    msr     tpidrro_el0, x0
    sub     sp, sp, #FRAME_BYTES
    mov     x0, sp
    and     x0, x0, #0x7000
    cbz     x0, 1f
    stp     x1, x2, [sp, #8]
    add     x2, sp, #FRAME_BYTES
    b       interrupt
1:  msr     tpidr_el0, x1
    mov     x1, #(\number + OVERFLOWED)
    add     x0, sp, #FRAME_BYTES
    b       fault
.endm

.section .text.vectors, "ax"
.balign 2048
.global vectors
vectors:
    fault_vector 0                  // current EL, SP_EL0: never used
    fault_vector 1
    fault_vector 2
    fault_vector 3
    fault_vector 4                  // current EL, SP_EL1: synchronous, IRQ, FIQ, SError
    interrupt_vector 5
    fault_vector 6
    fault_vector 7
    fault_vector 8                  // lower EL, AArch64: there is none
    fault_vector 9
    fault_vector 10
    fault_vector 11
    fault_vector 12                 // lower EL, AArch32
    fault_vector 13
    fault_vector 14
    fault_vector 15

.macro save_rest                    // x0 in TPIDRRO_EL0; x1, x2 saved; x2 = interrupted SP
    mrs     x0, tpidrro_el0
    str     x0, [sp]
    stp     x3, x4, [sp, #24]
    stp     x5, x6, [sp, #40]
    stp     x7, x8, [sp, #56]
    stp     x9, x10, [sp, #72]
    stp     x11, x12, [sp, #88]
    stp     x13, x14, [sp, #104]
    stp     x15, x16, [sp, #120]
    stp     x17, x18, [sp, #136]
    stp     x19, x20, [sp, #152]
    stp     x21, x22, [sp, #168]
    stp     x23, x24, [sp, #184]
    stp     x25, x26, [sp, #200]
    stp     x27, x28, [sp, #216]
    stp     x29, x30, [sp, #232]
    mrs     x3, elr_el1
    mrs     x4, spsr_el1
    stp     x3, x4, [sp, #F_ELR]
    str     x2, [sp, #F_SP]
    stp     x29, x3, [sp, #F_RECORD]
    add     x29, sp, #F_RECORD
.endm

.macro restore_but_x0
    ldp     x3, x4, [sp, #F_ELR]
    msr     elr_el1, x3
    msr     spsr_el1, x4
    ldp     x29, x30, [sp, #232]
    ldp     x27, x28, [sp, #216]
    ldp     x25, x26, [sp, #200]
    ldp     x23, x24, [sp, #184]
    ldp     x21, x22, [sp, #168]
    ldp     x19, x20, [sp, #152]
    ldp     x17, x18, [sp, #136]
    ldp     x15, x16, [sp, #120]
    ldp     x13, x14, [sp, #104]
    ldp     x11, x12, [sp, #88]
    ldp     x9, x10, [sp, #72]
    ldp     x7, x8, [sp, #56]
    ldp     x5, x6, [sp, #40]
    ldp     x3, x4, [sp, #24]
    ldp     x1, x2, [sp, #8]
.endm

interrupt:
    save_rest
    bl      trap_interrupt
    restore_but_x0
    ldr     x0, [sp]
    add     sp, sp, #FRAME_BYTES
    eret

fault:                              // x0 = interrupted SP, x1 = vector; theirs are in TPIDRRO_EL0 and TPIDR_EL0
    msr     sp_el0, x0              // not used otherwise
    mrs     x0, mpidr_el1
    and     x0, x0, #3
    add     x0, x0, #5              // slots 4..7; the stack pointer starts at the slot's end
    lsl     x0, x0, #15
    mov     sp, x0
    adrp    x0, __stacks
    add     sp, sp, x0
    sub     sp, sp, #FRAME_BYTES
    str     x2, [sp, #16]
    mrs     x0, tpidr_el0
    str     x0, [sp, #8]
    mrs     x2, sp_el0
    save_rest
    mrs     x3, esr_el1
    mrs     x4, far_el1
    stp     x3, x4, [sp, #F_ESR]
    mov     x0, sp
    bl      trap_fault              // returns only if the access was a guarded one (trap.rs)
    restore_but_x0
    ldr     x0, [sp]
    msr     tpidrro_el0, x0
    ldr     x0, [sp, #F_SP]
    mov     sp, x0
    mrs     x0, tpidrro_el0
    eret

// Guarded accesses: x0 = address (, x1 = value). A fault between the labels makes them return with x1 = 1.
.macro guarded_load name, load
.global \name
\name:
    \load
    dsb     sy
    mov     x1, #0
    ret
.endm
.macro guarded_store name, store
.global \name
\name:
    \store
    dsb     sy
    mov     x1, #0
    ret
.endm
.global guarded_start
guarded_start:
guarded_load  guarded_load8, "ldrb w0, [x0]"
guarded_load  guarded_load16, "ldrh w0, [x0]"
guarded_load  guarded_load32, "ldr w0, [x0]"
guarded_load  guarded_load64, "ldr x0, [x0]"
guarded_store guarded_store8, "strb w1, [x0]"
guarded_store guarded_store16, "strh w1, [x0]"
guarded_store guarded_store32, "str w1, [x0]"
guarded_store guarded_store64, "str x1, [x0]"
.global guarded_fault
guarded_fault:
    mov     x1, #1
    ret

.global thread_trampoline           // first instruction of a thread (context.rs): x19 = entry, x29 = argument
thread_trampoline:
    mov     x0, x19
    mov     x1, x29
    mov     x29, xzr
    mov     x30, xzr
    bl      kernel_thread
    brk     #1
