// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of threaded interrupts: what they cost while they do not wait, and what happens when they do.
use super::locks::settle;
use super::{PATIENCE_NS, Verdict, join, require, spawn};
use crate::cpu::{self, CpuSet};
use crate::intr::{self, Handler};
use crate::lock_order;
use crate::thread::{self, State, Thread, ThreadCx};
use crate::trial::{self, LINES, Line, spin_until};
use alloc::format;
use alloc::string::String;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use sync::delivery::Policy;
use sync::kmutex::KMutex;

/// Above all that is no interrupt: what disturbs such a thread is an interrupt.
const PRIORITY: u8 = thread::PRIORITY_SYSTEM + 1;

/// Does `check` with the trial lines connected so, all on one CPU.
fn with_lines(
    cx: &mut ThreadCx,
    cpus: [usize; 3],
    handlers: [fn(&mut ThreadCx, usize); 3],
    check: impl FnOnce(&mut ThreadCx) -> Verdict,
) -> Verdict {
    let [bio, net, tty] = handlers;
    let handlers = (
        Handler::Threaded(bio),
        Handler::Threaded(net),
        Handler::Threaded(tty),
    );
    let lines = trial::establish_as(cx, cpus, handlers).map_err(|error| format!("{error}"))?;
    let verdict = check(cx);
    trial::disestablish(cx, lines).map_err(|error| format!("{error}"))?;
    verdict
}

/// The thread that runs the handler of `line`.
fn thread_of(line: Line) -> Result<&'static Thread, String> {
    let duty = u32::from(trial::intid(line));
    let serves = |t: &&Thread| t.serves().is_some_and(|class| class >= sync::ipl::Ipl::Bio);
    let mut threads = thread::threads().filter(serves);
    let found = threads.find(|t| t.duty() == duty);
    found.ok_or_else(|| "the handler has no thread".into())
}

/// Times that the handler of each line began, and ended. Set and read on one CPU, or Release and Acquire.
static BEGAN: [AtomicU32; LINES.len()] = [const { AtomicU32::new(0) }; LINES.len()];
static ENDED: [AtomicU32; LINES.len()] = [const { AtomicU32::new(0) }; LINES.len()];
/// The thread that the handler ran on last.
static RAN_ON: AtomicU32 = AtomicU32::new(0);

fn forget() {
    for count in BEGAN.iter().chain(&ENDED) {
        count.store(0, Ordering::Relaxed);
    }
}

fn ended(line: Line) -> u32 {
    ENDED[line as usize - 1].load(Ordering::Acquire)
}

fn began(line: Line) -> u32 {
    BEGAN[line as usize - 1].load(Ordering::Acquire)
}

fn count(_: &mut ThreadCx, line: usize) {
    BEGAN[line].fetch_add(1, Ordering::Release);
    RAN_ON.store(thread::current().id(), Ordering::Relaxed);
    ENDED[line].fetch_add(1, Ordering::Release);
}

/// The last CPU that is online: the console's interrupts are rarely there.
fn last_cpu() -> usize {
    cpu::online().iter().last().unwrap_or(0)
}

pub fn borrow(cx: &mut ThreadCx) -> Verdict {
    const TIMES: u32 = 1000;
    static SWITCHES: AtomicU64 = AtomicU64::new(0);
    let cpu = last_cpu();
    forget();
    with_lines(cx, [cpu; 3], [count; 3], |cx| {
        let server = thread_of(Line::Bio)?;
        let victim = spawn(cx, "victim", PRIORITY, CpuSet::only(cpu), move |_| {
            let switches = || {
                let both = [thread::current(), server];
                both.map(|t| t.switches.load(Ordering::Relaxed))
                    .iter()
                    .sum::<u64>()
            };
            let before = switches();
            for n in 1..=TIMES {
                trial::set_pending(Line::Bio);
                if !spin_until(PATIENCE_NS, || ended(Line::Bio) >= n) {
                    break;
                }
            }
            SWITCHES.store(switches() - before, Ordering::Relaxed);
        })?;
        join(cx, alloc::vec![victim])?;
        let (ran, on) = (ended(Line::Bio), RAN_ON.load(Ordering::Relaxed));
        let switches = SWITCHES.load(Ordering::Relaxed);
        require(ran == TIMES && on == server.id() && switches == 0, || {
            format!(
                "{ran} of {TIMES} ran, the last on thread {on} instead of {}; {switches} switches",
                server.id()
            )
        })
    })
}

/// What the handler waits for.
static WANTED: KMutex<(), lock_order::Trial> = KMutex::new(());

