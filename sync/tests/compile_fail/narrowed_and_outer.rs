// SPDX-License-Identifier: MIT OR Apache-2.0
//! A narrowed token and the one it came from, used side by side.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let mut less = cx.narrow::<Disk>();
    drop(VOLUME.enter(&mut cx)); //~ bad
    drop(REQUEST.enter(&mut less));
    drop(VOLUME.enter(&mut cx)); //~ good
}
