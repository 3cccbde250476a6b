// SPDX-License-Identifier: GPL-2.0-or-later
//! The type `pi4-genet`: its properties, and the reports that the monitor can ask for.
//!
//! There is one GENET on the board, so its options are one static. QEMU sets the properties of a
//! device before it realizes it.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use genet_model::{Fault, Plan};

use crate::genet;
use crate::qemu::{self, Errp, Object, Qemu, Realize, TypeInfo, qemu};

/// What `-device pi4-genet,...` says.
#[derive(Clone)]
pub struct Options {
    /// The netdev at the other end of the cable.
    pub netdev: Option<CString>,
    /// What shall go wrong.
    pub faults: Vec<Plan>,
    /// Frames wait while no descriptor is free, instead of being discarded.
    pub backpressure: bool,
}

static OPTIONS: Mutex<Options> = Mutex::new(Options {
    netdev: None,
    faults: Vec::new(),
    backpressure: true,
});

/// The options as they are now.
pub fn options() -> MutexGuard<'static, Options> {
    OPTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

type Get = unsafe extern "C" fn(*mut Object, Errp) -> *mut c_char;
type Set = unsafe extern "C" fn(*mut Object, *const c_char, Errp);

const PROPERTIES: [(&CStr, Option<Get>, Option<Set>, &CStr); 5] = [
    (
        c"netdev",
        None,
        Some(set_netdev),
        c"ID of the netdev at the other end of the cable; without it, there is no cable",
    ),
    (
        c"faults",
        None,
        Some(set_faults),
        c"none, or NAME[/EVERY][xTIMES][:MS], joined by +; faults=help lists them",
    ),
    (
        c"backpressure",
        None,
        Some(set_backpressure),
        c"on: frames wait for a free descriptor; off: they are discarded, and counted",
    ),
    (
        c"counters",
        Some(get_counters),
        None,
        c"the MAC's counters that are not zero",
    ),
    (
        c"strays",
        Some(get_strays),
        None,
        c"what the driver did that is not known, with how often",
    ),
];

/// Tells QEMU of the type.
pub fn register(q: &Qemu) {
    let info = TypeInfo::device(c"pi4-genet", class_init);
    // SAFETY: QEMU copies the description; its strings are constants.
    unsafe { (q.type_register_static)(&info) };
}

unsafe extern "C" fn class_init(class: *mut Object, _: *const c_void) {
    let q = qemu();
    let mut parent: Option<Realize> = None;
    // SAFETY: QEMU hands its new class; all strings are constants. The parent, a plain device, has
    // nothing to realize.
    unsafe {
        (q.device_class_set_parent_realize)(class, genet::realize, &mut parent);
        for (name, get, set, help) in PROPERTIES {
            (q.object_class_property_add_str)(class, name.as_ptr(), get, set);
            (q.object_class_property_set_description)(class, name.as_ptr(), help.as_ptr());
        }
    }
}

/// The text that QEMU hands to a setter.
///
/// # Safety
/// `value` is a C string.
unsafe fn text<'a>(value: *const c_char) -> &'a CStr {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(value) }
}

unsafe extern "C" fn set_netdev(_: *mut Object, value: *const c_char, _: Errp) {
    // SAFETY: QEMU hands a C string.
    options().netdev = Some(unsafe { text(value) }.to_owned());
}

unsafe extern "C" fn set_faults(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    let value = unsafe { text(value) }.to_string_lossy();
    if value == "help" {
        let lines: Vec<_> = Fault::ALL
            .iter()
            .map(|fault| format!("  {:<12} {}", fault.name(), fault.what()))
            .collect();
        return qemu::fail(errp, &format!("faults:\n{}", lines.join("\n")));
    }
    let plans = value.split('+').filter(|plan| *plan != "none");
    match plans.map(str::parse).collect::<Result<Vec<_>, _>>() {
        Ok(plans) => {
            // The monitor may change the plan while the guest runs.
            genet::set_faults(&plans);
            options().faults = plans;
        }
        Err(error) => qemu::fail(errp, &error.to_string()),
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

fn answer(report: String) -> *mut c_char {
    let report = CString::new(report).unwrap_or_default();
    // SAFETY: QEMU frees what its own allocator copied.
    unsafe { (qemu().g_strdup)(report.as_ptr()) }
}

unsafe extern "C" fn get_counters(_: *mut Object, _: Errp) -> *mut c_char {
    answer(genet::counters())
}

unsafe extern "C" fn get_strays(_: *mut Object, _: Errp) -> *mut c_char {
    answer(genet::strays())
}
