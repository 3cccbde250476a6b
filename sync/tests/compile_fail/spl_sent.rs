// SPDX-License-Identifier: MIT OR Apache-2.0
//! An spl given back by another thread, whose counts it would ruin.
//@ error: E0277
use world::*;

pub fn send() {
    let disk = splbio::<Kernel>();
    std::thread::scope(|s| {
        s.spawn(move || splx::<Bio, Kernel>(disk)); //~ bad
        s.spawn(move || splx::<Bio, Kernel>(splbio::<Kernel>())); //~ good
    });
}
