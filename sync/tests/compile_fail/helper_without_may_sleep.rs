// SPDX-License-Identifier: MIT OR Apache-2.0
//! A helper waits with whatever it is given without asking for a context that may sleep.
//@ error: E0277
use world::*;

pub fn helper<K>(disk: &mut KMutexGuard<u32, Disk, K>, cx: &mut Cx<Disk>) { //~ bad
pub fn helper<K: MaySleep>(disk: &mut KMutexGuard<u32, Disk, K>, cx: &mut Cx<Disk>) { //~ good
    CV.wait(disk, cx); //~ refused
}
