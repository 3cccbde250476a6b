// SPDX-License-Identifier: MIT OR Apache-2.0
//! A token kept for everybody.
//@ error: E0277
use world::*;

static TOKEN: std::sync::Mutex<Option<Cx<Thread>>> = std::sync::Mutex::new(None); //~ bad
static TOKEN: std::sync::Mutex<Option<u32>> = std::sync::Mutex::new(None); //~ good
pub fn taken() {
    TOKEN.lock().unwrap().take();
}
