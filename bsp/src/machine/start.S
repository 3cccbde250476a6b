// SPDX-License-Identifier: MIT OR Apache-2.0
// From the firmware's jump to the first line of Rust, for the first core and for each later one.
//
// Before the MMU is on, data accesses bypass the caches: what is written then is invalidated from the caches
// before they are switched on, so that no stale line (left by TF-A, or fetched speculatively) can cover it.

.equ SCTLR_OFF, 0x30d00800          // EL1, RES1 bits only: MMU, caches, alignment checks off
.equ SCTLR_ON,  0x0008100d          // WXN | I | SA | C | M
.equ MAIR, 0x000000000044ff04       // 0: Device-nGnRE, 1: Normal write-back, 2: Normal non-cacheable
.equ TCR,  0x0000000200803519       // 39-bit, 4 KiB granule, inner shareable write-back walks, 40-bit PA, no TTBR1
.equ STACK_BYTES, 0x8000

.macro load_address reg, symbol     // 4 GiB reach, independent of where the image was loaded
    adrp    \reg, \symbol
    add     \reg, \reg, :lo12:\symbol
.endm

// Leaves x21 = the exception level we were entered at. EL3 is not ours: stop.
.macro drop_to_el1
    mrs     x1, currentel
    lsr     x21, x1, #2
    cmp     x21, #2
    b.hi    park
    b.lo    .Lat_el1\@
    mov     x1, #(1 << 31)          // EL1 is AArch64; nothing is trapped
    msr     hcr_el2, x1
    mov     x1, #3                  // EL1 may use the physical counter and timer
    msr     cnthctl_el2, x1
    msr     cntvoff_el2, xzr
    mov     x1, #0x33ff
    msr     cptr_el2, x1
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x1, midr_el1
    msr     vpidr_el2, x1
    mrs     x1, mpidr_el1
    msr     vmpidr_el2, x1
    mrs     x1, pmcr_el0            // all PMU counters to EL1
    ubfx    x1, x1, #11, #5
    msr     mdcr_el2, x1
    ldr     x1, =SCTLR_OFF
    msr     sctlr_el1, x1
    mov     x1, #0x3c5              // EL1h, everything masked
    msr     spsr_el2, x1
    adr     x1, .Lat_el1\@
    msr     elr_el2, x1
    isb
    eret
.Lat_el1\@:
    ldr     x1, =SCTLR_OFF
    msr     sctlr_el1, x1
    msr     cpacr_el1, xzr          // the kernel has no floating point: an FP instruction is a bug and traps
    load_address x1, vectors
    msr     vbar_el1, x1
    isb
.endm

.macro mmu_on
    ldr     x1, =MAIR
    msr     mair_el1, x1
    ldr     x1, =TCR
    msr     tcr_el1, x1
    load_address x1, TABLES         // the level 1 table comes first
    msr     ttbr0_el1, x1
    dsb     sy
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    ldr     x1, =(SCTLR_OFF | SCTLR_ON)
    msr     sctlr_el1, x1
    isb
.endm

.macro new_code_visible             // what was just written can be executed
    dsb     sy
    ic      iallu
    dsb     sy
    isb
.endm

.section .text.boot, "ax"
.global _start
_start:                             // arm64 Image header (Linux Documentation/arch/arm64/booting.rst)
    b       first_core
    .long   0
    .quad   0x80000                 // text_offset
    .quad   __image_size
    .quad   2                       // little endian, 4 KiB pages, near the base of DRAM
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

first_core:
    msr     daifset, #15
    mov     x20, x0                 // device tree, or ATAGs, or nothing
    mov     x22, x1                 // nothing, by the boot protocol: for the report
    mov     x23, x2
    mov     x24, x3
    mrs     x1, mpidr_el1
    tst     x1, #0xff
    b.ne    park

    // The image is linked for 0x80000. Loaded higher up, it moves itself down: first this page, then, running
    // from its new place, the rest. (Lower down would be the firmware's memory: nothing loads us there.)
    adr     x1, _start
    ldr     x2, =__text_start
    cmp     x1, x2
    b.eq    relocated
    b.lo    park
    add     x3, x2, #4096
1:  ldp     x4, x5, [x1], #16
    stp     x4, x5, [x2], #16
    cmp     x2, x3
    b.lo    1b
    new_code_visible
    ldr     x4, =2f
    br      x4
2:  ldr     x3, =__ksyms_end
3:  ldp     x4, x5, [x1], #16
    stp     x4, x5, [x2], #16
    cmp     x2, x3
    b.lo    3b
    new_code_visible

relocated:
    load_address x1, __bss_start
    load_address x2, __bss_end
4:  stp     xzr, xzr, [x1], #16
    cmp     x1, x2
    b.lo    4b

    drop_to_el1
    load_address x1, __stacks
    add     x1, x1, #STACK_BYTES
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x20
    bl      before_mmu              // copies the device tree, fills the page tables

    load_address x1, __text_start
    load_address x2, __end
5:  dc      ivac, x1
    add     x1, x1, #64
    cmp     x1, x2
    b.lo    5b
    dsb     sy
    mmu_on
    mov     x0, x20
    mov     x1, x21
    mov     x2, x22
    mov     x3, x23
    mov     x4, x24
    bl      first_core_in_rust

.global secondary_entry
secondary_entry:                    // from PSCI CPU_ON or out of the stub's spin loop; the MMU is off
    msr     daifset, #15
    drop_to_el1
    mrs     x0, mpidr_el1
    and     x0, x0, #3
    mmu_on
    load_address x1, __stacks
    add     x2, x0, #1
    mov     x3, #STACK_BYTES
    madd    x1, x2, x3, x1
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    mov     x1, x21
    bl      secondary_in_rust

park:
    msr     daifset, #15
    wfi
    b       park

