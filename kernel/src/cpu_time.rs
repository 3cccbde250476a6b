// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the CPUs' time goes: to threads, interrupts, soft interrupts, idling.
//!
//! # Theory
//! To the scheduler a thread has its CPU from one switch to the next. Interrupts, and interrupt threads that borrow the CPU, run
//! meanwhile, on top of each other. Each CPU adds up how long ([`crate::cpu::Cpu::interrupted`], once for the whole of a pile), each
//! of them what it had for itself; and what a thread has is its time less theirs. So a CPU's time divides without a rest
//! or an overlap.
//!
//! An interrupt thread that had to wait goes on as a thread like others, and counts as one for as long. The way into a handler
//! and back is the interrupted thread's, or the idle thread's.
//!
//! # Contexts
//! [`look`]: threads.
use crate::cpu::{self, CPUS, CpuSet, irq_save};
use crate::intr;
use crate::lock_order;
use crate::shares::shares;
use crate::thread::{self, ThreadCx};
use crate::xcall;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bsp::cpu::{index, irq_restore};
use bsp::timer::{now_ns, ticks_to_ns};
use core::sync::atomic::Ordering;
use sync::domain::{Cx, Interrupt, Sched};
use sync::ipl::Ipl;
use sync::kmutex::KMutex;

/// What became of a CPU's time until now, ns since its start.
#[derive(Clone, Copy, Debug, Default)]
struct OfCpu {
    at_ns: u64,
    idle_ns: u64,
    interrupts_ns: u64,
    softints_ns: u64,
}

static SAID: KMutex<[Option<OfCpu>; CPUS], lock_order::Figures> = KMutex::new([None; CPUS]);

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A thread, by number.
    Thread(u32),
    /// A direct handler, by its interrupt.
    Interrupt(u32),
}

/// What somebody has had.
#[derive(Clone, Debug)]
pub struct Had {
    /// A name for people.
    pub name: String,
    /// What kind of code it is.
    pub kind: &'static str,
    /// CPU where it was last, if it has one.
    pub cpu: Option<usize>,
    /// Time since it exists, ns.
    pub ns: u64,
}

/// How all stood at a moment.
pub struct Look {
    cpus: [Option<OfCpu>; CPUS],
    switches: u64,
    /// By owner.
    pub had: BTreeMap<Owner, Had>,
}

/// Looks.
pub fn look(cx: &mut ThreadCx) -> Look {
    *SAID.enter(cx).0 = [None; CPUS];
    xcall::call(cx, CpuSet::ALL, say, 0);
    let cpus = *SAID.enter(cx).0;
    let mut had = BTreeMap::new();
    for t in thread::threads() {
        let kind = match t.serves() {
            _ if t.is_idle() => "idle",
            None => "thread",
            Some(class) if class < Ipl::Bio => "soft",
            Some(_) => "interrupt",
        };
        let one = Had {
            name: t.name().as_str().into(),
            kind,
            cpu: Some(t.cpu()),
            ns: thread::cpu_time_ns(cx, t),
        };
        had.insert(Owner::Thread(t.id()), one);
    }
    for line in intr::lines(cx) {
        if line.flavour == intr::Flavour::Direct {
            let one = Had {
                name: line.name.into(),
                kind: "interrupt",
                cpu: line.cpu,
                ns: line.own_ns,
            };
            had.insert(Owner::Interrupt(line.intid), one);
        }
    }
    Look {
        cpus,
        switches: thread::switches(),
        had,
    }
}

/// This CPU's part.
fn say(cx: &mut Cx<Interrupt<Sched>>, _: usize) {
    let idle = thread::thread(index() as u8);
    let daif = irq_save();
    let (at_ns, this) = (now_ns(), cpu::this());
    let (interrupts, softints) = (
        this.interrupts_ticks(),
        this.softints_ticks.load(Ordering::Relaxed),
    );
    let idle_ns = thread::cpu_time_ns(cx, idle);
    irq_restore(daif);
    SAID.enter(cx).0[index()] = Some(OfCpu {
        at_ns,
        idle_ns,
        interrupts_ns: ticks_to_ns(interrupts - softints),
        softints_ns: ticks_to_ns(softints),
    });
}

/// Tenths of a percent of a CPU's time: threads, interrupts, soft interrupts, idle. Their sum is 1000.
pub type Shares = [u32; 4];

/// What happened between two looks.
pub struct Difference {
    /// Of each CPU that was there at both.
    pub cpus: [Option<Shares>; CPUS],
    /// Of all of them.
    pub total: Shares,
    /// Who ran but for idling, and how many tenths of a percent of one CPU; most first.
    pub rows: Vec<(Owner, Had, u32)>,
    /// Switches of threads.
    pub switches: u64,
    /// How long it was, ns.
    pub ns: u64,
}

impl Look {
    /// What happened since `before`.
    pub fn since(&self, before: &Look) -> Difference {
        let parts: [Option<[u64; 4]>; CPUS] = core::array::from_fn(|n| {
            let (now, before) = (self.cpus[n]?, before.cpus[n]?);
            let of = |f: fn(&OfCpu) -> u64| f(&now).saturating_sub(f(&before));
            let all = of(|c| c.at_ns);
            let interrupts = of(|c| c.interrupts_ns).min(all);
            let softints = of(|c| c.softints_ns).min(all - interrupts);
            let idle = of(|c| c.idle_ns).min(all - interrupts - softints);
            Some([
                all - interrupts - softints - idle,
                interrupts,
                softints,
                idle,
            ])
        });
        let there: Vec<_> = parts.iter().flatten().collect();
        let total = core::array::from_fn(|kind| there.iter().map(|parts| parts[kind]).sum());
        let all: u64 = there.iter().flat_map(|parts| parts.iter()).sum();
        let ns = all / there.len().max(1) as u64;
        let mut rows: Vec<_> = self
            .had
            .iter()
            .filter(|(_, had)| had.kind != "idle")
            .filter_map(|(owner, now)| {
                let had = before.had.get(owner).map_or(0, |had| had.ns);
                let ran = now.ns.saturating_sub(had);
                let tenths = (ran * 1000 + ns / 2).checked_div(ns)? as u32;
                (ran > 0).then(|| (*owner, now.clone(), tenths))
            })
            .collect();
        rows.sort_by_key(|(owner, _, tenths)| (core::cmp::Reverse(*tenths), *owner));
        Difference {
            cpus: parts.map(|parts| parts.map(shares)),
            total: shares(total),
            rows,
            switches: self.switches.saturating_sub(before.switches),
            ns,
        }
    }
}
