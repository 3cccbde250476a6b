// SPDX-License-Identifier: MIT OR Apache-2.0
//! A closure made under a lock gets at the token from before it.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) -> u32 {
    let (disk, mut inside) = DISK.enter(&mut cx);
    let mut count = || *RING.enter(&mut cx).0; //~ bad
    let mut count = || *REQUEST.enter(&mut inside).0; //~ good
    *disk + count()
}
