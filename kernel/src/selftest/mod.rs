// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the running machine: what only hardware, or an emulator of it, can show. Each prints its claim.
mod example;
mod flavours;
mod legacy;
mod locks;
mod moves;
mod softints;
mod step;
mod turns;

use crate::cpu::{self, CpuSet};
use crate::thread::{self, JoinHandle, Kernel, ThreadCx};
use crate::{callout, intr, lock_order};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::mmu::symbol;
use bsp::timer::now_ns;
use bsp::{map, trap};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use sync::domain::Sched;
use sync::kmutex::KMutex;
use sync::spl::{splsched, splx};

type Verdict = Result<(), String>;

struct Check {
    name: &'static str,
    claim: &'static str,
    run: fn(&mut ThreadCx) -> Verdict,
}

const CHECKS: &[Check] = &[
    Check {
        name: "affinity",
        claim: "a thread runs where its affinity says, also when it changes",
        run: affinity,
    },
    Check {
        name: "borrow",
        claim: "a threaded handler that does not wait costs no switch",
        run: flavours::borrow,
    },
    Check {
        name: "callout",
        claim: "callouts run in order of time, and not once cancelled",
        run: callouts,
    },
    Check {
        name: "circle",
        claim: "handlers that spin on top of each other's holders get on",
        run: flavours::circle,
    },
    Check {
        name: "copy",
        claim: "memory is copied whole, at every length and alignment",
        run: copy,
    },
    Check {
        name: "example",
        claim: "the guide's driver: a disk's blocks go out by the network",
        run: example::example,
    },
    Check {
        name: "exit",
        claim: "threads end, are joined, and leave their slots to others",
        run: exit,
    },
    Check {
        name: "heap",
        claim: "blocks of all sizes and alignments are distinct and come back",
        run: heap,
    },
    Check {
        name: "legacy",
        claim: "legacy handlers: one at a time in a domain, two in two",
        run: legacy::legacy,
    },
    Check {
        name: "limit",
        claim: "one thread too many is refused, and nothing is lost",
        run: limit,
    },
    Check {
        name: "line",
        claim: "a line of the log waits for the end of this one",
        run: line,
    },
    Check {
        name: "lock",
        claim: "a mutex lets one thread in at a time, adaptive or of a domain",
        run: locks::lock,
    },
    Check {
        name: "memory",
        claim: "text is read-only; null, guards and holes are not mapped",
        run: memory,
    },
    Check {
        name: "move",
        claim: "a source that moves loses nothing and leaves nothing behind",
        run: moves::moves,
    },
    Check {
        name: "preempt",
        claim: "a better thread runs at once, also from an interrupt",
        run: preempt,
    },
    Check {
        name: "promote",
        claim: "a handler that waits is a thread, and its source is quiet",
        run: flavours::promote,
    },
    Check {
        name: "share",
        claim: "equals on one CPU take turns without giving way",
        run: share,
    },
    Check {
        name: "sleep",
        claim: "a sleep lasts as long as it should or more, on every CPU",
        run: sleep,
    },
    Check {
        name: "softint",
        claim: "what a held-off handler leaves to be done is done with it",
        run: softints::softints,
    },
    Check {
        name: "spl",
        claim: "what spl masks waits, and runs once as soon as it may",
        run: locks::spl,
    },
    Check {
        name: "step",
        claim: "interrupts in the middle of spl and spin mutexes run once each",
        run: step::step,
    },
    Check {
        name: "tickless",
        claim: "an idle CPU takes no timer interrupts",
        run: tickless,
    },
    Check {
        name: "turns",
        claim: "who spins lends its CPU to all that wait for it, in turn",
        run: turns::turns,
    },
];

