// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token given away and used again.
//@ error: E0382
use world::*;

fn thread(_: Cx<Thread>) {}

pub fn copy(mut cx: Cx<Thread>) {
    drop(VOLUME.enter(&mut cx)); //~ good
    thread(cx);
    drop(VOLUME.enter(&mut cx)); //~ bad
}
