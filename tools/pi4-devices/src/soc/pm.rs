// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-pm`: a watchdog that counts.
//!
//! # Theory
//! QEMU's own PM block resets the machine as soon as a driver asks for it, whatever the count; so a driver that
//! guards itself with a watchdog dies at once, and one that forgets to feed it is never found out. Here the count is
//! of the guest's time. The reset, and the end at partition 63, are QEMU's own requests: `-no-reboot` counts.
//!
//! The window is the three registers alone: the block's others stay QEMU's.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use soc_model::{Ending, Pm};

use super::{Window, now_ns};
use crate::property::{Device, Property, answer};
use crate::qemu::{
    self, CLOCK_VIRTUAL, Errp, GUEST_RESET, GUEST_SHUTDOWN, MemoryRegionOps, Object, Timer, qemu,
};

const BASE: u32 = 0xfe10_0000;
const FIRST: u32 = 0x1c;

/// The type.
pub static TYPE: Device = Device {
    name: c"pi4-pm",
    realize,
    properties: &[
        Property {
            name: c"watchdog",
            get: Some(get_watchdog),
            set: None,
            help: c"milliseconds until it resets the machine; off while it does not count",
        },
        Property {
            name: c"strays",
            get: Some(get_strays),
            set: None,
            help: c"what the driver did that is not known, with how often",
        },
    ],
};

struct State {
    pm: Pm,
    timer: *mut Timer,
}

// SAFETY: the timer is QEMU's to use, in calls from it, which hold its big lock.
unsafe impl Send for State {}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

static WINDOW: Window = Window {
    name: c"pi4-pm",
    address: (BASE + FIRST) as u64,
    bytes: 12,
    ops: &OPS,
    reset,
};
static OPS: MemoryRegionOps = MemoryRegionOps::of_any_width(read, write);

unsafe extern "C" fn realize(owner: *mut Object, errp: Errp) {
    if state().is_some() {
        return qemu::fail(errp, "the board has one PM block, and it is there already");
    }
    if let Err(message) = insert(owner) {
        qemu::fail(errp, &message);
    }
}

fn insert(owner: *mut Object) -> Result<(), String> {
    WINDOW.insert(owner)?;
    let mut pm = Pm::new();
    pm.strays.listen(Box::new(|stray| {
        qemu::log_guest_error(&format!("pi4-pm: {stray}\n"));
    }));
    let room: *mut Timer = Box::leak(Box::new(Timer::new()));
    let nothing = std::ptr::null_mut();
    // SAFETY: the timer is never freed; times are given in nanoseconds, a scale of one.
    unsafe { (qemu().timer_init_full)(room, nothing, CLOCK_VIRTUAL, 1, 0, expired, nothing) };
    *state() = Some(State { pm, timer: room });
    Ok(())
}

/// Works with the model, then does what its time has come for, and sets the timer.
fn with<R: Default>(work: impl FnOnce(&mut Pm, u64) -> R) -> R {
    let mut state = state();
    let Some(State { pm, timer }) = &mut *state else {
        return R::default();
    };
    let now_ns = now_ns();
    let result = work(pm, now_ns);
    let ending = pm.advance(now_ns);
    // SAFETY: the timer was initialised, and stays; QEMU called. The requests only leave a note for
    // QEMU's main loop.
    unsafe {
        qemu::set_timer(*timer, pm.deadline_ns());
        match ending {
            Some(Ending::Reset) => (qemu().qemu_system_reset_request)(GUEST_RESET),
            Some(Ending::Halt) => (qemu().qemu_system_shutdown_request)(GUEST_SHUTDOWN),
            None => {}
        }
    }
    result
}

unsafe extern "C" fn read(_: *mut c_void, at: u64, bytes: u32) -> u64 {
    with(|pm, now_ns| pm.read(FIRST + at as u32, bytes, now_ns)).into()
}

unsafe extern "C" fn write(_: *mut c_void, at: u64, value: u64, bytes: u32) {
    with(|pm, now_ns| pm.write(FIRST + at as u32, bytes, value as u32, now_ns));
}

unsafe extern "C" fn expired(_: *mut c_void) {
    with(|_, _| ());
}

unsafe extern "C" fn reset(_: *mut c_void) {
    with(|pm, _| pm.reset());
}

unsafe extern "C" fn get_watchdog(_: *mut Object, _: Errp) -> *mut c_char {
    answer(with(|pm, now_ns| match pm.deadline_ns() {
        Some(end_ns) => format!("{}", end_ns.saturating_sub(now_ns) / 1_000_000),
        None => "off".into(),
    }))
}

unsafe extern "C" fn get_strays(_: *mut Object, _: Errp) -> *mut c_char {
    answer(with(|pm, _| pm.strays.to_string()))
}
