// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads for a block device: one that measures it, one that checks it.
//!
//! # Contexts
//! A thread, which starts others and waits for them; Ctrl-C ends it early.
pub mod bench;
pub mod test;

use crate::bio::SECTOR_BYTES;
use crate::bio::disk::Medium;
use crate::bio::request::{Op, Transfer};
use crate::console::shell::{self, Refusal};
use crate::cpu::CpuSet;
use crate::dma::Buffer;
use crate::lock_order;
use crate::thread::{self, PRIORITY_NORMAL, ThreadCx};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bsp::timer::now_ns;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sync::kmutex::KMutex;

/// How often it is looked for Ctrl-C, and for what there is to tell.
const LOOK_NS: u64 = 20_000_000;

/// Sectors of a device.
#[derive(Clone)]
pub struct Area {
    /// The device.
    pub medium: Medium,
    /// Its first sector.
    pub start: u64,
    /// How many.
    pub sectors: u64,
}

impl Area {
    /// A transfer of a whole buffer, from or to the area's sector `lba` on.
    pub(crate) fn transfer(&self, op: Op, lba: u64, buffer: Buffer) -> Transfer {
        let bytes = buffer.len();
        debug_assert!(lba + (bytes / SECTOR_BYTES) as u64 <= self.sectors);
        Transfer::new(op, self.start + lba, buffer, 0..bytes)
    }
}

/// Does `work` in `threads` threads, which get their numbers and a flag that says when to stop; calls `look` now and
/// then; returns what they have, in the order of their numbers.
pub(crate) fn in_threads<R: Send + 'static>(
    cx: &mut ThreadCx,
    threads: usize,
    work: impl Fn(&mut ThreadCx, usize, &AtomicBool) -> R + Clone + Send + 'static,
    mut look: impl FnMut() -> Result<(), Refusal>,
) -> Result<Vec<R>, Refusal> {
    type Done<R> = KMutex<Vec<(usize, R)>, lock_order::Trial>;
    let done = Arc::new(Done::new(Vec::with_capacity(threads)));
    let stop = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(threads));
    let mut handles = Vec::new();
    let mut trouble = None;
    for number in 0..threads {
        let (work, done, stop, running) =
            (work.clone(), done.clone(), stop.clone(), running.clone());
        let body = move |cx: &mut ThreadCx| {
            let result = work(cx, number, &stop);
            done.enter(cx).0.push((number, result));
            // ORDERING: Relaxed: who waits then joins the thread.
            running.fetch_sub(1, Ordering::Relaxed);
        };
        let name = format!("disk/{number}");
        match thread::spawn(cx, &name, PRIORITY_NORMAL, CpuSet::ALL, body) {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                trouble = Some(error.into());
                break;
            }
        }
    }
    // ORDERING: Relaxed, here and where the flag is read: nothing is handed over by it.
    while trouble.is_none() && running.load(Ordering::Relaxed) > 0 {
        thread::sleep_until(cx, now_ns() + LOOK_NS);
        trouble = shell::check_interrupt(cx).and_then(|()| look()).err();
    }
    stop.store(true, Ordering::Relaxed);
    handles.iter().for_each(|handle| handle.join(cx));
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let mut done = core::mem::take(&mut *done.enter(cx).0);
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
