// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping in an interrupt handler: a wait with a mutex entered there.
//@ error: E0277
use world::*;

pub fn sleeper(mut cx: Cx<Interrupt<Bio>>) { //~ bad
pub fn sleeper(mut cx: Cx<Thread>) { //~ good
    let (mut pages, mut cx) = PAGES.enter(&mut cx);
    CV.wait(&mut pages, &mut cx); //~ refused
}
