// SPDX-License-Identifier: MIT OR Apache-2.0
//! A spin mutex's class declared fit to sleep under.
//@ error: E0200
use world::*;

sync::lock_order! {
    machine Kernel;
    thread {}
    bio { Mine }
    net {}
    tty {}
    vm {}
    sched {}
    high {}
}
impl MaySleep for Mine {} //~ bad
// SAFETY: none: it says that it goes against the table.
unsafe impl MaySleep for Mine {} //~ good
