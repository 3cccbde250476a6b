// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of locks against an interrupt on the CPU of the very thread that uses them.
//!
//! The interrupt comes before the thread's access number `at` to an atomic of the crate, and each check is repeated with `at`
//! counted up until no execution has so many: it is tried at every place. A masked one waits, as a machine that masks
//! lazily has it: it sets [`PENDING_INTERRUPT`], and runs when spl drops. It stands for an interrupt thread, on the CPU that
//! it borrows, so it shows a thread's token and may enter its device's locks.
use crate::check::{Data, explore, explore_while};
use crate::machine::{self, Line, Model, World, join, on, token};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use sync::domain::Tty;
use sync::ipl::Ipl;
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;
use sync::machine::{KThread, Machine};
use sync::spinword::SpinWord;
use sync::spl::{PENDING_INTERRUPT, spltty, splx};

/// The interrupt line of class Tty into the CPU of one thread.
struct Wire {
    thread: &'static KThread,
    handler: Box<dyn Fn()>,
    /// The accesses before which an interrupt comes.
    at: [usize; 2],
    accesses: Cell<usize>,
    /// The machine looks at the thread itself.
    looking: Cell<bool>,
    /// It parked: all have come.
    idle: Cell<bool>,
    came: Cell<u32>,
    waiting: Cell<u32>,
    handled: Cell<u32>,
}

std::thread_local! {
    static WIRE: RefCell<Option<Rc<Wire>>> = const { RefCell::new(None) };
}

fn wire() -> Option<Rc<Wire>> {
    WIRE.with_borrow(|w| w.clone())
}

/// Connects the current thread's CPU, where interrupts come at these accesses. What [`Wire`] holds ends with [`cut`].
fn connect(at: [usize; 2], handler: impl Fn() + 'static) -> Rc<Wire> {
    let wire = Rc::new(Wire {
        thread: Model::current(),
        handler: Box::new(handler),
        at,
        accesses: Cell::new(0),
        looking: Cell::new(false),
        idle: Cell::new(false),
        came: Cell::new(0),
        waiting: Cell::new(0),
        handled: Cell::new(0),
    });
    WIRE.set(Some(wire.clone()));
    sync::before_access(Some(access));
    wire
}

/// No more interrupts come; none may be left over.
fn cut(wire: &Wire) {
    sync::before_access(None);
    WIRE.set(None);
    assert_eq!(wire.waiting.get(), 0, "an interrupt was never handled");
    assert_eq!(wire.came.get(), wire.handled.get());
    assert_eq!(wire.thread.pending.load(Relaxed), 0);
    assert!(wire.thread.mask().is_open());
}

fn access() {
    let Some(wire) = wire() else { return };
    let here = core::ptr::eq(Model::current(), wire.thread);
    if here && !wire.idle.get() && !wire.looking.get() && Model::interrupt().is_none() {
        wire.accesses.set(wire.accesses.get() + 1);
        let coming = wire.at.iter().filter(|at| **at == wire.accesses.get());
        coming.for_each(|_| wire.interrupt());
    }
}

impl Wire {
    fn masked(&self) -> bool {
        self.looking.set(true);
        let masked = self.thread.mask().masks(Ipl::Tty);
        self.looking.set(false);
        masked
    }

    fn interrupt(&self) {
        self.came.set(self.came.get() + 1);
        if self.masked() {
            self.waiting.set(self.waiting.get() + 1);
            self.looking.set(true);
            self.thread.pending.fetch_or(PENDING_INTERRUPT, Relaxed);
            self.looking.set(false);
        } else {
            self.handle();
        }
    }

    fn handle(&self) {
        machine::interrupt(&self.handler);
        self.handled.set(self.handled.get() + 1);
    }
}

/// [`Machine::run_pending`].
pub fn run_pending() {
    let wire = wire().expect("something is pending: it came by the wire");
    if Model::interrupt().is_none() && !wire.masked() {
        wire.looking.set(true);
        wire.thread.pending.store(0, Relaxed);
        wire.looking.set(false);
        for _ in 0..wire.waiting.take() {
            wire.handle();
        }
    }
}

/// [`Machine::park`]: while the thread does nothing, the interrupts that are still to come do.
pub fn idle() {
    if let Some(wire) = wire()
        && core::ptr::eq(Model::current(), wire.thread)
    {
        let left = wire.at.iter().filter(|at| **at > wire.accesses.get());
        let left = if wire.idle.replace(true) {
            0
        } else {
            left.count()
        };
        (0..left).for_each(|_| wire.interrupt());
    }
}

type Shared = KMutex<Data, Line>;

fn in_thread(mutex: &Shared) {
    let mut cx = token();
    mutex.enter(&mut cx).0.bump();
}

fn in_handler(mutex: &Shared) {
    let mut cx = token();
    mutex.enter(&mut cx).0.bump();
}

