// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scheduler: preemptive, fixed priority, round robin among equals, one run queue per CPU.
//!
//! # Theory
//! A CPU runs the best thread of its own queue. A thread that becomes runnable is placed on its last CPU if it can run
//! there at once, else on an idle one, else where the fewest wait; a CPU that goes idle takes a waiting thread from
//! another. A tick exists only while equals compete: the slice of 10 ms is armed when there is someone to take turns with.
//! A thread that is preempted keeps its place and what is left of its slice, so being preempted often does not make it
//! keep the CPU from its equals.
//!
//! The run-queue lock is held across the context switch and released by whoever runs next, on the same CPU. So a
//! thread whose state says `Runnable` or `Blocked` has its registers saved by the time anybody else holds the lock.
//!
//! # Contexts
//! [`unpark`], [`kick`]: any. [`park`], [`yield_now`], [`exit`]: threads only, with interrupts on.
//!
//! # Lock order
//! At most one run-queue lock at a time; nothing is taken inside it, and nothing logs.
//!
//! # Rejected
//! Migrating a thread by taking two queues' locks in order: moving it while it belongs to no queue, with its CPU
//! number as the hand-over, needs one.
use super::runq::{RunQueue, Slot};
use super::table::{Context, Queue, Sched, State, Thread, thread};
use crate::cpu::{self, CPUS, CpuSet};
use crate::lock::{SpinGuard, SpinLock};
use crate::{callout, intr};
use bsp::cpu::{index, irq_enable, irq_restore, irq_save};
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How long a thread runs before an equal gets its turn.
pub const SLICE_NS: u64 = 10_000_000;

static QUEUES: [SpinLock<Queue>; CPUS] = {
    const fn queue(cpu: usize) -> SpinLock<Queue> {
        let waiting = RunQueue::new();
        SpinLock::new(Queue {
            cpu,
            waiting,
            online: false,
            current_priority: 0,
            leaving: None,
        })
    }
    [queue(0), queue(1), queue(2), queue(3)]
};

/// Length of each queue, a hint for the placement of threads.
static WAITING: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];

unsafe extern "C" {
    fn switch_context(from: *mut Context, to: *const Context);
    fn thread_trampoline();
}

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
}

/// The thread that executes this.
#[inline]
pub fn current() -> &'static Thread {
    let pointer = bsp::cpu::local() as *const Thread;
    // SAFETY: set to an entry of the static thread table by `become_idle` and by every switch.
    unsafe { pointer.as_ref() }.expect("no current thread before become_idle")
}

/// The locked queue that guards `t`.
pub(super) fn lock_queue_of(t: &Thread) -> SpinGuard<'static, Queue> {
    loop {
        let cpu = t.cpu();
        let queue = QUEUES[cpu].lock();
        if t.cpu() == cpu {
            return queue;
        }
    }
}

/// The locked queue of CPU `cpu`, for display.
pub fn lock_queue(cpu: usize) -> SpinGuard<'static, Queue> {
    QUEUES[cpu].lock()
}

/// Makes the boot context the idle thread of this CPU. Once each time the CPU starts, interrupts masked.
pub fn become_idle() {
    let cpu = index();
    let me = thread(cpu as Slot);
    {
        let mut queue = QUEUES[cpu].lock();
        me.cpu.store(cpu as u8, Ordering::Release);
        let sched = me.sched(&queue);
        sched.state.set(State::Running);
        sched.affinity.set(CpuSet::only(cpu));
        sched.priority.set(0);
        // The time before, when the CPU was off, was not busy either.
        let now = now_ns();
        me.run_ns.fetch_add(
            now.saturating_sub(sched.since_ns.replace(now)),
            Ordering::Relaxed,
        );
        queue.current_priority = 0;
    }
    bsp::cpu::set_local(&raw const *me as usize);
}

