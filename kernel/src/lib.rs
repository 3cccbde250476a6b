// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel: threads, interrupts, storage, console. `main.rs` wires it.
//!
//! Modules that touch the machine exist only for the board's target; everything else is also built and
//! tested on the host (`cargo test -p kernel`).
#![no_std]

#[cfg(test)]
extern crate std;
extern crate alloc;
