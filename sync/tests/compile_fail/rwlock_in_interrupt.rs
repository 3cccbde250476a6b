// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reader-writer lock in an interrupt handler, even to read.
//@ error: E0277
use world::*;

pub fn handler(mut cx: Cx<Interrupt<Net>>) {
    let (_lock, _cx) = NAMES.read(&mut cx); //~ bad
    let (_lock, _cx) = PAGES.enter(&mut cx); //~ good
}
