// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device lock in the clock's handler, which may have interrupted its owner.
//@ error: E0277
use world::*;

pub fn handler(mut cx: Cx<Interrupt<Sched>>) {
    let (_lock, _cx) = LINE.enter(&mut cx); //~ bad
    let (_lock, _cx) = RUN_QUEUE.enter(&mut cx); //~ good
}
