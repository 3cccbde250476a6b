// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel as the machine under its locks.
use super::{Thread, current, sched, threads};
use crate::trace::{self, Class, Event, Name};
use bsp::timer::now_ns;
use core::sync::atomic::Ordering;
use sync::domain::{Cx, Interrupt, Sched, Thread as ThreadContext};
use sync::ipl::Ipl;
use sync::lockdebug::Report;
use sync::machine::{KThread, LockWait, Machine};
use sync::turnstile::Turnstiles;

/// This kernel, as a [`Machine`].
pub struct Kernel;

static TURNSTILES: Turnstiles = Turnstiles::new();

impl Machine for Kernel {
    #[inline(always)]
    fn current() -> &'static KThread {
        // SAFETY: an entry of the thread table, whose first field this is, from a CPU's first instruction of Rust on.
        unsafe { &*(bsp::cpu::local() as *const KThread) }
    }

    fn park(deadline_ns: Option<u64>) {
        // SAFETY: the caller may sleep, and holds no more than adaptive locks; `sched::park` checks it.
        let mut cx = unsafe { Cx::<ThreadContext>::assume() };
        sched::park(&mut cx, deadline_ns);
    }

    fn unpark(thread: &'static KThread) {
        // SAFETY: any context up to Sched, with no run queue locked: the order of locks has those last.
        let mut cx = unsafe { Cx::<Interrupt<Sched>>::assume() };
        sched::unpark(&mut cx, Thread::of(thread));
    }

    fn is_running(thread: &KThread) -> bool {
        // SAFETY: as in `Thread::of`; the reference goes no further.
        let thread = unsafe { &*(&raw const *thread).cast::<Thread>() };
        thread.running.load(Ordering::Relaxed)
    }

    fn priority_changed(thread: &'static KThread) {
        sched::priority_changed(Thread::of(thread));
    }

    fn for_each_thread(visit: &mut dyn FnMut(&'static KThread)) {
        threads().for_each(|t| visit(&t.sync));
    }

    fn turnstiles() -> &'static Turnstiles {
        &TURNSTILES
    }

    fn now_ns() -> u64 {
        now_ns()
    }

    fn relax() {
        sched::relax();
    }

    fn spl_raised() {
        crate::intr::spl_raised();
    }

    fn run_pending() {
        sched::run_pending();
    }

    fn interrupt() -> Option<Ipl> {
        current().interrupt()
    }

    fn lock_wait(class: &'static str, wait: LockWait) {
        trace::event(Class::Lock, || {
            let class = Name::of(class);
            match wait {
                LockWait::Spins => Event::Spin { class },
                LockWait::Blocks => Event::Block { class },
                LockWait::Ended => Event::EndWait { class },
            }
        });
    }

    fn held_long(class: &'static str, hold_ns: u64) {
        trace::event(Class::Lock, || Event::LongHold {
            class: Name::of(class),
            us: (hold_ns / 1000).try_into().unwrap_or(u32::MAX),
        });
    }

    fn report(_: &Report) {
        crate::findings::note();
    }
}
