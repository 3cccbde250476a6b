// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debugger's commands.
use super::Next;
use super::show;
use crate::console::plain::{number, split};
use crate::cpu::CPUS;
use crate::panic::backtrace::{self, Place};
use crate::stop::Stopped;
use crate::{klog, machine_off, thread};
use bsp::cpu::index;
use bsp::trap::{self, Frame};
use core::fmt::{self, Write};

/// Lines of the log shown unless told.
const LOG_LINES: usize = 20;

/// Why a command did nothing.
enum Failure {
    /// Its words are wrong.
    Usage,
    /// As the text says.
    Because(&'static str),
    /// Text that cannot be written: never.
    Text,
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Failure::Text
    }
}

type Outcome = Result<Next, Failure>;
type Run = fn(&Stopped, &[&str], &mut dyn Write) -> Outcome;

struct Command {
    /// What is typed, and another name for it.
    names: [&'static str; 2],
    arguments: &'static str,
    summary: &'static str,
    /// Details and an example.
    details: &'static str,
    run: Run,
}

/// All commands, in alphabetical order.
const COMMANDS: &[Command] = &[
    Command {
        names: ["bt", "trace"],
        arguments: "[all|cpu N|ID]",
        summary: "who called whom: on a CPU, in a thread",
        details: "Of a CPU that does not answer: the callers of where its thread masked\n\
                  interrupts last. Example: bt cpu 2",
        run: bt,
    },
    Command {
        names: ["callouts", ""],
        arguments: "",
        summary: "what waits for each CPU's timer",
        details: "due ms: from now; negative if it is late. Example: callouts",
        run: |stopped, words, out| shown(words, show::callouts(stopped, out)),
    },
    Command {
        names: ["continue", "c"],
        arguments: "",
        summary: "let the kernel go on",
        details: "What waited for a time that has passed is due at once. Example: c",
        run: |_, words, _| none(words).map(|()| Next::Continue),
    },
    Command {
        names: ["cpus", ""],
        arguments: "",
        summary: "CPUs: state, thread, spl, where they are",
        details: "no answer: interrupts are masked there. HANGS: so the watchdog found.\n\
                  Example: cpus",
        run: |stopped, words, out| shown(words, show::cpus(stopped, out)),
    },
    Command {
        names: ["dmesg", ""],
        arguments: "[LINES]",
        summary: "the end of the log",
        details: "20 lines unless told. Example: dmesg 100",
        run: dmesg,
    },
    Command {
        names: ["help", "?"],
        arguments: "[COMMAND]",
        summary: "list the commands, or explain one",
        details: "Numbers are decimal, or hexadecimal with 0x. Example: help bt",
        run: help,
    },
    Command {
        names: ["intr", ""],
        arguments: "",
        summary: "interrupts: class, CPU, count, now",
        details: "active: taken, and its handler is not done. Example: intr",
        run: |stopped, words, out| shown(words, show::interrupts(stopped, out)),
    },
    Command {
        names: ["lock", ""],
        arguments: "CLASS|ADDRESS",
        summary: "one lock, or a class: holder, waiters",
        details: "Classes and addresses are those that locks shows. Example: lock Tty",
        run: lock,
    },
    Command {
        names: ["locks", ""],
        arguments: "",
        summary: "locks that are held: by whom, who waits",
        details: "For how long it has been held is known while lockstat or lockdebug is on.\n\
                  Example: locks",
        run: |stopped, words, out| shown(words, show::held_locks(stopped, out)),
    },
    Command {
        names: ["md", "x"],
        arguments: "ADDRESS [COUNT [b|h|w|d]]",
        summary: "show memory or registers",
        details: "COUNT accesses (16 unless told) of 1 (b), 2 (h), 4 (w, unless told) or 8 (d)\n\
                  bytes. What cannot be read is an error. Example: md 0xfe201018 1",
        run: md,
    },
    Command {
        names: ["reboot", ""],
        arguments: "",
        summary: "reset; what is not written yet is lost",
        details: "Example: reboot",
        run: |_, words, _| none(words).map(|()| machine_off::reset()),
    },
    Command {
        names: ["regs", ""],
        arguments: "[N]",
        summary: "registers of CPU N as it was stopped",
        details: "Of this CPU, unless told. Example: regs 2",
        run: regs,
    },
    Command {
        names: ["threads", "ps"],
        arguments: "",
        summary: "threads: state, priority, CPU, spl, lock",
        details: "spl: the highest class that it holds off, of a thread that has a CPU. wants lock:\n\
                  what it waits for, or is about to enter. Example: threads",
        run: |stopped, words, out| shown(words, show::threads(stopped, out)),
    },
];

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.names.contains(&name))
}

