// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel command line: `key=value` words that the kernel knows, among others' that it ignores.
//!
//! | word | meaning |
//! |---|---|
//! | `panic=halt\|reboot\|exit\|ddb` | what follows a panic; `exit` ends an emulator with semihosting, and a board must not have it |
//! | `cpuoff=auto\|psci\|park` | how a CPU goes off (`smp.rs`) |
//! | `hwwatchdog=on\|off` | the chip's watchdog guards the kernel; unless told: on a board, not on an emulator |
//! | `watchdog=SECONDS\|off` | a CPU that gives no sign of life for so long (2 to 60, 5 unless told) hangs |
//! | `log=error\|warn\|info\|debug\|trace` | least severity on the console |
//! | `cpus=1..4` | how many CPUs start with the kernel; `cpu on` starts the others |
//! | `spl=domain\|lazy\|eager` | how interrupts are held off ([`sync::delivery`]) |
//! | `lockdebug=on\|off` | checks how locks are used, from the start |
//! | `lockstat=on\|off` | counts what locks cost, from the start |
//!
//! The network's words are read by [`crate::net::config`].
use bsp::map::CPUS;
use log::LevelFilter;
use sync::delivery::Policy;

/// What follows a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// Stop, with the report on the screen.
    Halt,
    /// Start again.
    Reboot,
    /// End the emulator with status 1.
    Exit,
    /// Enter the debugger.
    Ddb,
}

/// How a CPU goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuOff {
    /// By PSCI.
    Psci,
    /// By a loop in the kernel.
    Park,
}

/// The options that were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What follows a panic.
    pub on_panic: OnPanic,
    /// How a CPU goes off; `None`: find out.
    pub cpu_off: Option<CpuOff>,
    /// How many CPUs start with the kernel, the first included.
    pub cpus: usize,
    /// The chip's watchdog guards the kernel; `None`: find out.
    pub hwwatchdog: Option<bool>,
    /// Ticks of a second after which a silent CPU hangs; `None`: nobody watches.
    pub watchdog_s: Option<u32>,
    /// Least severity on the console.
    pub log: LevelFilter,
    /// How interrupts are held off.
    pub spl: Policy,
    /// lockdebug is on from the start.
    pub lockdebug: bool,
    /// lockstat is on from the start.
    pub lockstat: bool,
}

/// What `watchdog=` may be.
const WATCHDOG_S: core::ops::RangeInclusive<u32> = 2..=60;

impl Options {
    /// What holds without a command line.
    pub const DEFAULT: Options = Options {
        on_panic: OnPanic::Halt,
        cpu_off: None,
        cpus: CPUS,
        hwwatchdog: None,
        watchdog_s: Some(5),
        log: LevelFilter::Info,
        spl: Policy::Domain,
        lockdebug: false,
        lockstat: false,
    };

    /// Reads the line; `complain` gets each word whose key is known and whose value is not.
    pub fn parse<'a>(line: &'a str, mut complain: impl FnMut(&'a str)) -> Options {
        let mut options = Self::DEFAULT;
        for word in line.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("panic", "halt")) => options.on_panic = OnPanic::Halt,
                Some(("panic", "reboot")) => options.on_panic = OnPanic::Reboot,
                Some(("panic", "exit")) => options.on_panic = OnPanic::Exit,
                Some(("panic", "ddb")) => options.on_panic = OnPanic::Ddb,
                Some(("watchdog", "off")) => options.watchdog_s = None,
                Some(("watchdog", seconds)) => match seconds.parse() {
                    Ok(s) if WATCHDOG_S.contains(&s) => options.watchdog_s = Some(s),
                    _ => complain(word),
                },
                Some(("cpuoff", "auto")) => options.cpu_off = None,
                Some(("cpuoff", "psci")) => options.cpu_off = Some(CpuOff::Psci),
                Some(("cpuoff", "park")) => options.cpu_off = Some(CpuOff::Park),
                Some(("cpus", count)) => match count.parse() {
                    Ok(cpus @ 1..=CPUS) => options.cpus = cpus,
                    _ => complain(word),
                },
                Some(("hwwatchdog", value @ ("on" | "off"))) => {
                    options.hwwatchdog = Some(value == "on");
                }
                Some(("log", level)) => match level.parse() {
                    Ok(level) => options.log = level,
                    Err(_) => complain(word),
                },
                Some(("spl", policy)) => match policy.parse() {
                    Ok(policy) => options.spl = policy,
                    Err(_) => complain(word),
                },
                Some(("lockdebug", value @ ("on" | "off"))) => options.lockdebug = value == "on",
                Some(("lockstat", value @ ("on" | "off"))) => options.lockstat = value == "on",
                Some(("panic" | "cpuoff" | "hwwatchdog" | "lockdebug" | "lockstat", _)) => {
                    complain(word)
                }
                _ => {} // the firmware's, or another system's
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn known_words_count_and_wrong_values_are_named() {
        let mut wrong = Vec::new();
        let line = "console=ttyAMA0,115200 panic=exit cpuoff=maybe log=debug log=loud quiet \
                    lockdebug=on lockstat=yes spl=lazy spl=net cpus=2 cpus=0 cpus=5 \
                    hwwatchdog=off hwwatchdog=1 watchdog=7 watchdog=1 watchdog=61";
        let options = Options::parse(line, |word| wrong.push(word));
        assert_eq!(
            options,
            Options {
                on_panic: OnPanic::Exit,
                cpu_off: None,
                cpus: 2,
                hwwatchdog: Some(false),
                watchdog_s: Some(7),
                log: LevelFilter::Debug,
                spl: Policy::Lazy,
                lockdebug: true,
                lockstat: false,
            }
        );
        assert_eq!(
            wrong,
            [
                "cpuoff=maybe",
                "log=loud",
                "lockstat=yes",
                "spl=net",
                "cpus=0",
                "cpus=5",
                "hwwatchdog=1",
                "watchdog=1",
                "watchdog=61"
            ]
        );
        assert_eq!(
            Options::parse("watchdog=off", |_| unreachable!()).watchdog_s,
            None
        );
        assert_eq!(Options::parse("", |_| unreachable!()), Options::DEFAULT);
    }
}
