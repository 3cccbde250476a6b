// SPDX-License-Identifier: MIT OR Apache-2.0
//! A domain that the design does not have.
//@ error: E0277
use world::*;

pub struct Mine;
impl Domain for Mine { //~ bad
pub trait Kind { const NAME: &'static str; const HOLD: u64; const SLEEPS: bool; } //~ good
impl Kind for Mine { //~ good
    const NAME: &'static str = "mine";
    const HOLD: u64 = 0;
    const SLEEPS: bool = true;
}
