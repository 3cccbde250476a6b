// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scheduler: preemptive, round robin among equals, one run queue per CPU.
//!
//! # Theory
//! A CPU runs the thread of its own queue whose effective priority is best. A thread that becomes runnable is placed on
//! the CPU that wakes it, if that would be idle but for the interrupt that it is in: it is awake, and what the
//! interrupt brought is in its cache. Else on its last CPU if it can run there at once, else on an idle one, else where
//! the fewest wait; a CPU that goes idle takes a waiting thread from another. A tick exists only while equals compete:
//! the slice of 10 ms is armed when there is someone to take turns with. A thread that is preempted keeps its place and
//! what is left of its slice, so being preempted often does not make it keep the CPU from its equals.
//!
//! The run-queue lock is held across the context switch: it is left to whoever runs next, on the same CPU, and each of
//! the two has a spl hold of its own for it. So a thread whose state says `Runnable` or `Blocked` has its registers saved
//! by the time anybody else holds the lock.
//!
//! A thread is preempted only while its spl is open: at the end of an interrupt, or, if it held something then, when
//! it lets the last of it go. Who wants a CPU to look at its queue says so in the thread that it runs
//! (`PENDING_RESCHED`) if that is this CPU, where a held lock keeps the thread in its place; else in that CPU's
//! `need_resched`, and interrupts it.
//!
//! # Contexts
//! [`unpark`]: any up to Sched, with no run queue locked. [`park`], [`yield_now`], [`exit`]: threads, with spl open. IRQ is masked around a switch.
//!
//! # Lock order
//! At most one run-queue lock at a time, the last of Sched; nothing is taken inside it, and nothing logs.
//!
//! # Rejected
//! Migrating a thread by taking two queues' locks in order: moving it while it belongs to no queue, with its CPU
//! number as the hand-over, needs one.
mod borrow;
mod place;

use super::runq::{RunQueue, Slot};
use super::table::{Queue, State, Thread, thread};
use crate::cpu::irq_save;
use crate::cpu::{self, CPUS, CpuSet};
use crate::thread::{IdleCx, Kernel};
use crate::trace::{self, Class, Event};
use crate::{callout, intr, lock_order, softint};
pub use borrow::{Returned, lend, relax, serve};
use bsp::context::Context;
use bsp::cpu::{index, irq_enable, irq_masked, irq_restore};
use bsp::timer::now_ns;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub use place::{Seen, offer, priority_changed, seen_here, set_affinity, set_online, with_saved};
use place::{allowed_here, place, steal};
use sync::domain::{Cx, Interrupt, MaySleep, MayWake, Sched as SchedDomain};
use sync::kmutex::{KMutex, KMutexGuard};
use sync::spl::{PENDING_EAGER, PENDING_INTERRUPT, PENDING_RESCHED, PENDING_SOFT};

/// How long a thread runs before an equal gets its turn.
pub const SLICE_NS: u64 = 10_000_000;

static QUEUES: [KMutex<Queue, lock_order::RunQueue>; CPUS] = {
    const fn queue(cpu: usize) -> KMutex<Queue, lock_order::RunQueue> {
        let waiting = RunQueue::new();
        KMutex::new(Queue {
            cpu,
            waiting,
            online: false,
            current_priority: 0,
            leaving: None,
            turn: 0,
        })
    }
    [queue(0), queue(1), queue(2), queue(3)]
};

/// Length of each queue, a hint for the placement of threads.
static WAITING: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];

type QueueGuard = KMutexGuard<'static, Queue, lock_order::RunQueue, Interrupt<SchedDomain>>;

/// Why a thread gives up its CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Something better may wait, or its slice is over.
    Preempted,
    /// It lets its equals go first.
    Yields,
    /// It waits to be unparked.
    Parks,
    /// It ends.
    Exits,
    /// It is an interrupt thread, and done.
    StandsBy,
}

