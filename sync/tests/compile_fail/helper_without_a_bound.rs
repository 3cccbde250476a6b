// SPDX-License-Identifier: MIT OR Apache-2.0
//! A helper for any context enters a lock without asking for a context that may.
//@ error: E0277
use world::*;

pub fn helper<K>(cx: &mut Cx<K>) -> u32 { //~ bad
pub fn helper<K: Before<Ring>>(cx: &mut Cx<K>) -> u32 { //~ good
    let (ring, _cx) = RING.enter(cx); //~ refused
    *ring
}
