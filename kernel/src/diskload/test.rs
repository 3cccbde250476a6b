// SPDX-License-Identifier: MIT OR Apache-2.0
//! `disktest`: random reads, writes and flushes by several threads, all of which follow from a seed.
//!
//! # Theory
//! See [`script`](crate::bio::script): what is read is checked here, what is on the device in the end by whoever has its
//! image. With `log`, flushes are told when they have ended, and not before: a promise that a power cut puts to the test.
use super::{Area, in_threads};
use crate::bio::request::{BlockDevice, Op, Transfer};
use crate::bio::script::{Action, Ledger, Script, Stamp};
use crate::bio::{DiskError, SECTOR_BYTES};
use crate::console::shell::Refusal;
use crate::dma::{Buffer, NoMemory};
use crate::thread::ThreadCx;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// More threads than anybody needs.
pub const THREADS_MAX: usize = 8;

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Order {
    /// All follows from it.
    pub seed: u64,
    /// How many threads do it.
    pub threads: u32,
    /// Actions of all of them together.
    pub requests: u32,
    /// Tell when flushes have ended.
    pub log: bool,
}

/// What a thread did and saw.
struct Share {
    ledger: Ledger,
    counts: [u32; 3],
    errors: u32,
    first_error: Option<DiskError>,
    mismatches: u32,
    first_mismatch: Option<u64>,
}

/// A group's action, with what it must read.
struct Step {
    action: Action,
    stamp: Stamp,
    expected: Vec<Option<Stamp>>,
}

impl Share {
    fn prepare(&mut self, area: &Area, action: Action) -> Result<(Step, Transfer), NoMemory> {
        let stamp = self.ledger.begin();
        let mut expected = Vec::new();
        let buffer = |sectors: u64| Buffer::new(sectors as usize * SECTOR_BYTES);
        let transfer = match action {
            Action::Flush => area.transfer(Op::Flush, 0, buffer(0)?),
            Action::Read { lba, sectors } => {
                expected.extend((lba..lba + sectors).map(|lba| self.ledger.holds(lba)));
                area.transfer(Op::Read, lba, buffer(sectors)?)
            }
            Action::Write {
                lba,
                sectors,
                through,
            } => {
                let mut buffer = buffer(sectors)?;
                let places = (lba..).zip(buffer.bytes_mut().chunks_mut(SECTOR_BYTES));
                places.for_each(|(lba, sector)| stamp.put(lba, sector));
                self.ledger.wrote(stamp, lba, sectors);
                let op = if through { Op::WriteThrough } else { Op::Write };
                area.transfer(op, lba, buffer)
            }
        };
        let step = Step {
            action,
            stamp,
            expected,
        };
        Ok((step, transfer))
    }

    /// Draws the consequences of a step that has ended.
    fn ended(&mut self, step: &Step, transfer: &Transfer, flushed: &AtomicU32) {
        self.counts[match step.action {
            Action::Read { .. } => 0,
            Action::Write { .. } => 1,
            Action::Flush => 2,
        }] += 1;
        if let Err(error) = transfer.result {
            self.errors += 1;
            self.first_error.get_or_insert(error);
            if let Action::Write { lba, sectors, .. } = step.action {
                self.ledger.lost(step.stamp, lba, sectors);
            }
            return;
        }
        match step.action {
            Action::Read { lba, .. } => {
                let sectors = transfer.buffer.bytes().chunks(SECTOR_BYTES);
                for ((lba, sector), expected) in (lba..).zip(sectors).zip(&step.expected) {
                    self.ledger.digest(sector);
                    if expected.is_some_and(|stamp| !stamp.is_in(lba, sector)) {
                        self.mismatches += 1;
                        self.first_mismatch.get_or_insert(lba);
                    }
                }
            }
            Action::Write { .. } => {}
            // ORDERING: Relaxed: only told.
            Action::Flush => flushed.store(step.stamp.number, Ordering::Relaxed),
        }
    }
}

fn work(area: &Area, order: Order, thread: usize, stop: &AtomicBool, flushed: &AtomicU32) -> Share {
    let thread = thread as u32;
    let mut share = Share {
        ledger: Ledger::new(order.seed, thread, area.sectors),
        counts: [0; 3],
        errors: 0,
        first_error: None,
        mismatches: 0,
        first_mismatch: None,
    };
    let most = order.requests / order.threads;
    let script = Script::new(order.seed, thread, order.threads, area.sectors);
    for mut group in script {
        group.truncate((most - share.ledger.number) as usize);
        if group.is_empty() || stop.load(Ordering::Relaxed) {
            break;
        }
        let (mut steps, mut transfers) = (Vec::new(), Vec::new());
        for action in group {
            match share.prepare(area, action) {
                Ok((step, transfer)) => {
                    steps.push(step);
                    transfers.push(transfer);
                }
                Err(error) => {
                    share.errors += 1;
                    share.first_error.get_or_insert(error.into());
                    return share;
                }
            }
        }
        let tickets = area.medium.submit(transfers);
        let transfers: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait()).collect();
        for (step, transfer) in steps.iter().zip(&transfers) {
            share.ended(step, transfer, flushed);
        }
    }
    share
}

/// Does it, and prints what came out.
///
/// # Errors
/// Something failed, or was not as it must be; the figures are printed all the same.
pub fn run(
    cx: &mut ThreadCx,
    out: &mut dyn Write,
    area: Area,
    order: Order,
) -> Result<(), Refusal> {
    let Order { seed, threads, .. } = order;
    let sectors = area.sectors;
    if Script::new(seed, threads - 1, threads, sectors)
        .next()
        .is_none()
    {
        return Err(Refusal(
            "there is not a chunk of 32 KiB for each thread".into(),
        ));
    }
    writeln!(
        out,
        "disktest: seed={seed} threads={threads} sectors={sectors}"
    )?;
    let flushed: Arc<[AtomicU32; THREADS_MAX]> = Arc::default();
    let told = flushed.clone();
    let work = move |_: &mut ThreadCx, thread: usize, stop: &AtomicBool| {
        work(&area, order, thread, stop, &flushed[thread])
    };
    let mut last = [0; THREADS_MAX];
    let shares = in_threads(cx, threads as usize, work, || {
        let now = core::array::from_fn(|thread| told[thread].load(Ordering::Relaxed));
        if order.log && now != last {
            last = now;
            writeln!(out, "flushed: {:?}", &now[..threads as usize])?;
        }
        Ok(())
    })?;
    let sum = |part: fn(&Share) -> u32| shares.iter().map(part).sum::<u32>();
    let (errors, mismatches) = (sum(|s| s.errors), sum(|s| s.mismatches));
    writeln!(
        out,
        "disktest: reads={} writes={} flushes={} errors={errors} mismatches={mismatches}",
        sum(|s| s.counts[0]),
        sum(|s| s.counts[1]),
        sum(|s| s.counts[2])
    )?;
    for share in &shares {
        writeln!(out, "digest: {:#018x}", share.ledger.digest)?;
    }
    if let Some(lba) = shares.iter().find_map(|share| share.first_mismatch) {
        return Err(Refusal(format!(
            "{mismatches} sectors were not what had been written, sector {lba} of the area first"
        )));
    }
    match shares.iter().find_map(|share| share.first_error) {
        None => Ok(()),
        Some(error) => Err(Refusal(format!(
            "{errors} requests failed, the first: {error}"
        ))),
    }
}
