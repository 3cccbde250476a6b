// SPDX-License-Identifier: MIT OR Apache-2.0
//! The inner token returned from where the outer one ends.
//@ error: E0515
use world::*;

pub fn thread(mut cx: Cx<'static, Thread>) -> Cx<'static, Thread> { //~ good
pub fn thread(mut cx: Cx<'static, Thread>) -> Cx<'static, Disk> { //~ bad
    let (disk, _inside) = DISK.enter(&mut cx);
    drop(disk);
    _inside //~ bad
    cx //~ good
}
