// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token narrowed to a context that allows more.
//@ error: E0277
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_ring, mut cx) = RING.enter(&mut cx);
    let _less = cx.narrow::<Volume>(); //~ bad
    let _less = cx.narrow::<RunQueue>(); //~ good
}
