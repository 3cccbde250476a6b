// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token claimed without taking responsibility for it.
//@ error: E0133
use world::*;

pub fn first_instruction() {
    let mut cx: Cx<Thread> = Cx::assume(); //~ bad
    let mut cx: Cx<Thread> = unsafe { Cx::assume() }; //~ good
    let _volume = VOLUME.enter(&mut cx);
}
