// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device drivers: one folder a device, `regs.rs` and the logic.
//!
//! No kernel, no locks, no unsafe in here: every operation takes `&mut self` and the owner locks.
//! A driver reaches its device only through [`Io`], so host tests drive the same source against a model.
//! Time comes from the caller too, as an `embedded_hal::delay::DelayNs`; every wait on hardware is bounded.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod aux;
mod dma;
pub mod genet;
pub mod gpio;
mod io;
pub mod mailbox;
pub mod pl011;
pub mod pm;
pub mod rng;
pub mod sd;
pub mod sdhci;
#[cfg(test)]
mod testing;
pub mod thermal;
mod wait;

pub use dma::DmaBuffer;
pub use io::{Io, Reg};
