// SPDX-License-Identifier: MIT OR Apache-2.0
//! The inner token kept beyond its guard, for use beside the outer one.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (disk, mut inside) = DISK.enter(&mut cx);
    drop(disk);
    drop(VOLUME.enter(&mut cx)); //~ bad
    drop(REQUEST.enter(&mut inside));
    drop(VOLUME.enter(&mut cx)); //~ good
}
