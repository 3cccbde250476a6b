// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token cloned, to have one for later.
//@ error: E0599
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let mut other = cx.clone(); //~ bad
    let mut other = cx.narrow::<Mounts>(); //~ good
    let _volume = VOLUME.enter(&mut other);
}