/// What the interrupted thread does, releasing in another order than it took.
fn interrupted(mutex: &Shared) {
    let me = Model::current();
    in_thread(mutex);
    let spl = spltty::<Model>();
    let mut cx = token();
    let (data, _cx) = mutex.enter(&mut cx);
    splx::<Tty, Model>(spl);
    assert!(me.mask().masks(Ipl::Tty) && !me.mask().masks(Ipl::Net));
    data.bump();
    drop(data);
    assert!(me.mask().is_open());
}

/// Runs `f` with every two places for interrupts. It returns how many came.
fn at_every_two_places(name: &str, f: impl Fn([usize; 2]) -> u32 + Send + Sync + 'static) {
    let at = Arc::new([AtomicUsize::new(1), AtomicUsize::new(0)]);
    let came = Arc::new(AtomicU32::new(2));
    let (places, seen) = (at.clone(), came.clone());
    let more = move || {
        let [first, second] = &*at;
        if came.swap(0, Relaxed) == 2 {
            second.fetch_add(1, Relaxed);
            return true;
        }
        // No execution gets as far as the second: the next first one.
        let next = first.fetch_add(1, Relaxed) + 1;
        second.swap(next, Relaxed) >= next
    };
    explore_while(name, 1, None, more, move |_| {
        let came = f([places[0].load(Relaxed), places[1].load(Relaxed)]);
        seen.fetch_max(came, Relaxed);
    });
}

/// Another CPU contends for the mutex.
#[test]
fn spin_mutex_against_its_interrupt() {
    let came = Arc::new(AtomicBool::new(true));
    let (more, seen) = (came.clone(), came);
    let more = move || more.swap(false, Relaxed);
    let name = "spin_mutex_against_its_interrupt";
    explore_while(name, 2, None, more, move |round| {
        World::start(&[1; 2], false);
        let mutex = Arc::new(Shared::new(Data::new()));
        let handler = mutex.clone();
        let wire = connect([round + 1, 0], move || in_handler(&handler));
        let other = on(&mutex, in_thread);
        interrupted(&mutex);
        cut(&wire);
        join([other]);
        seen.fetch_or(wire.came.get() > 0, Relaxed);
        let mut cx = token();
        let (data, _cx) = mutex.enter(&mut cx);
        assert_eq!(data.get(), 3 + wire.handled.get());
    });
}

#[test]
fn spin_mutex_against_two_interrupts() {
    at_every_two_places("spin_mutex_against_two_interrupts", |at| {
        World::start(&[1], false);
        let mutex = Arc::new(Shared::new(Data::new()));
        let handler = mutex.clone();
        let wire = connect(at, move || in_handler(&handler));
        interrupted(&mutex);
        cut(&wire);
        wire.came.get()
    });
}

/// The word under the blocking locks, in a thread that holds off nothing else.
#[test]
fn spinword_against_two_interrupts() {
    at_every_two_places("spinword_against_two_interrupts", |at| {
        World::start(&[1], false);
        let guarded = Arc::new((SpinWord::new(), Data::new()));
        let visit = |(word, data): &(SpinWord, Data)| {
            let _held = word.lock::<Model>();
            data.bump();
        };
        let handler = guarded.clone();
        let wire = connect(at, move || visit(&handler));
        visit(&guarded);
        cut(&wire);
        assert_eq!(guarded.1.get(), 1 + wire.handled.get());
        wire.came.get()
    });
}

/// Trying holds interrupts off only if it succeeds.
#[test]
fn spin_mutex_tried() {
    explore("spin_mutex_tried", 2, None, || {
        World::start(&[1; 2], false);
        let mutex = Arc::new(Shared::new(Data::new()));
        let try_it = |mutex: &Shared| {
            let mut cx = token();
            match mutex.try_enter(&mut cx) {
                Some((data, _cx)) => data.bump(),
                None => assert!(Model::current().mask().is_open()),
            }
        };
        let other = on(&mutex, try_it);
        try_it(&mutex);
        join([other]);
        assert!(Model::current().mask().is_open());
    });
}

/// The handler changes the condition and signals, at every two points of two waits.
#[test]
fn condvar_signal_from_interrupt() {
    at_every_two_places("condvar_signal_from_interrupt", |at| {
        World::start(&[1], false);
        let things = Arc::new((Shared::new(Data::new()), KCondvar::<Model>::new()));
        let handler = things.clone();
        let wire = connect(at, move || {
            in_handler(&handler.0);
            handler.1.signal(&mut token());
        });
        for wanted in [1, 2] {
            let mut cx = token();
            let (mut data, mut cx) = things.0.enter(&mut cx);
            while data.get() < wanted {
                things.1.wait(&mut data, &mut cx);
                assert!(Model::current().mask().masks(Ipl::Tty));
            }
        }
        let came = if wire.idle.get() { 0 } else { wire.came.get() };
        cut(&wire);
        came
    });
}
