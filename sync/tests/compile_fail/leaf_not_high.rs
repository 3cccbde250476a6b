// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock entered without a token that is not of domain High.
//@ error: E0271
use world::*;

pub fn anywhere() -> u32 {
    *RUN_QUEUE.enter_leaf() //~ bad
    *LOG.enter_leaf() //~ good
}
