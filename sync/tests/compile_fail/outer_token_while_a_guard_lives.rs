// SPDX-License-Identifier: MIT OR Apache-2.0
//! The outer token used while a guard lives.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (disk, _inside) = DISK.enter(&mut cx);
    let _ring = RING.enter(&mut cx); //~ bad
    drop(disk);
    let _ring = RING.enter(&mut cx); //~ good
}
