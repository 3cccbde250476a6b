// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Net lock in a disk's interrupt handler: there Net is not masked.
//@ error: E0277
use world::*;

pub fn handler(mut cx: Cx<Interrupt<Bio>>) {
    let (_lock, _cx) = RING.enter(&mut cx); //~ bad
    let (_lock, _cx) = PAGES.enter(&mut cx); //~ good
}
