// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping under a spin mutex, by a helper that may be called where one may sleep.
//@ error: E0277
use world::*;

fn pause<K: Before<Volume> + MaySleep>(cx: &mut Cx<K>) {
    let (mut volume, mut cx) = VOLUME.enter(cx);
    CV.wait(&mut volume, &mut cx);
}

pub fn thread(mut cx: Cx<Thread>) {
    let (_outer, mut cx) = DISK.enter(&mut cx); //~ bad
    let (_outer, mut cx) = MOUNTS.enter(&mut cx); //~ good
    pause(&mut cx); //~ refused
}
