// SPDX-License-Identifier: MIT OR Apache-2.0
//! Against the order of the table, two helpers deep.
//@ error: E0277
use world::*;

fn outer<K: Before<Disk>>(cx: &mut Cx<K>) -> u32 {
    inner(cx)
}

fn inner<K: Before<Disk>>(cx: &mut Cx<K>) -> u32 {
    *DISK.enter(cx).0
}

pub fn thread(mut cx: Cx<Thread>) -> u32 {
    let (_lock, mut cx) = REQUEST.enter(&mut cx); //~ bad
    let (_lock, mut cx) = VOLUME.enter(&mut cx); //~ good
    outer(&mut cx) //~ refused
}
