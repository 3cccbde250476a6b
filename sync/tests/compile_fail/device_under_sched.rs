// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lower lock under a higher one, by one more step.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_queue, mut cx) = RUN_QUEUE.enter(&mut cx);
    let (_lock, _cx) = DISK.enter(&mut cx); //~ bad
    let (_lock, _cx) = LOG.enter(&mut cx); //~ good
}
