// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waking a thread under a lock of the scheduler's domain, by a helper that asks for a context that may.
//@ error: E0277
use world::*;

fn tell<K: MayWake>(cx: &mut Cx<K>) {
    CV.signal(cx);
}

pub fn thread(mut cx: Cx<Thread>) {
    let (_lock, mut cx) = RUN_QUEUE.enter(&mut cx); //~ bad
    let (_lock, mut cx) = DISK.enter(&mut cx); //~ good
    tell(&mut cx); //~ refused
}
