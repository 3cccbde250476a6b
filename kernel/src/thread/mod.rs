// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel threads: making, ending, waiting for them; the scheduler is in `sched.rs`.
//!
//! A thread has a number for people, a stack of 28 KiB above a guard page, a fixed priority from 1 to 31 and a set of
//! CPUs that it may run on. There are at most 120 at a time, in a fixed table: creating one fails, it never waits.
pub mod runq;

#[cfg(target_os = "none")]
mod sched;
#[cfg(target_os = "none")]
mod table;
#[cfg(target_os = "none")]
pub mod wait;

#[cfg(target_os = "none")]
pub use machine::*;

#[cfg(target_os = "none")]
mod machine {
    pub use super::sched::{
        become_idle, current, idle_loop, interrupt_exit, kick, lock_queue, park, set_affinity,
        set_online, unpark, yield_now,
    };
    pub use super::table::{MAX_THREADS, Queue, State, Thread, thread, threads};
    use super::wait::Completion;
    use super::{sched, table};
    use crate::cpu::{CPUS, CpuSet};
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use bsp::start::stacks;
    use bsp::timer::now_ns;
    use core::fmt;
    use core::sync::atomic::{AtomicU32, Ordering};
    use embedded_hal::delay::DelayNs;

    /// Priority of the shell and of other threads that serve people.
    pub const PRIORITY_NORMAL: u8 = 8;
    /// Priority of threads that keep the machine going (the log's).
    pub const PRIORITY_SYSTEM: u8 = 20;

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

    /// A started thread, to be waited for.
    pub struct JoinHandle {
        /// The thread; its slot may be another's once it has ended.
        pub thread: &'static Thread,
        /// Its number.
        pub id: u32,
        done: Arc<Completion>,
    }

    impl JoinHandle {
        /// Waits until the thread has ended. Threads only.
        pub fn join(self) {
            self.done.wait_until(None);
        }

        /// Waits until the thread has ended or `deadline_ns` has passed; true if it ended. Threads only.
        pub fn join_until(self, deadline_ns: u64) -> bool {
            self.done.wait_until(Some(deadline_ns))
        }
    }

    struct Start {
        function: Box<dyn FnOnce() + Send>,
        done: Arc<Completion>,
    }

    extern "C" fn run(start: usize) -> ! {
        // SAFETY: `spawn` leaked this box for this thread alone.
        let start = unsafe { Box::from_raw(start as *mut Start) };
        (start.function)();
        start.done.complete();
        drop(start.done);
        sched::exit()
    }

    /// Starts a thread.
    pub fn spawn(
        name: &str,
        priority: u8,
        affinity: CpuSet,
        function: impl FnOnce() + Send + 'static,
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
        let done = Arc::new(Completion::new());
        let start = Box::new(Start {
            function: Box::new(function),
            done: done.clone(),
        });
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        rename(t, name);
        for statistic in [&t.run_ns, &t.switches] {
            statistic.store(0, Ordering::Relaxed);
        }
        sched::prepare(
            t,
            priority,
            affinity,
            run as *const () as usize,
            Box::into_raw(start) as usize,
        );
        t.id.store(id, Ordering::Release);
        unpark(t);
        Ok(JoinHandle {
            thread: t,
            id,
            done,
        })
    }

    fn rename(t: &Thread, name: &str) {
        let mut short = heapless::String::new();
        let _ = name.chars().try_for_each(|c| short.push(c)); // a longer name is cut
        *t.name.lock() = short;
    }

    /// Names the idle thread of `cpu`, which is in the table from the start.
    pub fn name_idle(cpu: usize) {
        let t = thread(cpu as u8);
        // Numbers of people start at 1: idle threads are 1 to 4, the next is 5.
        t.id.store(cpu as u32 + 1, Ordering::Release);
        let mut name = heapless::String::<15>::new();
        let _ = fmt::Write::write_fmt(&mut name, format_args!("idle/{cpu}"));
        rename(t, &name);
    }

    /// The slot's thread has left its stack for good.
    pub(super) fn free_slot(t: &Thread) {
        t.id.store(0, Ordering::Release);
        t.taken.store(false, Ordering::Release);
    }

    /// Sleeps until `at_ns`. Threads only.
    pub fn sleep_until(at_ns: u64) {
        while now_ns() < at_ns {
            park(Some(at_ns));
        }
    }

    /// What a thread gives a driver to wait with: sleeps when that is worth it.
    pub struct ThreadDelay;

    impl DelayNs for ThreadDelay {
        fn delay_ns(&mut self, ns: u32) {
            const WORTH_SLEEPING_NS: u32 = 200_000;
            if ns < WORTH_SLEEPING_NS {
                bsp::timer::Spin.delay_ns(ns);
            } else {
                sleep_until(now_ns() + u64::from(ns));
            }
        }
    }

    /// Nanoseconds of CPU time that `t` has had, until now if it runs.
    pub fn cpu_time_ns(t: &Thread) -> u64 {
        let (state, _, _, since_ns) = t.snapshot();
        let running = if state == State::Running {
            now_ns().saturating_sub(since_ns)
        } else {
            0
        };
        t.run_ns.load(Ordering::Relaxed) + running
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

    /// Name and number of the thread that runs here, or nothing before there is one.
    pub fn describe_current() -> Option<(heapless::String<{ table::NAME_BYTES }>, u32)> {
        let local = bsp::cpu::local();
        (local != 0).then(|| (current().name(), current().id()))
    }
}

#[cfg(target_os = "none")]
use machine::free_slot;
