// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends the emulator with an exit status (Arm semihosting `SYS_EXIT`); never used on a board.
use core::arch::asm;

/// Ends QEMU with status `status`. Only when the command line asked for it (`panic=exit`): without a
/// semihosting host the instruction is undefined.
pub fn exit(status: u64) -> ! {
    const SYS_EXIT: u64 = 0x18;
    const ADP_STOPPED_APPLICATION_EXIT: u64 = 0x2_0026;
    let block = [ADP_STOPPED_APPLICATION_EXIT, status];
    // SAFETY: `HLT 0xF000` with operation 0x18 hands control to the host, which ends the machine.
    unsafe { asm!("hlt #0xf000", in("x0") SYS_EXIT, in("x1") block.as_ptr(), options(nostack)) };
    loop {
        super::cpu::wait_for_interrupt();
    }
}
