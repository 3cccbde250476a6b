// SPDX-License-Identifier: MIT OR Apache-2.0
//! A class of the scheduler's domain declared fit to wake threads under.
//@ error: E0200
use world::*;

sync::lock_order! {
    machine Kernel;
    thread {}
    bio {}
    net {}
    tty {}
    vm {}
    sched { Mine }
    high {}
}
impl MayWake for Mine {} //~ bad
// SAFETY: none: it says that it goes against the table.
unsafe impl MayWake for Mine {} //~ good
