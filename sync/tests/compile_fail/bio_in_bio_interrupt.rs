// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk's lock in its direct handler, which may have come on top of a network lock and would wait with that held.
//@ error: E0277
use world::*;

pub fn handler(mut cx: Cx<Interrupt<Bio>>) {
    let (_lock, _cx) = DISK.enter(&mut cx); //~ bad
    let (_lock, _cx) = PAGES.enter(&mut cx); //~ good
}
