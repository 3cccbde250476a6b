// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guard that goes to another thread within a closure.
//@ error: E0277
use world::*;

fn run(work: impl FnOnce() -> u32 + Send) -> u32 {
    work()
}

pub fn send(mut cx: Cx<Thread>) -> u32 {
    let (mut volume, _inside) = VOLUME.enter(&mut cx);
    let work = move || core::mem::take(&mut *volume); //~ bad
    let taken = core::mem::take(&mut *volume); //~ good
    let work = move || taken; //~ good
    run(work) //~ refused
}
