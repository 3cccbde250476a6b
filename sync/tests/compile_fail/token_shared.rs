// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token shared with another thread.
//@ error: E0277
use world::*;

pub fn share(cx: &Cx<Thread>, number: &u32) {
    std::thread::scope(|s| {
        s.spawn(move || drop::<&Cx<Thread>>(cx)); //~ bad
        s.spawn(move || drop::<&u32>(number)); //~ good
    });
}