/// The thread that executes this.
#[inline(always)]
pub fn current() -> &'static Thread {
    // SAFETY: an entry of the static thread table, from a CPU's first instruction of Rust on.
    unsafe { &*(bsp::cpu::local() as *const Thread) }
}

/// The scheduler's own token: it lies below the tokens, since the locks call it without. Those of its callers are checked
/// at its door, and in here this one serves.
fn token() -> &'static mut Cx<'static, Interrupt<SchedDomain>> {
    // SAFETY: a token has no size, so any address holds one; it says Sched at most and no run queue locked, which is what
    // every function of this file asks of its callers.
    unsafe { NonNull::dangling().as_mut() }
}

/// Locks the queue of `cpu`.
#[inline]
fn lock(cpu: usize) -> QueueGuard {
    QUEUES[cpu].enter(token()).0
}

/// The locked queue that guards `t`.
#[inline]
pub(super) fn lock_queue_of(t: &Thread) -> QueueGuard {
    let queue = lock(t.cpu());
    if t.cpu() == queue.cpu {
        return queue;
    }
    drop(queue);
    lock_queue_of_moving(t)
}

/// As above, of one that goes from queue to queue.
#[cold]
#[inline(never)]
fn lock_queue_of_moving(t: &Thread) -> QueueGuard {
    loop {
        let queue = lock(t.cpu());
        if t.cpu() == queue.cpu {
            return queue;
        }
    }
}

/// Number of threads that wait for CPU `cpu`.
pub fn waiting(cpu: usize) -> usize {
    WAITING[cpu].load(Ordering::Relaxed)
}

/// Makes the boot context, which runs as the idle thread of this CPU, known as that. Once each time the CPU starts,
/// interrupts masked.
pub fn become_idle() {
    let cpu = index();
    let me = current();
    let mut queue = lock(cpu);
    me.cpu.store(cpu as u8, Ordering::Release);
    me.running.store(true, Ordering::Relaxed);
    let sched = me.sched(&queue);
    sched.state.set(State::Running);
    sched.affinity.set(CpuSet::only(cpu));
    // The time before, when the CPU was off, was not busy either.
    let now = now_ns();
    me.run_ns.fetch_add(
        now.saturating_sub(sched.since_ns.replace(now)),
        Ordering::Relaxed,
    );
    queue.current_priority = 0;
}

/// Prepares a free slot's thread to start in `entry(argument)`; it runs once [`unpark`]ed.
pub(super) fn prepare<K: MayWake>(
    cx: &mut Cx<K>,
    t: &'static Thread,
    priority: u8,
    affinity: CpuSet,
    entry: usize,
    argument: usize,
) {
    // It starts with the run queue left to it.
    t.sync.reset::<SchedDomain, Kernel, K>(cx, priority);
    let queue = lock_queue_of(t);
    let sched = t.sched(&queue);
    sched.affinity.set(affinity);
    sched.permit.set(false);
    sched.queued.set(None);
    sched.state.set(State::Blocked);
    sched.since_ns.set(now_ns());
    sched.slice_ns.set(SLICE_NS);
    let context = Context::starting(t.stack().end, entry, argument);
    // SAFETY: the thread is not running, and the queue is locked.
    unsafe { *t.context.get() = context };
}

#[unsafe(no_mangle)]
extern "C" fn kernel_thread(entry: extern "C" fn(usize) -> !, argument: usize) -> ! {
    finish_switch();
    irq_enable();
    look();
    entry(argument)
}

