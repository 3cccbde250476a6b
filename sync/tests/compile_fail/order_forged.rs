// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line added to the order outside its table.
//@ error: E0200
use world::*;

sync::lock_order! {
    machine Kernel;
    thread {}
    bio { Mine, Yours }
    net {}
    tty {}
    vm {}
    sched {}
    high {}
}
impl Before<Mine> for Yours {} //~ bad
// SAFETY: none: it says that it goes against the table.
unsafe impl Before<Mine> for Yours {} //~ good
