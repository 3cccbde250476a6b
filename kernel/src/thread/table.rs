// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread table: one entry for each stack slot, fixed memory.
//!
//! # Lock order
//! A thread's scheduling state ([`Sched`]) is guarded by the run-queue lock of the CPU that [`Thread::cpu`] names;
//! that number changes only under the lock of the old CPU. The token is the locked queue itself: [`Thread::sched`]
//! takes it and hands out the cells.
use super::runq::{RunQueue, Slot};
use crate::cpu::CpuSet;
use bsp::start::stacks;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use spin::mutex::SpinMutex;

/// Most threads at a time, idle threads included.
pub const MAX_THREADS: usize = stacks::SLOTS;
/// Longest name kept.
pub const NAME_BYTES: usize = 15;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot is free.
    Free,
    /// Waits in a run queue, or is on its way to one.
    Runnable,
    /// Has a CPU.
    Running,
    /// Parked until someone unparks it.
    Blocked,
}

/// Registers that a context switch keeps; vectors.S knows the layout.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Context {
    /// x19..x28.
    pub x19_28: [u64; 10],
    /// x29, x30, stack pointer.
    pub fp_lr_sp: [u64; 3],
}

/// Scheduling state, guarded as the file's header says.
pub struct Sched {
    /// What the thread does.
    pub state: Cell<State>,
    /// 0..32, higher runs first; 0 is the idle threads'.
    pub priority: Cell<u8>,
    /// Where it may run.
    pub affinity: Cell<CpuSet>,
    /// It stands in its CPU's run queue.
    pub queued: Cell<bool>,
    /// Someone unparked it while it was not parked: the next park returns at once.
    pub permit: Cell<bool>,
    /// When it last got or lost a CPU, ns.
    pub since_ns: Cell<u64>,
    /// What was left of its time slice when it got the CPU, ns: being preempted does not renew it.
    pub slice_ns: Cell<u64>,
}

/// One thread.
pub struct Thread {
    /// CPU whose run-queue lock guards `sched`: where the thread runs, waits, or last ran.
    pub(super) cpu: AtomicU8,
    sched: UnsafeCell<Sched>,
    pub(super) context: UnsafeCell<Context>,
    /// Identification for people; never reused.
    pub(super) id: AtomicU32,
    /// The slot is taken (for slots that `spawn` gives out).
    pub(super) taken: AtomicBool,
    pub(super) name: SpinMutex<heapless::String<NAME_BYTES>>,
    /// CPU time that it has had, ns.
    pub run_ns: AtomicU64,
    /// Times it got a CPU.
    pub switches: AtomicU64,
}

// SAFETY: `sched` is reached only through the run-queue lock (see `sched`), `context` only by the CPU that
// switches to or from the thread, with that lock held; the rest is atomic or locked.
unsafe impl Sync for Thread {}

/// The run queue of one CPU, with the number of that CPU: holding it locked is the right to touch its threads.
pub struct Queue {
    /// CPU that the queue belongs to.
    pub cpu: usize,
    /// Waiting threads.
    pub waiting: RunQueue<MAX_THREADS>,
    /// The CPU takes threads.
    pub online: bool,
    /// Priority of the thread that has the CPU.
    pub current_priority: u8,
    /// Thread that just lost the CPU and must go elsewhere, or whose slot is to be freed.
    pub leaving: Option<&'static Thread>,
}

impl Thread {
    const fn new() -> Self {
        Self {
            cpu: AtomicU8::new(0),
            sched: UnsafeCell::new(Sched {
                state: Cell::new(State::Free),
                priority: Cell::new(0),
                affinity: Cell::new(CpuSet::ALL),
                queued: Cell::new(false),
                permit: Cell::new(false),
                since_ns: Cell::new(0),
                slice_ns: Cell::new(0),
            }),
            context: UnsafeCell::new(Context {
                x19_28: [0; 10],
                fp_lr_sp: [0; 3],
            }),
            id: AtomicU32::new(0),
            taken: AtomicBool::new(false),
            name: SpinMutex::new(heapless::String::new()),
            run_ns: AtomicU64::new(0),
            switches: AtomicU64::new(0),
        }
    }

    /// Place in the table, and number of its stack slot.
    pub fn slot(&self) -> Slot {
        let bytes = (&raw const *self as usize) - (&raw const THREADS as usize);
        (bytes / size_of::<Thread>()) as Slot
    }

    /// CPU where it runs, waits, or last ran.
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Acquire) as usize
    }

    /// Number for people.
    pub fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    /// Name for people.
    pub fn name(&self) -> heapless::String<NAME_BYTES> {
        // Not `lock`: a panic in here must still be able to name the thread.
        self.name
            .try_lock()
            .map(|name| name.clone())
            .unwrap_or_default()
    }

    /// The scheduling state. `queue` is the proof that the caller holds the right lock.
    pub fn sched<'a>(&'a self, queue: &'a Queue) -> &'a Sched {
        assert_eq!(
            queue.cpu,
            self.cpu(),
            "thread {} touched under another CPU's lock",
            self.id()
        );
        // SAFETY: `queue` is a locked queue of the CPU that guards this thread, so no other CPU reaches these
        // cells while 'a lasts; `Cell` makes several references on this CPU sound.
        unsafe { &*self.sched.get() }
    }

    /// State, priority, affinity, and since when (ns) it runs or does not, for display.
    pub fn snapshot(&self) -> (State, u8, CpuSet, u64) {
        let queue = super::sched::lock_queue_of(self);
        let sched = self.sched(&queue);
        (
            sched.state.get(),
            sched.priority.get(),
            sched.affinity.get(),
            sched.since_ns.get(),
        )
    }

    /// True for the thread that runs when no other can.
    pub fn is_idle(&self) -> bool {
        (self.slot() as usize) < crate::cpu::CPUS
    }

    /// Lowest and highest address of its stack.
    pub fn stack(&self) -> core::ops::Range<usize> {
        let top = stacks::top(self.slot() as usize);
        top - stacks::SLOT_BYTES + stacks::GUARD_BYTES..top
    }
}

static THREADS: [Thread; MAX_THREADS] = [const { Thread::new() }; MAX_THREADS];

/// The thread in slot `slot`.
pub fn thread(slot: Slot) -> &'static Thread {
    &THREADS[slot as usize]
}

/// All threads that exist.
pub fn threads() -> impl Iterator<Item = &'static Thread> {
    THREADS.iter().filter(|t| t.id() != 0)
}
