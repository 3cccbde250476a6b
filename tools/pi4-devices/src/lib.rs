// SPDX-License-Identifier: GPL-2.0-or-later
//! The Raspberry Pi 4's devices that QEMU's `raspi4b` lacks, for an unmodified QEMU.
//!
//! Preloaded into `qemu-system-aarch64`, this object registers device types before QEMU
//! reads its command line: `pi4-genet`, the Ethernet controller with its PHY, `pi4-emmc2`, the
//! card's controller with DMA, and smaller ones. They appear only where `-device` asks for them, so a preloaded
//! object alone changes nothing. README.md says how they are used.
//!
//! # Theory
//! The registers are modelled by `genet-model`, `sdhci-model` and `soc-model`, which know no emulator; here they
//! get memory, time, wire, drive and interrupt lines. `qemu` holds what is known of QEMU's insides,
//! and nothing else does.
//!
//! # Rejected
//! Adding the devices to every raspi4b from a machine-done notifier: it runs after QEMU has
//! looked for network devices without a card, so that each start warned; and a type has
//! properties, help and a place in `info qtree` for nothing.

mod board;
mod cpus;
mod emmc2;
mod genet;
mod property;
mod qemu;
mod soc;

/// Runs when the object is loaded, before the program's own start.
extern "C" fn start() {
    if !qemu::is_here() {
        return; // preloaded into a shell, or something else
    }
    match qemu::load() {
        Ok(q) => {
            property::register(q, &genet::TYPE);
            property::register(q, &emmc2::TYPE);
            property::register(q, &cpus::TYPE);
            property::register(q, &soc::PM);
            property::register(q, &soc::RNG);
            property::register(q, &soc::AVS);
        }
        Err(name) => eprintln!(
            "pi4-devices: this QEMU does not export {}; the devices are not available. \
             They are made for QEMU 10.0 as Debian builds it",
            name.to_string_lossy()
        ),
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;
