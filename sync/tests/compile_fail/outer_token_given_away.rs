// SPDX-License-Identifier: MIT OR Apache-2.0
//! The outer token given away while a guard lives.
//@ error: E0505
use world::*;

fn thread(_: Cx<Thread>) {}

pub fn give(mut cx: Cx<Thread>) {
    let (disk, _inside) = DISK.enter(&mut cx);
    thread(cx); //~ bad
    drop(disk);
    thread(cx); //~ good
}
