// SPDX-License-Identifier: MIT OR Apache-2.0
//! All sequences of raises, releases and arrivals up to a depth, against the reference.
//!
//! Two sequences that lead to the same state of everything, the engine's fields and the GIC's included, go on alike; so
//! each state is gone on from once, with as many steps left as it can have. States are told apart by a hash of 64
//! bits: among a million of them, two that are one for it have a chance of 1 in 37 million.
use super::cpu::{Cpu, DOMAINS};
use super::gic::Trigger;
use super::reference::{Hold, Reference, covered, held_off};
use super::*;
use crate::spl::PENDING_EAGER;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::vec::Vec;

type Lines = &'static [(Ipl, Trigger)];

const LINES: Lines = &[
    (Ipl::Bio, Trigger::Edge),
    (Ipl::Bio, Trigger::Level),
    (Ipl::Net, Trigger::Level),
    (Ipl::Tty, Trigger::Edge),
    (Ipl::Sched, Trigger::Edge),
    (Ipl::High, Trigger::Level),
];
/// Of the sequences with handlers that are interrupted.
const FEWER: Lines = &[
    (Ipl::Bio, Trigger::Edge),
    (Ipl::Net, Trigger::Level),
    (Ipl::Tty, Trigger::Edge),
    (Ipl::Sched, Trigger::Level),
];

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Raise(&'static str),
    Release(&'static str),
    Arrive(usize),
    /// The second arrives in the first's next handler.
    Plan(usize, usize),
    SetEager(bool),
    Switch(Policy),
}

/// What may happen in the sequences of a test.
#[derive(Clone, Copy)]
struct Alphabet {
    lines: Lines,
    nests: bool,
    switches: bool,
}

/// The CPU and what is expected of it.
struct State<const N: usize> {
    cpu: Cpu<N>,
    reference: Reference,
}

impl<const N: usize> Clone for State<N> {
    fn clone(&self) -> Self {
        let Cpu { thread, .. } = &self.cpu;
        let copy = KThread::new(0);
        copy.set_holds(thread.mask());
        let pending = thread.pending.load(Ordering::Relaxed);
        copy.pending.store(pending, Ordering::Relaxed);
        let cpu = Cpu {
            gic: self.cpu.gic.clone(),
            thread: copy,
            delivery: Delivery {
                ..self.cpu.delivery
            },
            held: self.cpu.held.clone(),
            nests: self.cpu.nests,
            inside: self.cpu.inside.clone(),
            ran: Vec::new(),
            exceptions: 0,
        };
        let reference = self.reference.clone();
        Self { cpu, reference }
    }
}

impl<const N: usize> State<N> {
    fn new(policy: Policy, alphabet: Alphabet) -> Self {
        let Alphabet { lines, nests, .. } = alphabet;
        let mut state = Self {
            cpu: Cpu::new(lines, 0xF0, nests),
            reference: Reference::new(lines, N, nests),
        };
        if policy == Policy::Eager {
            state.take(Step::SetEager(true));
        }
        state.take(Step::Switch(policy));
        state
    }

    /// All that what follows can depend on.
    fn hash(&self) -> u64 {
        let Delivery {
            policy,
            up_to,
            list,
            waiting,
            // Nothing depends on these.
            stands_for: _,
            statistics: _,
        } = &self.cpu.delivery;
        let mut hasher = DefaultHasher::new();
        (policy, up_to, &list[..*waiting]).hash(&mut hasher);
        let Cpu { gic, thread, .. } = &self.cpu;
        gic.hash(&mut hasher);
        thread.spl.load(Ordering::Relaxed).hash(&mut hasher);
        thread.pending.load(Ordering::Relaxed).hash(&mut hasher);
        self.cpu.inside.hash(&mut hasher);
        self.reference.hash(&mut hasher);
        hasher.finish()
    }

    fn eager(&self) -> bool {
        self.cpu.thread.pending.load(Ordering::Relaxed) & PENDING_EAGER != 0
    }

    fn steps(&self, alphabet: Alphabet) -> Vec<Step> {
        let lines = 0..alphabet.lines.len();
        let mut steps: Vec<_> = DOMAINS.map(Step::Raise).into();
        let held = |name: &&'static str| self.reference.held.contains(&Hold::Domain(name));
        steps.extend(DOMAINS.into_iter().filter(held).map(Step::Release));
        steps.extend(lines.clone().map(Step::Arrive));
        if alphabet.nests {
            for first in lines.clone() {
                steps.extend(lines.clone().map(|second| Step::Plan(first, second)));
            }
        }
        if alphabet.switches {
            let (policy, eager) = (self.cpu.delivery.policy(), self.eager());
            if policy != Policy::Eager {
                steps.push(Step::SetEager(!eager));
            }
            let others = Policy::ALL.into_iter().filter(|p| *p != policy);
            let may = others.filter(|p| *p != Policy::Eager || eager);
            steps.extend(may.map(Step::Switch));
        }
        steps
    }

    fn take(&mut self, step: Step) {
        self.reference.ran.clear();
        let Self { cpu, reference } = self;
        match step {
            Step::Raise(domain) => {
                cpu.raise(domain);
                reference.raise(domain);
            }
            Step::Release(domain) => {
                cpu.release(domain);
                reference.release(domain);
            }
            Step::Arrive(line) => {
                cpu.arrive(line);
                reference.arrive(line);
            }
            Step::Plan(first, second) => {
                cpu.inside[first] = Some(second);
                reference.inside[first] = Some(second);
            }
            Step::SetEager(eager) => cpu.thread.set_eager(eager),
            Step::Switch(policy) => {
                cpu.switch(policy);
                reference.switch(policy);
            }
        }
    }

    fn check(&self, alphabet: Alphabet) {
        let Self { cpu, reference } = self;
        let (policy, held) = (reference.policy, &reference.held);
        assert_eq!(cpu.ran, reference.ran, "what ran");
        assert_eq!(cpu.gic.masked_up_to(), reference.kept_back, "the PMR");
        assert_eq!(cpu.noted(), reference.noted, "PENDING_INTERRUPT");
        assert_eq!(cpu.delivery.waiting(), reference.aside.len());
        for class in Ipl::HARDWARE {
            let (mask, off) = (cpu.thread.mask(), held_off(policy, held, class));
            assert_eq!(mask.masks(class), covered(held, class), "{class}");
            assert_eq!(policy.holds_off(mask, class), off, "{class}");
            // With no room aside, more is kept back.
            let crowded = cpu.delivery.waiting() == N;
            let kept_back = Some(class) <= cpu.gic.masked_up_to();
            assert!(!kept_back || off || crowded, "{class} is kept back");
        }
        for (line, (class, _)) in alphabet.lines.iter().enumerate() {
            let (pending, active) = (reference.pending[line], reference.active[line]);
            assert_eq!(cpu.gic.state(line), (pending, active), "line {line}");
            let crowded = cpu.delivery.waiting() == N;
            let off = held_off(policy, held, *class) || crowded;
            assert!(off || !pending && !active, "line {line} is left");
        }
        if held.is_empty() {
            assert!(cpu.thread.mask().is_open());
            assert!(!cpu.noted() && cpu.gic.masked_up_to().is_none());
            assert_eq!(cpu.delivery.waiting(), 0);
            assert!(!reference.pending.contains(&true) && !reference.active.contains(&true));
        }
        if policy == Policy::Eager {
            assert_eq!(cpu.gic.masked_up_to(), cpu.thread.mask().level());
        }
    }
}

/// Says which steps led to a failure.
struct Led<'a>(&'a [Step]);

