// SPDX-License-Identifier: MIT OR Apache-2.0
//! One core: identity, interrupt mask, per-CPU pointer, idling, instruction counter.
use aarch64_cpu::registers::{
    CurrentEL, DAIF, MIDR_EL1, MPIDR_EL1, Readable, TPIDR_EL1, Writeable,
};
use core::arch::asm;

/// This core's number, 0..[`CPUS`](crate::map::CPUS): MPIDR affinity 0.
#[inline]
pub fn index() -> usize {
    (MPIDR_EL1.get() & 3) as usize
}

/// What this core is: implementer, part, revision.
pub fn midr() -> u64 {
    MIDR_EL1.get()
}

/// MPIDR affinity fields, as PSCI takes them.
pub fn mpidr() -> u64 {
    MPIDR_EL1.get() & 0xFF_00FF_FFFF
}

/// The exception level that the kernel runs at (1).
pub fn exception_level() -> u8 {
    CurrentEL.read(CurrentEL::EL) as u8
}

/// Sets the word that [`local`] returns on this core: as its very first act, and when it switches threads.
#[inline]
pub fn set_local(word: usize) {
    TPIDR_EL1.set(word as u64);
}

/// The word of the thread that this core runs: one instruction.
///
/// `pure`, so that the compiler may read it once and keep it: a thread sees the same word for as long as it lives,
/// wherever it runs, since each switch sets it for the next one. Only the first code of a core, which sets it, must not
/// share a function with code that reads it.
#[inline(always)]
pub fn local() -> usize {
    let word;
    // SAFETY: reads a register.
    unsafe {
        asm!("mrs {}, tpidr_el1", out(reg) word, options(pure, nomem, nostack, preserves_flags))
    };
    word
}

/// Masks IRQ on this core and returns the previous mask, for [`irq_restore`].
#[inline]
#[must_use]
pub fn irq_save() -> u64 {
    let daif = DAIF.get();
    // SAFETY: masking interrupts is always sound. Not `nomem`: a compiler barrier belongs here.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
    daif
}

/// Restores what [`irq_save`] returned.
#[inline]
pub fn irq_restore(daif: u64) {
    // SAFETY: `daif` came from this register; the kernel's vectors are installed before interrupts are first
    // enabled. Not `nomem`, as above.
    unsafe { asm!("msr daif, {}", in(reg) daif, options(nostack, preserves_flags)) };
}

/// True if IRQ is masked on this core.
#[inline]
pub fn irq_masked() -> bool {
    DAIF.is_set(DAIF::I)
}

/// Unmasks IRQ and SError on this core.
#[inline]
pub fn irq_enable() {
    // SAFETY: called once per core, after its vectors and its interrupt controller are set up, and when a
    // context that was interrupted is left.
    unsafe { asm!("msr daifclr, #6", options(nostack, preserves_flags)) };
}

/// Once in each turn of a spin loop: lets go of the pipeline, and of an emulator's turn.
#[inline]
pub fn relax() {
    // SAFETY: a hint. Not `isb`, which `core::hint::spin_loop` is: where QEMU runs one core at a time, YIELD has it go
    // on to the next, the one perhaps that is waited for.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Sleeps until an interrupt is pending, masked or not.
pub fn wait_for_interrupt() {
    // SAFETY: a hint. WFI and not WFE: an emulator burns a host CPU in WFE.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Waits until all that this core wrote is visible to the others: before it interrupts them.
#[inline]
pub fn data_barrier() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
}

/// Stops this core for good: everything masked.
pub fn park() -> ! {
    loop {
        // SAFETY: masking is always sound.
        unsafe { asm!("msr daifset, #15", options(nostack, preserves_flags)) };
        wait_for_interrupt();
    }
}

/// The caller's frame pointer, where a backtrace starts.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let fp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

/// Starts counting this core's retired instructions (PMU event 8), from zero.
pub fn instructions_start() {
    // SAFETY: the PMU belongs to the kernel; event counter 0 is used here only.
    unsafe {
        asm!(
            "msr pmevtyper0_el0, {event}", "msr pmevcntr0_el0, xzr", "msr pmcntenset_el0, {on}",
            "mrs {t}, pmcr_el0", "orr {t}, {t}, #1", "msr pmcr_el0, {t}", "isb",
            event = in(reg) 8u64, on = in(reg) 1u64, t = out(reg) _, options(nostack)
        )
    };
}

/// Instructions that this core retired since [`instructions_start`], modulo 2^32; `None` where the PMU does
/// not implement the event (QEMU without `-icount`).
pub fn instructions() -> Option<u32> {
    let (implemented, count): (u64, u64);
    // SAFETY: reads two registers.
    unsafe {
        asm!("mrs {}, pmceid0_el0", "isb", "mrs {}, pmevcntr0_el0", out(reg) implemented, out(reg) count,
             options(nostack, preserves_flags))
    };
    (implemented & 1 << 8 != 0).then_some(count as u32)
}
