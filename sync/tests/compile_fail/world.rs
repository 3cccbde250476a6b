// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cases share: a machine on paper, lock classes in each domain, and a lock of each.
#![allow(missing_docs)]
pub use sync::domain::*;
pub use sync::kcondvar::KCondvar;
pub use sync::kmutex::{IntrCookie, KMutex, KMutexGuard};
pub use sync::krwlock::KRwLock;
pub use sync::machine::{KThread, Machine};
pub use sync::spl::{Spl, splbio, splnet, splx};

/// Nothing is run: that the cases compile, or do not, is all.
pub struct Kernel;

impl Machine for Kernel {
    fn current() -> &'static KThread {
        unreachable!()
    }
    fn park(_: Option<u64>) {}
    fn unpark(_: &'static KThread) {}
    fn is_running(_: &KThread) -> bool {
        false
    }
    fn priority_changed(_: &'static KThread) {}
    fn for_each_thread(_: &mut dyn FnMut(&'static KThread)) {}
    fn turnstiles() -> &'static sync::turnstile::Turnstiles {
        unreachable!()
    }
    fn now_ns() -> u64 {
        0
    }
    fn relax() {}
    fn run_pending() {}
    fn interrupt() -> Option<sync::ipl::Ipl> {
        None
    }
    fn report(_: &sync::lockdebug::Report) {}
}

sync::lock_order! {
    machine Kernel;
    thread { Mounts, Volume }
    bio { Disk, Request }
    net { Route, Ring }
    tty { Line }
    vm { Pages }
    sched { RunQueue }
    high { Log }
}

pub static MOUNTS: KMutex<u32, Mounts> = KMutex::new(0);
pub static VOLUME: KMutex<u32, Volume> = KMutex::new(0);
pub static NAMES: KRwLock<u32, Volume> = KRwLock::new(0);
pub static DISK: KMutex<u32, Disk> = KMutex::new(0);
pub static OTHER_DISK: KMutex<u32, Disk> = KMutex::new(0);
pub static REQUEST: KMutex<u32, Request> = KMutex::new(0);
pub static ROUTE: KMutex<u32, Route> = KMutex::new(0);
pub static RING: KMutex<u32, Ring> = KMutex::new(0);
pub static LINE: KMutex<u32, Line> = KMutex::new(0);
pub static PAGES: KMutex<u32, Pages> = KMutex::new(0);
pub static RUN_QUEUE: KMutex<u32, RunQueue> = KMutex::new(0);
pub static LOG: KMutex<u32, Log> = KMutex::new(0);
pub static CV: KCondvar<Kernel> = KCondvar::new();
