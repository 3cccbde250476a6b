// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Net lock under a Bio lock, by a closure that gets the token.
//@ error: E0277
use world::*;

fn with_disk<R>(cx: &mut Cx<Thread>, f: impl FnOnce(&mut u32, &mut Cx<Disk>) -> R) -> R {
    let (mut disk, mut cx) = DISK.enter(cx);
    f(&mut disk, &mut cx)
}

pub fn thread(mut cx: Cx<Thread>) {
    with_disk(&mut cx, |disk, cx| *disk += *RING.enter(cx).0); //~ bad
    with_disk(&mut cx, |disk, cx| *disk += *REQUEST.enter(cx).0); //~ good
}
