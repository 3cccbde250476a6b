// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a mutex guards, used after leaving.
//@ error: E0505
use world::*;

pub fn thread(mut cx: Cx<Thread>) -> u32 {
    let (mut disk, _inside) = DISK.enter(&mut cx);
    let value = &mut *disk;
    *value += 1; //~ good
    drop(disk); //~ refused
    *value += 1; //~ bad
    7
}