/// Gives up the CPU. IRQ is masked by the caller, spl open.
fn switch_away(mut why: Why) {
    let me = current();
    let cpu = index();
    let now = now_ns(); // before the queue is locked: in an emulator a clock takes its time
    let mut queue = lock(cpu);
    if let Some(from) = me.loan.from.get() {
        return borrow::give_back(queue, me, from, why);
    }
    let sched = me.sched(&queue);
    let this = cpu::cpu(cpu);
    // ORDERING: looked at and cleared under the queue's lock; whoever sets it has queued its thread under that lock
    // before, or wants the timer to be looked at, and interrupts this CPU.
    let wanted = this.need_resched.load(Ordering::Relaxed)
        || me.sync.pending.load(Ordering::Relaxed) & PENDING_RESCHED != 0;
    if why == Why::Parks && sched.permit.take() {
        if !wanted {
            return;
        }
        why = Why::Preempted;
    }
    if wanted {
        this.need_resched.store(false, Ordering::Relaxed);
        me.sync
            .pending
            .fetch_and(!PENDING_RESCHED, Ordering::Relaxed);
    }

    let ran_ns = now.saturating_sub(sched.since_ns.get());
    let slice_left_ns = sched.slice_ns.get().saturating_sub(ran_ns);
    sched.slice_ns.set(SLICE_NS);
    match why {
        Why::Parks => sched.state.set(State::Blocked),
        Why::Exits => {
            sched.state.set(State::Free);
            queue.leaving = Some(me);
        }
        Why::StandsBy => {
            sched.state.set(State::Standby);
            queue.leaving = Some(me);
        }
        Why::Preempted | Why::Yields if me.is_idle() => sched.state.set(State::Runnable),
        Why::Preempted | Why::Yields => {
            let priority = me.sync.priority();
            let stays = queue.online && allowed_here(sched.affinity.get(), cpu);
            let best = queue.waiting.best();
            let gives_turn = slice_left_ns == 0 || why == Why::Yields;
            let equal_turn = gives_turn && best >= Some(priority);
            if stays && !equal_turn && best <= Some(priority) {
                sched.slice_ns.set(slice_left_ns + ran_ns);
                arm_slice(&queue, me);
                return; // nobody better, no turn to give
            }
            sched.state.set(State::Runnable);
            if !stays {
                queue.leaving = Some(me);
            } else {
                sched.queued.set(Some(priority));
                if equal_turn {
                    queue.waiting.push_back(me.slot(), priority);
                } else {
                    sched.slice_ns.set(slice_left_ns);
                    queue.waiting.push_front(me.slot(), priority);
                }
            }
        }
    }

    let next = match queue.waiting.pop() {
        Some(slot) => thread(slot),
        None => thread(cpu as Slot),
    };
    note_length(&queue);
    add(&me.run_ns, ran_ns);
    let interrupts = this.new_interrupts_ticks();
    if interrupts != 0 {
        add(&me.loans_ticks, interrupts.wrapping_neg());
        this.note_interrupts();
    }
    let sched = next.sched(&queue);
    sched.queued.set(None);
    sched.state.set(State::Running);
    sched.since_ns.set(now);
    add(&next.switches, 1);
    trace::event(Class::Sched, || Event::Switch { to: next.id() });
    arm_slice(&queue, next);
    queue.current_priority = next.sync.priority();
    if core::ptr::eq(next, me) {
        return;
    }
    if me.sync.pending.load(Ordering::Relaxed) & PENDING_SOFT != 0 {
        me.sync.pending.fetch_and(!PENDING_SOFT, Ordering::Relaxed);
        next.sync.pending.fetch_or(PENDING_SOFT, Ordering::Relaxed);
    }
    me.running.store(false, Ordering::Relaxed);
    next.running.store(true, Ordering::Relaxed);
    // SAFETY: the lock spins, and `next` is what this CPU runs next: its `finish_switch` leaves the lock. Both contexts
    // belong to threads whose queue is locked by this CPU: nobody else touches them.
    unsafe {
        queue.leave_to(&next.sync);
        bsp::cpu::set_local(&raw const *next as usize);
        bsp::context::switch(me.context.get(), next.context.get());
    }
    // Who stood by runs again on a loan, whose lender has no queue locked.
    if why != Why::StandsBy {
        finish_switch();
    }
}

