// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping with the outer mutex while an inner spin mutex is held.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (mut volume, mut cx) = VOLUME.enter(&mut cx);
    let (disk, _cx) = DISK.enter(&mut cx);
    CV.wait(&mut volume, &mut cx); //~ bad
    drop(disk);
    CV.wait(&mut volume, &mut cx); //~ good
}
