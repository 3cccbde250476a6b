// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt threads: they borrow the CPU of whom they interrupt, and are threads like others only while they wait.
//!
//! # Theory
//! A handler that may have to wait runs on a thread of its own. With nothing to do that thread *stands by*: it is in no run
//! queue, and its registers rest in [`stand_by`]. Its interrupt switches to it and back, and that is all ([`lend`]): no queue
//! is locked, no priority compared, and to the scheduler it is still the interrupted thread that runs.
//!
//! A loan comes with what the lender holds off: the borrower's spl word starts as the lender's, plus the holds of its
//! own interrupt, plus one that masks nothing and keeps it from being preempted. spl words are sums of counts, so
//! giving back is subtracting the loan, whatever the borrower holds itself by then.
//!
//! If it blocks, the CPU goes back to the lender ([`give_back`]), and from then on it is a thread of a priority above
//! all that are not interrupts. As it stands on nobody's stack but its own, nobody waits for it who does not want what
//! it holds; and whoever owns what it waits for inherits its priority.
//!
//! If it spins it gives the CPU back too, and waits in the run queue ([`relax`]). It must: two interrupts on two CPUs, each
//! on top of a holder of what the other spins for, would wait for ever. The lender may hold spl, and then keeps its CPU
//! until it drops it; should it come to spin meanwhile, perhaps for what the borrower holds, it lends its CPU once more
//! ([`lend_again`]). So of all that wait on a CPU each has its turn, and who can go on does.
//!
//! # Contexts
//! On the CPU that it concerns, IRQ masked, but for [`relax`].
//!
//! # Lock order
//! [`give_back`] and [`lend_again`] pass on the run queue that they locked, as every switch does.
//!
//! # Rejected
//! Handlers that need locks on the interrupted thread's stack, with the other domains deferred while a device's mutex is
//! held: nothing to switch, but a disk handler then waits for a network driver's critical section.
//!
//! References: Kleiman, Eykholt, Interrupts as Threads, 1995; NetBSD kern_softint.c.
use super::super::table::{State, Thread, thread};
use super::{
    QueueGuard, Why, current, finish_switch, lock, lock_queue_of, note_length, switch_away,
};
use crate::cpu::irq_save;
use crate::cpu::{self, CpuSet};
use crate::intr;
use crate::thread::ThreadCx;
use crate::trace::{self, Class, Event};
use bsp::context::Context;
use bsp::cpu::{index, irq_masked, irq_restore};
use bsp::timer::ticks;
use core::sync::atomic::Ordering;
use sync::domain::Sched;
use sync::ipl::Ipl;
use sync::spl::{Mask, PENDING_EAGER, PENDING_RESCHED};

/// How a loan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The interrupt thread stands by again.
    Done,
    /// It waits, or has ended.
    Waits,
}

/// Lends the CPU of `me`, the current thread, to `t`, which stands by, for an interrupt of `class`.
pub fn lend(me: &'static Thread, t: &'static Thread, class: Ipl) -> Returned {
    let cpu = index();
    if t.cpu() != cpu {
        // Its interrupt goes elsewhere now. It stands by: nobody runs it, or places it.
        let queue = lock_queue_of(t);
        t.sched(&queue).affinity.set(CpuSet::only(cpu));
        t.cpu.store(cpu as u8, Ordering::Release);
    }
    t.sync.set_holds(Mask::OPEN);
    t.sync.borrow(me.sync.mask(), class);
    switch_to(me, t)
}

/// Switches to `t`, which has the loan, and comes back when it returns it.
fn switch_to(me: &'static Thread, t: &'static Thread) -> Returned {
    let this = cpu::this();
    let loan = this.interrupted(ticks());
    trace::event(Class::Sched, || Event::Lend { to: t.id() });
    t.loan.from.set(Some(me));
    me.running.store(false, Ordering::Relaxed);
    t.running.store(true, Ordering::Relaxed);
    // SAFETY: `t` stands by, or was just taken from this CPU's queue: its registers are saved, and nobody else runs it.
    unsafe { switch_context_to(t, me.context.get()) };
    me.running.store(true, Ordering::Relaxed);
    // Before another CPU may run it.
    trace::event(Class::Sched, || Event::TakeBack { from: t.id() });
    let ran = this.resumed(loan, ticks());
    super::add(&t.loans_ticks, ran);
    if t.serves().is_some_and(|class| class < Ipl::Bio) {
        super::add(&this.softints_ticks, ran);
    }
    if !me.loan.queue_left.replace(false) {
        return Returned::Done;
    }
    finish_switch();
    Returned::Waits
}

/// Makes `to` the current thread.
///
/// # Safety
/// `to`'s registers are saved, and it is what this CPU runs next; the current thread's go to `from`.
unsafe fn switch_context_to(to: &'static Thread, from: *mut Context) {
    bsp::cpu::set_local(&raw const *to as usize);
    // SAFETY: the caller's promise.
    unsafe { bsp::context::switch(from, to.context.get()) };
}

