// SPDX-License-Identifier: MIT OR Apache-2.0
//! The proof of an established interrupt, built by hand.
//@ error: E0451
use world::*;

pub fn forge(_real: IntrCookie<Bio>) -> IntrCookie<Bio> {
    IntrCookie { source: 158, _domain: Default::default() } //~ bad
    _real //~ good
}
