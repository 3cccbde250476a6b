// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token passed off as one that allows more.
//@ error: E0308
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (_disk, cx) = DISK.enter(&mut cx);
    let _claim: Cx<Thread> = cx; //~ bad
    let _claim: Cx<Disk> = cx; //~ good
}
