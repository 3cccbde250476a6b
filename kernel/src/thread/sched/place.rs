// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which CPU a thread runs on, and how that CPU hears of it.
use super::super::table::{MAX_THREADS, Queue, State, Thread, thread};
use super::{QueueGuard, arm_slice, current, lock, lock_queue_of, note_length, waiting, yield_now};
use crate::cpu::{self, CPUS, CpuSet};
use crate::intr;
use bsp::cpu::index;
use core::sync::atomic::Ordering;
use sync::domain::{Cx, MaySleep};
use sync::spl::PENDING_RESCHED;

pub(super) fn allowed_here(affinity: CpuSet, cpu: usize) -> bool {
    candidates(affinity).contains(cpu)
}

/// Where a thread may run now: its affinity, or, with all of that offline, anywhere.
fn candidates(affinity: CpuSet) -> CpuSet {
    let online = cpu::online();
    match CpuSet(affinity.0 & online.0) {
        CpuSet(0) => online,
        some => some,
    }
}

/// Queues a runnable thread, which stands in no queue, where it should run, and calls that CPU's attention. `queue`
/// guards `t`.
#[inline]
pub(super) fn place(mut queue: QueueGuard, t: &'static Thread) {
    let sched = t.sched(&queue);
    debug_assert!(sched.queued.get().is_none() && sched.state.get() == State::Runnable);
    let allowed = candidates(sched.affinity.get());
    let last = queue.cpu;
    let at_once = || queue.current_priority < t.sync.priority() || intr::is_idle(last);
    let stays = allowed == CpuSet::only(last) || allowed.contains(last) && at_once();
    if !(stays && queue.online) {
        queue = go_elsewhere(queue, t);
    }
    let priority = t.sync.priority();
    t.sched(&queue).queued.set(Some(priority));
    queue.waiting.push_back(t.slot(), priority);
    note_length(&queue);
    call_attention(&queue, priority);
}

/// Takes `t` to the CPU where it runs soonest: an idle one, or where the fewest wait. That CPU's queue, locked.
#[inline(never)]
fn go_elsewhere(mut queue: QueueGuard, t: &'static Thread) -> QueueGuard {
    loop {
        // Of several as good, where its cache lines are.
        let cost = |cpu: &usize| (!intr::is_idle(*cpu), waiting(*cpu), *cpu != queue.cpu);
        let allowed = candidates(t.sched(&queue).affinity.get());
        let target = allowed.iter().min_by_key(cost).unwrap_or(0);
        if target != queue.cpu {
            // It is in no queue, so between the two nobody touches it but for its state.
            t.cpu.store(target as u8, Ordering::Release);
            drop(queue);
            queue = lock_queue_of(t);
        }
        let allowed = candidates(t.sched(&queue).affinity.get());
        if queue.online && allowed.contains(queue.cpu) {
            return queue;
        }
    }
}

/// A thread of `priority` has come to wait in `queue`.
#[inline]
fn call_attention(queue: &Queue, priority: u8) {
    if priority < queue.current_priority {
        return;
    }
    if priority == queue.current_priority && queue.cpu == index() {
        arm_slice(queue, current()); // no more than that: they take turns from now on
    } else {
        kick(queue.cpu);
    }
}

/// Makes CPU `cpu` look at its queue soon. With a run queue locked, or interrupts masked.
fn kick(cpu: usize) {
    if cpu == index() {
        current()
            .sync
            .pending
            .fetch_or(PENDING_RESCHED, Ordering::Relaxed);
    } else {
        // ORDERING: pairs with the Acquire in `interrupt_exit`; the queue itself is under its lock.
        cpu::cpu(cpu).need_resched.store(true, Ordering::Release);
        intr::send(intr::Ipi::Resched, CpuSet::only(cpu));
    }
}

/// Lets this CPU take threads, or no more (then the idle thread alone runs, and what waits goes elsewhere).
pub fn set_online(cpu: usize, online: bool) {
    let mut homeless = heapless::Vec::<&'static Thread, MAX_THREADS>::new();
    {
        let mut queue = lock(cpu);
        queue.online = online;
        let state = if online {
            cpu::CpuState::Online
        } else {
            cpu::CpuState::Parked
        };
        cpu::set_state(cpu, state);
        while !online && let Some(slot) = queue.waiting.pop() {
            thread(slot).sched(&queue).queued.set(None);
            let _ = homeless.push(thread(slot));
        }
        note_length(&queue);
        if !online {
            kick(cpu);
        }
    }
    for t in homeless {
        place(lock_queue_of(t), t);
    }
}

/// The effective priority of `t` is another. With the turnstiles locked.
pub fn priority_changed(t: &'static Thread) {
    let mut queue = lock_queue_of(t);
    let sched = t.sched(&queue);
    let priority = t.sync.priority();
    if let Some(before) = sched.queued.replace(None) {
        queue.waiting.remove(t.slot(), before);
        queue.waiting.push_back(t.slot(), priority);
        t.sched(&queue).queued.set(Some(priority));
        call_attention(&queue, priority);
    } else if sched.state.get() == State::Running {
        queue.current_priority = priority;
        if queue.waiting.best() >= Some(priority) {
            kick(queue.cpu);
        }
    }
}

/// Changes where `t` may run; it moves if it must: the current thread before this returns, another one soon.
pub fn set_affinity<K: MaySleep>(cx: &mut Cx<K>, t: &'static Thread, affinity: CpuSet) {
    let mut queue = lock_queue_of(t);
    let cpu = queue.cpu;
    let sched = t.sched(&queue);
    sched.affinity.set(affinity);
    if allowed_here(affinity, cpu) {
        return;
    }
    if let Some(priority) = sched.queued.replace(None) {
        queue.waiting.remove(t.slot(), priority);
        note_length(&queue);
        place(queue, t);
    } else if sched.state.get() == State::Running {
        if core::ptr::eq(t, current()) {
            drop(queue);
            yield_now(cx);
        } else {
            kick(cpu);
        }
    }
}

/// Takes a waiting thread from another CPU, for this one, which is idle. True if there is something to run.
pub(super) fn steal() -> bool {
    let me = index();
    // One that sleeps is about to run what waits there.
    let busy = (0..CPUS).filter(|cpu| *cpu != me && waiting(*cpu) != 0 && !intr::is_idle(*cpu));
    for victim in busy {
        let mut queue = lock(victim);
        let slot = queue
            .waiting
            .iter()
            .find(|slot| thread(*slot).sched(&queue).affinity.get().contains(me));
        let Some(t) = slot.map(thread) else {
            continue;
        };
        if let Some(priority) = t.sched(&queue).queued.replace(None) {
            queue.waiting.remove(t.slot(), priority);
        }
        note_length(&queue);
        t.cpu.store(me as u8, Ordering::Release);
        drop(queue);
        place(lock_queue_of(t), t);
        return true;
    }
    false
}
