// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's counts changed without a guard or a cookie, perhaps another thread's.
//@ error: E0624
use world::*;

pub fn raise(thread: &'static KThread) -> sync::spl::Mask {
    thread.raise::<Bio, Kernel>(); //~ bad
    let _held = splbio::<Kernel>(); //~ good
    thread.mask()
}
