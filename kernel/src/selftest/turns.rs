// SPDX-License-Identifier: MIT OR Apache-2.0
//! A check of spinning: three on one CPU, of which the least urgent alone can go on.
use super::{PATIENCE_NS, PRIORITY, Verdict, require, spawn};
use crate::cpu::{self, CpuSet};
use crate::intr::{self, Handler};
use crate::thread::{Kernel, ThreadCx};
use crate::trial::{self, Line};
use alloc::format;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, Ordering};
use sync::delivery::Policy;
use sync::domain::Net;
use sync::machine::Machine;
use sync::spl::{splnet, splx};

/// What the disk's handler waits for, and what the others do; whether each handler began. All on one CPU, then joined.
static GO_ON: AtomicBool = AtomicBool::new(false);
static OPEN: AtomicBool = AtomicBool::new(false);
static BEGAN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Spins as a lock does; true if it had not to wait for the end of everybody's patience.
fn spin_for(flag: &AtomicBool) -> bool {
    let end = now_ns() + PATIENCE_NS;
    while !flag.load(Ordering::Relaxed) && now_ns() < end {
        Kernel::relax();
    }
    now_ns() < end
}

fn disk(_: &mut ThreadCx, _: usize) {
    BEGAN[0].store(true, Ordering::Relaxed);
    if spin_for(&GO_ON) {
        OPEN.store(true, Ordering::Relaxed);
    }
}

fn terminal(_: &mut ThreadCx, _: usize) {
    BEGAN[1].store(true, Ordering::Relaxed);
    spin_for(&OPEN);
}

/// A thread holds the network off and spins for what the disk's handler holds, and so does the terminal's, which is more
/// urgent than the disk's.
pub fn turns(cx: &mut ThreadCx) -> Verdict {
    if intr::policy() != Policy::Domain {
        return Ok(()); // on a ladder, no disk interrupt comes on top of splnet
    }
    for flag in BEGAN.iter().chain([&GO_ON, &OPEN]) {
        flag.store(false, Ordering::Relaxed);
    }
    let cpu = cpu::online().iter().last().unwrap_or(0);
    let handlers = (
        Handler::Threaded(disk),
        Handler::Threaded(|_, _| {}),
        Handler::Threaded(terminal),
    );
    let lines = trial::establish_as(cx, [cpu; 3], handlers).map_err(|error| format!("{error}"))?;
    let holder = spawn(cx, "holder", PRIORITY, CpuSet::only(cpu), |_| {
        let spl = splnet::<Kernel>();
        for (line, began) in [Line::Bio, Line::Tty].into_iter().zip(&BEGAN) {
            trial::set_pending(line);
            while !began.load(Ordering::Relaxed) {
                bsp::cpu::relax();
            }
        }
        GO_ON.store(true, Ordering::Relaxed);
        spin_for(&OPEN);
        splx::<Net, Kernel>(spl);
    });
    let joined = holder.map(|holder| holder.join(cx)); // its patience ends
    trial::disestablish(cx, lines).map_err(|error| format!("{error}"))?;
    joined?;
    require(OPEN.load(Ordering::Relaxed), || {
        "the disk's handler had no turn while the terminal's spun".into()
    })
}
