// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks and interrupt priority, written against no hardware and no scheduler: only `core`, and one machine trait.
#![no_std]

#[cfg(any(test, feature = "host", loom, shuttle))]
extern crate std;

mod atomic;
pub mod delivery;
pub mod domain;
#[cfg(feature = "host")]
pub mod host;
pub mod inbox;
pub mod ipl;
pub mod kcondvar;
pub mod kmutex;
pub mod krwlock;
pub mod lockdebug;
#[cfg(not(any(loom, shuttle)))]
pub mod lockstat;
#[cfg(not(any(loom, shuttle)))]
pub mod lockview;
pub mod machine;
pub mod priority;
mod probe;
pub mod spinword;
pub mod spl;
pub mod turnstile;

#[cfg(any(loom, shuttle))]
pub use atomic::{before_access, weak_swap_fails};
