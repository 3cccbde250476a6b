// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults on demand: what a board or a card may do to a driver, done by plan.
//!
//! A plan is written `NAME[/EVERY][xTIMES][:MS]`: strike every `EVERY`th chance (1), at most
//! `TIMES` times (for ever), for so many milliseconds where the fault lasts. `read-crc/10x3` breaks
//! the check sequence of the 10th, 20th and 30th block that is read. What lasts for ever if the
//! plan does not say how long, the table says.

use std::fmt;
use std::str::FromStr;

/// How long a fault lasts if the plan does not say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    /// It is over at once, and a plan cannot say otherwise.
    Moment,
    Ms(u32),
    Forever,
}

macro_rules! faults {
    ($($variant:ident, $name:literal, $lasts:expr, $doc:literal;)*) => {
        /// What can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $doc] $variant,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in a plan.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it does, for a list.
            pub fn what(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            fn lasts(self) -> Lasts {
                match self { $(Self::$variant => $lasts,)* }
            }
        }
    };
}

faults! {
    ReadCrc, "read-crc", Lasts::Moment, "a block that is read has a wrong check sequence";
    WriteCrc, "write-crc", Lasts::Moment, "the card gets a block with a wrong check sequence";
    CommandCrc, "command-crc", Lasts::Moment, "a response has a wrong check sequence";
    CommandTimeout, "command-timeout", Lasts::Moment, "the card does not hear a command";
    DataTimeout, "data-timeout", Lasts::Ms(100), "no data comes, or is taken, until the time-out";
    AdmaError, "adma-error", Lasts::Moment, "ADMA finds its table broken";
    AutoCommand, "auto-command", Lasts::Moment, "an automatic CMD12 or CMD23 is not answered";
    IrqLost, "irq-lost", Lasts::Moment, "an interrupt is not signalled";
    Busy, "busy", Lasts::Forever, "the card stays busy after a write or a switch, for MS";
    Eject, "eject", Lasts::Forever, "the card is pulled out in mid-transfer, for MS";
    ReadOnly, "read-only", Lasts::Moment, "the card refuses a write as protected";
    ResetStuck, "reset-stuck", Lasts::Forever, "a software reset does not end, for MS";
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// At every so manyth chance, from 1.
    pub every: u32,
    /// So many times at most.
    pub times: Option<u32>,
    /// For so long, in milliseconds, if it lasts and ends.
    pub ms: Option<u32>,
}

/// Why a plan was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Fault::ALL.iter().map(|f| f.name()).collect();
        write!(
            f,
            "`{}` is no fault; write NAME[/EVERY][xTIMES][:MS], NAME one of {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for PlanError {}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let wrong = || PlanError(text.to_owned());
        let found = Fault::ALL.iter().filter(|f| text.starts_with(f.name()));
        let fault = *found.max_by_key(|f| f.name().len()).ok_or_else(wrong)?;
        let mut plan = Self {
            fault,
            every: 1,
            times: None,
            ms: match fault.lasts() {
                Lasts::Ms(ms) => Some(ms),
                Lasts::Moment | Lasts::Forever => None,
            },
        };
        let mut rest = &text[fault.name().len()..];
        while let Some(mark) = rest.chars().next() {
            rest = &rest[mark.len_utf8()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            match mark {
                '/' if number > 0 => plan.every = number,
                'x' => plan.times = Some(number),
                ':' if fault.lasts() != Lasts::Moment => plan.ms = Some(number),
                _ => return Err(wrong()),
            }
        }
        Ok(plan)
    }
}

/// A strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    /// At which of the chances, from 0.
    pub at: u32,
    /// For how long; `None`: for ever, or for no time.
    pub ns: Option<u64>,
}

/// The plan with what is left of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<(Plan, u32, u32)>);

impl Faults {
    pub(crate) fn new(plans: &[Plan]) -> Self {
        Self(plans.iter().map(|plan| (plan.clone(), 0, 0)).collect())
    }

    /// A chance for this fault.
    pub(crate) fn strike(&mut self, fault: Fault) -> Option<Strike> {
        self.strike_in(fault, 1)
    }

    /// So many chances in a row, of which the first that it strikes at ends the row.
    pub(crate) fn strike_in(&mut self, fault: Fault, chances: u32) -> Option<Strike> {
        let mut first: Option<Strike> = None;
        for (plan, seen, strikes) in self.0.iter_mut().filter(|p| p.0.fault == fault) {
            let until = plan.every - *seen % plan.every;
            let over = plan.times.is_some_and(|times| *strikes >= times);
            if over || until > chances {
                *seen = seen.wrapping_add(chances);
                continue;
            }
            *seen = seen.wrapping_add(until);
            *strikes += 1;
            let strike = Strike {
                at: until - 1,
                ns: plan.ms.map(|ms| u64::from(ms) * 1_000_000),
            };
            first = first.filter(|f| f.at <= strike.at).or(Some(strike));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        let plan: Plan = "read-crc/10x3".parse().unwrap();
        assert_eq!(
            (plan.fault, plan.every, plan.times),
            (Fault::ReadCrc, 10, Some(3))
        );
        let plan: Plan = "busy:250".parse().unwrap();
        assert_eq!(
            (plan.fault, plan.every, plan.ms),
            (Fault::Busy, 1, Some(250))
        );
        assert_eq!("busy".parse::<Plan>().unwrap().ms, None);
        for wrong in [
            "",
            "read",
            "read-crc/0",
            "read-crc/",
            "read-crc:5",
            "eject!",
        ] {
            assert!(wrong.parse::<Plan>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse::<Plan>().unwrap().fault, *fault);
        }
    }

    #[test]
    fn strikes_come_as_planned_and_end() {
        let mut faults = Faults::new(&["eject/3x2".parse().unwrap()]);
        let struck: Vec<_> = (1..=12)
            .filter(|_| faults.strike(Fault::Eject).is_some())
            .collect();
        assert_eq!(struck, [3, 6]);
        assert!(faults.strike(Fault::ReadCrc).is_none());
    }

    #[test]
    fn chances_in_a_row_are_as_good_as_one_by_one() {
        let mut faults = Faults::new(&["read-crc/5x2".parse().unwrap()]);
        assert_eq!(faults.strike_in(Fault::ReadCrc, 4), None);
        assert_eq!(faults.strike_in(Fault::ReadCrc, 8).map(|s| s.at), Some(0));
        assert_eq!(faults.strike_in(Fault::ReadCrc, 8).map(|s| s.at), Some(4));
        assert_eq!(faults.strike_in(Fault::ReadCrc, 100), None);
    }
}
