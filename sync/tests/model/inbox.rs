// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the inbox.
use crate::check::{Data, explore};
use crate::machine::checker::sync::atomic::{AtomicUsize, Ordering};
use crate::machine::{Line, World, join, on, token};
use std::ptr::NonNull;
use std::sync::Arc;
use sync::inbox::{Inbox, Link, Linked};
use sync::kmutex::KMutex;

struct Thing {
    link: Link<Thing>,
    number: usize,
    data: Data,
}

impl Linked for Thing {
    fn link(&self) -> &Link<Self> {
        &self.link
    }
}

/// An inbox, and what may be left there.
struct Case {
    inbox: Inbox<Thing>,
    things: Vec<Thing>,
    /// Those that were not left, as bits.
    kept: AtomicUsize,
    /// Those that the keeper has seen to, in order.
    seen: KMutex<Vec<usize>, Line>,
}

impl Case {
    fn new(things: usize) -> Arc<Self> {
        let thing = |number| Thing {
            link: Link::new(),
            number,
            data: Data::new(),
        };
        Arc::new(Self {
            inbox: Inbox::new(),
            things: (0..things).map(thing).collect(),
            kept: AtomicUsize::new(0),
            seen: KMutex::new(Vec::new()),
        })
    }

    /// Writes to a thing and leaves it; true if the inbox was open.
    fn leave(&self, number: usize) -> bool {
        let thing = &self.things[number];
        thing.data.bump();
        // SAFETY: left once; it is there as long as the case.
        unsafe { self.inbox.leave(NonNull::from_ref(thing)) }
    }

    /// Leaves a thing, or notes that it was kept.
    fn leave_or_keep(&self, number: usize) {
        if !self.leave(number) {
            self.kept.fetch_or(1 << number, Ordering::Relaxed);
        }
    }

    /// What was left until now, each with what was written to it.
    fn close(&self) -> Vec<usize> {
        let left = self.inbox.close().map(|thing| {
            // SAFETY: it is there as long as the case.
            let thing = unsafe { thing.as_ref() };
            assert_eq!(thing.data.get(), 1);
            thing.number
        });
        left.collect()
    }
}

/// What is left is handed over, once, in its order and with what was written to it; what is not stays with who has it.
#[test]
fn inbox_hands_over() {
    explore("inbox_hands_over", 3, Some(3), || {
        World::start(&[1; 3], false);
        let case = Case::new(3);
        let others = [
            on(&case, |case| (0..2).for_each(|n| case.leave_or_keep(n))),
            on(&case, |case| case.leave_or_keep(2)),
        ];
        let mut seen = Vec::new();
        for _ in 0..2 {
            case.inbox.open();
            seen.extend(case.close());
        }
        join(others);
        assert!(case.close().is_empty(), "left in a closed inbox");
        let kept = case.kept.load(Ordering::Relaxed);
        let bits: usize = seen.iter().map(|number| 1 << number).sum();
        assert_eq!(bits ^ kept, 0b111, "left {seen:?}, kept {kept:#b}");
        let place = |number| seen.iter().position(|n| *n == number);
        assert!(place(0) < place(1) || place(1).is_none(), "{seen:?}");
    });
}

/// As it is meant: who finds it closed takes the keeper's lock. Nothing is lost, and what one thread brings stays in order.
#[test]
fn inbox_against_its_lock() {
    explore("inbox_against_its_lock", 2, None, || {
        World::start(&[1; 2], false);
        let case = Case::new(2);
        let other = on(&case, |case| {
            for number in 0..2 {
                if !case.leave(number) {
                    case.seen.enter(&mut token()).0.push(number);
                }
            }
        });
        {
            let mut cx = token();
            let (mut seen, _cx) = case.seen.enter(&mut cx);
            case.inbox.open();
            seen.extend(case.close());
        }
        join([other]);
        assert_eq!(*case.seen.enter(&mut token()).0, [0, 1]);
    });
}
