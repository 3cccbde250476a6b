// SPDX-License-Identifier: MIT OR Apache-2.0
//! A mutex shared between threads around what may not move between them.
//@ error: E0277
use world::*;

pub static LOCK: KMutex<Option<std::rc::Rc<u32>>, Volume> = KMutex::new(None); //~ bad
pub static LOCK: KMutex<Option<std::sync::Arc<u32>>, Volume> = KMutex::new(None); //~ good
