// SPDX-License-Identifier: MIT OR Apache-2.0
//! The outer token used while a reader is in.
//@ error: E0499
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (names, _inside) = NAMES.read(&mut cx);
    let _mounts = MOUNTS.enter(&mut cx); //~ bad
    drop(names);
    let _mounts = MOUNTS.enter(&mut cx); //~ good
}
