// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread table: one entry for each stack slot, fixed memory.
//!
//! # Lock order
//! A thread's scheduling state ([`Sched`]) is guarded by the run-queue lock of the CPU that [`Thread::cpu`] names;
//! that number changes only under the lock of the old CPU. The token is the locked queue itself: [`Thread::sched`]
//! takes it and hands out the cells.
use super::runq::{RunQueue, Slot};
use crate::cpu::CpuSet;
use crate::lock_order;
use bsp::context::Context;
use bsp::start::stacks;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use sync::domain::{Before, Cx};
use sync::ipl::Ipl;
use sync::machine::KThread;

/// Most threads at a time, idle threads included.
pub const MAX_THREADS: usize = stacks::SLOTS;
/// Longest name kept, in bytes.
pub const NAME_BYTES: usize = 16;

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
    /// An interrupt thread that waits for its interrupt, or runs on a CPU that it borrowed ([`Loan`]).
    Standby,
}

/// Scheduling state, guarded as the file's header says.
pub struct Sched {
    /// What the thread does.
    pub state: Cell<State>,
    /// Where it may run.
    pub affinity: Cell<CpuSet>,
    /// It stands in its CPU's run queue, at this priority.
    pub queued: Cell<Option<u8>>,
    /// Someone unparked it while it was not parked: the next park returns at once.
    pub permit: Cell<bool>,
    /// When it last got a CPU, ns.
    pub since_ns: Cell<u64>,
    /// What was left of its time slice when it got the CPU, ns: being preempted does not renew it.
    pub slice_ns: Cell<u64>,
}

/// The CPU that an interrupt thread has borrowed from the thread that it interrupted; see `sched/borrow.rs`. Of a thread
/// that runs or was borrowed from: touched on its CPU only, with IRQ masked, or by the thread itself.
pub struct Loan {
    /// Whom it was borrowed from.
    pub from: Cell<Option<&'static Thread>>,
    /// The borrower gave the CPU back with its run queue locked, for this thread to leave.
    pub queue_left: Cell<bool>,
}

/// One thread. The locks' part comes first, so that a pointer to either is one to both.
#[repr(C)]
pub struct Thread {
    /// What the locks keep in it. Its priority is the scheduler's: 0..32, higher runs first; 0 is the idle threads'.
    pub sync: KThread,
    slot: Slot,
    /// CPU whose run-queue lock guards `sched`: where the thread runs, waits, or last ran.
    pub(super) cpu: AtomicU8,
    sched: UnsafeCell<Sched>,
    pub(super) context: UnsafeCell<Context>,
    pub(super) loan: Loan,
    /// For an interrupt thread: the class of its interrupt, plus one. Zero for others. Written once.
    serves: AtomicU8,
    /// Which of that class: the interrupt's identifier, or, of a soft interrupt, the CPU.
    duty: AtomicU32,
    /// Identification for people; never reused.
    pub(super) id: AtomicU32,
    /// The slot is taken (for slots that `spawn` gives out).
    pub(super) taken: AtomicBool,
    /// Zero bytes behind its end. For display: it may be read while it changes.
    name: [AtomicU64; NAME_BYTES / 8],
    /// The class, plus one, of the direct handler that runs on its stack; or zero.
    interrupt: AtomicU8,
    /// Where it last masked IRQ: frame pointer and program counter. Written by itself, read by who finds its CPU hung.
    masked_at: UnsafeCell<[usize; 2]>,
    /// The callout of its park has run.
    pub(super) timed_out: AtomicBool,
    /// A CPU runs it: a hint.
    pub(super) running: AtomicBool,
    /// How long it had a CPU, ns, interrupts on top of it included.
    pub run_ns: AtomicU64,
    /// What to add to that, modulo 2^64: ticks that it ran on loans, less those of interrupts and loans while it had a CPU.
    pub(super) loans_ticks: AtomicU64,
    /// Times it got a CPU.
    pub switches: AtomicU64,
}

const _: () = assert!(core::mem::offset_of!(Thread, sync) == 0);

// SAFETY: `sched` is reached only through the run-queue lock (see `sched`), `context` only by the CPU that
// switches to or from the thread, with that lock held or while it borrows; `loan` as its type says; `masked_at` is written
// by the thread in assembly and read as volatile words, of which any value will do; the rest is atomic or locked.
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
    /// The interrupt thread that a spinning thread lent the CPU last: the next one has its turn.
    pub turn: Slot,
}

