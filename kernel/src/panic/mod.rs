// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end: what happened, on which CPU, in which thread, and how it came to that; then what the command line says.
//!
//! # Theory
//! The first CPU to panic stops the others ([`crate::stop`]) and waits a moment for them to say where they were; of one
//! that stays silent, for it has interrupts masked, the callers are told as its thread has noted them. Printing is by
//! polling, past all locks; what is printed, and more, goes to the card ([`dump`]). A panic within the panic is told once,
//! and stops.
pub mod dump;
pub mod ksyms;

#[cfg(target_os = "none")]
pub(crate) mod backtrace;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
pub mod provoke;

#[cfg(target_os = "none")]
pub use backtrace::Location;
#[cfg(target_os = "none")]
pub use machine::fault;
