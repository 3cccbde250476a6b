// SPDX-License-Identifier: GPL-2.0-or-later
//! The type `pi4-genet`: its properties, and the reports that the monitor can ask for.
//!
//! There is one GENET on the board, so its options are one static. QEMU sets the properties of a
//! device before it realizes it.

use std::ffi::{CString, c_char};
use std::sync::{Mutex, MutexGuard, PoisonError};

use genet_model::{Fault, Plan};

use super::realize;
use crate::property::{Device, Property, answer, plans, text};
use crate::qemu::{self, Errp, Object};

/// What `-device pi4-genet,...` says.
#[derive(Clone)]
pub struct Options {
    /// The netdev at the other end of the cable.
    pub netdev: Option<CString>,
    /// Or the socket that the cable leads to.
    pub cable: Option<CString>,
    /// What shall go wrong.
    pub faults: Vec<Plan>,
    /// Frames wait while no descriptor is free, instead of being discarded.
    pub backpressure: bool,
}

static OPTIONS: Mutex<Options> = Mutex::new(Options {
    netdev: None,
    cable: None,
    faults: Vec::new(),
    backpressure: true,
});

/// The options as they are now.
pub fn options() -> MutexGuard<'static, Options> {
    OPTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The type.
pub static DEVICE: Device = Device {
    name: c"pi4-genet",
    realize,
    properties: &[
        Property {
            name: c"netdev",
            get: None,
            set: Some(set_netdev),
            help: c"ID of the netdev at the other end of the cable; without it, there is no cable",
        },
        Property {
            name: c"cable",
            get: None,
            set: Some(set_cable),
            help: c"instead of a netdev: a Unix stream socket, each frame with 4 bytes of length in front",
        },
        Property {
            name: c"faults",
            get: None,
            set: Some(set_faults),
            help: c"none, or NAME[/EVERY][xTIMES][:MS], joined by +; faults=help lists them",
        },
        Property {
            name: c"backpressure",
            get: None,
            set: Some(set_backpressure),
            help: c"on: frames wait for a free descriptor; off: they are discarded, and counted",
        },
        Property {
            name: c"counters",
            get: Some(get_counters),
            set: None,
            help: c"the MAC's counters that are not zero",
        },
        Property {
            name: c"strays",
            get: Some(get_strays),
            set: None,
            help: c"what the driver did that is not known, with how often",
        },
    ],
};

unsafe extern "C" fn set_netdev(_: *mut Object, value: *const c_char, _: Errp) {
    // SAFETY: QEMU hands a C string.
    options().netdev = Some(unsafe { text(value) }.to_owned());
}

unsafe extern "C" fn set_cable(_: *mut Object, value: *const c_char, _: Errp) {
    // SAFETY: QEMU hands a C string.
    options().cable = Some(unsafe { text(value) }.to_owned());
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

unsafe extern "C" fn set_backpressure(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    match unsafe { text(value) }.to_bytes() {
        b"on" => options().backpressure = true,
        b"off" => options().backpressure = false,
        _ => qemu::fail(errp, "write on or off"),
    }
}

unsafe extern "C" fn get_counters(_: *mut Object, _: Errp) -> *mut c_char {
    answer(super::counters())
}

unsafe extern "C" fn get_strays(_: *mut Object, _: Errp) -> *mut c_char {
    answer(super::strays())
}
