// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks too large for every interleaving: schedules and choices drawn at random, from fixed seeds.
use crate::check::{Data, explore};
use crate::machine::checker::rand::{Rng, thread_rng};
use crate::machine::checker::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use crate::machine::{
    Inner, Line, Model, Outer, World, deadlines_pass, join, on, token, turn, world,
};
use std::sync::Arc;
use sync::kcondvar::{KCondvar, Wakeup};
use sync::kmutex::KMutex;
use sync::krwlock::KRwLock;
use sync::machine::Machine;

fn priority() -> u8 {
    Model::current().priority()
}

/// Thread n holds mutex n and waits for mutex n - 1; when all wait, the first lets go.
#[test]
fn turnstile_chain_of_eight() {
    const LAST: usize = 8;
    struct Chain {
        mutexes: [KMutex<Data, Outer>; LAST + 1],
        ready: AtomicUsize,
    }
    let link = |number: usize| {
        move |chain: &Chain| {
            while chain.ready.load(Relaxed) < number {
                turn();
            }
            let (mut cx, mut cx2) = (token(), token());
            let own = chain.mutexes[number].enter(&mut cx);
            chain.ready.store(number + 1, Relaxed);
            let below = chain.mutexes[number - 1].enter(&mut cx2);
            assert_eq!(
                priority(),
                LAST as u8,
                "the last one waits through all others"
            );
            below.0.bump();
            drop(below);
            assert_eq!(priority(), LAST as u8);
            drop(own);
            assert_eq!(priority(), number as u8);
        }
    };
    let explored = explore("turnstile_chain_of_eight", LAST + 1, 2_000, 4, move || {
        World::start(
            &core::array::from_fn::<u8, { LAST + 1 }, _>(|n| n as u8),
            false,
        );
        let chain = Arc::new(Chain {
            mutexes: core::array::from_fn(|_| KMutex::new(Data::new())),
            ready: AtomicUsize::new(0),
        });
        let others = core::array::from_fn::<_, LAST, _>(|n| on(&chain, link(n + 1)));
        let mut cx = token();
        let own = chain.mutexes[0].enter(&mut cx);
        chain.ready.store(1, Relaxed);
        while priority() != LAST as u8 {
            turn();
        }
        drop(own);
        assert_eq!(priority(), 0);
        join(others);
    });
    assert!(explored.parks > 0);
}

/// Locks of every kind, and what was done to each.
struct Locks {
    table: KRwLock<Data, Outer>,
    other: KRwLock<Data, Inner>,
    mutex: KMutex<Data, Inner>,
    queue: KMutex<Data, Line>,
    more: KCondvar<Model>,
    /// Visits that wrote, of each of the four.
    writes: [AtomicU32; 4],
}

impl Locks {
    fn wrote(&self, which: usize, data: &Data) {
        data.bump();
        self.writes[which].fetch_add(1, Relaxed);
    }

    /// One visit, of a kind drawn at random.
    fn visit(&self) {
        let (mut cx, mut cx2) = (token(), token());
        let soon = Model::now_ns() + 1;
        match thread_rng().gen_range(0..9) {
            0 => self.wrote(0, &self.table.write(&mut cx).0),
            1 => {
                let (table, mut cx) = self.table.read(&mut cx);
                let (mutex, _cx) = self.mutex.enter(&mut cx);
                self.wrote(2, &mutex);
                table.get();
            }
            2 => {
                let (table, mut cx) = self.table.read(&mut cx);
                let (other, _cx) = self.other.read(&mut cx);
                other.get();
                drop(table);
                other.get();
            }
            3 => {
                let table = self.table.read(&mut cx).0;
                let other = self.other.write(&mut cx2).0;
                drop(table);
                self.wrote(1, &other);
            }
            4 => self.wrote(2, &self.mutex.enter(&mut cx).0),
            5 => {
                if let Some((mutex, _cx)) = self.mutex.enter_until(&mut cx, soon) {
                    self.wrote(2, &mutex);
                }
            }
            6 => {
                if let Some((mutex, _cx)) = self.mutex.try_enter(&mut cx) {
                    self.wrote(2, &mutex);
                }
            }
            7 => {
                self.wrote(3, &self.queue.enter(&mut cx).0);
                self.more.signal(&mut token());
            }
            _ => {
                let (mut queue, mut cx) = self.queue.enter(&mut cx);
                let _any = self.more.timed_wait_sig(&mut queue, &mut cx, soon);
                self.wrote(3, &queue);
            }
        }
    }
}

