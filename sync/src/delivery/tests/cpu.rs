// SPDX-License-Identifier: MIT OR Apache-2.0
//! A CPU that does with the engine what a kernel does: its thread, its GIC, and a machine that notes what spl asks of it.
use super::gic::{Gic, Trigger};
use super::reference::{Hold, Ran, held_off};
use super::*;
use crate::domain::{Bio, Domain, High, Net, Sched, Tty, Vm};
use crate::lockdebug::Report;
use crate::machine::Machine;
use crate::spl::PENDING_EAGER;
use crate::turnstile::Turnstiles;
use std::cell::Cell;
use std::vec::Vec;

/// The names of the domains that can be held.
pub const DOMAINS: [&str; 6] = [
    Bio::NAME,
    Net::NAME,
    Tty::NAME,
    Vm::NAME,
    Sched::NAME,
    High::NAME,
];

std::thread_local! {
    static RAISED: Cell<bool> = const { Cell::new(false) };
    static RUN_PENDING: Cell<bool> = const { Cell::new(false) };
}

/// A machine that notes the calls of spl, for [`Cpu`] to act on.
struct Notes;

impl Machine for Notes {
    fn spl_raised() {
        RAISED.set(true);
    }

    fn run_pending() {
        RUN_PENDING.set(true);
    }

    fn current() -> &'static KThread {
        unreachable!()
    }

    fn park(_: Option<u64>) {}

    fn unpark(_: &'static KThread) {}

    fn is_running(_: &KThread) -> bool {
        false
    }

    fn priority_changed(_: &'static KThread) {}

    fn for_each_thread(_: &mut dyn FnMut(&'static KThread)) {}

    fn turnstiles() -> &'static Turnstiles {
        unreachable!()
    }

    fn now_ns() -> u64 {
        0
    }

    fn relax() {}

    fn interrupt() -> Option<Ipl> {
        None
    }

    fn report(_: &Report) {}
}

/// A CPU.
pub struct Cpu<const N: usize> {
    pub gic: Gic,
    pub thread: KThread,
    pub delivery: Delivery<usize, N>,
    /// What is held, in words.
    pub held: Vec<Hold>,
    /// Handlers can be interrupted.
    pub nests: bool,
    /// What arrives in a line's next handler.
    pub inside: Vec<Option<usize>>,
    pub ran: Vec<Ran>,
    /// Times it was interrupted.
    pub exceptions: usize,
}

impl<const N: usize> Cpu<N> {
    pub fn new(lines: &[(Ipl, Trigger)], implemented: u8, nests: bool) -> Self {
        let mut cpu = Self {
            gic: Gic::new(lines, implemented),
            thread: KThread::new(0),
            delivery: Delivery::new(),
            held: Vec::new(),
            nests,
            inside: lines.iter().map(|_| None).collect(),
            ran: Vec::new(),
            exceptions: 0,
        };
        cpu.delivery.reset(&cpu.gic);
        cpu
    }

    pub fn raise(&mut self, domain: &'static str) {
        self.held.push(Hold::Domain(domain));
        match domain {
            Bio::NAME => self.thread.raise::<Bio, Notes>(),
            Net::NAME => self.thread.raise::<Net, Notes>(),
            Tty::NAME => self.thread.raise::<Tty, Notes>(),
            Vm::NAME => self.thread.raise::<Vm, Notes>(),
            Sched::NAME => self.thread.raise::<Sched, Notes>(),
            _ => self.thread.raise::<High, Notes>(),
        }
        if RAISED.take() {
            self.delivery.raised(&self.thread, &self.gic);
        }
        self.interrupts();
    }

    pub fn release(&mut self, domain: &'static str) {
        self.let_go(Hold::Domain(domain));
        match domain {
            Bio::NAME => self.thread.lower::<Bio, Notes>(),
            Net::NAME => self.thread.lower::<Net, Notes>(),
            Tty::NAME => self.thread.lower::<Tty, Notes>(),
            Vm::NAME => self.thread.lower::<Vm, Notes>(),
            Sched::NAME => self.thread.lower::<Sched, Notes>(),
            _ => self.thread.lower::<High, Notes>(),
        }
        if RUN_PENDING.take() {
            self.released();
        }
        self.interrupts();
    }

    pub fn arrive(&mut self, line: usize) {
        self.gic.arrive(line);
        self.interrupts();
    }

    /// Another CPU changes the policy, by an interrupt of class Sched to this one.
    pub fn switch(&mut self, policy: Policy) {
        let own = Mask::of_class(Ipl::Sched);
        self.thread.add_holds(own);
        (self.delivery).set_policy(policy, self.thread.mask(), &self.gic);
        self.thread.drop_holds(own);
        self.released();
        self.interrupts();
    }

    /// The thread's bit that says to look as spl drops.
    pub fn noted(&self) -> bool {
        self.thread.pending.load(Ordering::Relaxed) & PENDING_INTERRUPT != 0
    }

    fn let_go(&mut self, hold: Hold) {
        let place = self.held.iter().position(|h| *h == hold);
        self.held.remove(place.expect("held"));
    }

    fn interrupts(&mut self) {
        while self.gic.asks() {
            self.exceptions += 1;
            while let Some(line) = self.delivery.arrived(&self.thread, &self.gic) {
                self.handle(line);
            }
            let pending = self.thread.pending.load(Ordering::Relaxed);
            if pending & (PENDING_INTERRUPT | PENDING_EAGER) != 0 {
                self.released();
            }
        }
    }

    fn released(&mut self) {
        while let Some(line) = self.delivery.released(&self.thread, &self.gic) {
            self.handle(line);
        }
    }

    fn handle(&mut self, line: usize) {
        let class = self.gic.class(line);
        let off = held_off(self.delivery.policy(), &self.held, class);
        assert!(!off, "{class} came under {:?}", self.held);
        self.ran.push(Ran::Begins(line));
        self.held.push(Hold::Handler(class));
        self.thread.add_holds(Mask::of_class(class));
        if let Some(other) = self.inside[line].take() {
            self.gic.arrive(other);
        }
        if self.nests {
            self.interrupts();
        }
        self.gic.serve(line);
        self.thread.drop_holds(Mask::of_class(class));
        self.let_go(Hold::Handler(class));
        self.gic.deactivate(line);
        self.ran.push(Ran::Ends(line));
    }
}
