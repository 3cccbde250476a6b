// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel, stopped by a debugger: calls of its operations, lines that interrupt it, and what it says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use qemu_tests::gdb::{Gdb, Registers, Run};
use qemu_tests::{Console, case};
use tools::{kimage, paths::Function};

/// The lines, by the class at which they interrupt.
pub const LINES: [Class; 4] = [Class::Bio, Class::Net, Class::Tty, Class::Bio];
pub const BIO: usize = 0;
pub const NET: usize = 1;
pub const TTY: usize = 2;
/// Its handler takes the mutex.
pub const MUTEX: usize = 3;

/// More instructions than anything here takes.
const ENDLESS: usize = 20_000;

/// The classes of the lines, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Bio,
    Net,
    Tty,
}

/// Where in an operation: what is masked, a bit for each class, and which part of it this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub masked: u8,
    pub phase: u8,
}

impl Place {
    /// As a handler of this line notes it: what it masks itself, its class and those below, says nothing.
    pub fn noted(self, line: usize) -> (usize, u8, u8) {
        (line, self.masked >> (LINES[line] as u8 + 1), self.phase)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    pub pc: u64,
    pub place: Place,
    /// IRQ is not masked.
    pub open: bool,
}

/// What the kernel says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub place: Place,
    /// Of the thread.
    pending: u16,
    /// Into the mutex so far.
    entries: u32,
    /// Which lines ran since the last time, and where.
    pub ran: Vec<(usize, Place)>,
}

pub fn as_noted(ran: &[(usize, Place)]) -> Vec<(usize, u8, u8)> {
    ran.iter().map(|(line, place)| place.noted(*line)).collect()
}

/// An operation that nothing disturbs.
pub struct Operation {
    pub name: String,
    /// The last is its end.
    pub boundaries: Vec<Boundary>,
    /// Into the mutex.
    pub entries: u32,
}

/// The kernel, stopped where it is ready for operations.
pub struct Steps {
    gdb: Gdb,
    symbols: BTreeMap<String, u64>,
    ready: Registers,
    /// When it was ready last.
    quiet: Seen,
    pub boundaries: usize,
    interrupts: usize,
    /// For who reads why a test failed.
    pub doing: String,
}

impl Steps {
    /// Stops the kernel, at the prompt, where it is ready for operations.
    pub fn new(console: &mut Console) -> Self {
        let file = tools::kernel_elf();
        let elf = tools::read(&file, "`make image` builds it").expect("the linked kernel");
        let image = kimage::from_elf(&elf).expect("a kernel");
        let booted = std::fs::read(tools::out_dir().join("kernel8.img")).expect("the image");
        assert!(image.bytes == booted, "the image is another kernel's");
        let functions = Function::named(&elf, "step_").expect("an ELF file");
        let symbols = functions.into_iter().map(|(name, f)| (name, f.address));
        let symbols: BTreeMap<_, _> = symbols.collect();
        let mut gdb = console.debugger();
        gdb.break_at(symbols["ready"]);
        gdb.go(Run::All);
        console.send_line("selftest step");
        gdb.wait();
        let ready = gdb.registers();
        let place = Place {
            masked: 0,
            phase: 0,
        };
        let quiet = Seen {
            place,
            pending: 0,
            entries: 0,
            ran: Vec::new(),
        };
        let mut steps = Self {
            gdb,
            symbols,
            ready,
            quiet,
            boundaries: 0,
            interrupts: 0,
            doing: String::new(),
        };
        steps.call("look", 0);
        steps.quiet = steps.seen();
        assert_eq!((steps.quiet.place, &steps.quiet.ran), (place, &Vec::new()));
        steps
    }

    /// The kernel goes on alone, and judges itself.
    pub fn end(mut self, console: &mut Console) {
        self.gdb.set_registers(&self.ready);
        self.gdb.unbreak(self.symbols["ready"]);
        drop(self);
        let verdict = console.expect(" failed", Duration::from_secs(60));
        assert!(verdict.ends_with("1 passed, 0"), "{verdict}");
        console.prompt();
    }

    /// Has the CPU call a function where it stopped, with IRQ masked, and puts it back; the result.
    fn call(&mut self, function: &str, argument: u64) -> u64 {
        let here = self.gdb.registers();
        let mut there = here.clone();
        there.set(Registers::PC, self.symbols[function]);
        there.set(Registers::LINK, self.symbols["ready"]);
        there.set(Registers::X0, argument);
        there.mask_irq();
        self.gdb.set_registers(&there);
        self.gdb.run(Run::Cpu0);
        let back = self.gdb.registers();
        assert_eq!(back.get(Registers::PC), self.symbols["ready"], "{function}");
        self.gdb.set_registers(&here);
        back.get(Registers::X0)
    }

    /// What ran, as the word at `address` has it.
    fn ran(&mut self, address: u64) -> Vec<(usize, Place)> {
        let ran = self.gdb.read(address);
        let notes = (0..4).rev().map(|n| (ran >> (16 * n)) as u16);
        let noted = notes.filter(|note| *note != 0).map(|note| {
            let [low, phase] = note.to_le_bytes();
            let masked = low >> 3;
            (usize::from(low & 7) - 1, Place { masked, phase })
        });
        noted.collect()
    }

    /// What ran since the kernel looked last.
    pub fn ran_since(&mut self) -> Vec<(usize, Place)> {
        self.ran(self.ready.get(Registers::X0 + 1))
    }

