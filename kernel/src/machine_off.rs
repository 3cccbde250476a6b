// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ending the machine: through PSCI where there is one, else through the watchdog block itself.
use crate::board;
use bsp::fdt::Method;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::power;
use drivers::pm::Pm;

/// The PM block, for who feeds its watchdog, and for who ends the machine.
pub fn pm() -> Pm<Mmio> {
    // SAFETY: its users write whole registers, and what each of them writes is right whoever else writes.
    Pm::new(unsafe { Mmio::new(map::PM) })
}

/// The chip's watchdog: whether it counts, how many milliseconds are left, and whether it started the machine.
pub fn watchdog() -> (bool, u64, bool) {
    let pm = pm();
    let ticks = u64::from(pm.remaining_ticks());
    let left_ms = ticks * 1000 / u64::from(drivers::pm::TICKS_PER_SECOND);
    (pm.is_armed(), left_ms, pm.was_reset())
}

/// Halts the board, or ends the emulator with status 0.
pub fn power_off() -> ! {
    if let Some(Method::Psci(conduit)) = board::get().method {
        power::system_off(conduit);
    }
    pm().power_off();
    bsp::cpu::park()
}

/// Resets the machine.
pub fn reset() -> ! {
    if let Some(Method::Psci(conduit)) = board::get().method {
        power::system_reset(conduit);
    }
    pm().reset();
    bsp::cpu::park()
}
