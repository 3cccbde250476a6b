// SPDX-License-Identifier: MIT OR Apache-2.0
//! The unordered domains put into an order.
//@ error: E0117
use world::*;

pub struct Mine;
impl AtOrBelow<Net> for Bio {} //~ bad
impl AtOrBelow<Net> for Mine {} //~ good
