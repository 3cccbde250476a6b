// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `log` crate's back end: every record goes to the ring, with time, CPU and severity; a thread prints it.
//!
//! # Contexts
//! Logging never waits: any context, except with a run queue locked (it wakes the printing thread). Until that thread
//! runs, records are also printed at once, by polling.
use crate::console::{terminal, tty};
use crate::cpu::CpuSet;
use crate::dmesg::LogRing;
use crate::lock::SpinLock;
use crate::thread;
use crate::thread::wait::{SleepLock, WaitQueue};
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Bytes of log kept.
pub const RING_BYTES: usize = 64 * 1024;
/// Longest line printed; the rest is cut.
pub const LINE_BYTES: usize = 240;

struct Klog;

static KLOG: Klog = Klog;
static RING: SpinLock<LogRing<RING_BYTES>> = SpinLock::new(LogRing::new());
static NEWS: WaitQueue = WaitQueue::new();
static FRESH: AtomicBool = AtomicBool::new(false);
static THREADED: AtomicBool = AtomicBool::new(false);
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(LevelFilter::Info as u8);

impl Log for Klog {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let us = now_ns() / 1000;
        let (s, us) = (us / 1_000_000, us % 1_000_000);
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
        RING.lock().push(
            level,
            format_args!(
                "[{s:>5}.{us:06}] {cpu} {name:<5} {module}: {}",
                record.args()
            ),
        );
        // ORDERING: pairs with the swap in `printer`.
        FRESH.store(true, Ordering::Release);
        if THREADED.load(Ordering::Acquire) {
            NEWS.wake_all();
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

/// How far the console has printed the log.
static PRINTED: SpinLock<u64> = SpinLock::new(0);

fn print_new(mut print: impl FnMut(&[u8])) {
    let mut line = [0; LINE_BYTES];
    loop {
        let next = {
            let mut place = PRINTED.lock();
            RING.lock().next(&mut place, &mut line)
        };
        let Some((level, length)) = next else { return };
        if level <= CONSOLE_LEVEL.load(Ordering::Relaxed) {
            print(&line[..length]);
        }
    }
}

/// Whoever prints holds this from taking a line out of the ring until it is on the terminal.
static PRINTING: SleepLock<()> = SleepLock::new(());

fn print_in_thread() {
    let _one = PRINTING.lock();
    print_new(terminal::print_beside_prompt);
}

fn printer() {
    loop {
        NEWS.wait_until(None, || FRESH.swap(false, Ordering::Acquire));
        print_in_thread();
    }
}

/// Hands printing to a thread of its own. Threads exist.
pub fn start() -> Result<(), thread::TooManyThreads> {
    thread::spawn("klog", thread::PRIORITY_SYSTEM, CpuSet::ALL, printer)?;
    THREADED.store(true, Ordering::Release);
    Ok(())
}

/// Calls `print` with each line of the log, oldest first, until it says false.
pub fn for_each(mut print: impl FnMut(&[u8]) -> bool) {
    let mut line = [0; LINE_BYTES];
    let mut place = 0;
    while let Some((_, length)) = { RING.lock().next(&mut place, &mut line) } {
        if !print(&line[..length]) {
            return;
        }
    }
}

/// Prints what is logged so far, and waits until it has left; at most a second. Threads only.
pub fn drain() {
    print_in_thread();
    terminal::flush();
}
