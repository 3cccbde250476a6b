// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traps: the frame, what a fault means, and accesses that may fault.
//!
//! # Contexts
//! [`trap_interrupt`] runs the kernel's handler on the interrupted thread's stack with IRQ masked;
//! [`trap_fault`], on the core's emergency stack, ends in the kernel's panic unless the access was a guarded one ([`read`], [`write`]).
//!
//! References: ARM DDI 0487, D1.4 (exceptions), D17.2.37 (ESR_EL1).
use core::arch::global_asm;
use core::fmt;

global_asm!(include_str!("vectors.S"), options(raw));

unsafe extern "Rust" {
    /// The kernel's interrupt entry: IRQ masked, on the interrupted thread's stack.
    safe fn kernel_interrupt();
    /// The kernel's end: a fault that nobody expected.
    safe fn kernel_fault(fault: &Fault) -> !;
}

unsafe extern "C" {
    fn vectors();
    fn guarded_start();
    fn guarded_fault();
    fn guarded_load8(address: usize) -> Guarded;
    fn guarded_load16(address: usize) -> Guarded;
    fn guarded_load32(address: usize) -> Guarded;
    fn guarded_load64(address: usize) -> Guarded;
    fn guarded_store8(address: usize, value: u64) -> Guarded;
    fn guarded_store16(address: usize, value: u64) -> Guarded;
    fn guarded_store32(address: usize, value: u64) -> Guarded;
    fn guarded_store64(address: usize, value: u64) -> Guarded;
}

/// Registers of the interrupted context; the layout is vectors.S's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    /// x0..x30.
    pub x: [u64; 31],
    /// Interrupted program counter.
    pub elr: u64,
    /// Interrupted processor state.
    pub spsr: u64,
    /// Syndrome; faults only.
    pub esr: u64,
    /// Fault address; valid for aborts.
    pub far: u64,
    /// Interrupted stack pointer.
    pub sp: u64,
    /// {x29, elr}: a frame record for the backtrace.
    record: [u64; 2],
}
const _: () = assert!(size_of::<Frame>() == 304 && core::mem::offset_of!(Frame, record) == 288);

impl Frame {
    /// Address of the frame whose frame record is at `record`: that of the code which a trap interrupted.
    pub const fn of_record(record: usize) -> usize {
        record - core::mem::offset_of!(Frame, record)
    }
}

/// What went wrong, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The stack pointer ran into the guard page under the stack.
    StackOverflow,
    /// An access below the kernel, where null pointers lead.
    NullPointer,
    /// A store to memory that is mapped read-only.
    WriteToReadOnly,
    /// An access to an address that is not mapped.
    Unmapped,
    /// An instruction fetch from memory that is not executable.
    ExecuteData,
    /// The bus refused the access.
    BusError,
    /// An asynchronous error from the memory system.
    SystemError,
    /// An instruction that does not exist here (or is trapped, as floating point is).
    UndefinedInstruction,
    /// A misaligned access to device memory, program counter or stack pointer.
    Alignment,
    /// A breakpoint instruction.
    Breakpoint,
    /// Anything else: the syndrome says what.
    Other,
}

/// An unexpected trap: the registers and their interpretation.
pub struct Fault<'a> {
    /// Registers.
    pub frame: &'a Frame,
    /// Number of the vector, 0..16.
    pub vector: usize,
    /// Interpretation.
    pub cause: Cause,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Cause::StackOverflow => "stack overflow",
            Cause::NullPointer => "null pointer dereference",
            Cause::WriteToReadOnly => "write to read-only memory",
            Cause::Unmapped => "access to unmapped memory",
            Cause::ExecuteData => "jump to memory that is not executable",
            Cause::BusError => "bus error (synchronous external abort)",
            Cause::SystemError => "system error (SError)",
            Cause::UndefinedInstruction => "undefined instruction",
            Cause::Alignment => "misaligned access",
            Cause::Breakpoint => "breakpoint instruction",
            Cause::Other => "unexpected exception",
        })
    }
}

const VECTOR_IRQ: usize = 5;
const VECTOR_SERROR: usize = 7;
/// Added to the number of a vector that found no room on its stack.
const OVERFLOWED: usize = 16;

