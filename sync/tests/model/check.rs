// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a check through its executions, and says how many there were.
#[cfg(loom)]
use crate::machine::MAX_TURNS;
use crate::machine::{checker, parks};
use std::sync::Arc;
#[cfg(loom)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// What a check came to.
pub struct Explored {
    /// Calls of [`park`](sync::machine::Machine::park) in all of them.
    pub parks: usize,
}

/// Runs `f` through every execution, with at most `preemptions` switches away from threads that could go on, if given.
#[cfg(loom)]
pub fn explore(
    name: &str,
    threads: usize,
    preemptions: Option<usize>,
    f: impl Fn() + Sync + Send + 'static,
) -> Explored {
    let once = AtomicUsize::new(1);
    let more = move || once.swap(0, Ordering::Relaxed) > 0;
    explore_while(name, threads, preemptions, more, move |_| f())
}

/// As [`explore`], again and again with another number for `f`, from 0 up, as long as there is `more`.
#[cfg(loom)]
pub fn explore_while(
    name: &str,
    threads: usize,
    preemptions: Option<usize>,
    more: impl Fn() -> bool,
    f: impl Fn(usize) + Sync + Send + 'static,
) -> Explored {
    let mut builder = checker::model::Builder::new();
    builder.max_threads = threads;
    builder.max_branches = 3_000; // an execution that needs more makes no progress
    builder.preemption_bound = preemptions;
    let bound = match preemptions {
        None => "any preemptions".into(),
        Some(n) => format!("<= {n} preemptions"),
    };
    let bound = format!("loom, {threads} threads, {bound}, <= {MAX_TURNS} turns");
    counted(name, &bound, f, |f| {
        let f = Arc::new(f);
        let mut round = 0;
        while more() {
            let f = f.clone();
            builder.check(move || f(round));
            round += 1;
        }
    })
}

/// For each number of `events`, which says how many events come from outside: runs `f` with its place in the list and each
/// combination of places, counted from 1, for that many. `f` says how many places there were.
#[cfg(loom)]
pub fn explore_places(
    name: &str,
    events: Vec<usize>,
    f: impl Fn(usize, &[usize]) -> usize + Sync + Send + 'static,
) -> Explored {
    let shared = Arc::new(Mutex::new(Places {
        events,
        number: 0,
        next: Vec::new(),
    }));
    let places = shared.clone();
    let more = move || shared.lock().unwrap().advance();
    explore_while(name, 1, None, more, move |_| {
        let mut places = places.lock().unwrap();
        let at: Vec<_> = places.next.iter().map(|(place, _)| *place).collect();
        let there_were = f(places.number, &at);
        for (_, most) in &mut places.next {
            *most = there_were.max(*most);
        }
    })
}

/// The combination of places that is next.
#[cfg(loom)]
struct Places {
    events: Vec<usize>,
    number: usize,
    /// Each event's, and how many there were at most since it was chosen.
    next: Vec<(usize, usize)>,
}

#[cfg(loom)]
impl Places {
    /// Goes on to the next; false if there is none.
    fn advance(&mut self) -> bool {
        if !self.next.is_empty() {
            for (place, most) in self.next.iter_mut().rev() {
                // One that is never reached is tried, too: there the others are alone.
                if *place <= *most {
                    (*place, *most) = (*place + 1, 0);
                    return true;
                }
                (*place, *most) = (1, 0);
            }
            self.number += 1;
        }
        let events = self.events.get(self.number);
        self.next = vec![(1, 0); events.copied().unwrap_or(0)];
        events.is_some()
    }
}

/// Runs `f` through `iterations` schedules drawn at random, and as many of PCT with `depth`, from fixed seeds.
#[cfg(shuttle)]
pub fn explore(
    name: &str,
    threads: usize,
    iterations: usize,
    depth: usize,
    f: impl Fn() + Sync + Send + 'static,
) -> Explored {
    use checker::Runner;
    use checker::scheduler::{PctScheduler, RandomScheduler};
    let mut config = checker::Config::new();
    config.failure_persistence = checker::FailurePersistence::None;
    config.silence_warnings = true; // that it takes every ordering for SeqCst is known
    let bound = format!("shuttle, {threads} threads, random and PCT depth {depth}, fixed seeds");
    counted(
        name,
        &bound,
        move |()| f(),
        move |f| {
            let f = Arc::new(f);
            let g = f.clone();
            let random = RandomScheduler::new_from_seed(0x0A7_0601, iterations);
            Runner::new(random, config.clone()).run(move || f(()));
            let pct = PctScheduler::new_from_seed(0x0A7_0602, depth, iterations);
            Runner::new(pct, config).run(move || g(()));
        },
    )
}

fn counted<A>(
    name: &str,
    bound: &str,
    f: impl Fn(A) + Sync + Send + 'static,
    run: impl FnOnce(Box<dyn Fn(A) + Sync + Send>),
) -> Explored {
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    let (start, parked) = (Instant::now(), parks());
    run(Box::new(move |argument| {
        count.fetch_add(1, Ordering::Relaxed);
        f(argument);
    }));
    let (executions, parks) = (executions.load(Ordering::Relaxed), parks() - parked);
    let seconds = start.elapsed().as_secs_f32();
    println!("model {name}: {bound}; {executions} executions, {parks} parks, {seconds:.1} s");
    Explored { parks }
}

/// What the locks under test guard: a number, that loom sees every access to.
#[cfg(loom)]
pub struct Data(checker::cell::UnsafeCell<u32>);

#[cfg(loom)]
impl Data {
    pub fn new() -> Self {
        Data(checker::cell::UnsafeCell::new(0))
    }

    /// Adds one, as who has the lock for writing.
    pub fn bump(&self) {
        // SAFETY: who calls holds the lock; loom panics if not.
        self.0.with_mut(|p| unsafe { *p += 1 });
    }

    pub fn get(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|p| unsafe { *p })
    }
}

/// What the locks under test guard: a number, with a place for another thread in the middle of each access.
#[cfg(shuttle)]
pub struct Data {
    value: std::cell::Cell<u32>,
    readers: std::cell::Cell<u32>,
    written: std::cell::Cell<bool>,
}

#[cfg(shuttle)]
impl Data {
    pub fn new() -> Self {
        Data {
            value: 0.into(),
            readers: 0.into(),
            written: false.into(),
        }
    }

    /// Adds one, as who has the lock for writing.
    pub fn bump(&self) {
        assert_eq!(self.readers.get(), 0, "a writer among readers");
        assert!(!self.written.replace(true), "two writers");
        let value = self.value.get();
        crate::machine::turn();
        self.value.set(value + 1);
        self.written.set(false);
    }

    pub fn get(&self) -> u32 {
        assert!(!self.written.get(), "a reader beside a writer");
        self.readers.set(self.readers.get() + 1);
        crate::machine::turn();
        self.readers.set(self.readers.get() - 1);
        self.value.get()
    }
}

// SAFETY: the checkers run all threads of an execution on one host thread.
unsafe impl Sync for Data {}
// SAFETY: as above.
unsafe impl Send for Data {}
