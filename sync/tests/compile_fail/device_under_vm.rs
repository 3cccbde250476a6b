// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device lock under a Vm lock: Vm stands above the three.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_pages, mut cx) = PAGES.enter(&mut cx);
    let (_lock, _cx) = RING.enter(&mut cx); //~ bad
    let (_lock, _cx) = RUN_QUEUE.enter(&mut cx); //~ good
}