impl Cause {
    fn of(vector: usize, frame: &Frame) -> Cause {
        let null = |address: u64| address < crate::map::KERNEL_BASE as u64;
        let in_guard = |address: u64| {
            matches!(
                super::start::stacks::locate(address as usize),
                Some((_, true))
            )
        };
        if vector == VECTOR_IRQ + OVERFLOWED {
            return Cause::StackOverflow;
        }
        if vector == VECTOR_SERROR {
            return Cause::SystemError;
        }
        if vector & 3 != 0 {
            return Cause::Other;
        }
        let status = frame.esr & 0x3F;
        match frame.esr >> 26 {
            0x00 | 0x07 => Cause::UndefinedInstruction,
            0x21 if null(frame.far) => Cause::NullPointer,
            0x21 => Cause::ExecuteData,
            0x22 | 0x26 => Cause::Alignment,
            0x3C => Cause::Breakpoint,
            0x25 => match status {
                _ if in_guard(frame.far) => Cause::StackOverflow,
                0x04..=0x07 if null(frame.far) => Cause::NullPointer,
                0x04..=0x0B => Cause::Unmapped,
                0x0C..=0x0F => Cause::WriteToReadOnly,
                0x10 | 0x14..=0x17 => Cause::BusError,
                0x21 => Cause::Alignment,
                _ => Cause::Other,
            },
            _ => Cause::Other,
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn trap_interrupt() {
    kernel_interrupt();
}

#[unsafe(no_mangle)]
extern "C" fn trap_fault(frame: &mut Frame, vector: usize) {
    let guarded = guarded_start as *const () as u64..guarded_fault as *const () as u64;
    let access = matches!(frame.esr >> 26, 0x25) || vector == VECTOR_SERROR;
    if access && guarded.contains(&frame.elr) {
        frame.elr = guarded.end;
        return;
    }
    kernel_fault(&Fault {
        frame,
        vector: vector & 15,
        cause: Cause::of(vector, frame),
    })
}

/// True if `pc` lies in the exception vectors' code, so that its frame record is a trap's: the address in it is where
/// the trap happened, not where a call returns to.
pub fn is_vector_code(pc: usize) -> bool {
    let start = vectors as *const () as usize;
    (start..guarded_start as *const () as usize).contains(&pc)
}

/// What a guarded access left in x0 and x1.
#[repr(C)]
struct Guarded {
    value: u64,
    faulted: u64,
}

/// A guarded access met a fault: not mapped, read-only, or refused by the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulted;

impl Guarded {
    fn ok(self) -> Result<u64, Faulted> {
        if self.faulted == 0 {
            Ok(self.value)
        } else {
            Err(Faulted)
        }
    }
}

/// Reads `bytes` (1, 2, 4 or 8) at `address`; a fault is an error, not the end. Any context.
///
/// The barrier behind the access makes an asynchronous external abort (how the BCM2711 may answer for a block
/// that is absent) arrive inside the guarded instructions.
pub fn read(address: usize, bytes: usize) -> Result<u64, Faulted> {
    // SAFETY: a load cannot break memory safety by itself; a fault is caught (`trap_fault`).
    let guarded = unsafe {
        match bytes {
            1 => guarded_load8(address),
            2 => guarded_load16(address),
            4 => guarded_load32(address),
            8 => guarded_load64(address),
            _ => panic!("guarded read of {bytes} bytes"),
        }
    };
    guarded.ok().map(|value| {
        if bytes == 8 {
            value
        } else {
            value & ((1 << (8 * bytes)) - 1)
        }
    })
}

/// Writes the low `bytes` (1, 2, 4 or 8) of `value` at `address`; a fault is an error, not the end.
///
/// # Safety
/// Nothing that Rust relies on may live there: this is the console's `mw`, for registers and spare memory.
pub unsafe fn write(address: usize, bytes: usize, value: u64) -> Result<(), Faulted> {
    // SAFETY: the caller vouches for the address; a fault is caught.
    let guarded = unsafe {
        match bytes {
            1 => guarded_store8(address, value),
            2 => guarded_store16(address, value),
            4 => guarded_store32(address, value),
            8 => guarded_store64(address, value),
            _ => panic!("guarded write of {bytes} bytes"),
        }
    };
    guarded.ok().map(|_| ())
}