/// Lets this CPU take threads, or no more (then the idle thread alone runs, and what waits goes elsewhere).
pub fn set_online(cpu: usize, online: bool) {
    let mut homeless = heapless::Vec::<&'static Thread, { super::MAX_THREADS }>::new();
    {
        let mut queue = QUEUES[cpu].lock();
        queue.online = online;
        cpu::cpu(cpu).set_state(if online {
            cpu::CpuState::Online
        } else {
            cpu::CpuState::Parked
        });
        while !online && let Some(slot) = queue.waiting.pop() {
            thread(slot).sched(&queue).queued.set(false);
            let _ = homeless.push(thread(slot));
        }
        note_length(&queue);
    }
    for t in homeless {
        place(lock_queue_of(t), t);
    }
    if !online {
        kick(cpu);
    }
}

/// Prepares a free slot's thread to start in `entry(argument)`; it runs once [`unpark`]ed.
pub(super) fn prepare(
    t: &'static Thread,
    priority: u8,
    affinity: CpuSet,
    entry: usize,
    argument: usize,
) {
    let queue = lock_queue_of(t);
    let sched = t.sched(&queue);
    sched.priority.set(priority);
    sched.affinity.set(affinity);
    sched.permit.set(false);
    sched.queued.set(false);
    sched.state.set(State::Blocked);
    sched.since_ns.set(now_ns());
    sched.slice_ns.set(SLICE_NS);
    let mut context = Context {
        x19_28: [0; 10],
        fp_lr_sp: [0; 3],
    };
    context.x19_28[0] = entry as u64;
    context.x19_28[1] = argument as u64;
    context.fp_lr_sp = [
        0,
        thread_trampoline as *const () as u64,
        t.stack().end as u64,
    ];
    // SAFETY: the thread is not running, and the queue is locked.
    unsafe { *t.context.get() = context };
}

#[unsafe(no_mangle)]
extern "C" fn thread_start(entry: extern "C" fn(usize) -> !, argument: usize) -> ! {
    finish_switch();
    irq_enable();
    entry(argument)
}

