// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine for the locks inside a model checker, be it loom or shuttle.
//!
//! # Theory
//! A checker runs all threads of an execution, one at a time, on one host thread. So what belongs to an execution
//! hangs from a variable of the host thread, is made anew when the execution [starts](World::start), and what is not
//! itself under test needs no atomics. But only the checker's own objects make it try another order: nothing that
//! decides what a thread does next may depend on a plain cell that another thread writes.
//!
//! Time stands still, until [`deadlines_pass`] does what a timer interrupt does: it sets the clock, and unparks.
//! As that comes from another thread it falls at any point, and with loom a thread may go on seeing the old time.
#[cfg(loom)]
pub use loom as checker;
#[cfg(shuttle)]
pub use shuttle as checker;

use checker::sync::atomic::{AtomicU64, Ordering};
use checker::thread::JoinHandle;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use sync::domain::{Cx, Thread};
use sync::ipl::Ipl;
use sync::lockdebug::Report;
use sync::machine::{KThread, Machine};
use sync::turnstile::Turnstiles;

/// The machine.
pub struct Model;

sync::lock_order! {
    machine Model;
    thread { Outer, Inner }
    bio { }
    net { }
    tty { Line }
    vm { }
    sched { }
    high { }
}

/// The first deadline that passes when the check says so, by [`deadlines_pass`].
pub const DEADLINE_NS: u64 = 1;

/// Turns of spin loops in one execution that loom explores: two threads that spin could go on in turn for ever. What
/// follows more is run, in one order.
pub const MAX_TURNS: usize = 4;

/// What one execution has.
pub struct World {
    turnstiles: Turnstiles,
    threads: Vec<Entry>,
    started: Cell<usize>,
    now_ns: AtomicU64,
    owners_run: Cell<bool>,
    turns: Cell<usize>,
}

/// A thread of the model.
struct Entry {
    thread: KThread,
    permit: Permit,
    in_interrupt: Cell<bool>,
}

std::thread_local! {
    static WORLD: RefCell<Option<Box<World>>> = const { RefCell::new(None) };
    static PARKS: Cell<usize> = const { Cell::new(0) };
}

checker::thread_local! {
    static CURRENT: Cell<Option<&'static Entry>> = Cell::new(None);
}

/// The token of a thread that holds nothing, or of one whose locks the check orders by their address.
pub fn token() -> Cx<'static, Thread> {
    // SAFETY: the models' locks are ordered by the check that uses them.
    unsafe { Cx::assume() }
}

/// The world of this execution.
pub fn world() -> &'static World {
    WORLD.with_borrow(|world| {
        let world: *const World = &**world.as_ref().expect("an execution starts a world");
        // SAFETY: boxed, and dropped when the next execution starts, by when all threads of this one have ended.
        unsafe { &*world }
    })
}

impl World {
    /// Starts an execution with threads of these priorities; it is itself the first. `owners_run`: a lock's owner is
    /// taken to be running, so that adaptive mutexes spin.
    pub fn start(priorities: &[u8], owners_run: bool) {
        // All at once: a thread is known to a machine before it runs, and to every thread that may meet it.
        let threads = priorities.iter().map(|priority| Entry {
            thread: KThread::new(*priority),
            permit: Permit::new(),
            in_interrupt: Cell::new(false),
        });
        let new = Box::new(World {
            turnstiles: Turnstiles::new(),
            threads: threads.collect(),
            started: Cell::new(1),
            now_ns: AtomicU64::new(0),
            owners_run: Cell::new(owners_run),
            turns: Cell::new(0),
        });
        WORLD.set(Some(new));
        CURRENT.with(|c| c.set(Some(&world().threads[0])));
    }

    /// The thread of this number.
    pub fn thread(&self, number: usize) -> &KThread {
        &self.threads[number].thread
    }

    /// From now on owners are taken to be running, or not.
    #[cfg(loom)]
    pub fn set_owners_run(&self, run: bool) {
        self.owners_run.set(run);
    }
}

/// Starts the next thread, which does `f` to what is shared.
pub fn on<T: Send + Sync + 'static>(
    shared: &Arc<T>,
    f: impl FnOnce(&T) + Send + 'static,
) -> JoinHandle<()> {
    let shared = shared.clone();
    let number = world().started.replace(world().started.get() + 1);
    checker::thread::spawn(move || {
        let entry = &world().threads[number];
        CURRENT.with(|c| c.set(Some(entry)));
        f(&shared);
        assert!(entry.thread.mask().is_open(), "a thread ends with spl held");
    })
}

