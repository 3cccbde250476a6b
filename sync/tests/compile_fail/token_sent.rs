// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token sent to another thread.
//@ error: E0277
use world::*;

pub fn send(cx: Cx<Thread>) {
    std::thread::scope(|s| {
        s.spawn(move || drop::<Cx<Thread>>(cx)); //~ bad
        s.spawn(move || drop::<u32>(7)); //~ good
    });
}
