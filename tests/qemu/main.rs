// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tests in QEMU: one claim each, named after it, in a module for each part of the kernel.
//!
//! They run what `make image` built in `out/`; `make test` does that first. Every run also shows
//! that the kernel does nothing that QEMU warns of: a [`Console`](qemu_tests::Console) that is
//! dropped with warnings fails its test.

mod bio;
mod board;
mod boot;
mod broken;
mod card;
mod commands;
mod console;
mod costs;
mod crashdump;
mod ddb;
mod device_tree;
mod diag;
mod faults;
mod files;
mod flash;
mod flavours;
mod gdb;
mod harness;
mod interrupts;
mod locks;
mod memory;
mod net;
mod pack;
mod power;
mod provoke;
mod smp;
mod spl;
mod step;
mod trace;
mod watchdog;
mod watchers;
