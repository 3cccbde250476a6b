// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waking a thread with the token from before the scheduler's lock.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (queue, _inside) = RUN_QUEUE.enter(&mut cx);
    CV.signal(&mut cx); //~ bad
    drop(queue);
    CV.signal(&mut cx); //~ good
}
