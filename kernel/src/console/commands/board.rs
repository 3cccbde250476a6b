// SPDX-License-Identifier: MIT OR Apache-2.0
//! `board`: what the board says of itself.
use super::random::write_sources;
use super::{Command, Outcome};
use crate::clock::Utc;
use crate::console::shell::Call;
use crate::thread::ThreadCx;
use crate::{board, machine_off};
use core::fmt::{self, Write};
use drivers::mailbox::{BoardRevision, Clock, Throttled};

pub const BOARD: Command = Command {
    name: "board",
    arguments: "",
    summary: "model, temperature, supply, clocks, watchdog",
    details: "power: what slows the CPUs down, now and since power-up. watchdog: the chip's,\n\
              which resets a kernel that hangs (hwwatchdog=on|off). Example: board",
    takes_paths: false,
    run: board,
};

const LABEL: usize = 12;

fn board(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let mut row = |label: &str, text: fmt::Arguments| writeln!(out, "{label:<LABEL$}{text}");
    match board::mailbox(cx, |m| m.board_revision()) {
        Some(word) => row("model", format_args!("{} ({word:#x})", BoardRevision(word)))?,
        None => row("model", format_args!("the firmware does not say"))?,
    }
    match board::firmware_revision() {
        _ if board::is_emulated() => row("firmware", format_args!("an emulator's"))?,
        seconds => {
            let (year, month, day) = Utc(u64::from(seconds) * 1_000_000_000).date();
            row("firmware", format_args!("of {year}-{month:02}-{day:02}"))?;
        }
    }
    match board::chip_revision() {
        Ok(word) => row("chip", format_args!("revision word {word:#010x}"))?,
        Err(reason) => row("chip", format_args!("{reason}"))?,
    }
    let sensor = board::sensor_millidegrees();
    let told = board::mailbox(cx, |m| m.temperature_millidegrees());
    let most = board::mailbox(cx, |m| m.max_temperature_millidegrees());
    row(
        "temperature",
        format_args!(
            "{} by its sensor, {} by the firmware, which slows down",
            Degrees(sensor),
            Degrees(told.map(|t| t as i32)),
        ),
    )?;
    let most = Degrees(most.map(|t| t as i32));
    row("", format_args!("the CPUs at {most}"))?;
    match board::mailbox(cx, |m| m.throttled()) {
        None => row("power", format_args!("the firmware does not say"))?,
        Some(word) => {
            let word = Throttled(word);
            row("power now", format_args!("{}", List(word.now())))?;
            row("ever", format_args!("{}", List(word.since_power_up())))?;
        }
    }
    let least = board::mailbox(cx, |m| m.min_clock_rate_hz(Clock::Arm));
    let most = board::mailbox(cx, |m| m.max_clock_rate_hz(Clock::Arm));
    for (name, clock) in [
        ("arm", Clock::Arm),
        ("core", Clock::Core),
        ("emmc2", Clock::Emmc2),
        ("uart", Clock::Uart),
    ] {
        let label = if clock == Clock::Arm { "clocks" } else { "" };
        let rate = Mhz(board::mailbox(cx, |m| m.clock_rate_hz(clock)));
        match clock {
            Clock::Arm => row(
                label,
                format_args!("{name:<6} {rate} ({} to {})", Mhz(least), Mhz(most)),
            )?,
            _ => row(label, format_args!("{name:<6} {rate}"))?,
        }
    }
    let (armed, left_ms, was_reset) = machine_off::watchdog();
    match (armed, board::hwwatchdog()) {
        (true, _) => row(
            "watchdog",
            format_args!("resets in {left_ms} ms, unless fed"),
        )?,
        (false, true) => row("watchdog", format_args!("does not count"))?,
        (false, false) => row("watchdog", format_args!("not used here"))?,
    }
    let start = if was_reset {
        "a reset by the watchdog: a reboot, or nobody fed it"
    } else {
        "power-on, or a reset that left no mark"
    };
    row("started by", format_args!("{start}"))?;
    write!(out, "{:<LABEL$}", "random")?;
    write_sources(cx, out)
}

/// Thousandths of a degree.
pub struct Degrees(pub Option<i32>);

impl fmt::Display for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(milli) => {
                let sign = if milli < 0 { "-" } else { "" };
                let tenths = milli.unsigned_abs() / 100;
                write!(f, "{sign}{}.{} C", tenths / 10, tenths % 10)
            }
            None => f.write_str("unknown"),
        }
    }
}

/// Hertz.
pub struct Mhz(pub Option<u32>);

impl fmt::Display for Mhz {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(hz) => write!(f, "{}.{} MHz", hz / 1_000_000, hz / 100_000 % 10),
            None => f.write_str("unknown"),
        }
    }
}

/// What an iterator has, or that it has nothing.
pub struct List<I>(pub I);

impl<I: Iterator<Item = &'static str> + Clone> fmt::Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut any = false;
        for name in self.0.clone() {
            write!(f, "{}{name}", if any { ", " } else { "" })?;
            any = true;
        }
        if any { Ok(()) } else { f.write_str("nothing") }
    }
}
