// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Net lock under a Bio lock, by a helper.
//@ error: E0277
use world::*;

fn count<K: Before<Ring>>(cx: &mut Cx<K>) -> u32 {
    *RING.enter(cx).0
}

pub fn thread(mut cx: Cx<Thread>) -> u32 {
    let (_outer, mut cx) = DISK.enter(&mut cx); //~ bad
    let (_outer, mut cx) = ROUTE.enter(&mut cx); //~ good
    count(&mut cx) //~ refused
}
