// SPDX-License-Identifier: MIT OR Apache-2.0
//! An adaptive mutex in an interrupt handler, by a helper.
//@ error: E0277
use world::*;

fn count<K: Before<Volume>>(cx: &mut Cx<K>) -> u32 {
    *VOLUME.enter(cx).0
}

pub fn handler(mut cx: Cx<Interrupt<Tty>>) -> u32 { //~ bad
pub fn handler(mut cx: Cx<Thread>) -> u32 { //~ good
    count(&mut cx) //~ refused
}
