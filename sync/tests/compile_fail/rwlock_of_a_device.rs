// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reader-writer lock, which blocks, of a device's class.
//@ error: E0271
use world::*;

pub static LOCK: KRwLock<u32, Disk> = KRwLock::new(0); //~ bad
pub static LOCK: KMutex<u32, Disk> = KMutex::new(0); //~ good
