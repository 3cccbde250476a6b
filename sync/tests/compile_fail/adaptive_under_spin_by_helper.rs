// SPDX-License-Identifier: MIT OR Apache-2.0
//! An adaptive mutex under a spin mutex, by a helper that is for threads with nothing held.
//@ error: E0308
use world::*;

fn count(cx: &mut Cx<Thread>) -> u32 {
    *VOLUME.enter(cx).0
}

pub fn thread(mut cx: Cx<Thread>) -> u32 {
    let (disk, mut inside) = DISK.enter(&mut cx);
    let volumes = count(&mut inside); //~ bad
    drop((disk, &mut inside)); //~ good
    let volumes = count(&mut cx); //~ good
    volumes
}
