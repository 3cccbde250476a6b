// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting and stopping cores and the machine: PSCI where the device tree has it, the stub's spin table else.
//!
//! Without PSCI an SMC is an undefined instruction (the default stub sets SCR_EL3.SMD), so none is ever tried.
//! References: ARM DEN 0022 (PSCI 1.1); TF-A `plat/rpi/rpi4`; the arm64 boot protocol (spin table).
use super::{cache, mmu, start};
use crate::fdt::{Conduit, Method};
use core::arch::asm;
use smccc::psci::{self, LowestAffinityLevel};
use smccc::{Hvc, Smc};

pub use smccc::psci::error::Error as PsciError;

macro_rules! call {
    ($conduit:expr, $function:ident ( $($arg:expr),* )) => {
        match $conduit {
            Conduit::Smc => psci::$function::<Smc>($($arg),*),
            Conduit::Hvc => psci::$function::<Hvc>($($arg),*),
        }
    };
}

/// Asks for core `cpu` to start at the kernel's secondary entry. That it runs, the core itself must report.
///
/// # Safety
/// The core must be off (or, under a spin table, in the stub's loop) and its stack slot unused.
pub unsafe fn start_cpu(method: &Method, cpu: usize) -> Result<(), PsciError> {
    let entry = start::secondary_entry_addr() as u64;
    match method {
        Method::Psci(conduit) => call!(conduit, cpu_on(cpu as u64, entry, 0)),
        Method::SpinTable(release) => {
            let release = release[cpu] as usize;
            let store = |at: usize| {
                // SAFETY: the word that this core polls; the window maps it, or it is RAM of the kernel's map.
                unsafe { (at as *mut u64).write_volatile(entry) };
            };
            if release < crate::map::KERNEL_BASE {
                // SAFETY: no TF-A here (else the method were PSCI); one core starts others.
                unsafe { mmu::with_low_page(release, store) };
            } else {
                store(release);
                cache::clean(release, 8); // the core polls with its caches off
            }
            // SAFETY: barrier, then wake the pollers.
            unsafe { asm!("dsb sy", "sev") };
            Ok(())
        }
    }
}

/// Switches this core off through PSCI; returns only on failure.
pub fn cpu_off(conduit: Conduit) -> PsciError {
    match call!(conduit, cpu_off()) {
        Err(error) => error,
        Ok(()) => PsciError::InternalFailure,
    }
}

/// True once PSCI says that core `cpu` is off.
pub fn is_off(conduit: Conduit, cpu: usize) -> bool {
    matches!(
        call!(conduit, affinity_info(cpu as u64, LowestAffinityLevel::All)),
        Ok(psci::AffinityState::Off)
    )
}

/// PSCI version, (major, minor).
pub fn psci_version(conduit: Conduit) -> Option<(u16, u16)> {
    call!(conduit, version()).ok().map(|v| (v.major, v.minor))
}

/// Ends (QEMU) or halts (board) the machine through PSCI; returns only on failure.
pub fn system_off(conduit: Conduit) {
    let _ = call!(conduit, system_off());
}

/// Resets the machine through PSCI; returns only on failure.
pub fn system_reset(conduit: Conduit) {
    let _ = call!(conduit, system_reset());
}
