// SPDX-License-Identifier: GPL-2.0-or-later
//! `pi4-rng`: RNG200, with the host's random numbers in it, or with numbers that repeat.

use std::ffi::{c_char, c_void};
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use soc_model::{Failure, Rng200};

use super::{Window, now_ns};
use crate::property::{Device, Property, answer, text};
use crate::qemu::{self, Errp, MemoryRegionOps, Object};

/// The type.
pub static TYPE: Device = Device {
    name: c"pi4-rng",
    realize,
    properties: &[
        Property {
            name: c"seed",
            get: None,
            set: Some(set_seed),
            help: c"a number: the words repeat from run to run; without it they are the host's",
        },
        Property {
            name: c"failure",
            get: None,
            set: Some(set_failure),
            help: c"nist or lockout: the generator's own tests fail, until a driver resets it",
        },
        Property {
            name: c"counters",
            get: Some(get_counters),
            set: None,
            help: c"words that were taken, and failures that a reset ended",
        },
        Property {
            name: c"strays",
            get: Some(get_strays),
            set: None,
            help: c"what the driver did that is not known, with how often",
        },
    ],
};

/// Where the words come from.
enum Source {
    Host(Option<std::fs::File>),
    /// The state of SplitMix64.
    Repeating(u64),
}

impl Source {
    fn word(&mut self) -> u32 {
        match self {
            Self::Host(file) => {
                let mut bytes = [0; 4];
                if file.is_none() {
                    *file = std::fs::File::open("/dev/urandom").ok();
                }
                let read = file.as_mut().map(|file| file.read_exact(&mut bytes));
                match read {
                    Some(Ok(())) => u32::from_le_bytes(bytes),
                    // Nobody must take zeros for random.
                    _ => {
                        qemu::log_guest_error("pi4-rng: the host has no random numbers\n");
                        0
                    }
                }
            }
            Self::Repeating(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                (z ^ z >> 31) as u32
            }
        }
    }
}

struct State {
    rng: Rng200,
    taken: u64,
}

static SOURCE: Mutex<Source> = Mutex::new(Source::Host(None));
static STATE: Mutex<Option<State>> = Mutex::new(None);

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn source() -> MutexGuard<'static, Source> {
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}

static WINDOW: Window = Window {
    name: c"pi4-rng",
    address: 0xfe10_4000,
    bytes: 0x28,
    ops: &OPS,
    reset,
};
static OPS: MemoryRegionOps = MemoryRegionOps::of_any_width(read, write);

unsafe extern "C" fn realize(owner: *mut Object, errp: Errp) {
    if state().is_some() {
        return qemu::fail(errp, "the board has one RNG200, and it is there already");
    }
    let mut rng = Rng200::new(Box::new(|| source().word()));
    rng.strays.listen(Box::new(|stray| {
        qemu::log_guest_error(&format!("pi4-rng: {stray}\n"));
    }));
    if let Err(message) = WINDOW.insert(owner) {
        return qemu::fail(errp, &message);
    }
    *state() = Some(State { rng, taken: 0 });
}

fn with<R: Default>(work: impl FnOnce(&mut State) -> R) -> R {
    state().as_mut().map(work).unwrap_or_default()
}

unsafe extern "C" fn read(_: *mut c_void, at: u64, bytes: u32) -> u64 {
    const FIFO: u64 = 0x20;
    with(|s| {
        s.taken += u64::from(at == FIFO);
        s.rng.read(at as u32, bytes, now_ns())
    })
    .into()
}

unsafe extern "C" fn write(_: *mut c_void, at: u64, value: u64, bytes: u32) {
    with(|s| s.rng.write(at as u32, bytes, value as u32, now_ns()));
}

unsafe extern "C" fn reset(_: *mut c_void) {
    with(|s| s.rng.reset());
}

unsafe extern "C" fn set_seed(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    match unsafe { text(value) }.to_string_lossy().parse() {
        Ok(seed) => *source() = Source::Repeating(seed),
        Err(_) => qemu::fail(errp, "write a number"),
    }
}

unsafe extern "C" fn set_failure(_: *mut Object, value: *const c_char, errp: Errp) {
    // SAFETY: QEMU hands a C string.
    let failure = match unsafe { text(value) }.to_bytes() {
        b"nist" => Failure::Nist,
        b"lockout" => Failure::Lockout,
        _ => return qemu::fail(errp, "write nist or lockout"),
    };
    with(|s| s.rng.fail(failure));
}

unsafe extern "C" fn get_counters(_: *mut Object, _: Errp) -> *mut c_char {
    answer(with(|s| {
        format!("words={} recoveries={}", s.taken, s.rng.recoveries)
    }))
}

unsafe extern "C" fn get_strays(_: *mut Object, _: Errp) -> *mut c_char {
    answer(with(|s| s.rng.strays.to_string()))
}
