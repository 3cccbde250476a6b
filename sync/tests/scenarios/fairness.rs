// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fairness rules of the reader-writer lock (sync/src/krwlock.rs), a scenario with a bound for each.
use crate::sim::{Role, Sim, forever, now, role, scenario, sleep_until, work};
use std::sync::{Arc, Mutex};
use sync::krwlock::KRwLock;

sync::lock_order! {
    machine Sim;
    thread { Table }
    bio {}
    net {}
    tty {}
    vm {}
    sched {}
    high {}
}

/// One lock, and who entered it when, in order.
#[derive(Clone)]
struct Entries {
    lock: &'static KRwLock<(), Table>,
    entered: Arc<Mutex<Vec<(&'static str, u64)>>>,
}

impl Entries {
    fn new() -> Self {
        Self {
            lock: forever(KRwLock::new(())),
            entered: Arc::default(),
        }
    }

    fn note(&self, name: &'static str) {
        self.entered.lock().unwrap().push((name, now()));
    }

    /// Comes at `at` and reads until `until`, or for a tick if that is past.
    fn reader(&self, name: &'static str, priority: u8, at: u64, until: u64) -> Role {
        let this = self.clone();
        role(name, priority, move |cx| {
            sleep_until(at);
            let (_held, _) = this.lock.read(cx);
            this.note(name);
            sleep_until(until);
        })
    }

    /// Comes at `at` and writes until `until`.
    fn writer(&self, name: &'static str, priority: u8, at: u64, until: u64) -> Role {
        let this = self.clone();
        role(name, priority, move |cx| {
            sleep_until(at);
            let (_held, _) = this.lock.write(cx);
            this.note(name);
            sleep_until(until);
        })
    }

    fn order(&self) -> Vec<&'static str> {
        self.entered
            .lock()
            .unwrap()
            .iter()
            .map(|(name, _)| *name)
            .collect()
    }

    fn at(&self, name: &str) -> u64 {
        self.entered
            .lock()
            .unwrap()
            .iter()
            .find(|(n, _)| *n == name)
            .expect("it entered")
            .1
    }
}

/// Rule 1: readers that overlap without end do not keep a writer out: it waits for those that were in before it.
#[test]
fn rule_1_nobody_passes_a_waiter() {
    let e = Entries::new();
    scenario(vec![
        e.reader("r1", 5, 0, 10),
        e.reader("r2", 5, 5, 15),
        e.writer("w", 5, 7, 0),
        e.reader("r3", 5, 9, 25),
        e.reader("r4", 5, 14, 35),
        e.reader("r5", 5, 24, 45),
    ]);
    assert_eq!(e.at("w"), 15, "the last reader before it left at 15");
    assert_eq!(e.order(), ["r1", "r2", "w", "r3", "r4", "r5"]);
}

/// Rule 1, where the reader is more urgent than the writer that waits: it does not pass either.
#[test]
fn rule_1_holds_for_urgent_readers() {
    let e = Entries::new();
    scenario(vec![
        e.reader("r1", 5, 0, 10),
        e.writer("w", 3, 5, 12),
        e.reader("urgent", 9, 7, 20),
    ]);
    assert_eq!(
        e.at("urgent"),
        10,
        "when r1 leaves, by rule 2 before the writer"
    );
    assert_eq!(e.at("w"), 20);
}

/// Rule 2: the most urgent first, reader or writer.
#[test]
fn rule_2_the_most_urgent_is_next() {
    let e = Entries::new();
    scenario(vec![
        e.writer("first", 1, 0, 10),
        e.writer("w4", 4, 1, 0),
        e.writer("w6", 6, 2, 0),
        e.reader("r8", 8, 3, 0),
        e.writer("w2", 2, 4, 0),
        e.writer("w7", 7, 5, 0),
    ]);
    assert_eq!(e.order(), ["first", "r8", "w7", "w6", "w4", "w2"]);
}

/// Rule 2 among equals: readers after a writer, a writer after readers. So a reader waits for one writer at most, and a writer
/// for one crowd of readers, however many of either kind stand in the queue.
#[test]
fn rule_2_equals_take_turns() {
    let e = Entries::new();
    scenario(vec![
        e.writer("w1", 5, 0, 10),
        e.writer("w2", 5, 1, 20),
        e.writer("w3", 5, 16, 40),
        e.reader("ra", 5, 3, 15),
        e.reader("rb", 5, 4, 15),
        // Comes while the readers are in, and must not follow them before a writer.
        e.reader("rc", 5, 12, 30),
        // Comes while w2 is in, and w3 waits.
        e.reader("later", 5, 17, 30),
    ]);
    assert_eq!(e.order(), ["w1", "ra", "rb", "w2", "rc", "later", "w3"]);
    assert_eq!(
        (e.at("ra"), e.at("w2"), e.at("later"), e.at("w3")),
        (10, 15, 20, 30)
    );
}

/// Rule 2 among equals of a kind: first come, first served.
#[test]
fn rule_2_equal_writers_in_order() {
    let e = Entries::new();
    scenario(vec![
        e.writer("w0", 5, 0, 10),
        e.writer("w1", 5, 1, 0),
        e.writer("w2", 5, 2, 0),
        e.writer("w3", 5, 3, 0),
    ]);
    assert_eq!(e.order(), ["w0", "w1", "w2", "w3"]);
}

/// Rule 3: with a reader enter all that are no less urgent than the most urgent waiting writer, and no others.
#[test]
fn rule_3_readers_enter_together() {
    let e = Entries::new();
    scenario(vec![
        e.writer("first", 1, 0, 10),
        e.reader("r3", 3, 1, 0),
        e.reader("r5", 5, 2, 20),
        e.reader("r7", 7, 3, 20),
        e.writer("w5", 5, 4, 25),
        e.reader("r5b", 5, 5, 20),
    ]);
    let order = e.order();
    assert_eq!(order[0], "first");
    let mut together = order[1..4].to_vec();
    together.sort_unstable();
    assert_eq!(together, ["r5", "r5b", "r7"]);
    assert_eq!(order[4..], ["w5", "r3"]);
    assert_eq!([e.at("r5"), e.at("r5b"), e.at("r7")], [10; 3]);
    assert_eq!((e.at("w5"), e.at("r3")), (20, 25));
}

/// Rule 4: an urgent writer lends its priority to a reader, which else would wait for the CPU: bounded by what the reader
/// does inside, not by what others do.
#[test]
fn rule_4_the_holders_inherit() {
    let e = Entries::new();
    let slow = e.clone();
    scenario(vec![
        role("reader", 1, move |cx| {
            let (_held, _) = slow.lock.read(cx);
            slow.note("reader");
            work(5);
        }),
        role("hog", 5, |_| {
            sleep_until(2);
            work(100);
        }),
        e.writer("w", 9, 3, 0),
    ]);
    // Two ticks of the reader's, one of the hog's, and the reader's other three.
    assert_eq!(e.at("w"), 6);
}
