// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two adaptive locks, against the order of the table.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_first, mut cx) = VOLUME.enter(&mut cx); //~ bad
    let (_second, _cx) = MOUNTS.enter(&mut cx); //~ bad
    let (_first, mut cx) = MOUNTS.enter(&mut cx); //~ good
    let (_second, _cx) = VOLUME.enter(&mut cx); //~ good
}
