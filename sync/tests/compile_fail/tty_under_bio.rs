// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Tty lock under a Bio lock: the third domain is unordered too.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_disk, mut cx) = DISK.enter(&mut cx);
    let (_lock, _cx) = LINE.enter(&mut cx); //~ bad
    let (_lock, _cx) = LOG.enter(&mut cx); //~ good
}