fn wait(cx: &mut ThreadCx, line: usize) {
    BEGAN[line].fetch_add(1, Ordering::Release);
    let _wanted = WANTED.enter(cx);
    ENDED[line].fetch_add(1, Ordering::Release);
}

/// What was seen at the steps of [`promote`]; ORDERING: read once who writes it was joined.
#[derive(Default)]
struct Seen {
    blocked: AtomicBool,
    priorities: [AtomicU32; 2],
    /// Began and ended while it waited and came again, and others ended.
    meanwhile: [AtomicU32; 3],
    /// Began and ended in the end.
    at_last: [AtomicU32; 2],
    /// The owner's priority afterwards.
    owner_after: AtomicU32,
}

pub fn promote(cx: &mut ThreadCx) -> Verdict {
    const OWNER: u8 = super::PRIORITY; // less than the victim's, more than any load's: it must get to hold the lock
    const OTHERS: u32 = 10;
    static HELD: AtomicBool = AtomicBool::new(false);
    static GO: AtomicBool = AtomicBool::new(false);
    let cpu = last_cpu();
    forget();
    HELD.store(false, Ordering::Relaxed);
    GO.store(false, Ordering::Relaxed);
    let seen = alloc::sync::Arc::new(Seen::default());
    let (of_owner, of_victim) = (seen.clone(), seen.clone());
    with_lines(cx, [cpu; 3], [wait, count, count], |cx| {
        let server = thread_of(Line::Bio)?;
        let owner = spawn(cx, "owner", OWNER, CpuSet::ALL, move |cx| {
            let (wanted, mut inside) = WANTED.enter(cx);
            HELD.store(true, Ordering::Relaxed);
            while !GO.load(Ordering::Relaxed) {
                thread::sleep_until(&mut inside, now_ns() + 100_000);
            }
            drop(wanted);
            let after = thread::current().sync.priority();
            of_owner.owner_after.store(after.into(), Ordering::Relaxed);
        })?;
        let owned = owner.thread;
        let held = || HELD.load(Ordering::Relaxed);
        let _else_nobody_blocks = trial::sleep_until(cx, PATIENCE_NS, held);
        let victim = spawn(cx, "victim", PRIORITY, CpuSet::only(cpu), move |cx| {
            trial::set_pending(Line::Bio);
            let end = now_ns() + PATIENCE_NS;
            let mut blocked = false;
            while !blocked && now_ns() < end {
                blocked = server.snapshot(cx).0 == State::Blocked;
            }
            of_victim.blocked.store(blocked, Ordering::Relaxed);
            for (seen, t) in of_victim.priorities.iter().zip([owned, server]) {
                seen.store(t.sync.priority().into(), Ordering::Relaxed);
            }
            trial::set_pending(Line::Bio);
            settle();
            for n in 1..=OTHERS {
                trial::set_pending(Line::Net);
                let _counted_below = spin_until(PATIENCE_NS, || ended(Line::Net) >= n);
            }
            let meanwhile = [began(Line::Bio), ended(Line::Bio), ended(Line::Net)];
            for (seen, n) in of_victim.meanwhile.iter().zip(meanwhile) {
                seen.store(n, Ordering::Relaxed);
            }
            GO.store(true, Ordering::Relaxed);
            let _counted_below = spin_until(PATIENCE_NS, || ended(Line::Bio) >= 2);
            settle();
            for (seen, n) in of_victim
                .at_last
                .iter()
                .zip([began(Line::Bio), ended(Line::Bio)])
            {
                seen.store(n, Ordering::Relaxed);
            }
        });
        // Whatever happened, the owner must end.
        let ended = victim.and_then(|victim| join(cx, alloc::vec![victim]));
        GO.store(true, Ordering::Relaxed);
        join(cx, alloc::vec![owner])?;
        ended
    })?;
    let number = |n: &AtomicU32| n.load(Ordering::Relaxed);
    let blocked = seen.blocked.load(Ordering::Relaxed);
    let [owner, server] = seen.priorities.each_ref().map(number);
    let meanwhile = seen.meanwhile.each_ref().map(number);
    let at_last = seen.at_last.each_ref().map(number);
    let after = number(&seen.owner_after);
    for (good, what) in [
        (blocked, "the handler did not block".into()),
        (
            owner == server && owner > PRIORITY.into(),
            format!("the owner had priority {owner}, the handler's thread {server}"),
        ),
        (
            meanwhile == [1, 0, OTHERS],
            format!("while it waited: began, ended, others ended {meanwhile:?}"),
        ),
        (
            at_last == [2, 2],
            format!("sent twice, in the end: began, ended {at_last:?}"),
        ),
        (
            after == u32::from(OWNER),
            format!("the owner's priority afterwards was {after}"),
        ),
    ] {
        require(good, || what)?;
    }
    Ok(())
}

