// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping with a lock that was entered as a leaf: its context is unknown.
//@ error: E0277
use world::*;

pub fn leaf(mut cx: Cx<Thread>, mut inside: Cx<Log>) {
    let mut log = LOG.enter_leaf(); //~ bad
    CV.wait(&mut log, &mut inside); //~ bad
    let (mut volume, mut inside) = VOLUME.enter(&mut cx); //~ good
    CV.wait(&mut volume, &mut inside); //~ good
}