impl Thread {
    const fn new(slot: Slot) -> Self {
        Self {
            sync: KThread::new(0),
            slot,
            cpu: AtomicU8::new(0),
            sched: UnsafeCell::new(Sched {
                state: Cell::new(State::Free),
                affinity: Cell::new(CpuSet::ALL),
                queued: Cell::new(None),
                permit: Cell::new(false),
                since_ns: Cell::new(0),
                slice_ns: Cell::new(0),
            }),
            context: UnsafeCell::new(Context::new()),
            loan: Loan {
                from: Cell::new(None),
                queue_left: Cell::new(false),
            },
            serves: AtomicU8::new(0),
            duty: AtomicU32::new(0),
            id: AtomicU32::new(0),
            taken: AtomicBool::new(false),
            name: [const { AtomicU64::new(0) }; NAME_BYTES / 8],
            interrupt: AtomicU8::new(0),
            masked_at: UnsafeCell::new([0; 2]),
            timed_out: AtomicBool::new(false),
            running: AtomicBool::new(false),
            run_ns: AtomicU64::new(0),
            loans_ticks: AtomicU64::new(0),
            switches: AtomicU64::new(0),
        }
    }

    /// Place in the table, and number of its stack slot.
    pub fn slot(&self) -> Slot {
        self.slot
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
        let mut name = heapless::String::new();
        let bytes = self
            .name
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        // As many characters as the string has room for bytes, if they are ASCII.
        let _ = bytes
            .take_while(|byte| *byte != 0)
            .filter(u8::is_ascii)
            .try_for_each(|byte| name.push(byte.into()));
        name
    }

    /// Gives it a name: the first 16 bytes.
    pub(super) fn set_name(&self, name: &str) {
        let mut bytes = name.bytes().chain(core::iter::repeat(0));
        for word in &self.name {
            let part = core::array::from_fn(|_| bytes.next().unwrap_or(0));
            word.store(u64::from_le_bytes(part), Ordering::Relaxed);
        }
    }

    /// The scheduling state. `queue` is the proof that the caller holds the right lock.
    #[inline]
    pub fn sched<'a>(&'a self, queue: &'a Queue) -> &'a Sched {
        debug_assert_eq!(
            queue.cpu,
            self.cpu(),
            "thread {} touched under another CPU's lock",
            self.id()
        );
        // SAFETY: `queue` is a locked queue of the CPU that guards this thread, so no other CPU reaches these
        // cells while 'a lasts; `Cell` makes several references on this CPU sound.
        unsafe { &*self.sched.get() }
    }

    /// State, priority, affinity, and when it last got a CPU (ns), for display.
    pub fn snapshot<K: Before<lock_order::RunQueue>>(
        &self,
        _cx: &mut Cx<K>,
    ) -> (State, u8, CpuSet, u64) {
        let queue = super::sched::lock_queue_of(self);
        let sched = self.sched(&queue);
        (
            sched.state.get(),
            self.sync.priority(),
            sched.affinity.get(),
            sched.since_ns.get(),
        )
    }

    /// True for an interrupt thread that waits for its interrupt, or runs on a loan.
    pub fn stands_by(&self) -> bool {
        let queue = super::sched::lock_queue_of(self);
        self.sched(&queue).state.get() == State::Standby
    }

    /// True for the thread that runs when no other can.
    pub fn is_idle(&self) -> bool {
        (self.slot() as usize) < crate::cpu::CPUS
    }

    /// The class of the direct handler that runs on this thread's stack. Asked only where the thread runs.
    pub fn interrupt(&self) -> Option<Ipl> {
        decode(&self.interrupt)
    }