/// Completes a command's name (see [`crate::console::line::Complete`]).
pub fn complete(before: &str, offer: &mut dyn FnMut(&str)) -> usize {
    let names = COMMANDS.iter().map(|c| c.names[0]);
    let fitting = |name: &&str| !before.contains(' ') && name.starts_with(before);
    names.filter(fitting).for_each(offer);
    if before.contains(' ') {
        before.len()
    } else {
        0
    }
}

/// Does what `line` says.
pub fn execute(stopped: &Stopped, line: &str, out: &mut dyn Write) -> Next {
    let words = split(line);
    let Some((name, rest)) = words.split_first() else {
        return Next::Prompt;
    };
    let Some(command) = find(name) else {
        let _ = writeln!(out, "{name}: no such command; help lists them");
        return Next::Prompt;
    };
    let text = match (command.run)(stopped, rest, out) {
        Ok(next) => return next,
        Err(Failure::Text) => return Next::Prompt,
        Err(Failure::Because(text)) => writeln!(out, "{text}"),
        Err(Failure::Usage) => {
            writeln!(out, "usage: {} {}", command.names[0], command.arguments)
        }
    };
    text.map_or(Next::Prompt, |()| Next::Prompt)
}

fn none(words: &[&str]) -> Result<(), Failure> {
    match words {
        [] => Ok(()),
        _ => Err(Failure::Usage),
    }
}

/// A command without words has shown what it shows.
fn shown(words: &[&str], result: fmt::Result) -> Outcome {
    result?;
    none(words).map(|()| Next::Prompt)
}

fn cpu_number(word: &str) -> Result<usize, Failure> {
    let outside = Failure::Because("CPUs are 0 to 3");
    number(word).filter(|n| *n < CPUS).ok_or(outside)
}

fn help(_: &Stopped, words: &[&str], out: &mut dyn Write) -> Outcome {
    match words {
        [] => {
            for c in COMMANDS {
                write!(out, "  {:<9}", c.names[0])?;
                write!(out, "{:<27}", c.arguments)?;
                writeln!(out, "{}", c.summary)?;
            }
        }
        [name] => {
            let unknown = Failure::Because("no such command; help lists them");
            let c = find(name).ok_or(unknown)?;
            writeln!(out, "{} {}\n  {}", c.names[0], c.arguments, c.summary)?;
            if !c.names[1].is_empty() {
                writeln!(out, "  also: {}", c.names[1])?;
            }
            for line in c.details.lines() {
                writeln!(out, "  {line}")?;
            }
        }
        _ => return Err(Failure::Usage),
    }
    Ok(Next::Prompt)
}

fn bt(_: &Stopped, words: &[&str], out: &mut dyn Write) -> Outcome {
    match words {
        [] => backtrace::print_cpu(out, index())?,
        ["all"] => (0..CPUS).try_for_each(|n| backtrace::print_cpu(out, n))?,
        ["cpu", n] => backtrace::print_cpu(out, cpu_number(n)?)?,
        [id] => {
            let id = number(id).ok_or(Failure::Usage)?;
            let unknown = Failure::Because("no thread has that number; threads shows them");
            let mut all = thread::threads();
            let t = all.find(|t| t.id() as usize == id).ok_or(unknown)?;
            if let Some(n) = (0..CPUS)
                .find(|n| thread::running_on(*n).is_some_and(|running| core::ptr::eq(running, t)))
            {
                writeln!(out, "thread {id} \"{}\" runs on CPU {n}", t.name())?;
                backtrace::print_cpu(out, n)?;
            } else {
                writeln!(out, "backtrace of thread {id} \"{}\":", t.name())?;
                // SAFETY: the machine is stopped, and no CPU runs it.
                let (pc, fp) = unsafe { t.place() };
                backtrace::print(out, pc, fp)?;
            }
        }
        _ => return Err(Failure::Usage),
    }
    Ok(Next::Prompt)
}

