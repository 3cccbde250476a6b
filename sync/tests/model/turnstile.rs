// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of priority inheritance: who blocks lends its priority, and takes it back, at every point in between.
use crate::check::{Data, explore};
use crate::machine::{
    DEADLINE_NS, Inner, Model, Outer, World, deadlines_pass, join, on, token, turn, world,
};
use std::sync::Arc;
use sync::kmutex::KMutex;
use sync::machine::Machine;

const LOW: u8 = 1;
const MIDDLE: u8 = 5;
const HIGH: u8 = 9;

/// The current thread's effective priority.
fn priority() -> u8 {
    Model::current().priority()
}

/// Waits until the current thread's effective priority is `wanted`.
fn await_priority(wanted: u8) {
    while priority() != wanted {
        turn();
    }
}

/// The holder may leave at any time: whatever it inherited is gone when it has left.
#[test]
fn turnstile_unboost() {
    let explored = explore("turnstile_unboost", 3, Some(3), || {
        World::start(&[LOW, HIGH, MIDDLE], false);
        let mutex = Arc::new(KMutex::<Data, Outer>::new(Data::new()));
        let visit = |own: u8| {
            move |mutex: &KMutex<Data, Outer>| {
                let mut cx = token();
                let (data, _cx) = mutex.enter(&mut cx);
                data.bump();
                assert!(priority() >= own);
                drop(data);
                assert_eq!(priority(), own);
            }
        };
        let others = [on(&mutex, visit(HIGH)), on(&mutex, visit(MIDDLE))];
        visit(LOW)(&mutex);
        join(others);
    });
    assert!(explored.parks > 0);
}

/// The holder stays until it has inherited.
#[test]
fn turnstile_boost() {
    explore("turnstile_boost", 3, Some(3), || {
        World::start(&[LOW, HIGH, MIDDLE], false);
        let mutex = Arc::new(KMutex::<Data, Outer>::new(Data::new()));
        let mut cx = token();
        let held = mutex.enter(&mut cx);
        let visit = |own: u8| {
            move |mutex: &KMutex<Data, Outer>| {
                let mut cx = token();
                let (data, _cx) = mutex.enter(&mut cx);
                assert_eq!(priority(), own);
                data.bump();
                assert_eq!(data.get(), if own == HIGH { 1 } else { 2 });
            }
        };
        let high = on(&mutex, visit(HIGH));
        await_priority(HIGH);
        let middle = on(&mutex, visit(MIDDLE));
        drop(held);
        assert_eq!(priority(), LOW);
        join([high, middle]);
    });
}

type Pair = (KMutex<Data, Outer>, KMutex<Data, Inner>);

/// High waits for middle, which waits for low.
#[test]
fn turnstile_chain() {
    explore("turnstile_chain", 3, Some(3), || {
        World::start(&[LOW, MIDDLE, HIGH], false);
        let locks: Arc<Pair> = Arc::new((KMutex::new(Data::new()), KMutex::new(Data::new())));
        let mut cx = token();
        let held = locks.1.enter(&mut cx);
        let middle = on(&locks, |(outer, inner)| {
            let mut cx = token();
            let (first, mut cx) = outer.enter(&mut cx);
            let (second, _cx) = inner.enter(&mut cx);
            assert_eq!(priority(), HIGH);
            drop(second);
            assert_eq!(priority(), HIGH);
            drop(first);
            assert_eq!(priority(), MIDDLE);
        });
        await_priority(MIDDLE);
        let high = on(&locks, |(outer, _)| {
            let mut cx = token();
            outer.enter(&mut cx).0.bump();
            assert_eq!(priority(), HIGH);
        });
        await_priority(HIGH);
        drop(held);
        assert_eq!(priority(), LOW);
        join([middle, high]);
    });
}

/// The end of the chain gives up: the others go back to what they had before it came.
#[test]
fn turnstile_chain_ends() {
    explore("turnstile_chain_ends", 3, Some(3), || {
        World::start(&[LOW, MIDDLE, HIGH], false);
        let locks: Arc<Pair> = Arc::new((KMutex::new(Data::new()), KMutex::new(Data::new())));
        let mut cx = token();
        let held = locks.1.enter(&mut cx);
        let middle = on(&locks, |(outer, inner)| {
            let mut cx = token();
            let (_first, mut cx) = outer.enter(&mut cx);
            let (_second, _cx) = inner.enter(&mut cx);
            assert_eq!(priority(), MIDDLE);
        });
        await_priority(MIDDLE);
        let high = on(&locks, |(outer, _)| {
            let mut cx = token();
            assert!(outer.enter_until(&mut cx, DEADLINE_NS).is_none());
        });
        await_priority(HIGH);
        deadlines_pass(&[world().thread(2)]);
        await_priority(MIDDLE);
        drop(held);
        assert_eq!(priority(), LOW);
        join([middle, high]);
    });
}

/// The middle of the chain gives up: low has nothing any more, middle keeps what high lends it.
#[test]
fn turnstile_chain_breaks() {
    explore("turnstile_chain_breaks", 3, Some(3), || {
        World::start(&[LOW, MIDDLE, HIGH], false);
        let locks: Arc<Pair> = Arc::new((KMutex::new(Data::new()), KMutex::new(Data::new())));
        let mut cx = token();
        let held = locks.1.enter(&mut cx);
        let middle = on(&locks, |(outer, inner)| {
            let mut cx = token();
            let (first, mut cx) = outer.enter(&mut cx);
            assert!(inner.enter_until(&mut cx, DEADLINE_NS).is_none());
            assert_eq!(priority(), HIGH);
            drop(first);
            assert_eq!(priority(), MIDDLE);
        });
        await_priority(MIDDLE);
        let high = on(&locks, |(outer, _)| {
            let mut cx = token();
            outer.enter(&mut cx).0.bump();
        });
        await_priority(HIGH);
        deadlines_pass(&[world().thread(1)]);
        await_priority(LOW);
        join([middle, high]);
        assert_eq!(priority(), LOW);
        drop(held);
    });
}

/// Middle waits behind another until high lends it its priority: then it goes first.
#[test]
fn turnstile_queue_follows_priority() {
    explore("turnstile_queue_follows_priority", 4, Some(1), || {
        World::start(&[LOW, MIDDLE + 1, MIDDLE, HIGH], false);
        let locks: Arc<Pair> = Arc::new((KMutex::new(Data::new()), KMutex::new(Data::new())));
        let mut cx = token();
        let held = locks.1.enter(&mut cx);
        let other = on(&locks, |(_, inner)| {
            let mut cx = token();
            assert_eq!(inner.enter(&mut cx).0.get(), 1);
        });
        await_priority(MIDDLE + 1);
        let middle = on(&locks, |(outer, inner)| {
            let mut cx = token();
            let (_first, mut cx) = outer.enter(&mut cx);
            let (second, _cx) = inner.enter(&mut cx);
            assert_eq!(second.get(), 0);
            second.bump();
        });
        let high = on(&locks, |(outer, _)| {
            while outer.owner().is_none() {
                turn();
            }
            let mut cx = token();
            outer.enter(&mut cx).0.bump();
        });
        await_priority(HIGH);
        drop(held);
        join([other, middle, high]);
    });
}
