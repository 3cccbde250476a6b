// SPDX-License-Identifier: GPL-2.0-or-later
//! The layout of a system register's description.

use std::ffi::{CStr, c_char, c_int, c_void};

/// A system register of a core, as QEMU's `ARMCPRegInfo` describes it.
#[repr(C)]
pub struct SystemRegister {
    name: *const c_char,
    coprocessor: u8,
    crn: u8,
    crm: u8,
    op0: u8,
    op1: u8,
    op2: u8,
    state: c_int,
    kind: c_int,
    access: c_int,
    secure: c_int,
    fine_grained_trap: c_int,
    nested_offset: u32,
    /// What it was registered with.
    pub opaque: *mut c_void,
    reset_value: u64,
    field_offsets: [usize; 3],
    accessible: *const c_void,
    read: unsafe extern "C" fn(*mut c_void, *const SystemRegister) -> u64,
    write: unsafe extern "C" fn(*mut c_void, *const SystemRegister, u64),
    /// Raw access and reset, of which it has none, with room for more than there are.
    others: [*const c_void; 8],
}

impl SystemRegister {
    /// A register that only EL3 reads and writes, in place of what QEMU has there. The encoding
    /// is op0, op1, CRn, CRm, op2.
    pub fn el3(
        name: &'static CStr,
        [op0, op1, crn, crm, op2]: [u8; 5],
        read: unsafe extern "C" fn(*mut c_void, *const Self) -> u64,
        write: unsafe extern "C" fn(*mut c_void, *const Self, u64),
    ) -> Self {
        const STATE_AA64: c_int = 1;
        const OVERRIDE: c_int = 1 << 7;
        /// Its functions are called with the big lock held.
        const IO: c_int = 1 << 9;
        const NO_RAW: c_int = 1 << 10;
        const PL3_RW: c_int = 0xc0;
        Self {
            name: name.as_ptr(),
            coprocessor: 0,
            crn,
            crm,
            op0,
            op1,
            op2,
            state: STATE_AA64,
            kind: OVERRIDE | IO | NO_RAW,
            access: PL3_RW,
            secure: 0,
            fine_grained_trap: 0,
            nested_offset: 0,
            opaque: std::ptr::null_mut(),
            reset_value: 0,
            field_offsets: [0; 3],
            accessible: std::ptr::null(),
            read,
            write,
            others: [std::ptr::null(); 8],
        }
    }
}
