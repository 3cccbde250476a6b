// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two locks of one domain, against the order of the table.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_first, mut cx) = REQUEST.enter(&mut cx); //~ bad
    let (_second, _cx) = DISK.enter(&mut cx); //~ bad
    let (_first, mut cx) = DISK.enter(&mut cx); //~ good
    let (_second, _cx) = REQUEST.enter(&mut cx); //~ good
}
