// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routing: which CPU an interrupt goes to. Each source has a home, and goes elsewhere only while that CPU is off.
//!
//! # Theory
//! The target changes while the source is disabled and active nowhere; what comes meanwhile stays pending. A GIC does not
//! deliver an active interrupt, wherever it goes; QEMU's does, to another CPU than the one that it is active on.
//!
//! # Contexts
//! Threads, one at a time ([`SOURCES`]).
use super::change_policy;
use super::establish::{SourceError, quieten};
use super::gic::DISTRIBUTOR;
use super::source::{SOURCES, Source, get, shared};
use crate::cpu::{self, CpuSet};
use crate::{lock_order, thread, xcall};
use arm_gic::IntId;
use core::sync::atomic::Ordering;
use sync::domain::{Before, Cx, MaySleep};

/// Sends interrupt `intid` to `cpu`.
pub(super) fn send_to(intid: IntId, source: &Source, cpu: usize) {
    source.cpu.store(cpu as u8, Ordering::Relaxed);
    let target = cpu::cpu(cpu).gic_target.load(Ordering::Relaxed);
    DISTRIBUTOR.enter_leaf().set_target(intid, target);
}

/// The CPU with the fewest sources, of these.
pub(super) fn least_loaded(of: CpuSet) -> usize {
    let load = |cpu: &usize| shared().filter(|(_, source)| source.cpu() == *cpu).count();
    of.iter().min_by_key(load).unwrap_or(0)
}

/// Sends interrupt `intid` to `cpu` from now on. When this returns, no handler of it runs anywhere else.
pub fn move_to<K: Before<lock_order::Sources> + MaySleep>(
    cx: &mut Cx<K>,
    intid: u32,
    cpu: usize,
) -> Result<(), SourceError> {
    let (_one, mut cx) = SOURCES.enter(cx);
    if intid < 32 {
        return Err(SourceError::NotShared(intid));
    }
    let source = get(intid).ok_or(SourceError::NotEstablished(intid))?;
    if !cpu::online().contains(cpu) {
        return Err(SourceError::NoCpu(cpu));
    }
    redirect(&mut cx, intid, source, cpu)?;
    source.home.store(cpu as u8, Ordering::Relaxed);
    Ok(())
}

/// Changes where a source goes.
fn redirect(
    cx: &mut Cx<lock_order::Sources>,
    number: u32,
    source: &Source,
    cpu: usize,
) -> Result<(), SourceError> {
    let intid = IntId::spi(number - 32);
    if source.cpu() == cpu {
        return Ok(());
    }
    let quiet = quieten(cx, number, source);
    if quiet.is_ok() {
        send_to(intid, source, cpu);
    }
    DISTRIBUTOR.enter_leaf().enable(intid, true);
    quiet
}

/// CPU `cpu` goes off: sends its sources to the others, and takes it from those that sources may be sent to. If that
/// fails, they come back.
pub fn leave<K: Before<lock_order::Sources> + MaySleep>(
    cx: &mut Cx<K>,
    cpu: usize,
) -> Result<(), SourceError> {
    let (_one, mut cx) = SOURCES.enter(cx);
    let moved = give_away(&mut cx, cpu);
    match moved {
        // Still with the table locked: nobody finds it without sources, and chooses it for that.
        Ok(()) => thread::set_online(cpu, false),
        Err(_) => return_home(&mut cx, cpu).and(moved)?,
    }
    Ok(())
}

/// Sends the sources of `cpu` to the others.
fn give_away(cx: &mut Cx<lock_order::Sources>, cpu: usize) -> Result<(), SourceError> {
    let others = CpuSet(cpu::online().0 & !CpuSet::only(cpu).0);
    for (intid, source) in shared().filter(|(_, source)| source.cpu() == cpu) {
        redirect(cx, intid, source, least_loaded(others))?;
    }
    Ok(())
}

/// CPU `cpu` is back: it follows the policy, which may have changed while it came, and the sources that are at home there
/// return.
pub fn come_back<K: Before<lock_order::Sources> + MaySleep>(
    cx: &mut Cx<K>,
    cpu: usize,
) -> Result<(), SourceError> {
    let (_one, mut cx) = SOURCES.enter(cx);
    xcall::call(&mut cx, CpuSet::only(cpu), change_policy, 0);
    return_home(&mut cx, cpu)
}

fn return_home(cx: &mut Cx<lock_order::Sources>, cpu: usize) -> Result<(), SourceError> {
    let at_home = |source: &Source| usize::from(source.home.load(Ordering::Relaxed)) == cpu;
    for (intid, source) in shared().filter(|(_, source)| at_home(source)) {
        redirect(cx, intid, source, cpu)?;
    }
    Ok(())
}
