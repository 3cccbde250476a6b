// SPDX-License-Identifier: MIT OR Apache-2.0
//! spl under the three policies, against what falls into the middle of it: interrupts, and changes of the policy.
//!
//! Each event comes before the access of a number to an atomic of the crate, on the one CPU that there is: of a raise, of a
//! release, of a handler, or of the engine itself, where it waits for IRQ to open. The numbers are counted up
//! independently until no execution has so many. A change of policy is what a kernel does: another CPU sets the thread's
//! bit, if the new policy is `Eager`, and interrupts this one, whose handler changes its policy; after that it takes the
//! bit away, if the old policy was `Eager`.
use crate::check::explore_places;
use crate::machine::{Model, World};
use gic::{Gic, Trigger};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use sync::delivery::{Delivery, Pic, Policy};
use sync::domain::{Bio, Domain, High, Net, Sched, Tty, Vm};
use sync::ipl::Ipl;
use sync::machine::{KThread, Machine};
use sync::priority::PriorityMap;
use sync::spl::{Mask, PENDING_EAGER, PENDING_INTERRUPT, splraise, splx};

#[path = "../../src/delivery/tests/gic.rs"]
mod gic;

const LINES: [(Ipl, Trigger); 6] = [
    (Ipl::Bio, Trigger::Edge),
    (Ipl::Net, Trigger::Level),
    (Ipl::Tty, Trigger::Edge),
    (Ipl::Sched, Trigger::Level),
    (Ipl::High, Trigger::Edge),
    (Ipl::Sched, Trigger::Edge),
];
const BIO: usize = 0;
const TTY: usize = 2;
const DEVICES: [usize; 5] = [BIO, 1, TTY, 3, 4];
/// Another CPU wants the policy changed.
const CROSS_CALL: usize = 5;

/// What comes from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Arrives(usize),
    /// Another CPU changes the thread's bit: sets it before the change of policy, or clears it after.
    SetEager(bool),
}

/// A hold of each domain, and which is released first; under which policy, and to which it changes.
#[derive(Clone, Debug)]
struct Script {
    policy: Policy,
    changes_to: Policy,
    domains: [&'static str; 2],
    first_out: usize,
    events: Vec<Event>,
}

struct Cpu {
    thread: &'static KThread,
    gic: Gic,
    delivery: RefCell<Delivery<usize, 6>>,
    script: Script,
    places: Vec<usize>,
    /// Events that have come.
    came: RefCell<Vec<bool>>,
    /// The policy was changed.
    changed: Cell<bool>,
    accesses: Cell<usize>,
    irq_masked: Cell<bool>,
    /// The check looks at the thread itself.
    looking: Cell<bool>,
    /// What raises that have returned hold off, and releases that have not begun.
    held: Cell<Mask>,
    ran: [Cell<u32>; LINES.len()],
}

std::thread_local! {
    static CPU: RefCell<Option<Rc<Cpu>>> = const { RefCell::new(None) };
}

fn cpu() -> Option<Rc<Cpu>> {
    CPU.with_borrow(|cpu| cpu.clone())
}

/// [`Machine::run_pending`], if there is a CPU.
pub fn run_pending() -> bool {
    let cpu = cpu();
    if let Some(cpu) = &cpu
        && !cpu.irq_masked.get()
    {
        cpu.with_irq_masked(Cpu::released);
    }
    cpu.is_some()
}

/// [`Machine::spl_raised`].
pub fn spl_raised() {
    let cpu = cpu().expect("only a change of policy sets the bit");
    let raised = |cpu: &Cpu| cpu.delivery.borrow_mut().raised(cpu.thread, &cpu.gic);
    if cpu.irq_masked.get() {
        raised(&cpu);
    } else {
        cpu.with_irq_masked(raised);
    }
}

fn access() {
    let Some(cpu) = cpu() else { return };
    if cpu.looking.get() {
        return;
    }
    cpu.accesses.set(cpu.accesses.get() + 1);
    for (number, event) in cpu.script.events.iter().enumerate() {
        let came = cpu.came.borrow()[number];
        if !came && cpu.places[number] <= cpu.accesses.get() && cpu.may_come(*event) {
            cpu.comes(number);
        }
    }
    cpu.interrupts();
}

impl Cpu {
    fn comes(&self, number: usize) {
        self.came.borrow_mut()[number] = true;
        match self.script.events[number] {
            Event::Arrives(line) => self.gic.arrive(line),
            Event::SetEager(eager) => self.unseen(|| self.thread.set_eager(eager)),
        }
    }

