// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two locks of one class: nothing says which comes first.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_disk, mut cx) = DISK.enter(&mut cx);
    let (_lock, _cx) = OTHER_DISK.enter(&mut cx); //~ bad
    let (_lock, _cx) = REQUEST.enter(&mut cx); //~ good
}
