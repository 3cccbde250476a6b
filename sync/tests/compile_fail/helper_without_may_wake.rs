// SPDX-License-Identifier: MIT OR Apache-2.0
//! A helper wakes a thread from any context.
//@ error: E0277
use world::*;

pub fn tell<K>(cx: &mut Cx<K>) { //~ bad
pub fn tell<K: MayWake>(cx: &mut Cx<K>) { //~ good
    CV.signal(cx); //~ refused
}
