// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line added to the order outside its table.
//@ error: E0200
use world::*;

sync::lock_order! {
    machine Kernel;
    thread {}
    bio { Mine }
    net { Yours }
    tty {}
    vm {}
    sched {}
    high {}
}
impl Before<Yours> for Mine {} //~ bad
// SAFETY: none: it says that it goes against the table.
unsafe impl Before<Yours> for Mine {} //~ good
