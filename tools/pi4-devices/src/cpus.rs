// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-cpus`: cores that reset themselves, as the board's do.
//!
//! # Theory
//! Trusted Firmware-A switches a core off by a warm reset: it writes RMR_EL3, and the core begins again
//! at its reset vector in EL3, from where BL31 sends it to wait for its next `CPU_ON`. QEMU's Cortex-A72
//! ignores the write, and the core waits for ever in the instruction behind it.
//!
//! QEMU keeps each core's system registers in a table that a device may add to. Here RMR_EL3 gets
//! a write that asks for the reset. The reset itself is QEMU's own, the one of power-on: it is
//! queued for the core, which runs it before its next instruction.
//!
//! # Left out
//! A reset into AArch32: QEMU cannot. RMR_EL3.AA64 reads one, and a write cannot change it.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::board::Board;
use crate::property::{Device, Property, answer};
use crate::qemu::{self, Errp, Object, SystemRegister, qemu};

const CORES: c_int = 4;
/// RMR_EL3: the core resets itself.
const RESET_REQUEST: u64 = 1 << 1;
/// RMR_EL3: it begins in AArch64.
const AARCH64: u64 = 1 << 0;

static THERE: AtomicBool = AtomicBool::new(false);

/// The type `pi4-cpus`.
pub static TYPE: Device = Device {
    name: c"pi4-cpus",
    realize,
    properties: &[Property {
        name: c"instructions",
        get: Some(instructions),
        set: None,
        help: c"with -icount: instructions that all cores together have executed",
    }],
};

unsafe extern "C" fn instructions(_: *mut Object, _: Errp) -> *mut c_char {
    // SAFETY: asks for a number; the big lock is held.
    answer(unsafe { (qemu().icount_get_raw)() }.to_string())
}

unsafe extern "C" fn realize(_: *mut Object, errp: Errp) {
    if THERE.swap(true, Ordering::SeqCst) {
        return qemu::fail(errp, "the board's cores have their RMR_EL3 already");
    }
    if let Err(message) = insert() {
        qemu::fail(errp, &message);
    }
}

fn insert() -> Result<(), String> {
    Board::find()?;
    for n in 0..CORES {
        // SAFETY: asks for a core by its number.
        let core = unsafe { (qemu().qemu_get_cpu)(n) };
        if core.is_null() {
            return Err(format!("this machine has no core {n}"));
        }
        let rmr_el3 = SystemRegister::el3(c"RMR_EL3", [3, 6, 12, 0, 2], read, write);
        // SAFETY: the core is an Arm one, made before this device, and does not run yet; QEMU copies
        // the description, whose name is a constant. The machine's lock is held.
        unsafe { (qemu().define_one_arm_cp_reg_with_opaque)(core, &rmr_el3, core) };
    }
    Ok(())
}

unsafe extern "C" fn read(_: *mut c_void, _: *const SystemRegister) -> u64 {
    AARCH64
}

unsafe extern "C" fn write(_: *mut c_void, register: *const SystemRegister, value: u64) {
    if value & RESET_REQUEST != 0 {
        // SAFETY: QEMU hands the description that it copied, with this core in it, on the core's own
        // thread and with its big lock held.
        unsafe {
            let affinity = (qemu().arm_cpu_mp_affinity)((*register).opaque);
            (qemu().arm_reset_cpu)(affinity);
        }
    }
}
