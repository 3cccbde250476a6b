// SPDX-License-Identifier: MIT OR Apache-2.0
//! `dmesg`, `log`, `uptime`, `reboot`, `poweroff`, `panic`: the machine as a whole.
use super::{Command, Outcome};
use crate::console::shell::{Call, Refusal, interrupted};
use crate::console::words::number_in;
use crate::console::{terminal, tty};
use crate::panic::provoke;
use crate::storage;
use crate::thread::ThreadCx;
use crate::{board, klog, machine_off};
use bsp::timer::now_ns;
use core::fmt::Write;
use log::LevelFilter;

pub const DMESG: Command = Command {
    name: "dmesg",
    arguments: "",
    summary: "the log: time, CPU, severity, module, message",
    details: "The last 64 KiB, also what was below the console's severity. Example: dmesg",
    takes_paths: false,
    run: dmesg,
};

fn dmesg(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let mut result = Ok(());
    klog::for_each(|line| {
        result = out
            .write_str(core::str::from_utf8(line).unwrap_or("?"))
            .and_then(|()| out.write_char('\n'));
        result.is_ok() && !interrupted(cx)
    });
    Ok(result?)
}

pub const LOG: Command = Command {
    name: "log",
    arguments: "[SEVERITY]",
    summary: "least severity printed on the console",
    details: "off, error, warn, info, debug or trace. Example: log debug",
    takes_paths: false,
    run: log,
};

fn log(_: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(1)?;
    if let Some(word) = call.words.first() {
        klog::set_console_level(word.parse::<LevelFilter>().map_err(|_| call.usage())?);
    }
    writeln!(
        out,
        "log messages from \"{}\" on are printed",
        klog::console_level().as_str().to_ascii_lowercase()
    )?;
    Ok(())
}

pub const UPTIME: Command = Command {
    name: "uptime",
    arguments: "",
    summary: "time since boot; version, board, command line",
    details: "Example: uptime",
    takes_paths: false,
    run: uptime,
};

fn uptime(_: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    let s = now_ns() / 1_000_000_000;
    let (days, hours, minutes, seconds) = (s / 86400, s / 3600 % 24, s / 60 % 60, s % 60);
    writeln!(out, "up {days} days {hours:02}:{minutes:02}:{seconds:02}")?;
    let (el, data) = board::entry();
    let board = board::get();
    writeln!(
        out,
        "Orthogon {} on {}",
        env!("CARGO_PKG_VERSION"),
        board.model
    )?;
    writeln!(
        out,
        "entered at EL{el}, firmware data at {data:#x}, timer {} Hz",
        bsp::timer::frequency_hz()
    )?;
    writeln!(out, "command line: {}", board.command_line)?;
    if let Some([a, b, c, d, e, f]) = board.mac {
        writeln!(
            out,
            "ethernet address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
        )?;
    }
    Ok(())
}

pub const REBOOT: Command = Command {
    name: "reboot",
    arguments: "",
    summary: "reset the machine",
    details: "By PSCI, else by the watchdog. Example: reboot",
    takes_paths: false,
    run: reboot,
};

fn reboot(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    write_changes(cx, out)?;
    writeln!(out, "rebooting")?;
    terminal::flush(cx);
    machine_off::reset()
}

/// Before the machine goes.
fn write_changes(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    if let Err(error) = storage::shut_down(cx) {
        writeln!(out, "{error}; what has changed since is lost")?;
    }
    Ok(())
}

pub const POWEROFF: Command = Command {
    name: "poweroff",
    arguments: "",
    summary: "halt the board, or end the emulator",
    details: "By PSCI, else by the watchdog block. Example: poweroff",
    takes_paths: false,
    run: poweroff,
};

fn poweroff(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    call.at_most(0)?;
    write_changes(cx, out)?;
    writeln!(out, "powering off")?;
    terminal::flush(cx);
    machine_off::power_off()
}

pub const PANIC: Command = Command {
    name: "panic",
    arguments: "[stack|null|text|data|tty|card|after MS]",
    summary: "end in a panic, by a fault of your choice",
    details: "stack: overflow it; null: read through a null pointer; text: write to the\n\
              kernel's code; data: jump to data; tty: with the next key, in the console's\n\
              driver; card: in the card's driver, with a command under way; after MS:\n\
              from the timer's interrupt in so many milliseconds, whatever runs then.\n\
              What is left on the card, lastpanic shows after the next boot; what follows\n\
              is the command line's panic=halt|reboot|exit|ddb. Example: panic after 500",
    takes_paths: false,
    run: panic,
};

fn panic(cx: &mut ThreadCx, call: &Call, _: &mut dyn Write) -> Outcome {
    call.at_most(2)?;
    if call.word(0).is_ok_and(|word| word == "after") {
        let ms = number_in(call.word(1)?, 0..=60_000)?;
        provoke::later(cx, ms);
        return Ok(());
    }
    call.at_most(1)?;
    terminal::flush(cx);
    match call.words.first().map(|w| w.as_str()) {
        None => panic!("asked for at the console"),
        Some("stack") => drop(provoke::stack_overflow(0)),
        Some("null") => drop(provoke::null_dereference()),
        Some("text") => provoke::write_text(),
        Some("data") => provoke::jump_to_data(),
        Some("card") => provoke::in_card_driver(cx).map_err(Refusal)?,
        Some("tty") => {
            tty::panic_at_next_interrupt();
            return Ok(());
        }
        Some(_) => return Err(call.usage()),
    }
    Err(Refusal(
        "the fault did not happen: memory protection is broken".into(),
    ))
}
