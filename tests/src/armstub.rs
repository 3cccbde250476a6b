// SPDX-License-Identifier: MIT OR Apache-2.0
//! An armstub that starts the kernel in EL1, as some boot loaders do; nothing stays in EL3 or EL2.
//!
//! All four cores run it from address 0 in EL3. Its header is that of the stock `armstub8.S`:
//! release words of the cores at 0xd8 + 8n, of which core 3's, at 0xf0, holds a magic until the
//! firmware clears it; the DTB's address at 0xf8, the kernel's at 0xfc. There is no PSCI: the
//! secondaries poll their words, in EL1.
//!
//! The words are assembled; beside each is what it says.

/// From 0: exception levels and interrupt controller. Ends before the header's words.
#[rustfmt::skip]
const FRONT: &[u32] = &[
    // EL3: the level below is non-secure and AArch64; SMC is undefined, as under the stock stub
    0xd280b621, // mov x1, #0x5b1
    0xd51e1101, // msr scr_el3, x1
    0xd51e115f, // msr cptr_el3, xzr
    0xd51e133f, // msr mdcr_el3, xzr
    // the timer counts at 54 MHz
    0xd29f3001, // mov x1, #0xf980
    0xf2a066e1, // movk x1, #0x337, lsl #16
    0xd51be001, // msr cntfrq_el0, x1
    // EL2, which nobody will run in: EL1 may use the timers, the PMU and nothing is trapped
    0xd2b00001, // mov x1, #0x80000000
    0xd51c1101, // msr hcr_el2, x1
    0xd2800061, // mov x1, #0x3
    0xd51ce101, // msr cnthctl_el2, x1
    0xd51ce07f, // msr cntvoff_el2, xzr
    0xd2867fe1, // mov x1, #0x33ff
    0xd51c1141, // msr cptr_el2, x1
    0xd28000c1, // mov x1, #0x6
    0xd51c1121, // msr mdcr_el2, x1
    0xd5380001, // mrs x1, midr_el1
    0xd51c0001, // msr vpidr_el2, x1
    0xd53800a1, // mrs x1, mpidr_el1
    0xd51c00a1, // msr vmpidr_el2, x1
    // x6: which core this is
    0x92400426, // and x6, x1, #0x3
    // GIC distributor: every interrupt into group 1, as the kernel is non-secure
    0xd2bff082, // mov x2, #0xff840000
    0x91400442, // add x2, x2, #0x1, lsl #12
    0x52800063, // mov w3, #0x3
    0xb9000043, // str w3, [x2]
    0x12800003, // mov w3, #-0x1
    0x91020044, // add x4, x2, #0x80
    0x91026045, // add x5, x2, #0x98
    0xb8004483, // str w3, [x4], #0x4
    0xeb05009f, // cmp x4, x5
    0x54ffffc9, // b.ls 0x70
    // GIC CPU interface: no priority masked
    0x91400442, // add x2, x2, #0x1, lsl #12
    0x52801fe3, // mov w3, #0xff
    0xb9000443, // str w3, [x2, #0x4]
    0x52803ce3, // mov w3, #0x1e7
    0xb9000043, // str w3, [x2]
    // down to EL1, everything masked, MMU and caches off
    0xd28078a1, // mov x1, #0x3c5
    0xd51e4001, // msr spsr_el3, x1
    0x10000401, // adr x1, 0x118
    0xd51e4021, // msr elr_el3, x1
    0x14000018, // b 0x100
];

/// From 0x100: into EL1, and the wait for work.
#[rustfmt::skip]
const BACK: &[u32] = &[
    0xd5381001, // mrs x1, sctlr_el1
    0xd2810001, // mov x1, #0x800
    0xf2a61a01, // movk x1, #0x30d0, lsl #16
    0xd5181001, // msr sctlr_el1, x1
    0xd5033fdf, // isb
    0xd69f03e0, // eret
    // EL1: core 0 takes DTB and kernel from the header
    0xd2801b05, // mov x5, #0xd8
    0xb5000086, // cbnz x6, 0x12c
    0xb94020a0, // ldr w0, [x5, #0x20]
    0xb94024a4, // ldr w4, [x5, #0x24]
    0x14000005, // b 0x13c
    // the others wait for their word at 0xd8 + 8n
    0xd503205f, // wfe
    0xf86678a4, // ldr x4, [x5, x6, lsl #3]
    0xb4ffffc4, // cbz x4, 0x12c
    0xaa1f03e0, // mov x0, xzr
    0xaa1f03e1, // mov x1, xzr
    0xaa1f03e2, // mov x2, xzr
    0xaa1f03e3, // mov x3, xzr
    0xd61f0080, // br x4
];

/// The words that the firmware fills in, from 0xf0: magic, version, DTB, kernel.
const HEADER: [u32; 4] = [0x5afe_570b, 0, 0, 0];

/// The stub's bytes.
pub fn el1() -> Vec<u8> {
    let mut words = FRONT.to_vec();
    words.resize(0xf0 / 4, 0);
    words.extend(HEADER);
    words.extend(BACK);
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