fn dmesg(_: &Stopped, words: &[&str], out: &mut dyn Write) -> Outcome {
    let most = match words {
        [] => LOG_LINES,
        [lines] => number(lines).ok_or(Failure::Usage)?,
        _ => return Err(Failure::Usage),
    };
    let print = |line: &[u8]| {
        let _ = writeln!(out, "{}", core::str::from_utf8(line).unwrap_or("?"));
    };
    // SAFETY: the machine is stopped.
    unsafe { klog::for_last_stopped(most, print) };
    Ok(Next::Prompt)
}

fn lock(stopped: &Stopped, words: &[&str], out: &mut dyn Write) -> Outcome {
    let [which] = words else {
        return Err(Failure::Usage);
    };
    let address = number(which);
    let is_it = |view: &sync::lockview::View| {
        view.class == *which || address.is_some_and(|address| view.address == address)
    };
    if show::lock(stopped, out, is_it)? {
        Ok(Next::Prompt)
    } else {
        Err(Failure::Because(
            "no lock of that class or at that address was ever entered",
        ))
    }
}

fn md(_: &Stopped, words: &[&str], out: &mut dyn Write) -> Outcome {
    let (address, rest) = words.split_first().ok_or(Failure::Usage)?;
    let (count, width) = match rest {
        [] => (16, "w"),
        [count] => (number(count).ok_or(Failure::Usage)?, "w"),
        [count, width] => (number(count).ok_or(Failure::Usage)?, *width),
        _ => return Err(Failure::Usage),
    };
    let bytes = match width {
        "b" => 1,
        "h" => 2,
        "w" => 4,
        "d" => 8,
        _ => return Err(Failure::Usage),
    };
    let start = number(address).ok_or(Failure::Usage)?;
    if start % bytes != 0 {
        return Err(Failure::Because(
            "the address is not a multiple of the width",
        ));
    }
    for i in 0..count {
        let at = start.wrapping_add(i * bytes);
        if i * bytes % 16 == 0 {
            write!(out, "{}{at:08x} ", if i == 0 { "" } else { "\n" })?;
        }
        let Ok(value) = trap::read(at, bytes) else {
            writeln!(
                out,
                "\n{at:#x}: no access (not mapped, or no device answers)"
            )?;
            return Ok(Next::Prompt);
        };
        write!(out, " {value:0width$x}", width = 2 * bytes)?;
    }
    writeln!(out)?;
    Ok(Next::Prompt)
}

fn regs(_: &Stopped, words: &[&str], out: &mut dyn Write) -> Outcome {
    let n = match words {
        [] => index(),
        [n] => cpu_number(n)?,
        _ => return Err(Failure::Usage),
    };
    match backtrace::place_of(n) {
        Place::Interrupted(frame) => registers(frame, out)?,
        Place::Here(fp) => match backtrace::interrupted(fp) {
            Some(frame) => registers(frame, out)?,
            None => writeln!(
                out,
                "CPU {n} came here by a call; its frame record is at {fp:#x}"
            )?,
        },
        Place::Silent(pc, fp) => writeln!(
            out,
            "CPU {n} does not answer; it masked interrupts at {pc:#x}, frame record {fp:#x}"
        )?,
        Place::Off => writeln!(out, "CPU {n} is off")?,
    }
    Ok(Next::Prompt)
}

/// The registers of a frame, in at most 80 columns.
pub(crate) fn registers(frame: &Frame, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "pc  {:016x}  sp  {:016x}  spsr {:x}",
        frame.elr, frame.sp, frame.spsr
    )?;
    for (n, value) in frame.x.iter().enumerate() {
        let end = if n % 3 == 2 || n == 30 { "\n" } else { "  " };
        write!(out, "x{n:<2} {value:016x}{end}")?;
    }
    Ok(())
}
