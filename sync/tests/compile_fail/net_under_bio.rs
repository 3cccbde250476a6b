// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Net lock under a Bio lock: the domains are unordered.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_disk, mut cx) = DISK.enter(&mut cx);
    let (_lock, _cx) = RING.enter(&mut cx); //~ bad
    let (_lock, _cx) = REQUEST.enter(&mut cx); //~ good
}
