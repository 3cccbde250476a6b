// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guard sent to another thread.
//@ error: E0277
use world::*;

pub fn send(mut cx: Cx<Thread>) {
    let (volume, _inside) = VOLUME.enter(&mut cx);
    std::thread::scope(|s| {
        s.spawn(move || drop::<KMutexGuard<_, _, _>>(volume)); //~ bad
        s.spawn(|| drop::<u32>(*volume)); //~ good
    });
}
