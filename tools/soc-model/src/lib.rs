// SPDX-License-Identifier: MIT OR Apache-2.0
//! Register models of the BCM2711's small blocks: watchdog, random numbers, temperature.
//!
//! They know no emulator: time, and what comes in from outside, are arguments. Offsets are from the base of the
//! block, as the drivers have them. None of the blocks is in BCM2711 ARM Peripherals; each model says whose drivers
//! it is drawn from. What those drivers do not tell, and would be needed, is decided against the driver: a model that
//! forgives hides a bug.

mod avs;
mod pm;
mod rng200;
mod stray;

pub use avs::Avs;
pub use pm::{Ending, Pm};
pub use rng200::{Failure, Rng200};
pub use stray::{Stray, Strays};