    /// The other CPU does one thing after the other.
    fn may_come(&self, event: Event) -> bool {
        match event {
            Event::Arrives(CROSS_CALL) => {
                let set = |e: &Event| *e == Event::SetEager(true);
                let set = self.script.events.iter().position(set);
                set.is_none_or(|number| self.came.borrow()[number])
            }
            Event::SetEager(false) => self.changed.get(),
            _ => true,
        }
    }

    /// `f` is no place for events.
    fn unseen<R>(&self, f: impl FnOnce() -> R) -> R {
        let looking = self.looking.replace(true);
        let result = f();
        self.looking.set(looking);
        result
    }

    fn with_irq_masked(&self, f: impl FnOnce(&Self)) {
        assert!(!self.irq_masked.replace(true));
        f(self);
        self.irq_masked.set(false);
        self.interrupts();
    }

    fn interrupts(&self) {
        if !self.irq_masked.get() && self.gic.asks() {
            self.with_irq_masked(|cpu| {
                while let Some(line) = cpu.arrived() {
                    cpu.handle(line);
                }
                let pending = cpu.thread.pending.load(Relaxed);
                if pending & (PENDING_INTERRUPT | PENDING_EAGER) != 0 {
                    cpu.released();
                }
            });
        }
    }

    fn arrived(&self) -> Option<usize> {
        self.delivery.borrow_mut().arrived(self.thread, &self.gic)
    }

    fn released(&self) {
        let next = || self.delivery.borrow_mut().released(self.thread, &self.gic);
        while let Some(line) = next() {
            self.handle(line);
        }
    }

    fn policy(&self) -> Policy {
        self.delivery.borrow().policy()
    }

    fn handle(&self, line: usize) {
        let class = self.gic.class(line);
        let held = self.held.get();
        let off = self.policy().holds_off(held, class);
        assert!(!off, "{class} came under {held:x?}");
        let own = Mask::of_class(class);
        self.thread.add_holds(own);
        self.held.set(held + own);
        self.irq_masked.set(false);
        self.interrupts();
        if line == CROSS_CALL {
            self.with_irq_masked(|cpu| {
                let mask = cpu.thread.mask();
                let mut delivery = cpu.delivery.borrow_mut();
                delivery.set_policy(cpu.script.changes_to, mask, &cpu.gic);
                cpu.changed.set(true);
            });
        } else {
            splx::<Vm, Model>(splraise::<Vm, Model>());
        }
        self.irq_masked.set(true);
        self.held.set(held);
        self.thread.drop_holds(own);
        self.ran[line].set(self.ran[line].get() + 1);
        self.gic.serve(line);
        self.gic.deactivate(line);
    }

