// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with one CPU, fixed priorities and a clock of its own, so that a scenario goes the same way each time.
//!
//! Its threads are the host's, of which one runs at a time: the most urgent that can, first come first served among
//! equals, as the kernel's scheduler does it. Time passes only in [`work`] and when nobody can run; a more urgent
//! thread that can run has the CPU as soon as spl drops.
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use sync::domain::{Cx, Thread};
use sync::ipl::Ipl;
use sync::lockdebug::Report;
use sync::machine::{KThread, Machine};
use sync::spl::PENDING_RESCHED;
use sync::turnstile::Turnstiles;

/// The machine.
pub struct Sim;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready { since: u64 },
    Parked { deadline: Option<u64> },
    Ended,
}

struct Entry {
    thread: &'static KThread,
    name: &'static str,
    state: State,
    permit: bool,
}

#[derive(Default)]
struct World {
    now: u64,
    order: u64,
    threads: Vec<Entry>,
    /// Who has the CPU; nobody before the start and after the end.
    running: Option<usize>,
    failed: bool,
}

struct Shared {
    world: Mutex<World>,
    turn: Condvar,
    turnstiles: &'static Turnstiles,
}

std::thread_local! {
    static ME: Cell<Option<(&'static Shared, usize)>> = const { Cell::new(None) };
}

fn me() -> (&'static Shared, usize) {
    ME.get().expect("a thread of a scenario")
}

impl World {
    fn index(&self, thread: &KThread) -> usize {
        let same = |e: &Entry| std::ptr::eq(e.thread, thread);
        self.threads
            .iter()
            .position(same)
            .expect("a thread of this scenario")
    }

    fn ready(&mut self, index: usize) {
        self.order += 1;
        self.threads[index].state = State::Ready { since: self.order };
    }

    /// Makes those ready whose deadline has come.
    fn expire(&mut self) {
        for index in 0..self.threads.len() {
            if let State::Parked { deadline: Some(at) } = self.threads[index].state
                && at <= self.now
            {
                self.ready(index);
            }
        }
    }

    /// Chooses who runs; lets time pass if nobody can.
    fn choose(&mut self) {
        loop {
            self.expire();
            let ready = self
                .threads
                .iter()
                .enumerate()
                .filter_map(|(index, e)| match e.state {
                    State::Ready { since } => {
                        Some((std::cmp::Reverse(e.thread.priority()), since, index))
                    }
                    _ => None,
                });
            self.running = ready.min().map(|(_, _, index)| index);
            let next = self.threads.iter().filter_map(|e| match e.state {
                State::Parked { deadline } => deadline,
                _ => None,
            });
            match (self.running, next.min()) {
                (None, Some(at)) => self.now = at,
                (None, None) if self.threads.iter().any(|e| e.state != State::Ended) => {
                    self.failed = true;
                    return;
                }
                _ => return,
            }
        }
    }
}

impl Shared {
    /// Gives the CPU to who should have it, and waits until that is the caller again.
    fn reschedule(&self, mut world: MutexGuard<World>, index: usize) {
        world.choose();
        self.turn.notify_all();
        self.wait_turn(world, index);
    }

    fn wait_turn(&self, mut world: MutexGuard<World>, index: usize) {
        while world.running != Some(index) {
            if world.failed {
                drop(world);
                panic!("nobody can run any more");
            }
            world = self.turn.wait(world).unwrap();
        }
    }
}

impl Machine for Sim {
    fn current() -> &'static KThread {
        let (shared, index) = me();
        shared.world.lock().unwrap().threads[index].thread
    }

    fn park(deadline_ns: Option<u64>) {
        let (shared, index) = me();
        let mut world = shared.world.lock().unwrap();
        assert!(
            world.threads[index].thread.mask().is_open(),
            "parks with an interrupt class masked"
        );
        if !std::mem::take(&mut world.threads[index].permit) {
            world.threads[index].state = State::Parked {
                deadline: deadline_ns,
            };
            shared.reschedule(world, index);
            shared.world.lock().unwrap().threads[index].permit = false;
        }
    }

    fn unpark(thread: &'static KThread) {
        let (shared, me) = me();
        let mut world = shared.world.lock().unwrap();
        let index = world.index(thread);
        world.threads[index].permit = true;
        if let State::Parked { .. } = world.threads[index].state {
            world.ready(index);
        }
        world.threads[me]
            .thread
            .pending
            .fetch_or(PENDING_RESCHED, Ordering::Relaxed);
    }

    fn is_running(_: &KThread) -> bool {
        false // of two threads on one CPU, the other one never
    }

    fn priority_changed(_: &'static KThread) {
        Self::current()
            .pending
            .fetch_or(PENDING_RESCHED, Ordering::Relaxed);
    }

    fn for_each_thread(visit: &mut dyn FnMut(&'static KThread)) {
        let threads: Vec<_> = me()
            .0
            .world
            .lock()
            .unwrap()
            .threads
            .iter()
            .map(|e| e.thread)
            .collect();
        threads.into_iter().for_each(visit);
    }

    fn turnstiles() -> &'static Turnstiles {
        me().0.turnstiles
    }

    fn now_ns() -> u64 {
        me().0.world.lock().unwrap().now
    }

    fn relax() {} // one CPU: nobody else can hold a lock that spins

    fn run_pending() {
        let (shared, index) = me();
        let thread = Self::current();
        if thread.mask().is_open() {
            thread.pending.store(0, Ordering::Relaxed);
            shared.reschedule(shared.world.lock().unwrap(), index);
        }
    }

    fn interrupt() -> Option<Ipl> {
        None
    }

    fn report(report: &Report) {
        panic!("{report}");
    }
}

