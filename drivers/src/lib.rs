// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device drivers: one folder a device, `regs.rs` and the logic.
//!
//! No kernel, no locks, no unsafe in here: every operation takes `&mut self` and the owner locks.
//! A driver reaches its device only through [`Io`], so host tests drive the same source against a model.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod io;
pub use io::{Io, Reg};