    /// True if a direct handler runs on this thread's stack. As above.
    #[inline]
    pub fn in_interrupt(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed) != 0
    }

    /// Notes that a direct handler of `class` runs now; returns what [`leave_interrupt`](Thread::leave_interrupt) wants. The
    /// current thread, IRQ masked.
    #[inline]
    pub fn enter_interrupt(&self, class: Ipl) -> u8 {
        let before = self.interrupt.load(Ordering::Relaxed);
        self.interrupt.store(encode(Some(class)), Ordering::Relaxed);
        before
    }

    /// Notes that the handler is done. As above.
    #[inline]
    pub fn leave_interrupt(&self, before: u8) {
        self.interrupt.store(before, Ordering::Relaxed);
    }

    /// For an interrupt thread: the class that it serves, of a device or a soft interrupt.
    pub fn serves(&self) -> Option<Ipl> {
        decode(&self.serves)
    }

    /// For an interrupt thread: the identifier of its interrupt, or, of a soft one, the CPU.
    pub fn duty(&self) -> u32 {
        self.duty.load(Ordering::Relaxed)
    }

    /// Says what an interrupt thread serves, or that it is none. Before it runs.
    pub(super) fn set_duty(&self, duty: Option<(Ipl, u32)>) {
        self.serves
            .store(encode(duty.map(|(class, _)| class)), Ordering::Relaxed);
        self.duty
            .store(duty.map_or(0, |(_, duty)| duty), Ordering::Relaxed);
    }

    /// Notes that this thread, the current one, masks IRQ here.
    #[inline(always)]
    pub fn note_masked(&self) {
        // SAFETY: the field is this thread's own to write, and of this size.
        unsafe {
            core::arch::asm!(
                "adr {pc}, .", "stp x29, {pc}, [{at}]",
                pc = out(reg) _, at = in(reg) self.masked_at.get(),
                options(nostack, preserves_flags)
            )
        };
    }

    /// Where it last masked IRQ: (pc, fp). For a thread whose CPU does not answer, the best that is known.
    pub fn masked_at(&self) -> (usize, usize) {
        // SAFETY: a volatile read of two words that always are there.
        let [fp, pc] = unsafe { self.masked_at.get().read_volatile() };
        (pc, fp)
    }

    /// Where it goes on when it gets a CPU: (pc, fp).
    ///
    /// # Safety
    /// It does not run, and will not as long as this takes: the machine is stopped, or what would have it run is locked.
    pub unsafe fn place(&self) -> (usize, usize) {
        // SAFETY: the caller's promise.
        unsafe { (*self.context.get()).place() }
    }

    /// The scheduling state, past the queue's lock.
    ///
    /// # Safety
    /// The machine is stopped.
    pub unsafe fn sched_stopped(&self) -> &Sched {
        // SAFETY: the caller's promise: nobody writes it.
        unsafe { &*self.sched.get() }
    }

    /// Lowest and highest address of its stack.
    pub fn stack(&self) -> core::ops::Range<usize> {
        let top = stacks::top(self.slot() as usize);
        top - stacks::SLOT_BYTES + stacks::GUARD_BYTES..top
    }
}

fn encode(class: Option<Ipl>) -> u8 {
    class.map_or(0, |class| class as u8 + 1)
}

fn decode(class: &AtomicU8) -> Option<Ipl> {
    Ipl::ALL
        .get(class.load(Ordering::Relaxed).wrapping_sub(1) as usize)
        .copied()
}

static THREADS: [Thread; MAX_THREADS] = {
    let mut threads = [const { Thread::new(0) }; MAX_THREADS];
    let mut slot = 0;
    while slot < MAX_THREADS {
        threads[slot].slot = slot as Slot;
        slot += 1;
    }
    threads
};

/// The thread in slot `slot`.
pub fn thread(slot: Slot) -> &'static Thread {
    &THREADS[slot as usize]
}

impl Thread {
    /// The thread that `sync` is part of.
    pub fn of(sync: &'static KThread) -> &'static Thread {
        // SAFETY: every `KThread` of this machine is the first field of an entry of the table, which is `repr(C)`. The
        // pointer may reach the whole entry: the table is static and all of it shared.
        unsafe { &*(&raw const *sync).cast() }
    }
}

/// The thread that CPU `cpu` runs, as far as it says so: exact for one that is stopped or hung.
pub fn running_on(cpu: usize) -> Option<&'static Thread> {
    THREADS
        .iter()
        .find(|t| t.running.load(Ordering::Relaxed) && t.cpu() == cpu)
}

/// Every entry of the table, also those of no thread.
pub fn entries() -> impl Iterator<Item = &'static Thread> {
    THREADS.iter()
}

/// All threads that exist.
pub fn threads() -> impl Iterator<Item = &'static Thread> {
    entries().filter(|t| t.id() != 0)
}
