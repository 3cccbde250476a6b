// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callouts: functions to call at a time, from the timer interrupt. One list per CPU, and the timer is programmed for
//! the earlier of the first callout and the end of the time slice; with neither it is off.
//!
//! The timer is brought forward only, never put off: what comes early finds nothing due and sets it anew, and most of
//! what is put off is put off again before that.
//!
//! # Contexts
//! [`schedule`] and [`cancel`]: any up to Sched. The function runs as a Sched interrupt with no lock held: it may unpark
//! threads, not sleep.
//!
//! # Lock order
//! One list at a time. [`bring_forward`] takes none, so the scheduler may call it with its queue locked.
use crate::cpu::{self, CPUS, Cpu};
use crate::lock_order;
use crate::thread::Kernel;
use bsp::cpu::index;
use bsp::timer::{now_ns, set_deadline};
use core::sync::atomic::{AtomicU64, Ordering};
use sync::domain::{Before, Cx, Interrupt, Sched};
use sync::kmutex::KMutex;
use sync::spl::{splsched, splx};

/// Most callouts that wait on one CPU: each thread has at most one, and the rest is the kernel's own.
const MAX_CALLOUTS: usize = 192;

#[derive(Clone, Copy)]
struct Callout {
    at_ns: u64,
    id: u64,
    function: Function,
    argument: usize,
}

/// What a callout does, with its argument.
pub type Function = fn(&mut Cx<Interrupt<Sched>>, usize);

struct List {
    /// Latest first, so that the next one is at the end.
    entries: heapless::Vec<Callout, MAX_CALLOUTS>,
}

impl List {
    fn insert(&mut self, callout: Callout) {
        let place = self.entries.partition_point(|c| c.at_ns > callout.at_ns);
        assert!(
            self.entries.insert(place, callout).is_ok(),
            "more than {MAX_CALLOUTS} callouts on a CPU"
        );
    }
}

static LISTS: [KMutex<List, lock_order::Callouts>; CPUS] = [const {
    KMutex::new(List {
        entries: heapless::Vec::new(),
    })
}; CPUS];
/// Time of each CPU's next callout; a hint for [`program_timer`], which only that CPU reads.
static FIRST_NS: [AtomicU64; CPUS] = [const { AtomicU64::new(u64::MAX) }; CPUS];
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Names a scheduled callout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalloutId {
    id: u64,
    cpu: usize,
}

fn note_first(cpu: usize, list: &List) {
    // ORDERING: read by the same CPU, or before it is kicked (whose SGI orders).
    FIRST_NS[cpu].store(
        list.entries.last().map_or(u64::MAX, |c| c.at_ns),
        Ordering::Relaxed,
    );
}

/// Calls `function(argument)` on this CPU at `at_ns` or as soon as possible after it.
pub fn schedule<K: Before<lock_order::Callouts>>(
    cx: &mut Cx<K>,
    at_ns: u64,
    function: Function,
    argument: usize,
) -> CalloutId {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let spl = splsched::<Kernel>(); // from here on, this CPU
    let cpu = index();
    {
        let (mut list, _) = LISTS[cpu].enter(cx);
        list.insert(Callout {
            at_ns,
            id,
            function,
            argument,
        });
        note_first(cpu, &list);
    }
    program_timer();
    splx::<Sched, Kernel>(spl);
    CalloutId { id, cpu }
}

/// Takes a callout back; false if it has run, or is running.
pub fn cancel<K: Before<lock_order::Callouts>>(cx: &mut Cx<K>, callout: CalloutId) -> bool {
    // It waits where it was scheduled, or at CPU 0 if that CPU went off since.
    [callout.cpu, 0].into_iter().any(|cpu| {
        let (mut list, _) = LISTS[cpu].enter(cx);
        let place = list.entries.iter().position(|c| c.id == callout.id);
        place.is_some_and(|place| {
            list.entries.remove(place);
            note_first(cpu, &list);
            true
        })
    })
}

/// Programs this CPU's timer for whatever comes first. On this CPU: spl raised, or IRQ masked.
pub fn program_timer() {
    let this = cpu::this();
    bring_forward(this, FIRST_NS[index()].load(Ordering::Relaxed));
    bring_forward(this, this.slice_end_ns.load(Ordering::Relaxed));
}

/// Has the timer of `this`, which is this CPU, interrupt at `at_ns`, unless it does before.
#[inline]
pub fn bring_forward(this: &Cpu, at_ns: u64) {
    if at_ns < this.timer_ns.load(Ordering::Relaxed) {
        this.timer_ns.store(at_ns, Ordering::Relaxed);
        set_deadline(Some(at_ns));
    }
}

/// Switches this CPU's timer off, whatever waits: it is about to be programmed again, or the CPU comes or goes.
pub fn stop_timer() {
    cpu::this().timer_ns.store(u64::MAX, Ordering::Relaxed);
    set_deadline(None);
}

/// The timer interrupt: runs what is due.
pub fn interrupt(cx: &mut Cx<Interrupt<Sched>>, _: usize) {
    let cpu = index();
    stop_timer();
    loop {
        let due = {
            let (mut list, _) = LISTS[cpu].enter(cx);
            let is_due = list.entries.last().is_some_and(|c| c.at_ns <= now_ns());
            let due = if is_due { list.entries.pop() } else { None };
            note_first(cpu, &list);
            due
        };
        match due {
            Some(callout) => (callout.function)(cx, callout.argument),
            None => break,
        }
    }
    // The slice's end, if that is what came, is acted upon at interrupt exit, which then knows of the next slice only.
    let this = cpu::this();
    bring_forward(this, FIRST_NS[cpu].load(Ordering::Relaxed));
    let slice_end_ns = this.slice_end_ns.load(Ordering::Relaxed);
    if slice_end_ns > now_ns() {
        bring_forward(this, slice_end_ns);
    }
}

/// Moves all of `cpu`'s callouts to CPU 0: `cpu` goes off. The caller interrupts CPU 0.
pub fn hand_over<K: Before<lock_order::Callouts>>(cx: &mut Cx<K>, cpu: usize) {
    let moved = {
        let (mut list, _) = LISTS[cpu].enter(cx);
        FIRST_NS[cpu].store(u64::MAX, Ordering::Relaxed);
        core::mem::take(&mut list.entries)
    };
    let (mut list, _) = LISTS[0].enter(cx);
    for callout in moved {
        list.insert(callout);
    }
    note_first(0, &list);
}

/// The callouts that wait on CPU `cpu`, latest first, past the list's lock: time (ns), address of the function, argument.
///
/// # Safety
/// The machine is stopped.
pub unsafe fn waiting_stopped(cpu: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    // SAFETY: the caller's promise.
    let list = unsafe { &*LISTS[cpu].as_ptr() };
    let entries = list.entries.iter();
    entries.map(|c| (c.at_ns, c.function as usize, c.argument))
}

/// Number of callouts that wait on each CPU.
pub fn waiting<K: Before<lock_order::Callouts>>(cx: &mut Cx<K>) -> [usize; CPUS] {
    core::array::from_fn(|cpu| LISTS[cpu].enter(cx).0.entries.len())
}
