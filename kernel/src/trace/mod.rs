// SPDX-License-Identifier: MIT OR Apache-2.0
//! trace: what each CPU did last, with the time, in a ring of its own.
//!
//! # Theory
//! Where something happens that explains the machine (a switch, a wait for a lock, an interrupt, a disk request, packets),
//! the kernel tests one static, and if that class of [events](Event) is on, writes a record of 32 bytes into the
//! [ring](Ring) of its CPU. No lock is taken, no memory asked for, nothing waits: so any code may do it, the
//! scheduler with its queue locked and the slow paths of the locks too. A full ring overwrites the oldest record, and that
//! is counted.
//!
//! A class is switched per CPU: the word that everybody tests only leads to [`live`]'s gate of the CPU. Gates open and
//! close in a cross-call, with IRQ masked, at the same moment as the CPU's own counters are read; what is
//! counted and traced with IRQ masked is therefore counted and traced alike, to the last one.
//!
//! Locks are traced on their slow paths only, in `sync`'s probes: their fast paths have no instruction of this. A hold that was too long
//! is seen where holds are measured: while lockstat or lockdebug is on.
//!
//! # Contexts
//! [`event`]: any. [`on`], [`off`]: threads. Reading: any, also of a stopped machine, without a lock ([`write_last`]).
//!
//! # Memory ordering
//! That of a ring is in `ring.rs`. The gates and the word before them are Relaxed: each CPU's gate is moved on that CPU.
//!
//! # Rejected
//! One ring for all: CPUs would share its lines, and tracing would change what is traced. Text, formatted at once: ten times
//! the instructions, and the reader wants numbers. Records that begin and end in one (with a length): what
//! never ends, a deadlock for one, would not be seen.
//!
//! References: Trace Event Format (Chrome, Perfetto); illumos `uts/common/os/trace`; Linux `Documentation/trace/ring-buffer-design`.
pub mod chrome;
mod event;
mod merge;
mod ring;

#[cfg(target_os = "none")]
mod live;

pub use event::{Class, Classes, Event, Name, Record, TALLIES};
#[cfg(target_os = "none")]
pub use live::{
    Count, Status, clear, event, is_past, off, on, records, set_latency, status, wants_latency,
    watches_handlers, write_last,
};
pub use merge::{Merged, write_line};
pub use ring::Ring;
