// SPDX-License-Identifier: MIT OR Apache-2.0
//! The crash dump: what a panic leaves on the card, for the next boot and for whoever looks for the cause.
//!
//! # Theory
//! The panic finds the machine as it is: locks held, memory in any state, the card's driver in mid-transfer. So the dump
//! uses nothing of it. No lock, no heap, no interrupt; the text is put together in memory of its own (`text.rs`), and the
//! card is taken over and identified from scratch, at a speed that every card can (`save.rs`). The DMA of a transfer under
//! way is stopped first of all, before the report is printed, so that memory stands still.
//!
//! Nothing may be damaged. Where the dump goes is known from the boot, and held against the card itself before anything is
//! written (`area.rs`); each write is checked against the partition's bounds. What cannot be proved is not written, and
//! the console says why. All waiting together is bounded by `LIMIT_US` of `save.rs`.
//!
//! The header is written last (`format.rs`): before it, what is on the card is no dump, or the last one with a checksum
//! that is wrong now. The next boot tells of the dump in the log, once, and it stays until it is cleared or another
//! panic takes its place (`keep.rs`).
//!
//! A CPU that did not stop runs with interrupts masked, and takes the `Stop` interrupt before it runs anything else:
//! the card's driver is never entered with interrupts masked, so nobody else drives the controller.
//!
//! # Contexts
//! [`begin`], [`save`] and the `Tee`: the CPU that panics, all others stopped. `keep.rs`: threads.
//!
//! # Rejected
//! Memory that outlives a reset: the firmware loads over some of it, and a board that was switched off forgets all. A file on
//! the boot partition: its clusters would have to be found by what may be damaged. The driver's own card: it sleeps, and
//! its state is what the panic interrupted.
//!
//! # References
//! `docs/crashdump.5.md` (what is on the card).
pub mod area;
pub mod format;

#[cfg(target_os = "none")]
pub mod build;
#[cfg(target_os = "none")]
pub mod keep;
#[cfg(target_os = "none")]
mod save;
#[cfg(target_os = "none")]
mod text;

#[cfg(target_os = "none")]
pub use save::{begin, save};
#[cfg(target_os = "none")]
pub use text::Tee;
