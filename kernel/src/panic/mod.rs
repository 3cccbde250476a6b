// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end: what happened, on which CPU, in which thread, and how it came to that; then what the command line says.
//!
//! # Theory
//! The first CPU to panic stops the others with an interrupt of the highest class and waits a moment for them to say
//! where they were; one that runs with interrupts masked stays silent and is named. Printing is by polling, past all
//! locks. A panic within the panic is told once, and stops.
pub mod ksyms;

#[cfg(target_os = "none")]
mod backtrace;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
pub mod provoke;

#[cfg(target_os = "none")]
pub use backtrace::Location;
#[cfg(target_os = "none")]
pub use machine::{fault, stop_here};