/// Gives up the CPU. Interrupts are masked by the caller.
fn switch_away(why: Why) {
    let me = current();
    let mut queue = QUEUES[index()].lock();
    let sched = me.sched(&queue);
    let now = now_ns();
    let this = cpu::this();
    if why == Why::Parks && sched.permit.take() {
        return; // before the queue is looked at: a wish to reschedule stays
    }
    // ORDERING: cleared under the queue's lock; whoever sets it has queued its thread under that lock before.
    this.need_resched.store(false, Ordering::Relaxed);

    let ran_ns = now.saturating_sub(sched.since_ns.get());
    let slice_left_ns = sched.slice_ns.get().saturating_sub(ran_ns);
    sched.slice_ns.set(SLICE_NS);
    match why {
        Why::Parks => sched.state.set(State::Blocked),
        Why::Exits => {
            sched.state.set(State::Free);
            queue.leaving = Some(me);
        }
        Why::Preempted | Why::Yields if me.is_idle() => sched.state.set(State::Runnable),
        Why::Preempted | Why::Yields => {
            let priority = sched.priority.get();
            let stays = queue.online && allowed_here(sched.affinity.get(), queue.cpu);
            let wanted = queue.waiting.best();
            let gives_turn = slice_left_ns == 0 || why == Why::Yields;
            let equal_turn = gives_turn && wanted >= Some(priority);
            if stays && !equal_turn && wanted <= Some(priority) {
                sched.slice_ns.set(slice_left_ns + ran_ns);
                arm_slice(&queue, sched);
                return; // nobody better, no turn to give
            }
            sched.state.set(State::Runnable);
            if !stays {
                queue.leaving = Some(me);
            } else {
                sched.queued.set(true);
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
        None => thread(queue.cpu as Slot),
    };
    note_length(&queue);
    me.run_ns.fetch_add(ran_ns, Ordering::Relaxed);
    let sched = next.sched(&queue);
    sched.queued.set(false);
    sched.state.set(State::Running);
    sched.since_ns.set(now);
    next.switches.fetch_add(1, Ordering::Relaxed);
    arm_slice(&queue, sched);
    queue.current_priority = sched.priority.get();
    if core::ptr::eq(next, me) {
        return;
    }
    queue.leak(); // finish_switch, in the next thread, unlocks
    bsp::cpu::set_local(&raw const *next as usize);
    // SAFETY: both contexts belong to threads whose queue is locked by this CPU: nobody else touches them.
    unsafe { switch_context(me.context.get(), next.context.get()) };
    finish_switch();
}

/// The first thing that a thread does when it gets a CPU: unlocks the queue that its predecessor locked, and sends
/// a predecessor that may not stay to where it may.
fn finish_switch() {
    let cpu = index(); // not the CPU that this thread left: it may have moved
    // SAFETY: the predecessor leaked this CPU's queue lock, and the lock is this CPU's to use.
    let leaving = unsafe {
        let leaving = QUEUES[cpu].assume_held().leaving.take();
        QUEUES[cpu].force_unlock();
        leaving
    };
    if let Some(t) = leaving {
        let queue = lock_queue_of(t);
        if t.sched(&queue).state.get() == State::Free {
            drop(queue);
            super::free_slot(t);
        } else {
            place(queue, t);
        }
    }
}

fn allowed_here(affinity: CpuSet, cpu: usize) -> bool {
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

/// Sets the end of the slice of the thread that has this CPU, if an equal waits; the timer ends it.
fn arm_slice(queue: &Queue, running: &Sched) {
    let equal_waits = queue.waiting.best() == Some(running.priority.get());
    let end_ns = if equal_waits {
        running.since_ns.get() + running.slice_ns.get()
    } else {
        u64::MAX
    };
    cpu::this().slice_end_ns.store(end_ns, Ordering::Relaxed);
    callout::program_timer();
}

/// Publishes how many wait, after each change.
fn note_length(queue: &Queue) {
    WAITING[queue.cpu].store(queue.waiting.len(), Ordering::Relaxed);
}

/// Queues a runnable thread where it should run and calls that CPU's attention. `queue` guards `t`.
fn place(mut queue: SpinGuard<'static, Queue>, t: &'static Thread) {
    loop {
        let sched = t.sched(&queue);
        if sched.queued.get() || sched.state.get() != State::Runnable {
            return;
        }
        let allowed = candidates(sched.affinity.get());
        let last = queue.cpu;
        let preempts = queue.current_priority < sched.priority.get();
        let target = if allowed.contains(last) && (preempts || intr::is_idle(last)) {
            last
        } else {
            // Of several as good, where its cache lines are.
            let cost = |cpu: &usize| {
                (
                    !intr::is_idle(*cpu),
                    WAITING[*cpu].load(Ordering::Relaxed),
                    *cpu != last,
                )
            };
            allowed.iter().min_by_key(cost).unwrap_or(0)
        };
        if target != last {
            t.cpu.store(target as u8, Ordering::Release);
            drop(queue);
            queue = lock_queue_of(t);
        }
        let still_allowed = candidates(t.sched(&queue).affinity.get()).contains(target);
        if queue.cpu == target && queue.online && still_allowed {
            break;
        }
    }
    let priority = t.sched(&queue).priority.get();
    t.sched(&queue).queued.set(true);
    queue.waiting.push_back(t.slot(), priority);
    note_length(&queue);
    if priority >= queue.current_priority {
        let cpu = queue.cpu;
        drop(queue);
        kick(cpu);
    }
}

/// Makes CPU `cpu` look at its queue soon.
pub fn kick(cpu: usize) {
    let daif = irq_save();
    let target = cpu::cpu(cpu);
    // ORDERING: pairs with the Acquire in `interrupt_exit`; the queue itself is under its lock.
    target.need_resched.store(true, Ordering::Release);
    let here = cpu == index();
    if !(here && target.in_interrupt.load(Ordering::Relaxed)) {
        intr::send(intr::Ipi::Resched, CpuSet::only(cpu));
    }
    irq_restore(daif);
}

/// Lets a parked thread go on; if it is not parked, its next [`park`] returns at once. Any context.
pub fn unpark(t: &'static Thread) {
    let queue = lock_queue_of(t);
    let sched = t.sched(&queue);
    match sched.state.get() {
        State::Blocked => {
            sched.state.set(State::Runnable);
            sched.since_ns.set(now_ns());
            place(queue, t);
        }
        State::Free => {}
        State::Runnable | State::Running => sched.permit.set(true),
    }
}

/// Waits until the current thread is unparked, or `deadline_ns` passes; may also return for no reason. Threads only.
pub fn park(deadline_ns: Option<u64>) {
    assert!(
        !bsp::cpu::irq_masked(),
        "park with interrupts masked: a spin lock is held"
    );
    let timeout = deadline_ns.map(|at| {
        callout::schedule(
            at,
            |slot| unpark(thread(slot as Slot)),
            current().slot().into(),
        )
    });
    switch_now(Why::Parks);
    if let Some(id) = timeout {
        callout::cancel(id);
    }
}

/// Lets equals run first. Threads only.
pub fn yield_now() {
    switch_now(Why::Yields);
}

/// Ends the current thread.
pub fn exit() -> ! {
    switch_now(Why::Exits);
    unreachable!("a thread ran after its end")
}

fn switch_now(why: Why) {
    let daif = irq_save();
    switch_away(why);
    irq_restore(daif);
}

/// At the end of the outermost interrupt handler: gives the CPU to a better thread. Interrupts masked.
pub fn interrupt_exit() {
    let this = cpu::this();
    let slice_over = this.slice_end_ns.load(Ordering::Relaxed) <= now_ns();
    if this.need_resched.load(Ordering::Acquire) || slice_over {
        switch_away(Why::Preempted);
    }
}

/// Changes where `t` may run; it moves if it must: the current thread before this returns, another one soon. Threads only.
pub fn set_affinity(t: &'static Thread, affinity: CpuSet) {
    let mut queue = lock_queue_of(t);
    let cpu = queue.cpu;
    let sched = t.sched(&queue);
    sched.affinity.set(affinity);
    let (queued, priority, running) = (
        sched.queued.get(),
        sched.priority.get(),
        sched.state.get() == State::Running,
    );
    if allowed_here(affinity, cpu) {
        return;
    }
    if queued {
        sched.queued.set(false);
        queue.waiting.remove(t.slot(), priority);
        note_length(&queue);
        place(queue, t);
    } else if running {
        drop(queue);
        if core::ptr::eq(t, current()) {
            yield_now();
        } else {
            kick(cpu);
        }
    }
}

/// Takes a waiting thread from another CPU, for this one, which is idle. True if there is something to run.
fn steal() -> bool {
    let me = index();
    for victim in (0..CPUS).filter(|cpu| *cpu != me) {
        let Some(mut queue) = QUEUES[victim].try_lock() else {
            continue;
        };
        let slot = queue
            .waiting
            .iter()
            .find(|slot| thread(*slot).sched(&queue).affinity.get().contains(me));
        if let Some(t) = slot.map(thread) {
            let priority = t.sched(&queue).priority.get();
            queue.waiting.remove(t.slot(), priority);
            note_length(&queue);
            t.sched(&queue).queued.set(false);
            t.cpu.store(me as u8, Ordering::Release);
            drop(queue);
            place(lock_queue_of(t), t);
            return true;
        }
    }
    false
}

/// The idle thread of this CPU: runs others, takes work from others, or sleeps; `leave` is called, interrupts
/// masked, when the CPU is to go off.
pub fn idle_loop(leave: fn()) -> ! {
    loop {
        let daif = irq_save();
        let (online, work) = {
            let queue = QUEUES[index()].lock();
            (queue.online, !queue.waiting.is_empty())
        };
        if !online {
            leave();
        } else if work || steal() {
            switch_away(Why::Yields);
        } else {
            intr::set_idle(true);
            bsp::cpu::wait_for_interrupt();
            intr::set_idle(false);
        }
        irq_restore(daif);
    }
}
