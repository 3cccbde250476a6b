// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reader's guard sent to another thread.
//@ error: E0277
use world::*;

pub fn send(mut cx: Cx<Thread>) {
    let (names, _inside) = NAMES.read(&mut cx);
    std::thread::scope(|s| {
        s.spawn(move || drop::<sync::krwlock::ReadGuard<_, _>>(names)); //~ bad
        s.spawn(|| drop::<u32>(*names)); //~ good
    });
}
