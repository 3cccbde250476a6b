// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `log` crate's back end: every record goes to the ring, with time, CPU and severity; a thread prints it.
//!
//! The time is that since boot until [`clock`] is set, and then that of the day, UTC.
//!
//! # Contexts
//! Logging never waits: any context in which no lock of domain Sched or High is held, for it wakes the printing thread.
//! Until that thread runs, records are also printed at once, by polling.
use crate::clock::{self, Utc};
use crate::console::{terminal, tty};
use crate::cpu::CpuSet;
use crate::dmesg::LogRing;
use crate::lock_order;
use crate::thread::{self, Kernel, ThreadCx};
use bsp::timer::now_ns;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use log::{Level, LevelFilter, Log, Metadata, Record};
use sync::domain::{Before, Cx, Interrupt, MaySleep, MayWake, Sched};
use sync::kcondvar::KCondvar;
use sync::kmutex::KMutex;

/// Bytes of log kept.
pub const RING_BYTES: usize = 64 * 1024;
/// Longest line printed; the rest is cut.
pub const LINE_BYTES: usize = 240;

struct Klog;

static KLOG: Klog = Klog;

/// An instant after boot: the time of day, or as long as that is unknown the seconds since boot.
struct Stamp(u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match clock::utc_ns(self.0) {
            Some(utc_ns) => Utc(utc_ns).fmt(f),
            None => {
                let us = self.0 / 1000;
                write!(f, "{:>5}.{:06}", us / 1_000_000, us % 1_000_000)
            }
        }
    }
}

struct Memory {
    ring: LogRing<RING_BYTES>,
    /// How far the console has printed it.
    printed: u64,
}

static MEMORY: KMutex<Memory, lock_order::Log> = KMutex::new(Memory {
    ring: LogRing::new(),
    printed: 0,
});
static NEWS: KCondvar<Kernel> = KCondvar::new();
static THREADED: AtomicBool = AtomicBool::new(false);
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(LevelFilter::Info as u8);

impl Log for Klog {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let stamp = Stamp(now_ns());
        let module = record
            .target()
            .strip_prefix("kernel::")
            .unwrap_or(record.target());
        let name = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        let (level, cpu) = (record.level() as u8, bsp::cpu::index());
        MEMORY.enter_leaf().ring.push(
            level,
            format_args!("[{stamp}] {cpu} {name:<5} {module}: {}", record.args()),
        );
        if THREADED.load(Ordering::Relaxed) {
            // SAFETY: the header asks it of whoever logs, as `Log` has no room for a token.
            NEWS.signal(&mut unsafe { Cx::<Interrupt<Sched>>::assume() });
        } else {
            print_new(|line| {
                tty::write_polled(line);
                tty::write_polled(b"\n");
            });
        }
    }

    fn flush(&self) {}
}

/// Connects the `log` macros. First CPU, once, before anything logs.
pub fn init() {
    let _first = log::set_logger(&KLOG);
    log::set_max_level(LevelFilter::Debug);
}

/// Sets the least severity that is printed on the console; the ring keeps all.
pub fn set_console_level(level: LevelFilter) {
    CONSOLE_LEVEL.store(level as u8, Ordering::Relaxed);
    log::set_max_level(level.max(LevelFilter::Debug));
}

/// The least severity that is printed.
pub fn console_level() -> LevelFilter {
    LevelFilter::iter()
        .nth(CONSOLE_LEVEL.load(Ordering::Relaxed).into())
        .unwrap_or(LevelFilter::Info)
}

/// The next line that the console has not printed, copied into `line`: its severity and length.
fn next_line(line: &mut [u8]) -> Option<(u8, usize)> {
    let mut memory = MEMORY.enter_leaf();
    let Memory { ring, printed } = &mut *memory;
    ring.next(printed, line)
}

fn print_new(mut print: impl FnMut(&[u8])) {
    let mut line = [0; LINE_BYTES];
    while let Some((level, length)) = next_line(&mut line) {
        if level <= CONSOLE_LEVEL.load(Ordering::Relaxed) {
            print(&line[..length]);
        }
    }
}

/// Whoever prints holds this from taking a line out of the ring until it is on the terminal.
static PRINTING: KMutex<(), lock_order::Printing> = KMutex::new(());

fn print_in_thread<K: Before<lock_order::Printing>>(cx: &mut Cx<K>) {
    let (_one, mut cx) = PRINTING.enter(cx);
    print_new(|line| terminal::print_beside_prompt(&mut cx, line));
}

fn printer(cx: &mut ThreadCx) {
    loop {
        {
            let (mut memory, mut cx) = MEMORY.enter(cx);
            while memory.ring.is_at_end(memory.printed) {
                NEWS.wait(&mut memory, &mut cx);
            }
        }
        print_in_thread(cx);
    }
}

/// Hands printing to a thread of its own. Threads exist.
pub fn start<K: MayWake>(cx: &mut Cx<K>) -> Result<(), thread::TooManyThreads> {
    // Before the thread is there: it begins with what it finds, and two must not print at a time.
    THREADED.store(true, Ordering::Relaxed);
    thread::spawn(cx, "klog", thread::PRIORITY_SYSTEM, CpuSet::ALL, printer)?;
    Ok(())
}

/// Calls `print` with each line of the log, oldest first, until it says false.
pub fn for_each(mut print: impl FnMut(&[u8]) -> bool) {
    let mut line = [0; LINE_BYTES];
    let mut place = 0;
    while let Some((_, length)) = { MEMORY.enter_leaf().ring.next(&mut place, &mut line) } {
        if !print(&line[..length]) {
            return;
        }
    }
}

/// Puts a line that was printed already into the log, past its lock and its thread, unless somebody is at it. The machine
/// is stopped.
pub fn note_stopped(level: Level, line: fmt::Arguments) {
    if MEMORY.owner().is_some() {
        return;
    }
    // SAFETY: nobody has the lock, and nobody can come by it: the other CPUs are stopped, and IRQ is masked here.
    let memory = unsafe { &mut *MEMORY.as_ptr() };
    let all_printed = memory.ring.is_at_end(memory.printed);
    let (stamp, cpu) = (Stamp(now_ns()), bsp::cpu::index());
    let name = if level == Level::Error {
        "error"
    } else {
        "warn"
    };
    memory.ring.push(
        level as u8,
        format_args!("[{stamp}] {cpu} {name:<5} {line}"),
    );
    if all_printed {
        memory.printed = memory.ring.end();
    }
}

/// Calls `print` with each of the last `most` lines of the log, past its lock.
///
/// # Safety
/// The machine is stopped.
pub unsafe fn for_last_stopped(most: usize, mut print: impl FnMut(&[u8])) {
    // SAFETY: the caller's promise. Who was stopped in the middle of a line left a ring that reads as lines.
    let ring = unsafe { &(*MEMORY.as_ptr()).ring };
    let mut line = [0; LINE_BYTES];
    let mut place = 0;
    let mut count = 0;
    while ring.next(&mut place, &mut line).is_some() {
        count += 1;
    }
    place = 0;
    for n in 0..count {
        if let Some((_, length)) = ring.next(&mut place, &mut line)
            && n + most >= count
        {
            print(&line[..length]);
        }
    }
}

/// Prints what is logged so far, and waits until it has left; at most a second.
pub fn drain<K>(cx: &mut Cx<K>)
where
    K: Before<lock_order::Printing>
        + Before<lock_order::Terminal>
        + Before<lock_order::Tty>
        + MaySleep,
{
    print_in_thread(cx);
    terminal::flush(cx);
}