/// Adds, modulo 2^64, to a statistic of a thread that is guarded by its queue.
fn add(statistic: &AtomicU64, by: u64) {
    let sum = statistic.load(Ordering::Relaxed).wrapping_add(by);
    statistic.store(sum, Ordering::Relaxed);
}

/// The first thing that a thread does when it gets a CPU: leaves the queue that its predecessor locked, and sees to
/// a predecessor that does not stay, now that its registers are saved.
#[inline(always)]
fn finish_switch() {
    let cpu = index(); // not the CPU that this thread left: it may have moved
    // SAFETY: the predecessor left this CPU's queue to this thread, whose own hold dates from when it was locked last, or
    // from `prepare`.
    let leaving = unsafe {
        let leaving = QUEUES[cpu].assume_held().leaving.take();
        QUEUES[cpu].exit_left();
        leaving
    };
    if let Some(t) = leaving {
        send_off(t);
    }
}

#[inline(never)]
fn send_off(t: &'static Thread) {
    let queue = lock_queue_of(t);
    match t.sched(&queue).state.get() {
        State::Free => {
            drop(queue);
            super::free_slot(t);
        }
        State::Standby => {
            drop(queue);
            intr::completed(t);
        }
        _ => place(queue, t),
    }
}

/// Sets the end of the slice of `running`, which has this CPU, if an equal waits in its `queue`; the timer ends it.
#[inline]
fn arm_slice(queue: &Queue, running: &Thread) {
    let sched = running.sched(queue);
    let equal_waits = queue.waiting.best() == Some(running.sync.priority());
    let end_ns = if equal_waits {
        sched.since_ns.get() + sched.slice_ns.get()
    } else {
        u64::MAX
    };
    let this = cpu::cpu(queue.cpu);
    this.slice_end_ns.store(end_ns, Ordering::Relaxed);
    callout::bring_forward(this, end_ns);
}

/// Publishes how many wait, after each change.
fn note_length(queue: &Queue) {
    WAITING[queue.cpu].store(queue.waiting.len(), Ordering::Relaxed);
}

/// Lets a parked thread go on; if it is not parked, its next [`park`] returns at once.
pub fn unpark<K: MayWake>(_cx: &mut Cx<K>, t: &'static Thread) {
    let queue = lock_queue_of(t);
    let sched = t.sched(&queue);
    match sched.state.get() {
        State::Blocked => {
            sched.state.set(State::Runnable);
            trace::event(Class::Sched, || Event::Wake { thread: t.id() });
            place(queue, t);
        }
        State::Free => {}
        State::Runnable | State::Running | State::Standby => sched.permit.set(true),
    }
}

/// Waits until the current thread is unparked, or `deadline_ns` passes; may also return for no reason. Threads only.
pub fn park<K: MaySleep>(_cx: &mut Cx<K>, deadline_ns: Option<u64>) {
    let me = current();
    assert_may_sleep(me);
    let timeout = deadline_ns.map(|at| {
        me.timed_out.store(false, Ordering::Relaxed);
        callout::schedule(token(), at, time_out, me.slot().into())
    });
    switch_now(Why::Parks);
    // ORDERING: Relaxed: who was woken by it comes from the queue's lock. One of an earlier park may come late, and have
    // this one's callout stay: it then wakes for no reason, as anybody may.
    if let Some(callout) = timeout
        && !me.timed_out.load(Ordering::Relaxed)
    {
        callout::cancel(token(), callout);
    }
}

fn time_out(cx: &mut Cx<Interrupt<SchedDomain>>, slot: usize) {
    let t = thread(slot as Slot);
    t.timed_out.store(true, Ordering::Relaxed);
    unpark(cx, t);
}

/// What the tokens say, looked at once more where somebody else's trait had none.
pub(super) fn assert_may_sleep(me: &Thread) {
    assert!(
        me.sync.may_sleep() && !me.in_interrupt() && !irq_masked(),
        "sleep with an interrupt-safe lock held, in an interrupt handler, or with IRQ masked"
    );
}