static BIO: KMutex<(), lock_order::TrialBio> = KMutex::new(());
static NET: KMutex<(), lock_order::TrialNet> = KMutex::new(());
/// The rounds of the two holders and the two handlers of the [`circle`]: Bio's, then Net's.
static HOLDERS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
/// Some wait took too long: all of it is to end.
static ASTRAY: AtomicBool = AtomicBool::new(false);

fn reached(count: &AtomicU32, round: u32) {
    let gone_astray = || ASTRAY.load(Ordering::Relaxed);
    if !spin_until(PATIENCE_NS, || {
        count.load(Ordering::Acquire) >= round || gone_astray()
    }) {
        ASTRAY.store(true, Ordering::Relaxed);
    }
}

/// The disk's handler, on top of who holds the network's lock: waits for the disk's.
fn enter_bio(cx: &mut ThreadCx, line: usize) {
    let round = BEGAN[line].fetch_add(1, Ordering::Release) + 1;
    reached(&BEGAN[1 - line], round); // both handlers are on top of both holders
    drop(BIO.enter(cx));
    ENDED[line].fetch_add(1, Ordering::Release);
}

/// The network's, on top of who holds the disk's.
fn enter_net(cx: &mut ThreadCx, line: usize) {
    let round = BEGAN[line].fetch_add(1, Ordering::Release) + 1;
    reached(&BEGAN[1 - line], round);
    drop(NET.enter(cx));
    ENDED[line].fetch_add(1, Ordering::Release);
}

/// Holds one lock; has the other domain's handler come on top of it, on this CPU; and leaves when both handlers spin.
fn hold<C>(cx: &mut ThreadCx, lock: &KMutex<(), C>, side: usize, round: u32)
where
    C: sync::domain::LockClass<Machine = thread::Kernel>,
{
    let _held = lock.enter(cx);
    HOLDERS[side].store(round, Ordering::Release);
    reached(&HOLDERS[1 - side], round);
    trial::set_pending(LINES[1 - side]);
    reached(&BEGAN[1 - side], round);
    reached(&BEGAN[side], round);
}

/// Each handler spins for a lock whose holder lies under the other: it ends only because a handler that spins gives its
/// CPU back.
pub fn circle(cx: &mut ThreadCx) -> Verdict {
    const ROUNDS: u32 = 8;
    let online: heapless::Vec<usize, { cpu::CPUS }> = cpu::online().iter().collect();
    let [.., one, other] = online[..] else {
        return Ok(()); // on one CPU nobody spins
    };
    forget();
    for count in &HOLDERS {
        count.store(0, Ordering::Relaxed);
    }
    ASTRAY.store(false, Ordering::Relaxed);
    // Should they stand still, this is to go on.
    thread::set_affinity(cx, thread::current(), CpuSet::only(online[0]));
    let policy = intr::policy();
    intr::set_policy(cx, Policy::Domain); // on a ladder the disk would wait for the network's holder
    // The disk's holder is on `one`, so that the network's handler has to come there.
    let verdict = with_lines(cx, [other, one, one], [enter_bio, enter_net, count], |cx| {
        let bio = spawn(cx, "bio", super::PRIORITY, CpuSet::only(one), |cx| {
            for round in 1..=ROUNDS {
                hold(cx, &BIO, 0, round);
                reached(&ENDED[0], round);
            }
        })?;
        let net = spawn(cx, "net", super::PRIORITY, CpuSet::only(other), |cx| {
            for round in 1..=ROUNDS {
                hold(cx, &NET, 1, round);
                reached(&ENDED[1], round);
            }
        });
        let joined = join(cx, net.into_iter().chain([bio]).collect());
        if joined.is_err() {
            ASTRAY.store(true, Ordering::Relaxed);
        }
        joined?;
        let (ran, astray) = (
            [ended(Line::Bio), ended(Line::Net)],
            ASTRAY.load(Ordering::Relaxed),
        );
        require(ran == [ROUNDS; 2] && !astray, || {
            format!("of {ROUNDS} rounds {ran:?} ended; a wait timed out: {astray}")
        })
    });
    intr::set_policy(cx, policy);
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
    verdict
}
