// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks and interrupt priority, written against no hardware and no scheduler: only `core`.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod ipl;
pub mod priority;
