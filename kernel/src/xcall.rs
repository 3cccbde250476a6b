// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cross-calls: a function that runs on other CPUs, while the caller waits.
//!
//! # Contexts
//! [`call`]: threads. The function runs as a Sched interrupt, with no lock held: it may wake threads, not sleep.
//!
//! # Lock order
//! `Xcall`, then `XcallSlot`; the function runs with neither.
//!
//! References: NetBSD xcall(9).
use crate::cpu::{self, CpuSet};
use crate::intr::{self, Ipi};
use crate::lock_order;
use crate::thread::{self, Thread};
use bsp::cpu::index;
use bsp::timer::now_ns;
use sync::domain::{Before, Cx, Interrupt, MaySleep, Sched};
use sync::kmutex::KMutex;

/// What is called, with its argument.
pub type Function = fn(&mut Cx<Interrupt<Sched>>, usize);

struct Call {
    function: Function,
    argument: usize,
    caller: &'static Thread,
    /// CPUs that have not run it yet.
    waited_for: CpuSet,
}

/// One call at a time.
static CALLING: KMutex<(), lock_order::Xcall> = KMutex::new(());
static CALL: KMutex<Option<Call>, lock_order::XcallSlot> = KMutex::new(None);

/// How often the caller looks whether a CPU went off instead of answering.
const LOOK_NS: u64 = 1_000_000;

/// Calls `function` on each CPU of `targets` that is online, and waits until all have returned. A CPU that goes off
/// meanwhile may be left out.
pub fn call<K: Before<lock_order::Xcall> + MaySleep>(
    cx: &mut Cx<K>,
    targets: CpuSet,
    function: Function,
    argument: usize,
) {
    let (_one, mut cx) = CALLING.enter(cx);
    let waited_for = CpuSet(targets.0 & cpu::online().0);
    *CALL.enter(&mut cx).0 = Some(Call {
        function,
        argument,
        caller: thread::current(),
        waited_for,
    });
    intr::send(Ipi::Call, waited_for);
    loop {
        {
            let (mut call, _) = CALL.enter(&mut cx);
            let left = call.as_ref().map_or(0, |call| call.waited_for.0);
            if left & cpu::online().0 == 0 {
                *call = None; // a CPU that comes late finds nothing to do
                return;
            }
        }
        thread::park_until(&mut cx, now_ns() + LOOK_NS);
    }
}

/// The interrupt by which a CPU hears of a call.
pub fn interrupt(cx: &mut Cx<Interrupt<Sched>>, _: usize) {
    let this = CpuSet::only(index());
    let (function, argument) = {
        let (call, _) = CALL.enter(cx);
        match &*call {
            Some(call) if call.waited_for.0 & this.0 != 0 => (call.function, call.argument),
            _ => return,
        }
    };
    function(cx, argument);
    let caller = {
        let (mut call, _) = CALL.enter(cx);
        call.as_mut().map(|call| {
            call.waited_for.0 &= !this.0;
            call.caller
        })
    };
    if let Some(caller) = caller {
        thread::unpark(cx, caller);
    }
}
