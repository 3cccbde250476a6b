// SPDX-License-Identifier: MIT OR Apache-2.0
//! A driver's mutex made from the cookie of another domain.
//@ error: E0271
use world::*;

pub fn attach(disk: IntrCookie<Bio>, net: IntrCookie<Net>) -> KMutex<u32, Request> {
    KMutex::for_interrupt(0, &net) //~ bad
    KMutex::for_interrupt(0, &disk) //~ good
}
