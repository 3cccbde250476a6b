// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waking a thread, which takes a run queue, under a lock of the scheduler's domain.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_lock, mut cx) = RUN_QUEUE.enter(&mut cx); //~ bad
    let (_lock, mut cx) = PAGES.enter(&mut cx); //~ good
    CV.signal(&mut cx); //~ refused
}
