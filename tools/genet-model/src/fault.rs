// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults on demand: what a board may do to a driver, done by plan.
//!
//! A plan is written `NAME[/EVERY][xTIMES][:MS]`: strike every `EVERY`th chance (1), at most
//! `TIMES` times (for ever), for so many milliseconds where the fault lasts. `rx-crc/10x3` breaks
//! the check sequence of the 10th, 20th and 30th received frame.

use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($variant:ident, $name:literal, $ms:literal, $doc:literal;)*) => {
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

            /// How long it lasts if the plan does not say; 0 for what does not last.
            fn default_ms(self) -> u32 {
                match self { $(Self::$variant => $ms,)* }
            }
        }
    };
}

faults! {
    RxCrc, "rx-crc", 0, "a received frame has a wrong check sequence";
    RxAlign, "rx-align", 0, "a received frame ends inside a byte";
    RxSymbol, "rx-symbol", 0, "a received frame has a symbol error";
    RxOverflow, "rx-overflow", 0, "the receive buffer overflows in a frame";
    RxOversize, "rx-oversize", 0, "a received frame is longer than MAX_FRAME";
    RxRunt, "rx-runt", 0, "a received frame is cut to less than 64 bytes";
    RxDrop, "rx-drop", 0, "a received frame is lost";
    RxDelay, "rx-delay", 20, "received frames arrive late";
    TxStall, "tx-stall", 0, "the ring's consumer index stops until DMA is disabled";
    TxDelay, "tx-delay", 20, "the consumer index and its interrupt come late";
    TxUnderrun, "tx-underrun", 0, "the transmit buffer runs empty in a frame";
    DmaRead, "dma-read", 0, "the bus refuses a read by the device";
    DmaWrite, "dma-write", 0, "the bus refuses a write by the device";
    IrqLost, "irq-lost", 0, "an interrupt of the rings is not signalled";
    LinkFlap, "link-flap", 2000, "the link goes down and up again, each for MS";
    PhyDead, "phy-dead", 0, "the PHY does not answer";
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
    /// For so long, in milliseconds.
    pub ms: u32,
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
        // Names hold an x themselves (rx-, tx-): the count is looked for behind the name only.
        let found = Fault::ALL.iter().filter(|f| text.starts_with(f.name()));
        let fault = *found.max_by_key(|f| f.name().len()).ok_or_else(wrong)?;
        let mut plan = Self {
            fault,
            every: 1,
            times: None,
            ms: fault.default_ms(),
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
                ':' if fault.default_ms() > 0 => plan.ms = number,
                _ => return Err(wrong()),
            }
        }
        Ok(plan)
    }
}

/// The plan with what is left of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<(Plan, u32, u32)>);

impl Faults {
    pub(crate) fn new(plans: &[Plan]) -> Self {
        Self(plans.iter().map(|plan| (plan.clone(), 0, 0)).collect())
    }

    /// A chance for this fault: whether it strikes, and for how many nanoseconds.
    pub(crate) fn strike(&mut self, fault: Fault) -> Option<u64> {
        let mut struck = None;
        for (plan, chances, strikes) in self.0.iter_mut().filter(|p| p.0.fault == fault) {
            *chances = chances.wrapping_add(1);
            if *chances % plan.every == 0 && plan.times.is_none_or(|times| *strikes < times) {
                *strikes += 1;
                struck = Some(u64::from(plan.ms) * 1_000_000);
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        let plan: Plan = "rx-crc/10x3".parse().unwrap();
        assert_eq!(
            (plan.fault, plan.every, plan.times),
            (Fault::RxCrc, 10, Some(3))
        );
        let plan: Plan = "tx-delay:250".parse().unwrap();
        assert_eq!((plan.fault, plan.every, plan.ms), (Fault::TxDelay, 1, 250));
        for wrong in [
            "",
            "rx",
            "rx-crc/0",
            "rx-crc/",
            "rx-crcx",
            "rx-crc:5",
            "phy-dead!",
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
        let mut faults = Faults::new(&["rx-drop/3x2".parse().unwrap()]);
        let struck: Vec<_> = (1..=12)
            .filter(|_| faults.strike(Fault::RxDrop).is_some())
            .collect();
        assert_eq!(struck.len(), 2);
        assert_eq!(struck, [3, 6]);
        assert!(faults.strike(Fault::RxCrc).is_none());
    }
}
