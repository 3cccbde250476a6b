// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts before each instruction of splraise, splx and the spin mutex, put there by a debugger.
//!
//! The kernel's side is kernel/src/selftest/step.rs: operations, lines that interrupt, and what handlers note. An
//! operation is first stepped through undisturbed, which tells what is masked at each of its *boundaries*, before each of
//! its instructions. Then for each of these it is started again and stopped there; with IRQ masked, the stopped CPU
//! is made to set lines pending; and it goes on with IRQ as it was. A breakpoint at that very boundary stops it again
//! before it has done anything but take interrupts: which handlers ran at once is seen there. What is held off must run
//! at the first place of the operation that lets it, and all must be as it was at the end.
//!
//! What splx does when something was held off is other code. There, each instruction down to the vector's is a boundary
//! for a second interrupt.
//!
//! Instructions are counted (`-icount`), so that no other interrupt comes by chance, and each run is like the last.

mod steps;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use qemu_tests::{Console, Machine, claim};

use steps::{BIO, Boundary, LINES, MUTEX, NET, Operation, Place, Steps, TTY, as_noted};

/// The operations, and what they mask in turn: 1 is Bio, 2 Net, 4 Tty, 8 Sched, 16 High.
const OPERATIONS: [(&str, &[u8]); 14] = [
    ("op_bio", &[0, 1, 0]),
    ("op_net", &[0, 2, 0]),
    ("op_tty", &[0, 4, 0]),
    ("op_vm", &[0, 7, 0]),
    ("op_sched", &[0, 15, 0]),
    ("op_high", &[0, 31, 0]),
    ("op_nested", &[0, 1, 3, 1, 0]),
    ("op_crossed", &[0, 1, 3, 2, 0]),
    ("op_again", &[0, 1, 0]),
    ("op_union", &[0, 7, 1, 0]),
    ("op_mutex", &[0, 1, 0]),
    ("op_mutex_held", &[0, 1, 0]),
    ("op_mutex_crossed", &[0, 1, 5, 4, 0]),
    ("op_mutex_tried", &[0, 1, 0]),
];

/// Which lines interrupt together.
const SETS: [&[usize]; 4] = [&[BIO, TTY], &[NET], &[BIO], &[TTY]];
/// The same, for operations on the mutex.
const MUTEX_SETS: [&[usize]; 4] = [&[MUTEX, NET], &[BIO], &[MUTEX], &[TTY]];

/// On a busy host.
const DEADLINE: Duration = Duration::from_secs(300);

/// What holds interrupts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Domain,
    Lazy,
    Eager,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Policy::Domain => "domain",
            Policy::Lazy => "lazy",
            Policy::Eager => "eager",
        }
    }

    /// True if the line has to wait at such a place: by the set, or by the ladder.
    fn holds_off(self, place: Place, line: usize) -> bool {
        let from = place.masked >> LINES[line] as u8;
        match self {
            Policy::Domain => from & 1 != 0,
            Policy::Lazy | Policy::Eager => from != 0,
        }
    }
}

/// The kernel under one policy.
struct Trial {
    policy: Policy,
    steps: Steps,
}

impl Trial {
    fn new(policy: Policy, console: &mut Console) -> Self {
        let steps = Steps::new(console);
        Self { policy, steps }
    }

    /// Interrupts the operation by these lines at this boundary.
    fn interrupt(&mut self, operation: &Operation, at: usize, lines: &[usize]) {
        let (steps, policy) = (&mut self.steps, self.policy);
        let Boundary { pc, place, open } = operation.boundaries[at];
        let name = &operation.name;
        steps.doing = format!("lines {lines:?} before instruction {at} of {name}, at {pc:#x}");
        steps.start_to(operation, at);
        steps.pend(lines);
        steps.take();
        let at_once = as_noted(&steps.ran_since());
        let end = steps.finish(operation.entries);

        let mut held = lines.to_vec();
        held.sort_by_key(|line| Reverse(LINES[*line]));
        let mut expected = Vec::new();
        for Boundary { place, .. } in &operation.boundaries[at..] {
            let waits = |line: &usize| policy.holds_off(*place, *line);
            let run = held.extract_if(.., |line| !waits(line));
            expected.extend(run.map(|line| place.noted(line)));
        }
        assert_eq!(held, [0; 0], "held for ever");
        assert_eq!(as_noted(&end.ran), expected, "what ran at all, and where");

        let may = lines.iter().filter(|line| !policy.holds_off(place, **line));
        let may = if open { may.count() } else { 0 };
        // The mask of the GIC follows a little later.
        let late = policy == Policy::Eager && at_once.is_empty();
        if !late {
            assert_eq!(at_once, expected[..may], "what ran at once, and where");
        }
    }