/// The life of an interrupt thread: does `work` for each interrupt, until it says that this was the last.
pub fn serve(cx: &mut ThreadCx, mut work: impl FnMut(&mut ThreadCx) -> bool) {
    loop {
        let daif = irq_save();
        stand_by();
        irq_restore(daif);
        if !work(cx) {
            return;
        }
    }
}

/// Waits for the next interrupt of the current thread.
fn stand_by() {
    let me = current();
    let Some(from) = me.loan.from.take() else {
        return switch_away(Why::StandsBy);
    };
    pass_pending(me, from);
    me.running.store(false, Ordering::Relaxed);
    // SAFETY: the lender's registers are saved since it lent, and it waits for this.
    unsafe { switch_context_to(from, me.context.get()) };
}

/// What came up for `me` while it had the CPU of `from` is for `from`.
fn pass_pending(me: &Thread, from: &Thread) {
    let pending = me.sync.pending.load(Ordering::Relaxed) & !PENDING_EAGER;
    if pending != 0 {
        me.sync.pending.fetch_and(PENDING_EAGER, Ordering::Relaxed);
        from.sync.pending.fetch_or(pending, Ordering::Relaxed);
    }
}

/// Returns the CPU to `from`, whose it is, for the borrower waits or ends. It goes on when the scheduler runs it, or has
/// another loan.
pub(super) fn give_back(
    mut queue: QueueGuard,
    me: &'static Thread,
    from: &'static Thread,
    why: Why,
) {
    let sched = me.sched(&queue);
    match why {
        Why::Parks => {
            if sched.permit.take() {
                return;
            }
            sched.state.set(State::Blocked);
        }
        Why::Exits => {
            sched.state.set(State::Free);
            queue.leaving = Some(me);
        }
        Why::Yields | Why::Preempted | Why::StandsBy => {
            let priority = me.sync.priority();
            sched.state.set(State::Runnable);
            if queue.online {
                sched.queued.set(Some(priority));
                queue.waiting.push_front(me.slot(), priority);
                note_length(&queue);
            } else {
                queue.leaving = Some(me);
            }
            from.sync
                .pending
                .fetch_or(PENDING_RESCHED, Ordering::Relaxed);
        }
    }
    me.loan.from.set(None);
    me.sync.give_back();
    pass_pending(me, from);
    me.running.store(false, Ordering::Relaxed);
    from.loan.queue_left.set(true);
    from.sync.add_holds(Mask::of::<Sched>());
    // SAFETY: the lock spins; `from` runs next on this CPU, and leaves it (`switch_to`). Its registers are saved since it
    // lent, and `me` runs again only from the queue that is locked.
    unsafe {
        queue.leave_to(&from.sync);
        switch_context_to(from, me.context.get());
    }
    finish_switch();
}

/// Once in each turn of a spin loop: lets those have the CPU that may be waited for. Any context.
pub fn relax() {
    bsp::cpu::relax();
    let me = current();
    // What is spun for with Sched held off is held by nobody that waits.
    if me.sync.mask().masks(Ipl::Sched) || me.in_interrupt() || irq_masked() {
        return;
    }
    let daif = irq_save();
    if me.loan.from.get().is_some() {
        switch_away(Why::Yields);
    } else if !me.sync.mask().is_open() && super::waiting(index()) != 0 {
        lend_again(me);
    }
    irq_restore(daif);
    super::look(); // at what the borrower left, or came with the CPU
}

/// Lends the CPU of `me`, which keeps it by spl and spins, to an interrupt thread that waits for it.
fn lend_again(me: &'static Thread) {
    let held = me.sync.mask();
    let mut queue = lock(index());
    // In turn, whatever their priorities: the best may spin for what another of them holds.
    let turn = queue.turn;
    let waiting = queue.waiting.iter();
    let waiting = waiting.filter_map(|slot| Some((thread(slot), thread(slot).serves()?)));
    let next = waiting.min_by_key(|(t, _)| (t.slot() <= turn, t.slot()));
    let Some((t, class)) = next else {
        return;
    };
    queue.turn = t.slot();
    let sched = t.sched(&queue);
    if let Some(priority) = sched.queued.replace(None) {
        queue.waiting.remove(t.slot(), priority);
    }
    note_length(&queue);
    t.sched(&queue).state.set(State::Standby);
    t.sync.borrow(held, class);
    // SAFETY: the lock spins, and `t` runs next on this CPU: it leaves it where it gave the CPU back, or was switched from.
    unsafe { queue.leave_to(&t.sync) };
    let returned = switch_to(me, t);
    me.sync.drop_holds(Mask::of::<Sched>()); // that of the queue, which another has left
    if returned == Returned::Done {
        intr::completed(t);
    }
}
