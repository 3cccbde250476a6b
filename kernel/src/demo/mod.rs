// SPDX-License-Identifier: MIT OR Apache-2.0
//! What spl does, shown and counted: the demonstrations behind the `demo` command, and what they share.
//!
//! They interrupt by the [trial](crate::trial) lines, at the GIC as a device would, and count on both sides: what was
//! sent, and what a direct handler has seen. Counts are exact, whatever the host of an emulator does meanwhile; times are
//! shown, and say what they say about that host.
//!
//! # Memory ordering
//! (1) What the sender notes before it interrupts, the handler sees: [`send`] has a barrier before it touches the GIC.
//! (2) What the handler notes, whoever awaits it sees: Release of `handled`, Acquire in [`handled`].
pub mod count;
pub mod devices;
pub mod domains;
pub mod ladder;
pub mod share;
pub mod storm;

use crate::console::shell::Refusal;
use crate::cpu::irq_save;
use crate::cpu::{self, CpuSet};
use crate::intr::{self, DeviceDomain, Handler};
use crate::thread::{self, Kernel, ThreadCx};
use crate::trial::{self, LINES};
use alloc::format;
use bsp::cpu::{data_barrier, irq_restore};
use bsp::timer::{now_ns, ticks, ticks_to_ns};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sync::domain::{Bio, Cx, High, Interrupt, Net, Sched, Tty, Vm};
use sync::spl::{splbio, splhigh, splnet, splsched, spltty, splvm, splx};

/// Longer than any handler waits that is not lost.
const PATIENCE_NS: u64 = 10_000_000_000;

/// What one line has seen. ORDERING: what is Relaxed here is the interrupt's to order: see the header.
struct Counts {
    sent: AtomicU64,
    handled: AtomicU64,
    /// Handled more often than sent, at that moment. Later it would not show: the next two that are sent would be one.
    twice: AtomicU64,
    /// Of those handled, while the thread that they interrupted held something.
    in_hold: AtomicU64,
    sent_ticks: AtomicU64,
    /// From being sent until the handler's first instruction: the latest.
    wait_ticks: AtomicU64,
}

static COUNTS: [Counts; LINES.len()] = [const {
    Counts {
        sent: AtomicU64::new(0),
        handled: AtomicU64::new(0),
        twice: AtomicU64::new(0),
        in_hold: AtomicU64::new(0),
        sent_ticks: AtomicU64::new(0),
        wait_ticks: AtomicU64::new(0),
    }
}; LINES.len()];

/// The thread that the lines interrupt holds something, or does as if. Written and read on its CPU.
static HOLDS: AtomicBool = AtomicBool::new(false);

