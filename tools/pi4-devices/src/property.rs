// SPDX-License-Identifier: GPL-2.0-or-later
//! Device types with properties that are texts: what `-device` can set, and the monitor ask for.

use std::ffi::{CStr, CString, c_char, c_void};

use crate::qemu::{self, Errp, Object, Qemu, Realize, TypeInfo, qemu};

/// A property is asked for.
pub type Get = unsafe extern "C" fn(*mut Object, Errp) -> *mut c_char;
/// A property is set.
pub type Set = unsafe extern "C" fn(*mut Object, *const c_char, Errp);

/// A property with its help.
pub struct Property {
    pub name: &'static CStr,
    pub get: Option<Get>,
    pub set: Option<Set>,
    pub help: &'static CStr,
}

/// A type of device.
pub struct Device {
    pub name: &'static CStr,
    pub realize: Realize,
    pub properties: &'static [Property],
}

/// Tells QEMU of the type.
pub fn register(q: &Qemu, device: &'static Device) {
    let data: *const Device = device;
    let info = TypeInfo::device(device.name, class_init, data.cast());
    // SAFETY: QEMU copies the description; its strings and its data are constants.
    unsafe { (q.type_register_static)(&info) };
}

unsafe extern "C" fn class_init(class: *mut Object, data: *const c_void) {
    let q = qemu();
    let mut parent: Option<Realize> = None;
    // SAFETY: QEMU hands its new class, and the device with which the type was registered; all
    // strings are constants. The parent, a plain device, has nothing to realize.
    unsafe {
        let device = &*data.cast::<Device>();
        (q.device_class_set_parent_realize)(class, device.realize, &mut parent);
        for p in device.properties {
            (q.object_class_property_add_str)(class, p.name.as_ptr(), p.get, p.set);
            (q.object_class_property_set_description)(class, p.name.as_ptr(), p.help.as_ptr());
        }
    }
}

/// The text that QEMU hands to a setter.
///
/// # Safety
/// `value` is a C string, which stays for as long as the text is used.
pub unsafe fn text<'a>(value: *const c_char) -> &'a CStr {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(value) }
}

/// A getter's answer.
pub fn answer(report: String) -> *mut c_char {
    let report = CString::new(report).unwrap_or_default();
    // SAFETY: QEMU frees what its own allocator copied.
    unsafe { (qemu().g_strdup)(report.as_ptr()) }
}

/// The faults of a plan: names joined by `+`. An error, or the list that `help` asks for, is told.
///
/// # Safety
/// `value` is a C string.
pub unsafe fn plans<P>(
    value: *const c_char,
    errp: Errp,
    list: impl Iterator<Item = (&'static str, &'static str)>,
) -> Option<Vec<P>>
where
    P: std::str::FromStr,
    P::Err: std::fmt::Display,
{
    // SAFETY: the caller's promise.
    let value = unsafe { text(value) }.to_string_lossy();
    if value == "help" {
        let lines: Vec<_> = list
            .map(|(name, what)| format!("  {name:<15} {what}"))
            .collect();
        qemu::fail(errp, &format!("faults:\n{}", lines.join("\n")));
        return None;
    }
    let plans = value.split('+').filter(|plan| *plan != "none");
    match plans.map(str::parse).collect::<Result<Vec<P>, _>>() {
        Ok(plans) => Some(plans),
        Err(error) => {
            qemu::fail(errp, &error.to_string());
            None
        }
    }
}