    /// Interrupts the operation by `first` as soon as that is held off, and then by `second` at each instruction from
    /// there to the end, those of the kernel's interrupt code included.
    fn interrupt_twice(&mut self, name: &str, first: usize, second: usize) {
        let (steps, policy) = (&mut self.steps, self.policy);
        let operation = &steps.undisturbed(name);
        let waits = |boundary: &Boundary| policy.holds_off(boundary.place, first);
        let at = operation.boundaries.iter().position(waits);
        let at = at.expect("it is held off somewhere");
        let after = &operation.boundaries[at..];
        let opens = after.iter().find(|boundary| !waits(boundary));
        let expected = opens.expect("it is let through").place.noted(first);
        steps.start_to(operation, at);
        steps.pend(&[first]);
        let way = steps.way();
        assert_eq!(as_noted(&steps.finish(operation.entries).ran), [expected]);

        let (mut missed, mut apart) = (0, 0);
        for pc in &way {
            steps.doing = format!("line {second} at {pc:#x}, with line {first} held off in {name}");
            steps.start_to(operation, at);
            steps.pend(&[first]);
            if !steps.advance(*pc, usize::from(*pc != operation.boundaries[at].pc)) {
                // Whether it comes by depends on the time.
                missed += 1;
                assert_eq!(as_noted(&steps.finish(operation.entries).ran), [expected]);
                continue;
            }
            // While one is pending, the same again is the same.
            let interrupts = 2 - steps.pend(&[second]);
            let ran = steps.finish(operation.entries).ran;
            let lines: BTreeSet<usize> = ran.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, BTreeSet::from([first, second]));
            assert_eq!(ran.len(), interrupts, "{ran:?}");
            assert!(as_noted(&ran).contains(&expected), "{ran:?}");
            apart += usize::from(interrupts == 2);
            steps.boundaries += 1;
        }
        let few = way.len() / 8;
        assert!(apart > few && missed < few, "{apart}, without {missed}");
    }

    /// Interrupts the operation, which masks these in turn, at each boundary.
    fn sweep(&mut self, name: &str, masks: &[u8]) {
        let operation = self.steps.undisturbed(name);
        let places = operation.boundaries.iter().map(|b| b.place.masked);
        let mut masked: Vec<u8> = places.collect();
        masked.dedup();
        assert_eq!(masked, masks, "what {name} masks");
        let sets = match name.contains("mutex") {
            true => &MUTEX_SETS,
            false => &SETS,
        };
        let sets = match self.policy {
            Policy::Domain | Policy::Lazy => &sets[..],
            // Each change of spl is a call, and many instructions.
            Policy::Eager => &sets[..1],
        };
        for at in 0..operation.boundaries.len() {
            for lines in sets {
                self.interrupt(&operation, at, lines);
            }
            self.steps.boundaries += 1;
        }
    }
}

/// Everything, under one policy.
fn all(policy: Policy) -> Console {
    // The watchdog's ticks would bring other CPUs to where this one is awaited.
    let cmdline = format!("panic=exit watchdog=off spl={}", policy.name());
    // Without the pack there is no Ethernet, whose keeper would come by the debugger's breakpoints on another CPU.
    let machine = Machine::new().no_pack().cmdline(&cmdline).icount().gdb();
    // Time stands still while the CPUs do.
    let machine = machine.args(["-icount", "sleep=on"]);
    let mut console = machine.deadline(DEADLINE).start();
    console.prompt();
    let mut trial = Trial::new(policy, &mut console);
    assert_eq!(trial.steps.operations(), OPERATIONS.len());
    for (name, masks) in OPERATIONS {
        trial.sweep(name, masks);
    }
    trial.steps.report("once");
    trial.interrupt_twice("op_bio", BIO, BIO);
    trial.interrupt_twice("op_mutex", MUTEX, NET);
    trial.steps.report("while another is held off");
    trial.steps.end(&mut console);
    console
}

#[test]
fn an_interrupt_at_any_instruction_runs_once_under_domain() {
    claim("domain: an interrupt at any instruction of spl and spin mutexes runs once, when it may");
    let mut console = all(Policy::Domain);
    // Every entry is the slow one; and how long a lock is held, when stepped through, must not matter.
    console.command("lockdebug limit 10000000");
    assert_eq!(console.command("lockstat on"), "lockstat is on");
    let mut trial = Trial::new(Policy::Domain, &mut console);
    trial.sweep("op_mutex", &[0, 1, 0]);
    trial.steps.report("with lockstat on");
    trial.steps.end(&mut console);
}

#[test]
fn an_interrupt_at_any_instruction_runs_once_under_lazy() {
    claim("lazy: an interrupt at any instruction of spl and spin mutexes runs once, when it may");
    all(Policy::Lazy);
}

#[test]
fn an_interrupt_at_any_instruction_runs_once_under_eager() {
    claim("eager: an interrupt at any instruction of spl and spin mutexes runs once, when it may");
    all(Policy::Eager);
}
