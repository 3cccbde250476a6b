// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which CPU a thread runs on, and how that CPU hears of it.
use super::super::table::{MAX_THREADS, State, Thread, thread};
use super::{
    QueueGuard, arm_slice, current, lock, lock_queue_of, look, note_length, waiting, yield_now,
};
use crate::cpu::irq_save;
use crate::cpu::{self, CPUS, CpuSet};
use crate::intr;
use crate::lock_order;
use crate::trace::{self, Class, Event};
use bsp::cpu::{index, irq_restore};
use core::sync::atomic::Ordering;
use sync::domain::{Before, Cx, MaySleep};
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
    let here = index();
    if last != here && allowed.contains(here) && is_idle_but_for_this(here) {
        queue = take_to(queue, t, here);
    } else if !stays {
        queue = go_elsewhere(queue, t);
    }
    if !queue.online {
        queue = go_elsewhere(queue, t);
    }
    let priority = t.sync.priority();
    t.sched(&queue).queued.set(Some(priority));
    queue.waiting.push_back(t.slot(), priority);
    note_length(&queue);
    call_attention(queue, priority);
}

/// `here`, which executes this, has nothing to do but the interrupt that it is in.
#[inline]
fn is_idle_but_for_this(here: usize) -> bool {
    let mut lender = current();
    while let Some(from) = lender.loan.from.get() {
        lender = from;
    }
    lender.is_idle() && waiting(here) == 0
}

/// Takes `t`, which `queue` guards and which stands in no queue, to CPU `target`: its queue, locked.
fn take_to(queue: QueueGuard, t: &'static Thread, target: usize) -> QueueGuard {
    let from = queue.cpu as u8;
    trace::event(Class::Sched, || Event::Migrate {
        thread: t.id(),
        from,
        to: target as u8,
    });
    // Between the two nobody touches it but for its state.
    t.cpu.store(target as u8, Ordering::Release);
    drop(queue);
    lock_queue_of(t)
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
            queue = take_to(queue, t, target);
        }
        let allowed = candidates(t.sched(&queue).affinity.get());
        if queue.online && allowed.contains(queue.cpu) {
            return queue;
        }
    }
}

/// A thread of `priority` has come to wait in `queue`.
#[inline]
fn call_attention(queue: QueueGuard, priority: u8) {
    if priority < queue.current_priority {
        return;
    }
    if priority == queue.current_priority && queue.cpu == index() {
        arm_slice(&queue, current()); // no more than that: they take turns from now on
    } else {
        kick(queue);
    }
}

/// Makes the CPU of `queue` look at it soon, and leaves it.
#[inline(always)]
fn kick(queue: QueueGuard) {
    if queue.cpu == index() {
        current()
            .sync
            .pending
            .fetch_or(PENDING_RESCHED, Ordering::Relaxed);
    } else {
        kick_another(queue);
    }
}

/// As above. The CPU is interrupted only after the queue is left: who is told comes for it at once, and a register of the
/// distributor's takes longer than all that is done with it locked.
#[inline(never)]
fn kick_another(queue: QueueGuard) {
    let cpu = queue.cpu;
    // ORDERING: pairs with the Acquire in `interrupt_exit`; the queue itself is under its lock.
    cpu::cpu(cpu).need_resched.store(true, Ordering::Release);
    let daif = irq_save(); // nothing comes between the two
    drop(queue);
    intr::send(intr::Ipi::Resched, CpuSet::only(cpu));
    irq_restore(daif);
    look(); // at what waited for the queue's spl
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
            kick(queue);
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
        call_attention(queue, priority);
    } else if sched.state.get() == State::Running {
        queue.current_priority = priority;
        if queue.waiting.best() >= Some(priority) {
            kick(queue);
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
            kick(queue);
        }
    }
}

/// What a thread is to a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The interrupt that asks came on top of it.
    Interrupted,
    /// It has lent this CPU to others, or stands by here for its interrupt, and goes on with these.
    Saved {
        /// Program counter.
        pc: usize,
        /// Frame record.
        fp: usize,
    },
    /// This CPU does not have it.
    Elsewhere,
}

/// What `t` is to this CPU. In a Sched interrupt: nobody lends meanwhile.
pub fn seen_here(t: &'static Thread) -> Seen {
    let mut who = current();
    if core::ptr::eq(who, t) {
        return Seen::Interrupted;
    }
    let mut has_lent = false;
    while let Some(from) = who.loan.from.get() {
        has_lent |= core::ptr::eq(from, t);
        who = from;
    }
    if has_lent || t.cpu() == index() && t.stands_by() {
        // SAFETY: it goes on only on this CPU, when this interrupt has ended.
        let (pc, fp) = unsafe { t.place() };
        return Seen::Saved { pc, fp };
    }
    Seen::Elsewhere
}

/// Lets `look` see where `t`, which waits, goes on. False if it has a CPU, or stands by for an interrupt.
pub fn with_saved<K: Before<lock_order::RunQueue>>(
    _cx: &mut Cx<K>,
    t: &'static Thread,
    look: impl FnOnce(usize, usize),
) -> bool {
    let queue = lock_queue_of(t);
    let state = t.sched(&queue).state.get();
    let waits = matches!(state, State::Blocked | State::Runnable);
    if waits {
        // SAFETY: its registers are saved (see the header of `sched`), and with its queue locked it stays so.
        let (pc, fp) = unsafe { t.place() };
        look(pc, fp);
    }
    waits
}

/// Has an idle CPU come for what waits here: an interrupt's work on this CPU takes longer than it looked.
pub fn offer() {
    if waiting(index()) == 0 {
        return;
    }
    let mut online = cpu::online().iter();
    if let Some(idle) = online.find(|cpu| intr::is_idle(*cpu)) {
        intr::send(intr::Ipi::Resched, CpuSet::only(idle));
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
        trace::event(Class::Sched, || Event::Migrate {
            thread: t.id(),
            from: victim as u8,
            to: me as u8,
        });
        t.cpu.store(me as u8, Ordering::Release);
        drop(queue);
        place(lock_queue_of(t), t);
        return true;
    }
    false
}
