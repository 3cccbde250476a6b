// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel threads: making, ending, waiting for them; the scheduler is in `sched.rs`.
//!
//! A thread has a number for people, a stack of 28 KiB above a guard page, a priority from 1 to 31 (its own, or what it
//! inherits through a lock if that is higher) and a set of CPUs that it may run on. There are at most 120 at a time, in a
//! fixed table: creating one fails, it never waits.
//!
//! # Contexts
//! What may sleep takes a token that says so. A thread's function gets its first one.
pub mod runq;

#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod sched;
#[cfg(target_os = "none")]
mod table;

#[cfg(target_os = "none")]
pub use {life::*, machine::Kernel};

#[cfg(target_os = "none")]
mod life {
    pub use super::sched::{
        Returned, Seen, become_idle, current, idle_loop, interrupt_exit, lend, offer, run_pending,
        seen_here, serve, set_affinity, set_online, soft_interrupts_turn, unpark, waiting,
        with_saved, yield_now,
    };
    pub use super::table::{MAX_THREADS, State, Thread, entries, running_on, thread, threads};
    use super::{Kernel, sched, table};
    use crate::cpu::{self, CPUS, CpuSet};
    use crate::lock_order;
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use bsp::start::stacks;
    use bsp::timer::{now_ns, ticks_to_ns};
    use core::fmt;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use embedded_hal::delay::DelayNs;
    use sync::domain::{Before, Cx, Interrupt, MaySleep, MayWake, Sched, Thread as ThreadContext};
    use sync::ipl::Ipl;
    use sync::kcondvar::{KCondvar, Wakeup};
    use sync::kmutex::KMutex;
    use sync::machine::Machine;

    /// The token of an idle thread, which may wake others and never sleep.
    pub type IdleCx = Cx<'static, Interrupt<Sched>>;
    /// The token of a thread that holds no lock.
    pub type ThreadCx<'a> = Cx<'a, ThreadContext>;

    /// Priority of the shell and of other threads that serve people.
    pub const PRIORITY_NORMAL: u8 = 8;
    /// Priority of threads that keep the machine going (the log's).
    pub const PRIORITY_SYSTEM: u8 = 20;

    /// What an interrupt thread has when it waits, less its class: more than all others, and in the order of classes.
    const PRIORITY_INTERRUPT: u8 = 22;

    /// Times that threads got a CPU whose slots others have.
    static ENDED_SWITCHES: AtomicU64 = AtomicU64::new(0);
    static NEXT_ID: AtomicU32 = AtomicU32::new(CPUS as u32 + 1);

    /// All 120 thread slots are taken.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TooManyThreads;

