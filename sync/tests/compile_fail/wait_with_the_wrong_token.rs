// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping with the outer mutex and the token of the inner one.
//@ error: E0308
use world::*;

pub fn thread(mut cx: Cx<Thread>) {
    let (mut volume, mut cx) = VOLUME.enter(&mut cx);
    let (mut disk, mut inner) = DISK.enter(&mut cx);
    CV.wait(&mut volume, &mut inner); //~ bad
    CV.wait(&mut disk, &mut inner); //~ good
}
