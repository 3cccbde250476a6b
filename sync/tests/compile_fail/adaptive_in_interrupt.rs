// SPDX-License-Identifier: MIT OR Apache-2.0
//! An adaptive mutex in an interrupt handler.
//@ error: E0277
use world::*;

pub fn handler(mut cx: Cx<Interrupt<Bio>>) {
    let (_lock, _cx) = VOLUME.enter(&mut cx); //~ bad
    let (_lock, _cx) = PAGES.enter(&mut cx); //~ good
}
