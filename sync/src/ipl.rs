// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt classes, the rungs of spl.
//!
//! Software classes run as threads and need no interrupt priority; the others each have one
//! ([`priority`](crate::priority)), and a higher class preempts a lower one.
use core::fmt;

/// A class of interrupts, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ipl {
    /// Software: callouts.
    SoftClock,
    /// Software: completion of disk requests.
    SoftBio,
    /// Software: network protocols.
    SoftNet,
    /// Software: terminal input.
    SoftSerial,
    /// Disk devices.
    Bio,
    /// Network devices.
    Net,
    /// Terminals.
    Tty,
    /// Clock and inter-processor interrupts.
    Sched,
    /// Everything, and the stop of a panicking machine.
    High,
}

impl Ipl {
    /// All classes, lowest first: each at its own number.
    pub const ALL: [Ipl; 9] = [
        Ipl::SoftClock,
        Ipl::SoftBio,
        Ipl::SoftNet,
        Ipl::SoftSerial,
        Ipl::Bio,
        Ipl::Net,
        Ipl::Tty,
        Ipl::Sched,
        Ipl::High,
    ];

    /// The classes that devices, the clock and processors interrupt at, lowest first.
    pub const HARDWARE: [Ipl; 5] = [Ipl::Bio, Ipl::Net, Ipl::Tty, Ipl::Sched, Ipl::High];

    /// The class's name, as `intr` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Ipl::SoftClock => "softclock",
            Ipl::SoftBio => "softbio",
            Ipl::SoftNet => "softnet",
            Ipl::SoftSerial => "softserial",
            Ipl::Bio => "bio",
            Ipl::Net => "net",
            Ipl::Tty => "tty",
            Ipl::Sched => "sched",
            Ipl::High => "high",
        }
    }
}

impl fmt::Display for Ipl {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}
