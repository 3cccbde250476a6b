// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Bio lock under a Net lock: no more than the other way round.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_ring, mut cx) = RING.enter(&mut cx);
    let (_lock, _cx) = DISK.enter(&mut cx); //~ bad
    let (_lock, _cx) = PAGES.enter(&mut cx); //~ good
}
