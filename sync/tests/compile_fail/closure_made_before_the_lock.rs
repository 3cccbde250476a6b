// SPDX-License-Identifier: MIT OR Apache-2.0
//! A closure made before a lock is called under it.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) -> u32 {
    let mut count = || *RING.enter(&mut cx).0;
    let before = count(); //~ good
    let (disk, _inside) = DISK.enter(&mut cx); //~ bad
    *disk + count() //~ bad
    let (disk, _inside) = DISK.enter(&mut cx); //~ good
    *disk + before //~ good
}