/// Lets equals run first.
pub fn yield_now<K: MaySleep>(_cx: &mut Cx<K>) {
    assert_may_sleep(current());
    switch_now(Why::Yields);
}

/// Ends the current thread, which holds nothing.
pub fn exit() -> ! {
    switch_now(Why::Exits);
    unreachable!("a thread ran after its end")
}

fn switch_now(why: Why) {
    let daif = irq_save();
    switch_away(why);
    irq_restore(daif);
    look();
}

/// Acts on what came up while IRQ was masked.
fn look() {
    if current().sync.pending.load(Ordering::Relaxed) != 0 {
        run_pending();
    }
}

/// What spl held off, as it drops: first the interrupts that are no longer masked, then the soft ones, then, if
/// nothing is held any more, another thread. Any context; in a direct handler, or with IRQ masked, it waits for the end of
/// that.
#[cold]
pub fn run_pending() {
    let me = current();
    if me.in_interrupt() || irq_masked() {
        return;
    }
    let daif = irq_save();
    settle(me);
    irq_restore(daif);
}

/// Runs what waits for `me`, the current thread, as far as it lets it. IRQ masked, no direct handler running.
#[inline]
fn settle(me: &'static Thread) {
    // Looked at anew each time: what runs may schedule a soft interrupt, have a thread woken, or give the CPU back while
    // an interrupt waits that only it held off.
    let pending = |bits| me.sync.pending.load(Ordering::Relaxed) & bits != 0;
    while pending(u32::MAX) {
        if pending(PENDING_INTERRUPT | PENDING_EAGER) {
            intr::run_deferred(me);
        }
        if pending(PENDING_SOFT) && softint::run(me) {
            continue;
        }
        if !(pending(PENDING_RESCHED) && me.sync.mask().is_open()) {
            return;
        }
        switch_away(Why::Preempted);
    }
}

/// Between interrupts of which one follows the other at once: runs the soft interrupts that they left. IRQ masked.
pub fn soft_interrupts_turn(me: &'static Thread) {
    if !me.in_interrupt() && me.sync.pending.load(Ordering::Relaxed) & PENDING_SOFT != 0 {
        softint::run(me);
    }
}

/// At the end of an interrupt: runs what it left to be done, and gives the CPU to a better thread; or has the interrupted
/// one do that as soon as it no longer holds it off. IRQ masked.
pub fn interrupt_exit(me: &'static Thread) {
    let this = cpu::this();
    let slice_end_ns = this.slice_end_ns.load(Ordering::Relaxed);
    // ORDERING: pairs with the Release in `kick`.
    let wanted = this.need_resched.load(Ordering::Acquire);
    if wanted || slice_end_ns != u64::MAX && slice_end_ns <= now_ns() {
        me.sync.pending.fetch_or(PENDING_RESCHED, Ordering::Relaxed);
    }
    if !me.in_interrupt() {
        settle(me);
    } else if me.sync.pending.load(Ordering::Relaxed) & (PENDING_INTERRUPT | PENDING_EAGER) != 0 {
        intr::run_deferred(me);
    }
}

/// The idle thread of this CPU: runs others, takes work from others, or sleeps; `leave` is called, IRQ masked, when
/// the CPU is to go off.
pub fn idle_loop(mut cx: IdleCx, leave: fn(&mut IdleCx)) -> ! {
    loop {
        let daif = irq_save();
        let me = current();
        settle(me); // what came with the CPU from whom it ran before
        let (online, work) = {
            let queue = lock(index());
            (queue.online, !queue.waiting.is_empty())
        };
        if !online {
            leave(&mut cx);
        } else if work || steal() {
            switch_away(Why::Yields);
        } else if me.sync.pending.load(Ordering::Relaxed) & !PENDING_EAGER == 0 {
            intr::set_idle(true);
            bsp::cpu::wait_for_interrupt();
            intr::set_idle(false);
        }
        irq_restore(daif);
    }
}