/// Everything at once, while time passes, threads are cancelled and priorities change.
#[test]
fn torture_mixed() {
    const OTHERS: usize = 5;
    for owners_run in [false, true] {
        let explored = explore("torture_mixed", OTHERS + 1, 3_000, 3, move || {
            World::start(&[1, 1, 2, 3, 4, 5], owners_run);
            let locks = Arc::new(Locks {
                table: KRwLock::new(Data::new()),
                other: KRwLock::new(Data::new()),
                mutex: KMutex::new(Data::new()),
                queue: KMutex::new(Data::new()),
                more: KCondvar::new(),
                writes: core::array::from_fn(|_| AtomicU32::new(0)),
            });
            let running = Arc::new(AtomicUsize::new(OTHERS));
            let others = core::array::from_fn::<_, OTHERS, _>(|_| {
                let running = running.clone();
                on(&locks, move |locks| {
                    (0..6).for_each(|_| locks.visit());
                    running.fetch_sub(1, Relaxed);
                })
            });
            let all = || (1..=OTHERS).map(|n| world().thread(n));
            while running.load(Relaxed) > 0 {
                deadlines_pass(&all().collect::<Vec<_>>());
                let thread = world().thread(thread_rng().gen_range(1..=OTHERS));
                let base = thread_rng().gen_range(1..8);
                Model::turnstiles().set_base::<Model, _>(&mut token(), thread, base);
                if thread_rng().gen_ratio(1, 8) {
                    thread.cancel::<Model, _>(&mut token());
                }
                turn();
            }
            join(others);
            for thread in all() {
                let base = Model::turnstiles().base::<Model>(thread);
                assert_eq!(thread.priority(), base, "all it inherited is gone");
            }
            let [mut a, mut b, mut c, mut d] = [token(), token(), token(), token()];
            let seen = [
                locks.table.write(&mut a).0.get(),
                locks.other.write(&mut b).0.get(),
                locks.mutex.try_enter(&mut c).expect("it is free").0.get(),
                locks.queue.try_enter(&mut d).expect("it is free").0.get(),
            ];
            assert_eq!(seen, [0, 1, 2, 3].map(|i| locks.writes[i].load(Relaxed)));
        });
        assert!(explored.parks > 0);
    }
}

/// Each signal wakes one who took a thing, or goes on: as many are taken as were made, whoever else gives up.
#[test]
fn condvar_things_are_taken_once() {
    const TAKERS: usize = 4;
    struct Store {
        made: KMutex<Data, Line>,
        taken: AtomicU32,
        more: KCondvar<Model>,
    }
    impl Store {
        /// Takes a thing, unless the wait is ended first.
        fn take(&self, hurried: bool) {
            let mut cx = token();
            let (mut made, mut cx) = self.made.enter(&mut cx);
            while made.get() == self.taken.load(Relaxed) {
                let wakeup = if hurried {
                    self.more.timed_wait_sig(&mut made, &mut cx, 1)
                } else {
                    self.more.wait(&mut made, &mut cx);
                    Wakeup::Signalled
                };
                if wakeup != Wakeup::Signalled {
                    return;
                }
            }
            self.taken.fetch_add(1, Relaxed);
        }
    }
    let explored = explore(
        "condvar_things_are_taken_once",
        TAKERS + 1,
        5_000,
        3,
        || {
            World::start(&[1, 1, 2, 3, 4], false);
            let store = Arc::new(Store {
                made: KMutex::new(Data::new()),
                taken: AtomicU32::new(0),
                more: KCondvar::new(),
            });
            // The more urgent ones are in a hurry; as many things are made as there are threads.
            let takers = core::array::from_fn::<_, TAKERS, _>(|n| {
                on(&store, move |store| store.take(n >= TAKERS / 2))
            });
            for round in 0..TAKERS {
                let mut cx = token();
                store.made.enter(&mut cx).0.bump();
                store.more.signal(&mut token());
                match round {
                    1 => world().thread(TAKERS).cancel::<Model, _>(&mut token()),
                    2 => deadlines_pass(&[world().thread(TAKERS - 1)]),
                    _ => {}
                }
            }
            join(takers);
            assert!(store.taken.load(Relaxed) as usize >= TAKERS / 2);
        },
    );
    assert!(explored.parks > 0);
}
