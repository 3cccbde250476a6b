// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping under a spin mutex with a deadline is sleeping.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_outer, mut cx) = ROUTE.enter(&mut cx); //~ bad
    let (_outer, mut cx) = VOLUME.enter(&mut cx); //~ good
    let (mut ring, mut cx) = RING.enter(&mut cx);
    let _why = CV.timed_wait_sig(&mut ring, &mut cx, 1_000); //~ refused
}
