// SPDX-License-Identifier: MIT OR Apache-2.0
//! A GICv2 for tests: one CPU interface and the lines into it, as the architecture says that they behave.
//!
//! The tests beside the code use it, and so do the model checks, where interrupts fall into the middle of a raise.
//!
//! References: ARM IHI 0048B.b, 3.2.4 (states of an interrupt), 3.3 (priority), 4.4 (CPU interface).
use super::{Ipl, Pic, PriorityMap};
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::vec::Vec;

/// How a device says that it wants something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// By a pulse, which the GIC keeps in mind.
    Edge,
    /// For as long as it wants it.
    Level,
}

/// An interrupt line and its state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    class: Ipl,
    priority: u8,
    trigger: Trigger,
    /// The pulse that is kept, or the level.
    pending: bool,
    active: bool,
}

/// What the registers hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Registers {
    lines: Vec<Line>,
    /// The priority bits that there are.
    implemented: u8,
    pmr: u8,
    /// Priorities that were acknowledged and not ended, the latest last.
    running: Vec<u8>,
}

/// The GIC, with the priorities of a [`PriorityMap`].
#[derive(Clone, Debug)]
pub struct Gic {
    registers: RefCell<Registers>,
    map: PriorityMap,
}

impl Gic {
    /// Lines of these classes, all quiet, in a GIC with these priority bits. The PMR is as after a reset: nothing comes.
    pub fn new(lines: &[(Ipl, Trigger)], implemented: u8) -> Self {
        let map = PriorityMap::new(implemented).expect("the classes fit");
        let lines = lines.iter().map(|(class, trigger)| Line {
            class: *class,
            priority: map.priority(*class).expect("a hardware class") & implemented,
            trigger: *trigger,
            pending: false,
            active: false,
        });
        let registers = RefCell::new(Registers {
            lines: lines.collect(),
            implemented,
            pmr: 0,
            running: Vec::new(),
        });
        Self { registers, map }
    }

    /// The device of `line` wants something.
    pub fn arrive(&self, line: usize) {
        self.registers.borrow_mut().lines[line].pending = true;
    }

    /// The handler has given the device what it wants.
    pub fn serve(&self, line: usize) {
        let line = &mut self.registers.borrow_mut().lines[line];
        if line.trigger == Trigger::Level {
            line.pending = false;
        }
    }

    /// GICC_DIR.
    pub fn deactivate(&self, line: usize) {
        let line = &mut self.registers.borrow_mut().lines[line];
        assert!(line.active, "deactivated without having been active");
        line.active = false;
    }

    /// True while the CPU is asked for.
    pub fn asks(&self) -> bool {
        self.registers.borrow().most_urgent().is_some()
    }

    /// The line is pending, and active.
    pub fn state(&self, line: usize) -> (bool, bool) {
        let line = &self.registers.borrow().lines[line];
        (line.pending, line.active)
    }

    /// The highest class that stays pending.
    pub fn masked_up_to(&self) -> Option<Ipl> {
        let pmr = self.registers.borrow().pmr;
        let masked = |class: &Ipl| self.map.priority(*class) >= Some(pmr);
        Ipl::HARDWARE.into_iter().rfind(masked)
    }
}

impl Hash for Gic {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.registers.borrow().hash(hasher);
    }
}

impl Registers {
    /// The line that IAR would give. Of equal priority, the lowest number.
    fn most_urgent(&self) -> Option<usize> {
        let limit = self.running.last().map_or(self.pmr, |r| self.pmr.min(*r));
        let lines = self.lines.iter().enumerate();
        let ready = lines.filter(|(_, l)| l.pending && !l.active && l.priority < limit);
        ready.min_by_key(|(_, l)| l.priority).map(|(n, _)| n)
    }
}

impl Pic for Gic {
    type Interrupt = usize;

    fn acknowledge(&self) -> Option<usize> {
        let mut registers = self.registers.borrow_mut();
        let number = registers.most_urgent()?;
        let line = &mut registers.lines[number];
        line.active = true;
        if line.trigger == Trigger::Edge {
            line.pending = false;
        }
        let priority = line.priority;
        registers.running.push(priority);
        Some(number)
    }

    fn end(&self, number: usize) {
        let mut registers = self.registers.borrow_mut();
        let priority = registers.lines[number].priority;
        let ended = registers.running.pop();
        assert_eq!(
            ended,
            Some(priority),
            "not the latest that was acknowledged"
        );
    }

    fn set_mask(&self, up_to: Option<Ipl>) {
        let pmr = match up_to {
            Some(class) => self.map.priority(class).expect("a hardware class"),
            None => self.map.open(),
        };
        let mut registers = self.registers.borrow_mut();
        registers.pmr = pmr & registers.implemented;
    }

    fn class(&self, number: usize) -> Ipl {
        self.registers.borrow().lines[number].class
    }
}
