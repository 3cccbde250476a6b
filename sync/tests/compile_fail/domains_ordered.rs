// SPDX-License-Identifier: MIT OR Apache-2.0
//! The unordered domains put into an order.
//@ error: E0117
use world::*;

pub struct Mine;
impl DirectEnters<Net> for Bio {} //~ bad
impl DirectEnters<Net> for Mine {} //~ good
