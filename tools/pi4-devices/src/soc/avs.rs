// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-avs`: the chip's temperature, which the monitor sets.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use soc_model::Avs;

use super::Window;
use crate::property::{Device, Property, answer, text};
use crate::qemu::{self, Errp, MemoryRegionOps, Object};

/// The type.
pub static TYPE: Device = Device {
    name: c"pi4-avs",
    realize,
    properties: &[
        Property {
            name: c"millidegrees",
            get: Some(get_millidegrees),
            set: Some(set_millidegrees),
            help: c"what is measured, in thousandths of a degree Celsius; none: the sensor is not ready",
        },
        Property {
            name: c"strays",
            get: Some(get_strays),
            set: None,
            help: c"what the driver did that is not known, with how often",
        },
    ],
};

static AVS: Mutex<Option<Avs>> = Mutex::new(None);

fn avs() -> MutexGuard<'static, Option<Avs>> {
    AVS.lock().unwrap_or_else(PoisonError::into_inner)
}

static WINDOW: Window = Window {
    name: c"pi4-avs",
    address: 0xfd5d_2000,
    bytes: 0xf00,
    ops: &OPS,
    reset,
};
static OPS: MemoryRegionOps = MemoryRegionOps::of_any_width(read, write);

unsafe extern "C" fn realize(owner: *mut Object, errp: Errp) {
    let mut there = avs();
    let block = there.get_or_insert_default();
    block.strays.listen(Box::new(|stray| {
        qemu::log_guest_error(&format!("pi4-avs: {stray}\n"));
    }));
    drop(there);
    if let Err(message) = WINDOW.insert(owner) {
        qemu::fail(errp, &message);
    }
}

fn with<R: Default>(work: impl FnOnce(&mut Avs) -> R) -> R {
    avs().as_mut().map(work).unwrap_or_default()
}

unsafe extern "C" fn read(_: *mut c_void, at: u64, bytes: u32) -> u64 {
    with(|block| block.read(at as u32, bytes)).into()
}

unsafe extern "C" fn write(_: *mut c_void, at: u64, _: u64, _: u32) {
    with(|block| block.write(at as u32));
}

/// The world is as warm after a reset as before.
unsafe extern "C" fn reset(_: *mut c_void) {}

unsafe extern "C" fn get_millidegrees(_: *mut Object, _: Errp) -> *mut c_char {
    answer(with(|block| match block.millidegrees {
        Some(millidegrees) => millidegrees.to_string(),
        None => "none".into(),
    }))
}

unsafe extern "C" fn set_millidegrees(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    let value = unsafe { text(value) }.to_string_lossy();
    match value.parse::<i32>() {
        Ok(millidegrees) => avs().get_or_insert_default().millidegrees = Some(millidegrees),
        Err(_) if value == "none" => avs().get_or_insert_default().millidegrees = None,
        Err(_) => qemu::fail(errp, "write thousandths of a degree, or none"),
    }
}

unsafe extern "C" fn get_strays(_: *mut Object, _: Errp) -> *mut c_char {
    answer(with(|block| block.strays.to_string()))
}