    impl fmt::Display for TooManyThreads {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(
                f,
                "no free thread slot (limit {})",
                stacks::SLOTS - stacks::FIRST_FREE
            )
        }
    }

    /// Whether a thread has ended, for those who wait for that.
    struct End {
        ended: KMutex<bool, lock_order::Join>,
        changed: KCondvar<Kernel>,
    }

    /// A started thread, to be waited for.
    pub struct JoinHandle {
        /// The thread; its slot may be another's once it has ended.
        pub thread: &'static Thread,
        /// Its number.
        pub id: u32,
        end: Arc<End>,
    }

    impl JoinHandle {
        /// Waits until the thread has ended.
        pub fn join<K: Before<lock_order::Join> + MaySleep>(&self, cx: &mut Cx<K>) {
            let (mut ended, mut cx) = self.end.ended.enter(cx);
            while !*ended {
                self.end.changed.wait(&mut ended, &mut cx);
            }
        }

        /// Waits until the thread has ended or `deadline_ns` has passed; true if it ended.
        pub fn join_until<K: Before<lock_order::Join> + MaySleep>(
            self,
            cx: &mut Cx<K>,
            deadline_ns: u64,
        ) -> bool {
            let (mut ended, mut cx) = self.end.ended.enter(cx);
            while !*ended
                && self
                    .end
                    .changed
                    .timed_wait(&mut ended, &mut cx, deadline_ns)
                    != Wakeup::TimedOut
            {}
            *ended
        }
    }

    struct Start {
        function: Box<dyn FnOnce(&mut ThreadCx) + Send>,
        end: Arc<End>,
    }

    extern "C" fn run(start: usize) -> ! {
        // SAFETY: `spawn` leaked this box for this thread alone.
        let Start { function, end } = *unsafe { Box::from_raw(start as *mut Start) };
        // SAFETY: the first code of a thread.
        let mut cx = unsafe { Cx::assume() };
        function(&mut cx);
        *end.ended.enter(&mut cx).0 = true;
        end.changed.broadcast(&mut cx);
        drop(end);
        sched::exit()
    }

    /// Starts a thread. It may run before this returns.
    pub fn spawn<K: MayWake>(
        cx: &mut Cx<K>,
        name: &str,
        priority: u8,
        affinity: CpuSet,
        function: impl FnOnce(&mut ThreadCx) + Send + 'static,
    ) -> Result<JoinHandle, TooManyThreads> {
        start(cx, name, priority, affinity, None, Box::new(function))
    }

    /// Starts the thread of an interrupt of `class` with the number `duty`, on `cpu`, and waits until it stands by. It
    /// does `work` each time [`lend`] lets it, until that says that it was the last.
    pub fn spawn_interrupt<K: MayWake + MaySleep>(
        cx: &mut Cx<K>,
        name: &str,
        class: Ipl,
        duty: u32,
        cpu: usize,
        work: impl FnMut(&mut ThreadCx) -> bool + Send + 'static,
    ) -> Result<JoinHandle, TooManyThreads> {
        let priority = PRIORITY_INTERRUPT + class as u8;
        let only = CpuSet::only(cpu);
        let work = Box::new(|cx: &mut ThreadCx| serve(cx, work));
        let handle = start(cx, name, priority, only, Some((class, duty)), work)?;
        while !handle.thread.stands_by() {
            sleep_until(cx, now_ns() + 50_000);
        }
        Ok(handle)
    }

    fn start<K: MayWake>(
        cx: &mut Cx<K>,
        name: &str,
        priority: u8,
        affinity: CpuSet,
        duty: Option<(Ipl, u32)>,
        function: Box<dyn FnOnce(&mut ThreadCx) + Send>,
    ) -> Result<JoinHandle, TooManyThreads> {
        assert!(
            (1..32).contains(&priority),
            "priority {priority} of thread {name}"
        );
        let mut slots = (stacks::FIRST_FREE..stacks::SLOTS).map(|slot| thread(slot as u8));
        // ORDERING: Acquire pairs with the Release in `free_slot`: the slot's last user is done with it.
        let take = |t: &&Thread| {
            t.taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        };
        let t = slots.find(take).ok_or(TooManyThreads)?;
        let end = Arc::new(End {
            ended: KMutex::new(false),
            changed: KCondvar::new(),
        });
        let start = Box::new(Start {
            function,
            end: end.clone(),
        });
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        t.set_name(name);
        t.set_duty(duty);
        // ORDERING: a sum for people.
        ENDED_SWITCHES.fetch_add(t.switches.load(Ordering::Relaxed), Ordering::Relaxed);
        for statistic in [&t.run_ns, &t.loans_ticks, &t.switches] {
            statistic.store(0, Ordering::Relaxed);
        }
        sched::prepare(
            cx,
            t,
            priority,
            affinity,
            run as *const () as usize,
            Box::into_raw(start) as usize,
        );
        t.id.store(id, Ordering::Release);
        sched::unpark(cx, t);
        Ok(JoinHandle { thread: t, id, end })
    }

    /// Names the idle thread of `cpu`, which is in the table from the start.
    pub fn name_idle(cpu: usize) {
        let t = thread(cpu as u8);
        // Numbers of people start at 1: idle threads are 1 to 4, the next is 5.
        t.id.store(cpu as u32 + 1, Ordering::Release);
        let mut name = heapless::String::<{ table::NAME_BYTES }>::new();
        let _ = fmt::Write::write_fmt(&mut name, format_args!("idle/{cpu}"));
        t.set_name(&name);
    }

    /// Has the code that this CPU runs be its idle thread. The very first act of a CPU, interrupts masked: there are no
    /// locks without a thread. The caller calls the rest as another function (see [`bsp::cpu::local`]).
    pub fn start_cpu() -> IdleCx {
        bsp::cpu::set_local(&raw const *thread(bsp::cpu::index() as u8) as usize);
        // SAFETY: the first code of the idle thread.
        unsafe { Cx::assume() }
    }

    /// Gives `t` another priority of its own (1 to 31); what it inherits through locks, and passes on, follows.
    pub fn set_priority<K: MayWake>(cx: &mut Cx<K>, t: &'static Thread, priority: u8) {
        assert!((1..32).contains(&priority), "priority {priority}");
        Kernel::turnstiles().set_base::<Kernel, K>(cx, &t.sync, priority);
    }

    /// Ends the waits of `t` that can be ended, now and from now on.
    pub fn cancel<K: MayWake>(cx: &mut Cx<K>, t: &'static Thread) {
        t.sync.cancel::<Kernel, K>(cx);
    }

    /// A token for where somebody else's trait has no room for one. Panics where a thread could not sleep.
    ///
    /// # Safety
    /// The caller holds no lock that may not be held where the token leads: what it opens is checked against the
    /// order of locks no more.
    pub unsafe fn boundary() -> ThreadCx<'static> {
        sched::assert_may_sleep(current());
        // SAFETY: the caller's promise.
        unsafe { Cx::assume() }
    }

    /// The slot's thread has left its stack for good.
    pub(super) fn free_slot(t: &Thread) {
        t.id.store(0, Ordering::Release);
        t.taken.store(false, Ordering::Release);
    }

    /// Sleeps until `at_ns`.
    pub fn sleep_until<K: MaySleep>(cx: &mut Cx<K>, at_ns: u64) {
        while now_ns() < at_ns {
            sched::park(cx, Some(at_ns));
        }
    }

    /// Waits until somebody [unparks](unpark) this thread, or `at_ns`; may also return for no reason.
    pub fn park_until<K: MaySleep>(cx: &mut Cx<K>, at_ns: u64) {
        sched::park(cx, Some(at_ns));
    }

    /// What a thread gives a driver to wait with: sleeps when that is worth it.
    pub struct ThreadDelay;

    impl DelayNs for ThreadDelay {
        fn delay_ns(&mut self, ns: u32) {
            const WORTH_SLEEPING_NS: u32 = 200_000;
            if ns < WORTH_SLEEPING_NS {
                bsp::timer::Spin.delay_ns(ns);
            } else {
                // SAFETY: it leads to no lock.
                let mut cx = unsafe { boundary() };
                sleep_until(&mut cx, now_ns() + u64::from(ns));
            }
        }
    }

    /// Nanoseconds of CPU time that `t` has had, until now if it runs; interrupts on top of it are not its own.
    pub fn cpu_time_ns<K: Before<lock_order::RunQueue>>(cx: &mut Cx<K>, t: &Thread) -> u64 {
        let (state, _, _, since_ns) = t.snapshot(cx);
        let (mut ns, mut ticks) = (
            t.run_ns.load(Ordering::Relaxed),
            t.loans_ticks.load(Ordering::Relaxed),
        );
        if state == State::Running {
            ns += now_ns().saturating_sub(since_ns);
            ticks = ticks.wrapping_sub(cpu::cpu(t.cpu()).new_interrupts_ticks());
        }
        match ticks.cast_signed() {
            more @ 0.. => ns + ticks_to_ns(more as u64),
            less => ns.saturating_sub(ticks_to_ns(less.unsigned_abs())),
        }
    }

    /// Times that threads got a CPU, all together, since the start. Exact while no CPU switches.
    pub fn switches() -> u64 {
        let ended = ENDED_SWITCHES.load(Ordering::Relaxed);
        let of = |t: &Thread| t.switches.load(Ordering::Relaxed);
        entries().map(of).sum::<u64>() + ended
    }

    /// Bytes of its stack that `t` has used at most: those that no longer hold what [`paint_stacks`] wrote.
    pub fn stack_used(t: &Thread) -> usize {
        let stack = t.stack();
        let mut at = stack.start;
        // SAFETY: the slot's mapped memory; a volatile read of a word that its owner may be writing is only a
        // statistic here.
        while at < stack.end && unsafe { (at as *const u64).read_volatile() } == PAINT {
            at += 8;
        }
        stack.end - at
    }

    const PAINT: u64 = 0x5AFE_57AC_5AFE_57AC;

    /// Fills the stacks of all threads to come with a pattern, for [`stack_used`]. First CPU, before any exists.
    pub fn paint_stacks() {
        for slot in stacks::FIRST_FREE..stacks::SLOTS {
            let stack = thread(slot as u8).stack();
            for at in stack.step_by(8) {
                // SAFETY: nobody's stack yet.
                unsafe { (at as *mut u64).write(PAINT) };
            }
        }
    }
}

#[cfg(target_os = "none")]
use life::free_slot;
