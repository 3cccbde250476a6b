// SPDX-License-Identifier: MIT OR Apache-2.0
//! An adaptive mutex under a spin mutex.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_outer, mut cx) = DISK.enter(&mut cx); //~ bad
    let (_outer, mut cx) = MOUNTS.enter(&mut cx); //~ good
    let (_lock, _cx) = VOLUME.enter(&mut cx); //~ refused
}
