// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping under a spin mutex: a wait with a second one.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_outer, mut cx) = DISK.enter(&mut cx); //~ bad
    let (_outer, mut cx) = MOUNTS.enter(&mut cx); //~ good
    let (mut request, mut cx) = REQUEST.enter(&mut cx);
    CV.wait(&mut request, &mut cx); //~ refused
}
