// SPDX-License-Identifier: MIT OR Apache-2.0
//! The board: memory map, boot, MMU, traps, GIC, timer, power, device tree. The only place with board addresses.
//!
//! What the machine itself executes exists only for the board's target; the rest (GIC logic, device tree) is
//! also built and tested on the host. The kernel is called back through the `extern "Rust"` functions that
//! `start.rs` and `trap.rs` declare.
#![no_std]

#[cfg(test)]
extern crate std;

mod atags;
pub mod fdt;
pub mod gic;
pub mod map;

#[cfg(target_os = "none")]
mod machine {
    pub mod cache;
    pub mod context;
    mod copy;
    pub mod cpu;
    pub mod mmio;
    pub mod mmu;
    pub mod power;
    pub mod semihost;
    pub mod start;
    pub mod timer;
    pub mod trap;
}
#[cfg(target_os = "none")]
pub use machine::*;
