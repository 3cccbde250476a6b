// SPDX-License-Identifier: MIT OR Apache-2.0
//! `lockstat`, `lockdebug`: what locks cost, and what is wrong with how they are used.
use super::live::show as show_live;
use super::{Command, Outcome, write_wrapped};
use crate::console::shell::{Call, Refusal, check_interrupt};
use crate::console::words::number_in;
use crate::thread::{Kernel, ThreadCx};
use crate::{findings, lock_order};
use alloc::format;
use alloc::vec::Vec;
use core::fmt::Write;
use embedded_hal::delay::DelayNs;
use sync::kmutex::KMutex;
use sync::lockdebug;
use sync::lockstat::{self, Line, Watcher};
use sync::spl::{splbio, splx};

/// A hold that is too long, ns, unless the limit is higher.
const LONG_NS: u32 = 3_000_000;
/// Rows shown unless all are asked for.
const ROWS: usize = 16;

pub const LOCKSTAT: Command = Command {
    name: "lockstat",
    arguments: "[on|off|clear|[-w] [all] [contention|spin|block|hold]]",
    summary: "what each lock cost: entries, waits, holds",
    details: "Waits are counted always; entries and holds while it is on, which makes every\n\
              lock take its slow path. Worst first: by waits, time spun, time blocked,\n\
              longest hold; without a word, those that were waited for longest. all: every\n\
              lock that was ever entered. -w: again every second, until q. clear: from\n\
              zero again.\n\
              Example: lockstat spin",
    takes_paths: false,
    run: lockstat,
};

fn lockstat(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    match call.words {
        [word] if word == "clear" => {
            lockstat::clear();
            return Ok(());
        }
        [word] if word == "on" || word == "off" => {
            return watch(call, out, Watcher::Lockstat, "lockstat", word);
        }
        _ => {}
    }
    let mut words = call.words.iter().map(|word| word.as_str()).peekable();
    let live = words.next_if_eq(&"-w").is_some();
    let rows = words.next_if_eq(&"all").map_or(ROWS, |_| usize::MAX);
    let order = words.next().map_or(Some(Order::Waited), Order::parse);
    let order = order.filter(|_| words.next().is_none());
    let order = order.ok_or_else(|| call.usage())?;
    match live {
        true => show_live(cx, out, 1, None, |cx, screen| show(cx, screen, rows, order)),
        false => show(cx, out, rows, order),
    }
}

/// What makes a lock stand above others.
#[derive(Clone, Copy)]
enum Order {
    Waited,
    Contention,
    Spin,
    Block,
    Hold,
}

impl Order {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "contention" => Order::Contention,
            "spin" => Order::Spin,
            "block" => Order::Block,
            "hold" => Order::Hold,
            _ => return None,
        })
    }

    fn of(self, line: &Line) -> u64 {
        match self {
            Order::Waited => line.spin_ns + line.block_ns,
            Order::Contention => line.contentions,
            Order::Spin => line.spin_ns,
            Order::Block => line.block_ns,
            Order::Hold => line.longest_hold_ns,
        }
    }
}

/// Switches a watcher, by the word that was typed.
fn watch(call: &Call, out: &mut dyn Write, watcher: Watcher, name: &str, word: &str) -> Outcome {
    let on = match word {
        "on" => true,
        "off" => false,
        _ => return Err(call.usage()),
    };
    lockstat::set_watching::<Kernel>(watcher, on);
    Ok(writeln!(out, "{name} is {word}")?)
}

fn show(cx: &mut ThreadCx, out: &mut dyn Write, rows: usize, order: Order) -> Outcome {
    let mut lines: Vec<Line> = lockstat::lines().collect();
    let number = |line: &Line| {
        let same = lines.iter().filter(|other| other.class == line.class);
        let before = same.clone().filter(|other| other.address < line.address);
        (same.count() > 1).then(|| before.count())
    };
    let mut named: Vec<_> = lines.iter().map(|line| (*line, number(line))).collect();
    named.sort_by_key(|(line, number)| {
        let worst = (order.of(line), line.contentions, line.acquisitions);
        (core::cmp::Reverse(worst), line.class, *number)
    });
    writeln!(
        out,
        "class         kind     domain     entered    waits   spun us blocked us  held us"
    )?;
    for (line, number) in named.iter().take(rows) {
        let name = match number {
            Some(n) => format!("{}.{n}", line.class),
            None => line.class.into(),
        };
        writeln!(
            out,
            "{name:<13} {:<8} {:<6} {:>11} {:>8} {:>9} {:>10} {:>8}",
            line.lock,
            line.domain,
            line.acquisitions,
            line.contentions,
            line.spin_ns / 1000,
            line.block_ns / 1000,
            line.longest_hold_ns / 1000,
        )?;
        check_interrupt(cx)?;
    }
    let state = if lockstat::is_watching(Watcher::Lockstat) {
        "on"
    } else {
        "off"
    };
    write!(out, "lockstat is {state}; {} locks", lines.len())?;
    if lines.len() > rows {
        write!(out, ", {} shown (lockstat all)", rows)?;
    }
    if lockstat::overflows() > 0 {
        write!(out, "; {} found no room", lockstat::overflows())?;
    }
    lines.clear();
    Ok(writeln!(out)?)
}