impl Drop for Led<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("after {:?}", self.0);
        }
    }
}

/// Every sequence of at most `depth` steps.
fn explore<const N: usize>(policy: Policy, alphabet: Alphabet, depth: usize) {
    let mut seen = HashSet::new();
    let mut steps = 0u64;
    let mut states = Vec::from([(State::<N>::new(policy, alphabet), Vec::new())]);
    for _ in 0..depth {
        let mut next = Vec::new();
        for (state, path) in &states {
            for step in state.steps(alphabet) {
                let mut after = state.clone();
                let mut path: Vec<Step> = path.clone();
                path.push(step);
                steps += 1;
                let led = Led(&path);
                after.take(step);
                after.check(alphabet);
                drop(led);
                after.reference.ran.clear();
                if seen.insert(after.hash()) {
                    next.push((after, path));
                }
            }
        }
        states = next;
    }
    std::println!(
        "{policy}, {N} aside: all sequences of {depth} steps; {} states, {steps} steps between them",
        seen.len()
    );
}

const FIXED: Alphabet = Alphabet {
    lines: LINES,
    nests: false,
    switches: false,
};

#[test]
#[cfg_attr(miri, ignore = "many steps, and nothing unsafe in them")]
fn all_sequences_under_one_policy() {
    for policy in Policy::ALL {
        explore::<6>(policy, FIXED, 7);
    }
}

#[test]
#[cfg_attr(miri, ignore = "many steps, and nothing unsafe in them")]
fn all_sequences_with_changes_of_policy() {
    let switches = true;
    explore::<6>(Policy::Domain, Alphabet { switches, ..FIXED }, 6);
}

#[test]
#[cfg_attr(miri, ignore = "many steps, and nothing unsafe in them")]
fn all_sequences_with_room_for_one() {
    let switches = true;
    explore::<1>(Policy::Domain, Alphabet { switches, ..FIXED }, 6);
}

#[test]
#[cfg_attr(miri, ignore = "many steps, and nothing unsafe in them")]
fn all_sequences_with_handlers_interrupted() {
    let alphabet = Alphabet {
        lines: FEWER,
        nests: true,
        switches: true,
    };
    explore::<4>(Policy::Domain, alphabet, 5);
}
