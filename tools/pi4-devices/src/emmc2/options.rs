// SPDX-License-Identifier: GPL-2.0-or-later
//! The type `pi4-emmc2`: its properties, and the reports that the monitor can ask for.
//!
//! There is one EMMC2 on the board, so its options are one static. QEMU sets the properties of a
//! device before it realizes it.

use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sdhci_model::{Fault, Plan};

use super::realize;
use crate::property::{Device, Property, answer, plans, text};
use crate::qemu::{self, Errp, Object};

/// What `-device pi4-emmc2,...` says.
#[derive(Clone)]
pub struct Options {
    /// What shall go wrong.
    pub faults: Vec<Plan>,
    /// The card is an eMMC.
    pub emmc: bool,
    /// Bytes a second on the wire; 0 is no limit.
    pub rate: u64,
}

static OPTIONS: Mutex<Options> = Mutex::new(Options {
    faults: Vec::new(),
    emmc: false,
    rate: 0,
});

/// The options as they are now.
pub fn options() -> MutexGuard<'static, Options> {
    OPTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The type.
pub static DEVICE: Device = Device {
    name: c"pi4-emmc2",
    realize,
    properties: &[
        Property {
            name: c"medium",
            get: None,
            set: Some(set_medium),
            help: c"sd (default) or emmc: what kind of card the -drive if=sd is",
        },
        Property {
            name: c"faults",
            get: None,
            set: Some(set_faults),
            help: c"none, or NAME[/EVERY][xTIMES][:MS], joined by +; faults=help lists them",
        },
        Property {
            name: c"rate",
            get: None,
            set: Some(set_rate),
            help: c"bytes a second that pass the wire, 25000000 as on the board; 0 (default): no limit",
        },
        Property {
            name: c"counters",
            get: Some(get_counters),
            set: None,
            help: c"what the controller did: commands, blocks, descriptors, interrupts",
        },
        Property {
            name: c"strays",
            get: Some(get_strays),
            set: None,
            help: c"what the driver did that the specification does not allow, with how often",
        },
    ],
};

unsafe extern "C" fn set_medium(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    match unsafe { text(value) }.to_bytes() {
        b"sd" => options().emmc = false,
        b"emmc" => options().emmc = true,
        _ => qemu::fail(errp, "write sd or emmc"),
    }
}

unsafe extern "C" fn set_rate(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    match unsafe { text(value) }.to_string_lossy().parse() {
        Ok(rate) => {
            super::set_rate(rate);
            options().rate = rate;
        }
        Err(_) => qemu::fail(errp, "write a number of bytes a second"),
    }
}

unsafe extern "C" fn set_faults(_: *mut Object, value: *const c_char, errp: Errp) {
    let list = Fault::ALL.iter().map(|fault| (fault.name(), fault.what()));
    // SAFETY: QEMU hands a C string.
    if let Some(plans) = unsafe { plans::<Plan>(value, errp, list) } {
        // The monitor may change the plan while the guest runs.
        super::set_faults(&plans);
        options().faults = plans;
    }
}

unsafe extern "C" fn get_counters(_: *mut Object, _: Errp) -> *mut c_char {
    answer(super::counters())
}

unsafe extern "C" fn get_strays(_: *mut Object, _: Errp) -> *mut c_char {
    answer(super::strays())
}
