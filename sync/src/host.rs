// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine of the host's threads: the locks as they are, without a kernel. For tests and for Miri.
//!
//! A thread of the host becomes one of the machine with its first lock, at priority 0. There are no interrupts: spl
//! is counted and masks nothing.
use crate::ipl::Ipl;
use crate::lockdebug::Report;
use crate::machine::{KThread, Machine};
use crate::turnstile::Turnstiles;
use std::boxed::Box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, LazyLock, Mutex};
use std::time::{Duration, Instant};
use std::vec::Vec;

/// Threads of the host.
pub struct Host;

/// A thread of the host: what the locks keep, then what this machine needs to park it.
#[repr(C)]
struct Parker {
    sync: KThread,
    permit: Mutex<bool>,
    unparked: Condvar,
    running: AtomicBool,
}

static TURNSTILES: Turnstiles = Turnstiles::new();
static THREADS: Mutex<Vec<&'static Parker>> = Mutex::new(Vec::new());
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

std::thread_local! {
    static CURRENT: &'static Parker = {
        let parker: &'static Parker = Box::leak(Box::new(Parker {
            sync: KThread::new(0),
            permit: Mutex::new(false),
            unparked: Condvar::new(),
            running: AtomicBool::new(true),
        }));
        THREADS.lock().unwrap().push(parker);
        parker
    };
}

fn parker(thread: &'static KThread) -> &'static Parker {
    let threads = THREADS.lock().unwrap();
    threads
        .iter()
        .find(|p| core::ptr::eq(&p.sync, thread))
        .expect("a thread of this machine")
}

impl Machine for Host {
    fn current() -> &'static KThread {
        CURRENT.with(|p| &p.sync)
    }

    fn park(deadline_ns: Option<u64>) {
        let me = CURRENT.with(|p| *p);
        // ORDERING: a hint.
        me.running.store(false, Ordering::Relaxed);
        let permit = me.permit.lock().unwrap();
        let mut permit = match deadline_ns {
            None => me.unparked.wait_while(permit, |given| !*given).unwrap(),
            Some(at) => {
                let left = Duration::from_nanos(at.saturating_sub(Self::now_ns()));
                me.unparked
                    .wait_timeout_while(permit, left, |given| !*given)
                    .unwrap()
                    .0
            }
        };
        *permit = false;
        me.running.store(true, Ordering::Relaxed);
    }

    fn unpark(thread: &'static KThread) {
        let parker = parker(thread);
        *parker.permit.lock().unwrap() = true;
        parker.unparked.notify_one();
    }

    fn is_running(thread: &KThread) -> bool {
        let threads = THREADS.lock().unwrap();
        threads
            .iter()
            .any(|p| core::ptr::eq(&p.sync, thread) && p.running.load(Ordering::Relaxed))
    }

    fn priority_changed(_: &'static KThread) {}

    fn for_each_thread(visit: &mut dyn FnMut(&'static KThread)) {
        THREADS.lock().unwrap().iter().for_each(|p| visit(&p.sync));
    }

    fn turnstiles() -> &'static Turnstiles {
        &TURNSTILES
    }

    fn now_ns() -> u64 {
        START.elapsed().as_nanos() as u64
    }

    fn relax() {
        std::thread::yield_now();
    }

    fn run_pending() {}

    fn interrupt() -> Option<Ipl> {
        None
    }

    fn report(report: &Report) {
        std::eprintln!("lockdebug: {report}");
    }
}
