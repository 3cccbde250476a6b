// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waking a thread under a lock that stands above the scheduler's.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_lock, mut cx) = LOG.enter(&mut cx); //~ bad
    let (_lock, mut cx) = LINE.enter(&mut cx); //~ good
    CV.broadcast(&mut cx); //~ refused
}
