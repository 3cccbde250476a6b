// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changing from one stack to another on a core.
//!
//! # Theory
//! To the compiler the switch is an instruction that spoils every register but the two that it reserves (x19, x29) and
//! the stack pointer: what else is in use it has saved itself, and often there is nothing. So four words are a context.
//!
//! # Contexts
//! IRQ masked.
use core::arch::asm;

unsafe extern "C" {
    fn thread_trampoline();
}

/// Where a stack goes on that is not running; vectors.S knows the layout.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Context {
    x19: u64,
    x29: u64,
    pc: u64,
    sp: u64,
}

impl Context {
    /// Of no stack yet.
    pub const fn new() -> Self {
        Self {
            x19: 0,
            x29: 0,
            pc: 0,
            sp: 0,
        }
    }

    /// Where it goes on, and the frame record of the function there: (pc, fp).
    pub fn place(&self) -> (usize, usize) {
        (self.pc as usize, self.x29 as usize)
    }

    /// A stack, empty below `top`, that begins with `kernel_thread(entry, argument)`.
    pub fn starting(top: usize, entry: usize, argument: usize) -> Self {
        Self {
            x19: entry as u64,
            x29: argument as u64,
            pc: thread_trampoline as *const () as u64,
            sp: top as u64,
        }
    }
}

/// Goes on at `to`; returns when somebody goes on at `from`.
///
/// # Safety
/// `to` is a stack that no core runs on, and stays so until this core does. Both pointers are valid.
#[inline(always)]
pub unsafe fn switch(from: *mut Context, to: *const Context) {
    // SAFETY: the caller's promise. Every register is given up, so nothing of this stack is needed until label 2.
    unsafe {
        asm!(
            "stp x19, x29, [x0]",
            "adr x2, 2f",
            "mov x3, sp",
            "stp x2, x3, [x0, #16]",
            "ldp x19, x29, [x1]",
            "ldp x2, x3, [x1, #16]",
            "mov sp, x3",
            "br x2",
            "2:",
            inlateout("x0") from => _, inlateout("x1") to => _,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _, lateout("x24") _,
            lateout("x25") _, lateout("x26") _, lateout("x27") _, lateout("x28") _,
            clobber_abi("C"),
        )
    };
}
