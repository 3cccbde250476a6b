// SPDX-License-Identifier: MIT OR Apache-2.0
//! The proof of an established interrupt, claimed without responsibility.
//@ error: E0133
use world::*;

pub fn claim() -> IntrCookie<Bio> {
    IntrCookie::new(158) //~ bad
    unsafe { IntrCookie::new(158) } //~ good
}