/// Uses the CPU for `ticks`; more urgent threads that become ready have it first.
pub fn work(ticks: u64) {
    let (shared, index) = me();
    for _ in 0..ticks {
        let mut world = shared.world.lock().unwrap();
        world.now += 1;
        shared.reschedule(world, index);
    }
}

/// The time.
pub fn now() -> u64 {
    Sim::now_ns()
}

/// Sleeps until `at`.
pub fn sleep_until(at: u64) {
    while now() < at {
        Sim::park(Some(at));
    }
}

/// Effective priorities of all threads, by name; those that have ended are left out.
pub fn priorities() -> BTreeMap<&'static str, u8> {
    let world = me().0.world.lock().unwrap();
    let alive = world.threads.iter().filter(|e| e.state != State::Ended);
    alive.map(|e| (e.name, e.thread.priority())).collect()
}

/// The thread of that name.
pub fn thread(name: &str) -> &'static KThread {
    let world = me().0.world.lock().unwrap();
    world
        .threads
        .iter()
        .find(|e| e.name == name)
        .expect("a thread of that name")
        .thread
}

/// Keeps a value for good: threads of the locks' machines never go.
pub fn forever<T: Send + Sync>(value: T) -> &'static T {
    static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());
    /// So that it can be found from a static, and is not a leak.
    struct Kept(#[expect(dead_code)] *const ());
    // SAFETY: the pointer is never followed.
    unsafe impl Send for Kept {}
    let kept: &'static T = Box::leak(Box::new(value));
    KEPT.lock().unwrap().push(Kept((&raw const *kept).cast()));
    kept
}

/// What [`scenario`] starts: a name, a priority, and what the thread does.
pub type Role = (&'static str, u8, Box<dyn FnOnce(&mut Cx<Thread>) + Send>);

/// A role.
pub fn role(
    name: &'static str,
    priority: u8,
    act: impl FnOnce(&mut Cx<Thread>) + Send + 'static,
) -> Role {
    (name, priority, Box::new(act))
}

/// What [`watch`] saw: when effective priorities changed, and to what.
pub type Trace = Arc<Mutex<Vec<(u64, BTreeMap<&'static str, u8>)>>>;

/// A role that writes down all changes of priorities until `end`; it runs before all others, and uses no time.
pub fn watch(end: u64) -> (Trace, Role) {
    let trace = Trace::default();
    let seen = trace.clone();
    let watcher = role("watcher", u8::MAX, move |_| {
        while now() < end {
            sleep_until(now() + 1);
            let mut now_are = priorities();
            now_are.remove("watcher");
            let mut seen = seen.lock().unwrap();
            if seen.last().is_none_or(|(_, before)| *before != now_are) {
                seen.push((now(), now_are));
            }
        }
    });
    (trace, watcher)
}

/// Runs the roles to their end, from time 0. Fails if one does, or if all wait for ever.
pub fn scenario(roles: Vec<Role>) {
    let shared = forever(Shared {
        world: Mutex::default(),
        turn: Condvar::new(),
        turnstiles: forever(Turnstiles::new()),
    });
    {
        let mut world = shared.world.lock().unwrap();
        for (name, priority, _) in &roles {
            let thread = forever(KThread::new(*priority));
            world.threads.push(Entry {
                thread,
                name,
                state: State::Ended,
                permit: false,
            });
            let index = world.threads.len() - 1;
            world.ready(index);
        }
    }
    let hosts: Vec<JoinHandle<()>> = roles
        .into_iter()
        .enumerate()
        .map(|(index, (_, _, act))| {
            std::thread::spawn(move || {
                ME.set(Some((shared, index)));
                // Whatever happens, the others must go on.
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    shared.wait_turn(shared.world.lock().unwrap(), index);
                    // SAFETY: the first thing that this thread does.
                    act(&mut unsafe { Cx::assume() });
                }));
                let mut world = shared.world.lock().unwrap_or_else(|e| e.into_inner());
                world.threads[index].state = State::Ended;
                world.failed |= outcome.is_err();
                world.choose();
                shared.turn.notify_all();
                drop(world);
                if let Err(cause) = outcome {
                    std::panic::resume_unwind(cause);
                }
            })
        })
        .collect();
    shared.world.lock().unwrap().choose();
    shared.turn.notify_all();
    let failed: Vec<_> = hosts
        .into_iter()
        .filter_map(|host| host.join().err())
        .collect();
    if let Some(cause) = failed.into_iter().next() {
        std::panic::resume_unwind(cause);
    }
}
