// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the spin word and of the adaptive mutex.
use crate::check::{Data, explore};
use crate::machine::checker::sync::atomic::{AtomicUsize, Ordering};
use crate::machine::{
    DEADLINE_NS, Line, Model, Outer, World, deadlines_pass, join, on, parks, token, turn, world,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use sync::domain::Tty;
use sync::kmutex::KMutex;
use sync::machine::Machine;
use sync::spinword::SpinWord;
use sync::spl::{spltty, splx};

type Mutex = KMutex<Data, Outer>;

/// Enters, adds one, leaves.
fn bump(mutex: &Mutex) {
    let mut cx = token();
    let (data, _cx) = mutex.enter(&mut cx);
    data.bump();
}

/// The mutex is free, and was visited so often.
fn assert_visits(mutex: &Mutex, visits: u32) {
    assert!(mutex.owner().is_none());
    let mut cx = token();
    let (data, _cx) = mutex.try_enter(&mut cx).expect("all have left");
    assert_eq!(data.get(), visits);
}

#[test]
fn spinword_excludes() {
    explore("spinword_excludes", 3, None, || {
        World::start(&[1; 3], false);
        let guarded = Arc::new((SpinWord::new(), Data::new()));
        let visit = |(word, data): &(SpinWord, Data)| {
            let _held = word.lock::<Model>();
            data.bump();
        };
        let others = [on(&guarded, visit), on(&guarded, visit)];
        visit(&guarded);
        join(others);
        assert_eq!(guarded.1.get(), 3);
    });
}

/// Owners run, so who waits spins.
#[test]
fn mutex_excludes() {
    let explored = explore("mutex_excludes", 3, Some(4), || {
        World::start(&[1; 3], true);
        let mutex = Arc::new(Mutex::new(Data::new()));
        let others = [on(&mutex, bump), on(&mutex, bump)];
        bump(&mutex);
        join(others);
        assert_visits(&mutex, 3);
    });
    assert_eq!(explored.parks, 0);
}

/// Owners do not run, so who waits blocks.
#[test]
fn mutex_block_and_hand_over() {
    let explored = explore("mutex_block_and_hand_over", 2, None, || {
        World::start(&[1; 2], false);
        let mutex = Arc::new(Mutex::new(Data::new()));
        let other = on(&mutex, bump);
        bump(&mutex);
        join([other]);
        assert_visits(&mutex, 2);
    });
    assert!(explored.parks > 0);
    let explored = explore("mutex_block_and_hand_over", 3, Some(3), || {
        World::start(&[1; 3], false);
        let mutex = Arc::new(Mutex::new(Data::new()));
        let others = [on(&mutex, bump), on(&mutex, bump)];
        bump(&mutex);
        join(others);
        assert_visits(&mutex, 3);
    });
    assert!(explored.parks > 0);
}

/// A deadline passes while the lock is handed over: who was granted it has it, who gave up has not.
#[test]
fn mutex_no_lost_wakeup() {
    let (in_time, late) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counts = (in_time.clone(), late.clone());
    explore("mutex_no_lost_wakeup", 3, Some(2), move || {
        World::start(&[1; 3], false);
        let mutex = Arc::new(Mutex::new(Data::new()));
        let mut cx = token();
        let held = mutex.enter(&mut cx).0;
        let (in_time, late) = counts.clone();
        let hurried = on(&mutex, move |mutex| {
            let mut cx = token();
            match mutex.enter_until(&mut cx, DEADLINE_NS) {
                Some((data, _cx)) => {
                    data.bump();
                    in_time.fetch_add(1, Relaxed);
                    return;
                }
                None => late.fetch_add(1, Relaxed),
            };
            bump(mutex);
        });
        let other = on(&mutex, bump);
        turn();
        deadlines_pass(&[world().thread(1)]);
        held.bump();
        drop(held);
        join([hurried, other]);
        assert_visits(&mutex, 3);
    });
    assert!(in_time.load(Relaxed) > 0 && late.load(Relaxed) > 0);
}

/// Once the last waiter has given up nothing says any more that somebody waits: who comes then spins.
#[test]
fn mutex_unmarked_after_giving_up() {
    explore("mutex_unmarked_after_giving_up", 3, None, || {
        World::start(&[1; 3], false);
        let mutex = Arc::new(Mutex::new(Data::new()));
        let mut cx = token();
        let held = mutex.enter(&mut cx);
        let hurried = on(&mutex, |mutex| {
            let mut cx = token();
            assert!(mutex.enter_until(&mut cx, DEADLINE_NS).is_none());
        });
        deadlines_pass(&[world().thread(1)]);
        join([hurried]);
        world().set_owners_run(true);
        let parked = parks();
        let other = on(&mutex, bump);
        turn();
        drop(held);
        join([other]);
        assert_eq!(parks(), parked);
    });
}

/// As the scheduler does with a run queue's mutex: who enters it is not who leaves it, and so back.
#[test]
fn mutex_left_to_another() {
    /// Waits for its turn; what the other did before is seen, as on one CPU.
    fn await_turn(turns: &AtomicUsize, wanted: usize) {
        while turns.load(Ordering::Acquire) != wanted {
            turn();
        }
    }
    explore("mutex_left_to_another", 3, Some(2), || {
        World::start(&[1; 3], false);
        let spin = KMutex::<Data, Line>::new(Data::new());
        let shared = Arc::new((spin, AtomicUsize::new(0)));
        let next = on(&shared, |(mutex, turns)| {
            let spl = spltty::<Model>();
            await_turn(turns, 1);
            // SAFETY: it was left to this thread, which has a hold.
            unsafe {
                mutex.assume_held().bump();
                mutex.exit_left();
            }
            let mut cx = token();
            // SAFETY: the thread that waits for its turn goes on; the other hold is given back below.
            unsafe { mutex.enter(&mut cx).0.leave_to(world().thread(0)) };
            turns.store(2, Ordering::Release);
            splx::<Tty, Model>(spl);
        });
        let other = on(&shared, |(mutex, _)| mutex.enter(&mut token()).0.bump());
        let (mutex, turns) = &*shared;
        let mut cx = token();
        // SAFETY: as above; the hold that stays is for when it comes back.
        unsafe { mutex.enter(&mut cx).0.leave_to(world().thread(1)) };
        turns.store(1, Ordering::Release);
        await_turn(turns, 2);
        // SAFETY: as above.
        unsafe {
            mutex.assume_held().bump();
            mutex.exit_left();
        }
        join([next, other]);
        assert!(Model::current().mask().is_open());
        assert_eq!(mutex.enter(&mut token()).0.get(), 3);
    });
}
