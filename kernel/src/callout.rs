// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callouts: functions to call at a time, from the timer interrupt. One list per CPU, and the timer is programmed for
//! the earlier of the first callout and the end of the time slice; with neither it is off.
//!
//! # Contexts
//! [`schedule`] and [`cancel`]: any. The function runs at Sched level with no lock held: it may unpark threads,
//! not sleep.
//!
//! # Lock order
//! The list's lock is a leaf. [`program_timer`] takes none, so the scheduler may call it with its queue locked.
use crate::cpu::{self, CPUS};
use crate::lock::SpinLock;
use bsp::cpu::{index, irq_restore, irq_save};
use bsp::timer::{now_ns, set_deadline};
use core::sync::atomic::{AtomicU64, Ordering};

/// Most callouts that wait on one CPU: each thread has at most one, and the rest is the kernel's own.
const MAX_CALLOUTS: usize = 192;

#[derive(Clone, Copy)]
struct Callout {
    at_ns: u64,
    id: u64,
    function: fn(usize),
    argument: usize,
}

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

static LISTS: [SpinLock<List>; CPUS] = [const {
    SpinLock::new(List {
        entries: heapless::Vec::new(),
    })
}; CPUS];
/// Time of each CPU's next callout; a hint for [`program_timer`], which only that CPU reads.
static FIRST_NS: [AtomicU64; CPUS] = [const { AtomicU64::new(u64::MAX) }; CPUS];
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Names a scheduled callout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalloutId(u64);

fn note_first(cpu: usize, list: &List) {
    // ORDERING: read by the same CPU, or before it is kicked (whose SGI orders).
    FIRST_NS[cpu].store(
        list.entries.last().map_or(u64::MAX, |c| c.at_ns),
        Ordering::Relaxed,
    );
}

/// Calls `function(argument)` on this CPU at `at_ns` or as soon as possible after it.
pub fn schedule(at_ns: u64, function: fn(usize), argument: usize) -> CalloutId {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let daif = irq_save();
    let cpu = index();
    {
        let mut list = LISTS[cpu].lock();
        list.insert(Callout {
            at_ns,
            id,
            function,
            argument,
        });
        note_first(cpu, &list);
    }
    program_timer();
    irq_restore(daif);
    CalloutId(id)
}

/// Takes a callout back; false if it has run, or is running.
pub fn cancel(id: CalloutId) -> bool {
    // It waits where it was scheduled, unless that CPU went off since.
    for (cpu, list) in LISTS.iter().enumerate() {
        let mut list = list.lock();
        if let Some(place) = list.entries.iter().position(|c| c.id == id.0) {
            list.entries.remove(place);
            note_first(cpu, &list);
            return true;
        }
    }
    false
}

/// Programs this CPU's timer for whatever comes first. Interrupts masked.
pub fn program_timer() {
    let callout = FIRST_NS[index()].load(Ordering::Relaxed);
    let slice = cpu::this().slice_end_ns.load(Ordering::Relaxed);
    let first = callout.min(slice);
    set_deadline((first != u64::MAX).then_some(first));
}

/// The timer interrupt: runs what is due.
pub fn interrupt(_: usize) {
    let cpu = index();
    loop {
        let due = {
            let mut list = LISTS[cpu].lock();
            let is_due = list.entries.last().is_some_and(|c| c.at_ns <= now_ns());
            let due = if is_due { list.entries.pop() } else { None };
            note_first(cpu, &list);
            due
        };
        match due {
            Some(callout) => (callout.function)(callout.argument),
            None => break,
        }
    }
    // The slice's end, if that is what came, is acted upon at interrupt exit, which programs the timer again.
    let slice = &cpu::this().slice_end_ns;
    if slice.load(Ordering::Relaxed) <= now_ns() {
        set_deadline(None);
    } else {
        program_timer();
    }
}

/// Moves all of `cpu`'s callouts to CPU 0: `cpu` goes off. The caller kicks CPU 0.
pub fn hand_over(cpu: usize) {
    let moved = {
        let mut list = LISTS[cpu].lock();
        FIRST_NS[cpu].store(u64::MAX, Ordering::Relaxed);
        core::mem::take(&mut list.entries)
    };
    let mut list = LISTS[0].lock();
    for callout in moved {
        list.insert(callout);
    }
    note_first(0, &list);
}

/// Number of callouts that wait on each CPU.
pub fn waiting() -> [usize; CPUS] {
    core::array::from_fn(|cpu| LISTS[cpu].lock().entries.len())
}
