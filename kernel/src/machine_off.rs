// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ending the machine: through PSCI where there is one, else through the watchdog block itself.
use crate::board;
use bsp::fdt::Method;
use bsp::map;
use bsp::mmio::Mmio;
use bsp::power;
use drivers::pm::Pm;

fn pm() -> Pm<Mmio> {
    // SAFETY: the PM block; whoever gets here ends the machine, so a second user does not matter.
    Pm::new(unsafe { Mmio::new(map::PM) })
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
