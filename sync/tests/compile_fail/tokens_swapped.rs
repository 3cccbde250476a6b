// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two tokens of different contexts swapped.
//@ error: E0308
use world::*;

pub fn swap<'a>(mut one: Cx<'a, Thread>, mut other: Cx<'a, Disk>, mut third: Cx<'a, Disk>) {
    core::mem::swap(&mut one, &mut other); //~ bad
    core::mem::swap(&mut third, &mut other); //~ good
    let _all = (&mut one, &mut other, &mut third);
}