/// Waits for the ends of threads.
pub fn join<const N: usize>(threads: [JoinHandle<()>; N]) {
    for thread in threads {
        thread.join().expect("a model thread panicked");
    }
}

/// Time goes on by [`DEADLINE_NS`], and the timer interrupt unparks `waiting`.
pub fn deadlines_pass(waiting: &[&'static KThread]) {
    // ORDERING: Relaxed: a thread may go on seeing the old time.
    world().now_ns.fetch_add(DEADLINE_NS, Ordering::Relaxed);
    for thread in waiting {
        Model::unpark(thread);
    }
}

/// One more turn of a loop that waits for another thread.
pub fn turn() {
    let turns = &world().turns;
    turns.set(turns.get() + 1);
    if turns.get() > MAX_TURNS {
        #[cfg(loom)]
        checker::skip_branch();
    }
    checker::thread::yield_now();
}

/// Parks in all executions so far on this host thread: that some were shows that a check got to where it aims.
pub fn parks() -> usize {
    PARKS.get()
}

fn current() -> Option<&'static Entry> {
    CURRENT.with(|c| c.get())
}

fn entry() -> &'static Entry {
    current().expect("a model thread has an entry")
}

/// Runs `handler` as an interrupt on the current thread.
#[cfg(loom)]
pub fn interrupt(handler: impl FnOnce()) {
    let entry = entry();
    assert!(!entry.in_interrupt.replace(true));
    let before = entry.thread.mask();
    handler();
    let after = entry.thread.mask();
    assert_eq!(before, after, "a handler leaves spl as it found it");
    entry.in_interrupt.set(false);
}

impl Machine for Model {
    fn current() -> &'static KThread {
        &entry().thread
    }

    fn park(_deadline_ns: Option<u64>) {
        let entry = entry();
        assert!(!entry.in_interrupt.get() && entry.thread.mask().is_open());
        PARKS.set(PARKS.get() + 1);
        #[cfg(loom)]
        crate::interrupt::idle();
        entry.permit.wait();
    }

    fn unpark(thread: &'static KThread) {
        let mut entries = world().threads.iter();
        let entry = entries.find(|e| core::ptr::eq(&e.thread, thread));
        entry.expect("a thread of this execution").permit.give();
    }

    fn is_running(_: &KThread) -> bool {
        world().owners_run.get()
    }

    fn priority_changed(_: &'static KThread) {}

    fn for_each_thread(visit: &mut dyn FnMut(&'static KThread)) {
        world().threads.iter().for_each(|e| visit(&e.thread));
    }

    fn turnstiles() -> &'static Turnstiles {
        &world().turnstiles
    }

    fn now_ns() -> u64 {
        world().now_ns.load(Ordering::Relaxed)
    }

    fn relax() {
        turn();
    }

    fn run_pending() {
        #[cfg(loom)]
        if !crate::delivery::run_pending() {
            crate::interrupt::run_pending();
        }
        #[cfg(shuttle)]
        unreachable!("no check for shuttle has interrupts");
    }

    #[cfg(loom)]
    fn spl_raised() {
        crate::delivery::spl_raised();
    }

    fn interrupt() -> Option<Ipl> {
        entry().in_interrupt.get().then_some(Ipl::Tty)
    }

    fn report(_: &Report) {
        panic!("the run-time checker found something");
    }
}

/// What unpark gives and park takes.
#[cfg(loom)]
struct Permit(checker::sync::Notify);

#[cfg(loom)]
impl Permit {
    fn new() -> Self {
        Permit(checker::sync::Notify::new())
    }

    /// Also returns for no reason, once, in some executions.
    fn wait(&self) {
        self.0.wait();
    }

    fn give(&self) {
        self.0.notify();
    }
}

#[cfg(shuttle)]
struct Permit {
    given: checker::sync::Mutex<bool>,
    changed: checker::sync::Condvar,
}

#[cfg(shuttle)]
impl Permit {
    fn new() -> Self {
        Permit {
            given: checker::sync::Mutex::new(false),
            changed: checker::sync::Condvar::new(),
        }
    }

    fn wait(&self) {
        let mut given = self.given.lock().unwrap();
        while !*given {
            given = self.changed.wait(given).unwrap();
        }
        *given = false;
    }

    fn give(&self) {
        *self.given.lock().unwrap() = true;
        self.changed.notify_one();
    }
}