/// Runs all checks, or the one named; returns how many failed.
pub fn run(cx: &mut ThreadCx, out: &mut dyn Write, name: Option<&str>) -> Result<usize, String> {
    let chosen: Vec<&Check> = CHECKS
        .iter()
        .filter(|c| name.is_none_or(|n| n == c.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = CHECKS.iter().map(|c| c.name).collect();
        let lines: Vec<String> = names.chunks(9).map(|names| names.join(" ")).collect();
        let names = lines.join("\n  ");
        return Err(format!("no such check; there are:\n  {names}"));
    }
    let failed = report(cx, out, &chosen).map_err(|error| format!("{error}"))?;
    Ok(failed)
}

fn report(cx: &mut ThreadCx, out: &mut dyn Write, checks: &[&Check]) -> Result<usize, fmt::Error> {
    let mut failed = 0;
    for check in checks {
        write!(out, "{:<9} {} ... ", check.name, check.claim)?;
        match (check.run)(cx) {
            Ok(()) => writeln!(out, "ok")?,
            Err(reason) => {
                failed += 1;
                writeln!(out, "FAILED\n          {reason}")?;
            }
        }
    }
    writeln!(out, "{} passed, {failed} failed", checks.len() - failed)?;
    Ok(failed)
}

fn require(condition: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// Better than the shell's, so that a check is not disturbed by a load.
const PRIORITY: u8 = thread::PRIORITY_NORMAL + 4;
const PATIENCE_NS: u64 = 30_000_000_000;

fn spawn(
    cx: &mut ThreadCx,
    name: &str,
    priority: u8,
    on: CpuSet,
    work: impl FnOnce(&mut ThreadCx) + Send + 'static,
) -> Result<JoinHandle, String> {
    thread::spawn(cx, name, priority, on, work).map_err(|error| format!("{error}"))
}

fn join(cx: &mut ThreadCx, handles: Vec<JoinHandle>) -> Verdict {
    let end = now_ns() + PATIENCE_NS;
    handles.into_iter().try_for_each(|h| {
        let id = h.id;
        require(h.join_until(cx, end), || {
            format!("thread {id} did not end within 30 s")
        })
    })
}

/// Whoever reads the console judges.
fn line(cx: &mut ThreadCx) -> Verdict {
    log::info!(target: "selftest", "logged in the middle of a line");
    thread::sleep_until(cx, now_ns() + 50_000_000); // what prints the log is more urgent
    Ok(())
}

fn affinity(cx: &mut ThreadCx) -> Verdict {
    let wrong = Arc::new(AtomicU32::new(0));
    let seen = wrong.clone();
    let online = cpu::online();
    let mover = spawn(cx, "mover", PRIORITY, CpuSet::ALL, move |cx| {
        for _ in 0..5 {
            for n in online.iter() {
                thread::set_affinity(cx, thread::current(), CpuSet::only(n));
                let spl = splsched::<Kernel>();
                let here = bsp::cpu::index();
                splx::<Sched, Kernel>(spl);
                seen.fetch_add(u32::from(here != n), Ordering::Relaxed);
            }
        }
    })?;
    join(cx, alloc::vec![mover])?;
    let wrong = wrong.load(Ordering::Relaxed);
    require(wrong == 0, || {
        format!("{wrong} times on a CPU outside its affinity")
    })
}

static ORDER: KMutex<heapless::Vec<usize, 8>, lock_order::TrialSched> =
    KMutex::new(heapless::Vec::new());

fn callouts(cx: &mut ThreadCx) -> Verdict {
    ORDER.enter(cx).0.clear();
    let note: callout::Function = |cx, n| {
        let _ = ORDER.enter(cx).0.push(n);
    };
    let soon = now_ns() + 2_000_000;
    // With the clock held off, none runs before all are in the list, however slow this is.
    let spl = splsched::<Kernel>();
    callout::schedule(cx, soon + 200_000, note, 3);
    callout::schedule(cx, soon, note, 1);
    let cancelled = callout::schedule(cx, soon + 50_000, note, 9);
    callout::schedule(cx, soon + 100_000, note, 2);
    let took_back = callout::cancel(cx, cancelled);
    splx::<Sched, Kernel>(spl);
    let end = now_ns() + PATIENCE_NS;
    while ORDER.enter(cx).0.len() < 3 && now_ns() < end {
        thread::sleep_until(cx, now_ns() + 1_000_000);
    }
    let order = ORDER.enter(cx).0.clone();
    require(took_back && order.as_slice() == [1, 2, 3], || {
        format!("ran {order:?}, cancelled {took_back}")
    })
}

/// Lengths beyond the longest step of the copying loop, and its ends at every place in a word.
fn copy(_: &mut ThreadCx) -> Verdict {
    const LONGEST: usize = 200;
    const AROUND: u8 = 0xee;
    let from: Vec<u8> = (0..LONGEST + 16).map(|n| n as u8 ^ 0x5a).collect();
    let mut to = alloc::vec![AROUND; LONGEST + 32];
    for bytes in 0..=LONGEST {
        for (source, target) in (0..8).flat_map(|s| (8..16).map(move |t| (s, t))) {
            to.fill(AROUND);
            to[target..target + bytes].copy_from_slice(&from[source..source + bytes]);
            let whole = to[target..target + bytes] == from[source..source + bytes];
            let outside = to[..target].iter().chain(&to[target + bytes..]);
            if !whole || outside.copied().any(|byte| byte != AROUND) {
                return Err(format!("{bytes} bytes from {source} to {target}"));
            }
        }
    }
    Ok(())
}

fn exit(cx: &mut ThreadCx) -> Verdict {
    let ran = Arc::new(AtomicU32::new(0));
    for _ in 0..60 {
        let threads = (0..5).map(|_| {
            let ran = ran.clone();
            spawn(cx, "brief", PRIORITY, CpuSet::ALL, move |_| {
                ran.fetch_add(1, Ordering::Relaxed);
            })
        });
        let threads = threads.collect::<Result<_, _>>()?;
        join(cx, threads)?;
    }
    let ran = ran.load(Ordering::Relaxed);
    require(ran == 300, || format!("{ran} of 300 threads ran"))
}

fn heap(_: &mut ThreadCx) -> Verdict {
    let before = crate::heap::usage().used_bytes;
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for round in 0..400usize {
        let size = 1 + round * 37 % 9000;
        blocks.push(alloc::vec![round as u8; size]);
        if round % 3 == 0 {
            blocks.swap_remove(round * 7 % blocks.len());
        }
    }
    let intact = blocks.iter().all(|b| b.iter().all(|byte| *byte == b[0]));
    drop(blocks);
    let aligned = (0..20).all(|shift| {
        let Ok(layout) = core::alloc::Layout::from_size_align(100, 1 << shift) else {
            return false;
        };
        // SAFETY: the layout has a size, and the block is given back with the same.
        unsafe {
            let block = alloc::alloc::alloc(layout);
            let good = !block.is_null() && (block as usize).is_multiple_of(layout.align());
            alloc::alloc::dealloc(block, layout);
            good
        }
    });
    // Other threads may allocate meanwhile; the blocks of this check are far more than that.
    let left = crate::heap::usage().used_bytes.saturating_sub(before);
    require(intact && aligned && left < 65_536, || {
        format!("intact {intact}, aligned {aligned}, {left} bytes left behind")
    })
}

fn limit(cx: &mut ThreadCx) -> Verdict {
    let go = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    let refused = loop {
        let wait = go.clone();
        let work = move |cx: &mut ThreadCx| {
            while !wait.load(Ordering::Acquire) {
                thread::sleep_until(cx, now_ns() + 1_000_000);
            }
        };
        match thread::spawn(cx, "filler", PRIORITY, CpuSet::ALL, work) {
            Ok(handle) => threads.push(handle),
            Err(error) => break format!("{error}"),
        }
        if threads.len() > thread::MAX_THREADS {
            break "nothing was refused".into();
        }
    };
    go.store(true, Ordering::Release);
    let started = threads.len();
    join(cx, threads)?;
    require(started > 50 && refused.contains("limit"), || {
        format!("after {started} threads: {refused}")
    })
}

fn memory(_: &mut ThreadCx) -> Verdict {
    let stack = thread::current().stack();
    let holes = [
        0,
        8,
        map::KERNEL_BASE - 8,
        stack.start - 8,
        stack.start - 4096,
        map::DEVICES_BASE - 8,
        0x7F_FFFF_FFF8,
    ];
    for hole in holes {
        require(trap::read(hole, 8).is_err(), || {
            format!("{hole:#x} can be read")
        })?;
    }
    require(trap::read(stack.start, 8).is_ok(), || {
        "the lowest word of a stack cannot be read".into()
    })?;
    for constant in [
        symbol::text_start(),
        symbol::text_end(),
        symbol::ksyms_start(),
    ] {
        let value = trap::read(constant, 8).map_err(|_| format!("{constant:#x} cannot be read"))?;
        // SAFETY: the value that is there already, if anything.
        let written = unsafe { trap::write(constant, 8, value) };
        require(written.is_err(), || format!("{constant:#x} can be written"))?;
    }
    Ok(())
}

fn preempt(cx: &mut ThreadCx) -> Verdict {
    let here = CpuSet::only(thread::current().cpu());
    thread::set_affinity(cx, thread::current(), here);
    let (stage, looked) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (better, go_on) = (stage.clone(), looked.clone());
    let handle = spawn(cx, "better", PRIORITY, here, move |cx| {
        better.store(1, Ordering::Relaxed);
        while !go_on.load(Ordering::Relaxed) {
            thread::sleep_until(cx, now_ns() + 200_000);
        }
        better.store(2, Ordering::Relaxed);
    })?;
    let at_once = stage.load(Ordering::Relaxed);
    looked.store(true, Ordering::Relaxed);
    let end = now_ns() + PATIENCE_NS;
    while stage.load(Ordering::Relaxed) != 2 && now_ns() < end {
        core::hint::spin_loop(); // never gives way: only an interrupt can let it run
    }
    let from_interrupt = stage.load(Ordering::Relaxed);
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
    join(cx, alloc::vec![handle])?;
    require((at_once, from_interrupt) == (1, 2), || {
        format!("at once {at_once}, from the timer {from_interrupt}")
    })
}

fn share(cx: &mut ThreadCx) -> Verdict {
    let on = CpuSet::only(cpu::online().iter().last().unwrap_or(0));
    // This thread, better than they, wakes there more often than a slice is long: that must not renew their slices.
    thread::set_affinity(cx, thread::current(), on);
    let stop = Arc::new(AtomicBool::new(false));
    let turns: Arc<[AtomicU64; 3]> = Arc::default();
    let last = Arc::new(AtomicUsize::new(usize::MAX));
    let threads = (0..3).map(|n| {
        let (stop, turns, last) = (stop.clone(), turns.clone(), last.clone());
        spawn(cx, "equal", thread::PRIORITY_NORMAL - 1, on, move |_| {
            while !stop.load(Ordering::Relaxed) {
                if last.swap(n, Ordering::Relaxed) != n {
                    turns[n].fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
    let end = now_ns() + PATIENCE_NS;
    let enough = || turns.iter().all(|t| t.load(Ordering::Relaxed) >= 3);
    while !enough() && now_ns() < end {
        thread::sleep_until(cx, now_ns() + 5_000_000);
    }
    stop.store(true, Ordering::Relaxed);
    thread::set_affinity(cx, thread::current(), CpuSet::ALL);
    join(cx, threads)?;
    require(enough(), || format!("turns: {turns:?}"))
}

fn sleep(cx: &mut ThreadCx) -> Verdict {
    let early = Arc::new(AtomicU64::new(0));
    let threads = cpu::online().iter().map(|n| {
        let early = early.clone();
        spawn(cx, "sleeper", PRIORITY, CpuSet::only(n), move |cx| {
            for us in [1, 50, 400, 3000] {
                let until = now_ns() + us * 1000;
                thread::sleep_until(cx, until);
                early.fetch_max(until.saturating_sub(now_ns()), Ordering::Relaxed);
            }
        })
    });
    let threads = threads.collect::<Result<_, _>>()?;
    join(cx, threads)?;
    let early = early.load(Ordering::Relaxed);
    require(early == 0, || format!("woke {early} ns early"))
}

fn tickless(cx: &mut ThreadCx) -> Verdict {
    let timer = u32::from(map::IRQ_TIMER);
    let counts = |cx: &mut ThreadCx| {
        intr::lines(cx)
            .iter()
            .find(|line| line.intid == timer)
            .map_or([0; cpu::CPUS], |line| line.counts)
    };
    let before = counts(cx);
    thread::sleep_until(cx, now_ns() + 100_000_000);
    let after = counts(cx);
    // One interrupt ends this sleep; a clock tick of 100 Hz would make ten on each CPU.
    let taken: u32 = after.iter().zip(before).map(|(a, b)| a - b).sum();
    require(taken < 8, || {
        format!("{taken} timer interrupts in 100 ms; is a load running?")
    })
}
