// SPDX-License-Identifier: MIT OR Apache-2.0
//! Model checks of every lock: `make model` runs them, `make mutants` shows what each would catch.
//!
//! The same machine serves both checkers. loom runs small cases through every interleaving and every value that the
//! orderings allow, up to the bound that each check states; shuttle draws schedules for cases too large for that.
#![cfg(any(loom, shuttle))]

mod check;
mod machine;

#[cfg(loom)]
mod condvar;
#[cfg(loom)]
mod delivery;
#[cfg(loom)]
mod inbox;
#[cfg(loom)]
mod interrupt;
#[cfg(loom)]
mod mutex;
#[cfg(loom)]
mod rwlock;
#[cfg(shuttle)]
mod torture;
#[cfg(loom)]
mod turnstile;
#[cfg(loom)]
mod weak;