    /// At rest: what is held off, and no more, waits.
    fn settled(&self) {
        self.unseen(|| {
            let (policy, held) = (self.policy(), self.held.get());
            assert_eq!(self.thread.mask(), held);
            let up_to = self.gic.masked_up_to();
            for class in Ipl::HARDWARE {
                let off = policy.holds_off(held, class);
                assert!(off || Some(class) > up_to, "{class} is kept back");
            }
            if policy == Policy::Eager {
                assert_eq!(up_to, held.level());
            }
            for (line, (class, _)) in LINES.iter().enumerate() {
                let waits = self.gic.state(line) != (false, false);
                assert!(!waits || policy.holds_off(held, *class), "{class} waits");
            }
        });
    }
}

type Release = Box<dyn FnOnce()>;

/// Adds a hold of `domain`: what it masks, and what gives it back.
fn raise(domain: &str) -> (Mask, Release) {
    fn hold<D: Domain>() -> (Mask, Release) {
        let spl = splraise::<D, Model>();
        (Mask::of::<D>(), Box::new(|| splx::<D, Model>(spl)))
    }
    match domain {
        Bio::NAME => hold::<Bio>(),
        Net::NAME => hold::<Net>(),
        Tty::NAME => hold::<Tty>(),
        Vm::NAME => hold::<Vm>(),
        Sched::NAME => hold::<Sched>(),
        _ => hold::<High>(),
    }
}

/// One execution: how many accesses it had.
fn run(script: &Script, places: &[usize]) -> usize {
    World::start(&[1], false);
    let cpu = Rc::new(Cpu {
        thread: Model::current(),
        gic: Gic::new(&LINES, 0xF0),
        delivery: RefCell::new(Delivery::new()),
        script: script.clone(),
        places: places.to_vec(),
        came: RefCell::new(vec![false; places.len()]),
        changed: Cell::new(false),
        accesses: Cell::new(0),
        irq_masked: Cell::new(false),
        looking: Cell::new(false),
        held: Cell::new(Mask::OPEN),
        ran: Default::default(),
    });
    cpu.thread.set_eager(script.policy == Policy::Eager);
    {
        let mut delivery = cpu.delivery.borrow_mut();
        delivery.reset(&cpu.gic);
        delivery.set_policy(script.policy, Mask::OPEN, &cpu.gic);
    }
    CPU.set(Some(cpu.clone()));
    sync::before_access(Some(access));

    let mut held = Vec::new();
    for domain in script.domains {
        held.push(raise(domain));
        let all = held.iter().map(|(mask, _)| *mask);
        cpu.held.set(all.fold(Mask::OPEN, |all, one| all + one));
        cpu.settled();
    }
    let (_, first) = held.remove(script.first_out);
    let (mask, last) = held.remove(0);
    for (release, left) in [(first, mask), (last, Mask::OPEN)] {
        cpu.held.set(left);
        release();
        cpu.settled();
    }

    sync::before_access(None);
    CPU.set(None);
    assert_eq!(cpu.thread.pending.load(Relaxed) & PENDING_INTERRUPT, 0);
    assert_eq!(cpu.delivery.borrow().waiting(), 0);
    let mut arrived = [0; LINES.len()];
    for (event, came) in script.events.iter().zip(&*cpu.came.borrow()) {
        if let Event::Arrives(line) = event {
            arrived[*line] += u32::from(*came);
        }
    }
    assert_eq!(
        cpu.ran.each_ref().map(Cell::get),
        arrived,
        "{script:?}, at {places:?}"
    );
    cpu.accesses.get()
}

/// Runs the scripts, with their events at all places.
fn at_all_places(name: &str, scripts: Vec<Script>) {
    let events = scripts.iter().map(|s| s.events.len()).collect();
    explore_places(name, events, move |number, places| {
        run(&scripts[number], places)
    });
}

const DOMAINS: [&str; 6] = [
    Bio::NAME,
    Net::NAME,
    Tty::NAME,
    Vm::NAME,
    Sched::NAME,
    High::NAME,
];

/// Two holds in any order of release, one interrupt.
#[test]
fn spl_against_an_interrupt() {
    let mut scripts = Vec::new();
    for policy in Policy::ALL {
        for (outer, inner) in DOMAINS.into_iter().flat_map(|a| DOMAINS.map(|b| (a, b))) {
            for (first_out, line) in [0, 1].into_iter().flat_map(|f| DEVICES.map(|l| (f, l))) {
                scripts.push(Script {
                    policy,
                    changes_to: policy,
                    domains: [outer, inner],
                    first_out,
                    events: vec![Event::Arrives(line)],
                });
            }
        }
    }
    at_all_places("spl_against_an_interrupt", scripts);
}

/// Two interrupts of different classes, on two holds that are not released in the order of a stack.
#[test]
fn spl_against_two_interrupts() {
    let mut scripts = Vec::new();
    let holds = [
        [Bio::NAME, Net::NAME],
        [Tty::NAME, Bio::NAME],
        [Vm::NAME, Net::NAME],
        [Bio::NAME, Sched::NAME],
    ];
    for (policy, domains) in Policy::ALL.into_iter().flat_map(|p| holds.map(|h| (p, h))) {
        for (one, other) in DEVICES.into_iter().flat_map(|a| DEVICES.map(|b| (a, b))) {
            if one < other {
                scripts.push(Script {
                    policy,
                    changes_to: policy,
                    domains,
                    first_out: 0,
                    events: vec![Event::Arrives(one), Event::Arrives(other)],
                });
            }
        }
    }
    at_all_places("spl_against_two_interrupts", scripts);
}

/// The policy changes, and an interrupt comes.
#[test]
fn spl_against_a_change_of_policy() {
    let mut scripts = Vec::new();
    let all = Policy::ALL.into_iter();
    for (policy, changes_to) in all.flat_map(|a| Policy::ALL.map(|b| (a, b))) {
        let change = Event::Arrives(CROSS_CALL);
        let (domains, events) = match (policy, changes_to) {
            (same, other) if same == other => continue,
            (_, Policy::Eager) => (
                [Sched::NAME, Net::NAME],
                vec![change, Event::SetEager(true), Event::Arrives(BIO)],
            ),
            (Policy::Eager, _) => (
                [Tty::NAME, Bio::NAME],
                vec![change, Event::SetEager(false), Event::Arrives(BIO)],
            ),
            _ => ([Tty::NAME, Bio::NAME], vec![change, Event::Arrives(TTY)]),
        };
        scripts.push(Script {
            policy,
            changes_to,
            domains,
            first_out: 0,
            events,
        });
    }
    at_all_places("spl_against_a_change_of_policy", scripts);
}
