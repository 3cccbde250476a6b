// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the three policies are to do, from the design's words: sets of classes, and no counts.
use super::gic::Trigger;
use super::{Ipl, Policy};
use std::vec::Vec;

/// Who holds what off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// One of [`DOMAINS`](super::cpu::DOMAINS).
    Domain(&'static str),
    /// A handler that runs.
    Handler(Ipl),
}

/// A handler begins, or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    Begins(usize),
    Ends(usize),
}

/// True if `hold` is about `class`.
fn covers(hold: Hold, class: Ipl) -> bool {
    match hold {
        Hold::Domain("bio") => class == Ipl::Bio,
        Hold::Domain("net") => class == Ipl::Net,
        Hold::Domain("tty") => class == Ipl::Tty,
        Hold::Domain("vm") => class <= Ipl::Tty,
        Hold::Domain("sched") => class <= Ipl::Sched,
        Hold::Domain("high") => true,
        Hold::Domain(other) => panic!("no domain {other}"),
        Hold::Handler(own) => class <= own,
    }
}

/// True if one of the holds is about `class`.
pub fn covered(held: &[Hold], class: Ipl) -> bool {
    held.iter().any(|hold| covers(*hold, class))
}

/// True if `class` is held off.
pub fn held_off(policy: Policy, held: &[Hold], class: Ipl) -> bool {
    match policy {
        Policy::Domain => covered(held, class),
        Policy::Eager | Policy::Lazy => {
            (Ipl::HARDWARE.into_iter()).any(|other| other >= class && covered(held, other))
        }
    }
}

/// One CPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    lines: &'static [(Ipl, Trigger)],
    /// Interrupts that have room aside.
    room: usize,
    /// Handlers can be interrupted.
    nests: bool,
    pub policy: Policy,
    pub held: Vec<Hold>,
    /// Wanted, by line.
    pub pending: Vec<bool>,
    /// Taken and not yet let go of, by line.
    pub active: Vec<bool>,
    /// Put aside, as they came.
    pub aside: Vec<usize>,
    /// The GIC keeps back this class and all below.
    pub kept_back: Option<Ipl>,
    /// The thread has to look as its spl drops.
    pub noted: bool,
    /// What arrives in a line's next handler.
    pub inside: Vec<Option<usize>>,
    pub ran: Vec<Ran>,
}

impl Reference {
    pub fn new(lines: &'static [(Ipl, Trigger)], room: usize, nests: bool) -> Self {
        Self {
            lines,
            room,
            nests,
            policy: Policy::Domain,
            held: Vec::new(),
            pending: lines.iter().map(|_| false).collect(),
            active: lines.iter().map(|_| false).collect(),
            aside: Vec::new(),
            kept_back: None,
            noted: false,
            inside: lines.iter().map(|_| None).collect(),
            ran: Vec::new(),
        }
    }

    pub fn raise(&mut self, domain: &'static str) {
        self.held.push(Hold::Domain(domain));
        self.held.sort();
        if self.policy == Policy::Eager {
            self.kept_back = self.kept_back.max(self.top());
        }
    }

    pub fn release(&mut self, domain: &'static str) {
        self.let_go(Hold::Domain(domain));
        self.dropped();
        self.interrupts();
    }

    pub fn arrive(&mut self, line: usize) {
        self.pending[line] = true;
        self.interrupts();
    }

    pub fn switch(&mut self, policy: Policy) {
        self.policy = policy;
        self.kept_back = match policy {
            Policy::Eager => self.top(),
            Policy::Lazy | Policy::Domain => None,
        };
        self.dropped();
        self.interrupts();
    }

    fn let_go(&mut self, hold: Hold) {
        let place = self.held.iter().position(|h| *h == hold);
        self.held.remove(place.expect("held"));
    }

    fn class(&self, line: usize) -> Ipl {
        self.lines[line].0
    }

    /// The highest class that somebody holds off.
    fn top(&self) -> Option<Ipl> {
        let mut classes = Ipl::HARDWARE.into_iter().rev();
        classes.find(|class| covered(&self.held, *class))
    }

    /// What the GIC is to keep back of what is held off: on a ladder all; else nothing, for as long as there is room aside.
    fn rung(&self) -> Option<Ipl> {
        let ladder = self.policy != Policy::Domain || self.aside.len() == self.room;
        if ladder { self.top() } else { None }
    }

    /// What the GIC would deliver first.
    fn next(&self) -> Option<usize> {
        let lines = (0..self.lines.len()).rev(); // of equals the last, which is then the lowest number
        let ready = lines
            .filter(|n| self.pending[*n] && !self.active[*n])
            .filter(|n| Some(self.class(*n)) > self.kept_back);
        ready.max_by_key(|n| self.class(*n))
    }

    fn take(&mut self, line: usize) {
        self.active[line] = true;
        if self.lines[line].1 == Trigger::Edge {
            self.pending[line] = false;
        }
    }

    /// Interrupts come, until the GIC has none for this CPU.
    fn interrupts(&mut self) {
        while self.next().is_some() {
            loop {
                self.kept_back = self.rung();
                let Some(line) = self.next() else { break };
                self.take(line);
                if held_off(self.policy, &self.held, self.class(line)) {
                    self.aside.push(line);
                } else {
                    self.run(line);
                }
            }
            self.note();
            self.dropped();
        }
    }

    /// Less is held off: those aside may run, the highest class first, among equals as they came.
    fn dropped(&mut self) {
        loop {
            let may = (self.aside.iter().copied().enumerate().rev())
                .filter(|(_, line)| !held_off(self.policy, &self.held, self.class(*line)));
            let next = may.max_by_key(|(_, line)| self.class(*line));
            let next = next.map(|(place, _)| self.aside.remove(place));
            self.kept_back = self.kept_back.min(self.rung());
            self.note();
            let Some(line) = next else { break };
            self.run(line);
        }
    }

    fn note(&mut self) {
        self.noted = !self.aside.is_empty() || self.kept_back.is_some();
    }

    fn run(&mut self, line: usize) {
        self.ran.push(Ran::Begins(line));
        let own = Hold::Handler(self.class(line));
        self.held.push(own);
        self.held.sort();
        if let Some(other) = self.inside[line].take() {
            self.pending[other] = true;
        }
        if self.nests {
            self.interrupts();
        }
        if self.lines[line].1 == Trigger::Level {
            self.pending[line] = false;
        }
        self.let_go(own);
        self.active[line] = false;
        self.ran.push(Ran::Ends(line));
    }
}