fn handle<D>(_: &mut Cx<Interrupt<D>>, line: usize) {
    let now = ticks();
    let line = &COUNTS[line];
    let wait = now.saturating_sub(line.sent_ticks.load(Ordering::Relaxed));
    line.wait_ticks.store(wait, Ordering::Relaxed);
    if HOLDS.load(Ordering::Relaxed) {
        line.in_hold.fetch_add(1, Ordering::Relaxed);
    }
    let before = line.handled.fetch_add(1, Ordering::Release); // (2)
    if before >= line.sent.load(Ordering::Relaxed) {
        line.twice.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends interrupt `line` (its place in [`LINES`]), which nobody else sends. Its last one was handled.
fn send(line: usize) {
    let counts = &COUNTS[line];
    let daif = irq_save(); // what comes in between is no wait
    counts.sent.fetch_add(1, Ordering::Relaxed);
    counts.sent_ticks.store(ticks(), Ordering::Relaxed);
    data_barrier(); // (1)
    trial::set_pending(LINES[line]);
    irq_restore(daif);
}

/// True if all that was sent of `line` was handled.
fn handled(line: usize) -> bool {
    let counts = &COUNTS[line];
    counts.handled.load(Ordering::Acquire) >= counts.sent.load(Ordering::Relaxed) // (2)
}

/// Spins for `time_ns`.
fn pause(time_ns: u64) {
    let end = now_ns() + time_ns;
    while now_ns() < end {
        bsp::cpu::relax();
    }
}

/// Of `line`: sent, handled, handled in a hold. What is not handled yet never will be.
fn counts(line: usize) -> [u64; 3] {
    let counts = &COUNTS[line];
    [&counts.sent, &counts.handled, &counts.in_hold].map(|n| n.load(Ordering::Acquire))
}

/// The latest wait of `line`, ns.
fn wait_ns(line: usize) -> u64 {
    ticks_to_ns(COUNTS[line].wait_ticks.load(Ordering::Relaxed))
}

/// What a thread holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Nothing,
    Bio,
    Net,
    Tty,
    Vm,
    Sched,
    High,
}

impl Hold {
    const ALL: [Hold; 7] = [
        Hold::Nothing,
        Hold::Bio,
        Hold::Net,
        Hold::Tty,
        Hold::Vm,
        Hold::Sched,
        Hold::High,
    ];

    /// What one types for it.
    fn name(self) -> &'static str {
        match self {
            Hold::Nothing => "nothing",
            Hold::Bio => "splbio",
            Hold::Net => "splnet",
            Hold::Tty => "spltty",
            Hold::Vm => "splvm",
            Hold::Sched => "splsched",
            Hold::High => "splhigh",
        }
    }

    /// Does `work` with it held.
    fn around<R>(self, work: impl FnOnce() -> R) -> R {
        macro_rules! held {
            ($raise:ident, $domain:ty) => {{
                let spl = $raise::<Kernel>();
                let result = work();
                splx::<$domain, Kernel>(spl);
                result
            }};
        }
        match self {
            Hold::Nothing => work(),
            Hold::Bio => held!(splbio, Bio),
            Hold::Net => held!(splnet, Net),
            Hold::Tty => held!(spltty, Tty),
            Hold::Vm => held!(splvm, Vm),
            Hold::Sched => held!(splsched, Sched),
            Hold::High => held!(splhigh, High),
        }
    }
}

/// Does `show` with the trial lines on the CPUs given. Afterwards policy and affinity are what they were, however it ended.
fn with_lines(
    cx: &mut ThreadCx,
    cpus: [usize; 3],
    show: impl FnOnce(&mut ThreadCx) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    fn direct<D: DeviceDomain>() -> Handler<D> {
        Handler::Direct(handle::<D>)
    }
    let handlers = (direct(), direct(), direct());
    let lines = trial::establish_as(cx, cpus, handlers)?;
    let policy = intr::policy();
    for counts in &COUNTS {
        for count in [
            &counts.sent,
            &counts.handled,
            &counts.twice,
            &counts.in_hold,
        ] {
            count.store(0, Ordering::Relaxed);
        }
    }
    let shown = show(cx);
    intr::set_policy(cx, policy);
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
    trial::disestablish(cx, lines)?;
    shown
}

/// Two CPUs that are online, one to be interrupted and one to interrupt it; not the console's, if others are there.
fn two_cpus() -> Result<[usize; 2], Refusal> {
    let mut online = cpu::online()
        .iter()
        .collect::<heapless::Vec<_, { cpu::CPUS }>>();
    online.reverse();
    match online[..] {
        [one, other, ..] => Ok([other, one]),
        _ => Err(Refusal("this takes two CPUs; cpu on 1 starts one".into())),
    }
}

/// Complains unless each line was handled as often as it was sent.
fn check_counts() -> Result<u64, Refusal> {
    pause(1_000_000); // for what comes twice
    let (mut all, mut wrong) = (0, false);
    for (line, of_line) in COUNTS.iter().enumerate() {
        let [sent, handled, _] = counts(line);
        all += sent;
        wrong |= sent != handled || of_line.twice.load(Ordering::Relaxed) != 0;
    }
    if wrong {
        let [bio, net, tty] = [0, 1, 2].map(|line| {
            let [sent, handled, _] = counts(line);
            let twice = COUNTS[line].twice.load(Ordering::Relaxed);
            format!("{sent}, {handled}, {twice}")
        });
        return Err(Refusal(format!(
            "demo: FAILED: sent, handled, twice: bio {bio}; net {net}; tty {tty}"
        )));
    }
    Ok(all)
}
