// SPDX-License-Identifier: MIT OR Apache-2.0
//! `diskbench`: how fast a device is, without a cache in between.
use super::{Area, in_threads};
use crate::bio::load::{Direction, Figures, Line, Plan, Until};
use crate::bio::request::Op;
use crate::bio::{DiskError, SECTOR_BYTES};
use crate::console::shell::Refusal;
use crate::dma::Buffer;
use crate::thread::ThreadCx;
use alloc::format;
use bsp::timer::now_ns;
use core::fmt::Write;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};

/// Where a request begins and ends: functions that stay apart, for who follows the instructions from outside (`make
/// bench-disk`).
#[unsafe(no_mangle)]
#[inline(never)]
fn diskbench_submits() {
    black_box(1);
}

/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
fn diskbench_ended() {
    black_box(2);
}

/// What one thread did.
struct Share {
    figures: Figures,
    first_error: Option<DiskError>,
}

fn load(cx: &mut ThreadCx, area: &Area, plan: &Plan, thread: usize, stop: &AtomicBool) -> Share {
    let began_ns = now_ns();
    let mut share = Share {
        figures: Figures::default(),
        first_error: None,
    };
    let figures = &mut share.figures;
    let mut buffer = match Buffer::new(plan.block_bytes) {
        Ok(buffer) => buffer,
        Err(error) => {
            share.first_error = Some(error.into());
            return share;
        }
    };
    let op = match plan.direction {
        Direction::Read => Op::Read,
        Direction::Write => Op::Write,
    };
    let block_sectors = (plan.block_bytes / SECTOR_BYTES) as u64;
    for place in plan.places(thread, area.sectors * SECTOR_BYTES as u64) {
        figures.ns = now_ns() - began_ns;
        let over = match plan.until {
            Until::Requests(most) => figures.requests + figures.errors >= most,
            Until::Seconds(seconds) => figures.ns >= seconds * 1_000_000_000,
        };
        if over || stop.load(Ordering::Relaxed) {
            break;
        }
        let transfer = area.transfer(op, place * block_sectors, buffer);
        diskbench_submits();
        let transfer = area.medium.transfer(cx, transfer);
        diskbench_ended();
        buffer = transfer.buffer;
        match transfer.result {
            Ok(()) => figures.requests += 1,
            Err(error) => {
                figures.errors += 1;
                share.first_error.get_or_insert(error);
            }
        }
    }
    share
}

/// Loads `area` by `plan`, and prints what came out.
///
/// # Errors
/// Requests failed; the figures are printed all the same.
pub fn run(cx: &mut ThreadCx, out: &mut dyn Write, area: Area, plan: Plan) -> Result<(), Refusal> {
    if plan
        .places(plan.threads - 1, area.sectors * SECTOR_BYTES as u64)
        .next()
        .is_none()
    {
        return Err(Refusal(
            "there is not one such request for each thread".into(),
        ));
    }
    let work = move |cx: &mut ThreadCx, thread: usize, stop: &AtomicBool| {
        load(cx, &area, &plan, thread, stop)
    };
    let shares = in_threads(cx, plan.threads, work, || Ok(()))?;
    let mut figures = Figures::default();
    for share in &shares {
        figures.requests += share.figures.requests;
        figures.errors += share.figures.errors;
        figures.ns = figures.ns.max(share.figures.ns);
    }
    writeln!(out, "{}", Line(plan, figures))?;
    let per_second = |count: u64| u128::from(count) * 1_000_000_000 / u128::from(figures.ns.max(1));
    writeln!(
        out,
        "{} requests/s, {} KiB/s",
        per_second(figures.requests),
        per_second(figures.requests * plan.block_bytes as u64) >> 10
    )?;
    match shares.iter().find_map(|share| share.first_error) {
        None => Ok(()),
        Some(error) => Err(Refusal(format!(
            "{} of {} requests failed, the first: {error}",
            figures.errors,
            figures.errors + figures.requests
        ))),
    }
}