    /// What the kernel saw when it looked last.
    fn seen(&mut self) -> Seen {
        let address = self.ready.get(Registers::X0);
        let state = self.gdb.read(address);
        let [masked, phase, ..] = state.to_le_bytes();
        Seen {
            place: Place { masked, phase },
            pending: (state >> 16) as u16,
            entries: (state >> 32) as u32,
            ran: self.ran(address + 8),
        }
    }

    /// How many operations the kernel has.
    pub fn operations(&self) -> usize {
        let names = self.symbols.keys();
        names.filter(|name| name.starts_with("op_")).count()
    }

    /// Has the lines interrupt; how many of them were pending.
    pub fn pend(&mut self, lines: &[usize]) -> usize {
        let were = self.call("pend", lines.iter().fold(0, |bits, line| bits | 1 << line));
        self.interrupts += lines.len();
        were.count_ones() as usize
    }

    /// Runs until the CPU has come to `pc` so often, not counting where it is; false if it ends before.
    #[must_use]
    pub fn advance(&mut self, pc: u64, times: usize) -> bool {
        self.gdb.break_at(pc);
        let comes = (0..times).all(|_| {
            if self.gdb.pc() == pc {
                self.gdb.run(Run::Step);
            }
            self.gdb.run(Run::All);
            self.gdb.pc() == pc
        });
        self.gdb.unbreak(pc);
        comes
    }

    /// Lets the CPU take what is pending, and come back with the registers that it had.
    pub fn take(&mut self) {
        let here = self.gdb.registers();
        let (pc, sp) = (here.get(Registers::PC), here.get(Registers::SP));
        self.gdb.break_at(pc);
        self.gdb.run(Run::All);
        // A handler may come by here, too.
        while self.gdb.registers().get(Registers::SP) != sp && self.gdb.pc() == pc {
            self.gdb.run(Run::Step);
            self.gdb.run(Run::All);
        }
        self.gdb.unbreak(pc);
        assert_eq!(self.gdb.registers(), here, "registers");
    }

    /// To the end of the operation, which must leave all as it was but for these entries into the mutex, and those of
    /// the handlers that ran.
    pub fn finish(&mut self, entries: u32) -> Seen {
        if self.gdb.pc() != self.symbols["ready"] {
            self.gdb.run(Run::All);
        }
        assert_eq!(self.gdb.pc(), self.symbols["ready"], "the end");
        let end = self.seen();
        let before = std::mem::replace(&mut self.quiet, end.clone());
        assert_eq!(end.place, before.place, "masked, and phase, at the end");
        assert_eq!(end.pending, before.pending, "pending at the end");
        let by_handlers = end.ran.iter().filter(|(line, _)| *line == MUTEX);
        let entries = entries + by_handlers.count() as u32;
        assert_eq!(end.entries - before.entries, entries, "entries");
        end
    }

    /// Starts the operation, which returns to where the kernel looks.
    fn start(&mut self, operation: &str) {
        let mut registers = self.ready.clone();
        registers.set(Registers::PC, self.symbols[operation]);
        registers.set(Registers::LINK, self.symbols["look"]);
        self.gdb.set_registers(&registers);
    }

    /// Starts the operation and stops it at the boundary with this number.
    pub fn start_to(&mut self, operation: &Operation, at: usize) {
        self.start(&operation.name);
        let pc = operation.boundaries[at].pc;
        let passed = operation.boundaries.iter().take(at + 1).skip(1);
        let comes = self.advance(pc, passed.filter(|b| b.pc == pc).count());
        assert!(comes, "{} took another way", operation.name);
    }

    /// Goes through an operation that nothing disturbs.
    pub fn undisturbed(&mut self, name: &str) -> Operation {
        let (mut boundaries, before) = (Vec::new(), self.quiet.entries);
        self.start(name);
        loop {
            let registers = self.gdb.registers();
            let (pc, open) = (registers.get(Registers::PC), !registers.irq_masked());
            self.call("look", 0);
            let place = self.seen().place;
            boundaries.push(Boundary { pc, place, open });
            if pc == self.symbols["look"] {
                break;
            }
            assert!(boundaries.len() < ENDLESS, "{name} does not end");
            self.gdb.run(Run::Step);
        }
        self.gdb.run(Run::All);
        self.quiet = self.seen();
        Operation {
            name: name.to_owned(),
            boundaries,
            entries: self.quiet.entries - before,
        }
    }

    /// The instructions that follow, interrupts taken, until the operation has ended: each once.
    pub fn way(&mut self) -> Vec<u64> {
        let (mut way, mut met) = (Vec::new(), BTreeSet::new());
        for _ in 0..ENDLESS {
            let pc = self.gdb.pc();
            if met.insert(pc) {
                way.push(pc);
            }
            if pc == self.symbols["look"] {
                return way;
            }
            self.gdb.run(Run::StepOrInterrupt);
        }
        panic!("no end");
    }

    /// Says how much was done since the last time.
    pub fn report(&mut self, what: &str) {
        let (boundaries, interrupts) = (self.boundaries, self.interrupts);
        case(&format!(
            "{what}: {boundaries} boundaries, {interrupts} interrupts"
        ));
        (self.boundaries, self.interrupts) = (0, 0);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if thread::panicking() {
            case(&format!("failed with {}", self.doing));
        }
    }
}
