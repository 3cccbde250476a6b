// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token built by hand.
//@ error: E0451
use world::*;

pub fn forge<'a>(_real: Cx<'a, Disk>) -> Cx<'a, Disk> {
    Cx { _borrowed: Default::default(), _context: Default::default(), _stays: Default::default() } //~ bad
    _real //~ good
}