pub const LOCKDEBUG: Command = Command {
    name: "lockdebug",
    arguments: "[on|off|clear|order|limit US|try [domains]]",
    summary: "check how locks are used",
    details: "Looks at order, context and long holds of every lock that is entered. What it\n\
              finds goes to the log, once for each kind, and is counted here. limit: how\n\
              long an interrupt-safe lock may be held, in microseconds (1000 unless told).\n\
              clear: forgets findings and order.\n\
              order: which was entered with which held, by class and domain, as seen so far.\n\
              try: makes three mistakes that do no harm, to show how they are found. try\n\
              domains: enters a lock of the network holding one of the disk.\n\
              Example: lockdebug on",
    takes_paths: false,
    run: lockdebug,
};

fn lockdebug(cx: &mut ThreadCx, call: &Call, out: &mut dyn Write) -> Outcome {
    match call.words.first().map(|word| word.as_str()) {
        None => {}
        Some("limit") => {
            call.at_most(2)?;
            let limit_us = number_in(call.word(1)?, 1..=10_000_000)?;
            lockdebug::set_hold_limit_ns(limit_us * 1000);
            return Ok(());
        }
        Some("clear") => {
            call.at_most(1)?;
            findings::clear();
            return Ok(());
        }
        Some("order") => {
            call.at_most(1)?;
            return show_order(cx, out);
        }
        Some("try") => {
            call.at_most(2)?;
            return match call.words.get(1).map(|word| word.as_str()) {
                None => try_mistakes(cx, out),
                Some("domains") => cross_domains(cx, out),
                Some(_) => Err(call.usage()),
            };
        }
        Some(word) => {
            call.at_most(1)?;
            return watch(call, out, Watcher::Lockdebug, "lockdebug", word);
        }
    }
    let reports = lockdebug::reports::<Kernel>();
    for report in reports.iter().flatten() {
        write_wrapped(out, &format!("{:>6}x  {report}", report.count))?;
    }
    let (held, found) = lockdebug::overflows();
    let state = if lockstat::is_watching(Watcher::Lockdebug) {
        "on"
    } else {
        "off"
    };
    let count = reports.iter().flatten().count();
    writeln!(
        out,
        "lockdebug is {state}; {count} kind{} of mistake found",
        if count == 1 { "" } else { "s" }
    )?;
    if held + found > 0 {
        writeln!(out, "no room for {held} locks held, {found} findings")?;
    }
    Ok(())
}

/// Prints the order seen so far, each pair of classes once.
fn show_order(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    let mut edges: Vec<_> = lockdebug::order().collect();
    edges.sort_unstable();
    edges.dedup();
    for [(held, of), (wanted, its)] in &edges {
        writeln!(out, "{held} ({of}) -> {wanted} ({its})")?;
        check_interrupt(cx)?;
    }
    Ok(writeln!(out, "{} pairs of classes seen", edges.len())?)
}

fn must_watch() -> Outcome {
    match lockstat::is_watching(Watcher::Lockdebug) {
        true => Ok(()),
        false => Err(Refusal(
            "lockdebug is off; lockdebug on switches it on".into(),
        )),
    }
}

/// Makes the mistake that types and order table rule out: joins two domains.
fn cross_domains(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    // They stay: what is seen of a lock goes with it.
    static DISK: KMutex<(), lock_order::TrialBio> = KMutex::new(());
    static NETWORK: KMutex<(), lock_order::TrialNet> = KMutex::new(());
    must_watch()?;
    let (held, _) = DISK.enter(cx);
    // SAFETY: that nothing is held is the mistake. Nobody else has these locks.
    let mut claimed = unsafe { ThreadCx::assume() };
    drop(NETWORK.enter(&mut claimed));
    drop(held);
    Ok(writeln!(out, "TrialNet was entered with TrialBio held")?)
}

/// Makes a mistake of each kind that a thread can make and live.
fn try_mistakes(cx: &mut ThreadCx, out: &mut dyn Write) -> Outcome {
    must_watch()?;
    let pair = [const { KMutex::<(), lock_order::Trial>::new(()) }; 2];
    for [first, second] in [[0, 1], [1, 0]] {
        let (_held, _) = pair[first].enter(cx);
        // SAFETY: that nothing is held is the mistake: the types would not let it by. Nobody else has these locks.
        let mut claimed = unsafe { ThreadCx::assume() };
        drop(pair[second].enter(&mut claimed));
    }
    let masked = splbio::<Kernel>();
    drop(pair[0].enter(cx)); // it may sleep, had it an owner
    splx::<_, Kernel>(masked);
    let long = KMutex::<(), lock_order::TrialBio>::new(());
    let (held, _) = long.enter(cx);
    bsp::timer::Spin.delay_ns(LONG_NS);
    drop(held);
    Ok(writeln!(
        out,
        "3 mistakes made: order, context, a hold of {} ms",
        LONG_NS / 1_000_000
    )?)
}
