// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waking a thread in an interrupt that the scheduler's locks do not hold off.
//@ error: E0277
use world::*;

pub fn handler(mut cx: Cx<Interrupt<High>>) { //~ bad
pub fn handler(mut cx: Cx<Interrupt<Sched>>) { //~ good
    CV.signal(&mut cx); //~ refused
}
