// SPDX-License-Identifier: MIT OR Apache-2.0
//! From interrupt class to GIC priority, for as many priority bits as the GIC implements.
//!
//! # Theory
//! A GIC priority is a byte, lower is more urgent, of which only the upper bits exist: 4 in the Pi's non-secure
//! view, 5 or 8 elsewhere. An interrupt is delivered if its priority is lower than the mask register (PMR), so the
//! largest value that exists can mask nothing less and is nobody's priority: `n` bits give `2^n - 1` usable levels.
//! The classes are spread over them with the widest equal step, so that every class remains distinct and a mask
//! of exactly one class's value stops it and all below.
//!
//! References: ARM IHI 0048B.b, 3.3 (priority), 4.4.2 (GICC_PMR).
use crate::ipl::Ipl;
use core::fmt;

/// GIC priorities of the hardware classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityMap {
    priorities: [u8; Ipl::HARDWARE.len()],
    open: u8,
}

/// The GIC implements too few priority levels to tell the classes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewLevels {
    /// The bits that stuck when ones were written.
    pub implemented: u8,
}

impl fmt::Display for TooFewLevels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (bits, classes) = (self.implemented.count_ones(), Ipl::HARDWARE.len());
        write!(
            f,
            "the GIC implements {bits} priority bits (mask {:#04x}): too few levels for {classes} interrupt classes",
            self.implemented
        )
    }
}

impl PriorityMap {
    /// The map for a GIC whose priority bits `implemented` read back as ones.
    pub fn new(implemented: u8) -> Result<Self, TooFewLevels> {
        let refused = TooFewLevels { implemented };
        // The implemented bits are the upper ones, without gaps: anything else is not a GIC.
        if implemented.leading_ones() != implemented.count_ones() {
            return Err(refused);
        }
        let usable = (1u16 << implemented.count_ones()) - 1;
        let classes = Ipl::HARDWARE.len() as u16;
        let step = (usable / classes) * (256 >> implemented.count_ones());
        if step == 0 {
            return Err(refused);
        }
        // The highest class gets 0 levels from the top, the lowest the largest value.
        let priorities = core::array::from_fn(|i| ((classes - 1 - i as u16) * step) as u8);
        let map = Self {
            priorities,
            open: implemented,
        };
        debug_assert!(map.distinct());
        Ok(map)
    }

    /// The priority of `class`'s interrupts; software classes have none.
    pub fn priority(&self, class: Ipl) -> Option<u8> {
        let index = Ipl::HARDWARE.iter().position(|c| *c == class)?;
        Some(self.priorities[index])
    }

    /// The mask register's value that lets every class through.
    pub fn open(&self) -> u8 {
        self.open
    }

    /// The mask register's value that lets through only what has the highest priority of all, that of the highest class.
    pub fn step(&self) -> u8 {
        1 << self.open.trailing_zeros()
    }

    /// True if each class outranks the one below it and an open mask delivers all: what boot checks on the values
    /// read back from the hardware.
    pub fn distinct(&self) -> bool {
        self.priorities.is_sorted_by(|low, high| low > high) && self.priorities[0] < self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `priority` becomes in hardware with these bits.
    fn stored(implemented: u8, priority: u8) -> u8 {
        implemented & priority
    }

    #[test]
    fn classes_stay_apart_from_three_bits_on() {
        for bits in 3..=8 {
            let implemented = !0u8 << (8 - bits);
            let map = PriorityMap::new(implemented).unwrap();
            assert!(map.distinct(), "{bits} bits: {map:x?}");
            for class in Ipl::HARDWARE {
                let priority = map.priority(class).unwrap();
                assert_eq!(
                    stored(implemented, priority),
                    priority,
                    "{bits} bits: {class} is rounded"
                );
            }
        }
    }

    #[test]
    fn two_bits_and_gaps_are_refused() {
        for implemented in [0x00, 0x80, 0xC0, 0xA0, 0x0F, 0x7F] {
            assert_eq!(
                PriorityMap::new(implemented),
                Err(TooFewLevels { implemented })
            );
        }
    }

    #[test]
    fn software_classes_have_no_priority() {
        let map = PriorityMap::new(0xF0).unwrap();
        assert_eq!(map.priority(Ipl::SoftNet), None);
        assert_eq!(map.priority(Ipl::High), Some(0));
    }
}
