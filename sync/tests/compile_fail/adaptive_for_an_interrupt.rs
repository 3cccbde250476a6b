// SPDX-License-Identifier: MIT OR Apache-2.0
//! An adaptive mutex made for an interrupt's handler.
//@ error: E0277
use world::*;

pub fn attach(cookie: &IntrCookie<Thread>) -> KMutex<u32, Volume> { //~ bad
pub fn attach(cookie: &IntrCookie<Bio>) -> KMutex<u32, Disk> { //~ good
    KMutex::for_interrupt(0, cookie) //~ refused
}
