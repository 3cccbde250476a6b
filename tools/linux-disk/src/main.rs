// SPDX-License-Identifier: MIT OR Apache-2.0
//! `diskbench` for the Linux that the kernel is compared with: direct I/O, the kernel's own words, places and line.
//!
//! `linux-disk DEVICE read|write BYTES [random] [threads N] [requests N | seconds N] [seed N]`, on Linux for arm64, built
//! for `aarch64-unknown-linux-musl`: the guest has no C library.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kernel::bio::load::{Direction, Figures, Line, Plan, Until};

/// Past the page cache; on arm64 and on x86 (a host that only builds it) these differ.
const O_DIRECT: i32 = if cfg!(target_arch = "aarch64") {
    0o20_0000
} else {
    0o4_0000
};
/// Direct I/O wants aligned memory.
const PAGE: usize = 4096;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linux-disk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (device, words) = words.split_first().context("a device, and what to do")?;
    let plan = Plan::parse(words.iter().map(String::as_str));
    let plan = plan.map_err(|error| anyhow::anyhow!("{error}"))?;
    let file = File::options()
        .read(true)
        .write(plan.direction == Direction::Write)
        .custom_flags(O_DIRECT)
        .open(device)
        .with_context(|| device.clone())?;
    let name = device.rsplit('/').next().unwrap_or_default();
    let size = format!("/sys/class/block/{name}/size");
    let size = std::fs::read_to_string(&size).with_context(|| size.clone())?;
    let bytes = size.trim().parse::<u64>()? * 512;

    let began = Instant::now();
    let mut figures = thread::scope(|scope| {
        let load = |thread| one_thread(&plan, thread, &file, bytes, began);
        let threads: Vec<_> = (0..plan.threads)
            .map(|thread| scope.spawn(move || load(thread)))
            .collect();
        let done = threads.into_iter().map(|t| t.join().expect("no panic"));
        done.reduce(|a, b| Figures {
            requests: a.requests + b.requests,
            errors: a.errors + b.errors,
            ns: 0,
        })
    })
    .unwrap_or_default();
    figures.ns = began.elapsed().as_nanos() as u64;
    println!("{}", Line(plan, figures));
    Ok(())
}

fn one_thread(plan: &Plan, thread: usize, file: &File, bytes: u64, began: Instant) -> Figures {
    let mut memory = vec![0; plan.block_bytes + PAGE];
    let skip = memory.as_ptr().align_offset(PAGE);
    let buffer = &mut memory[skip..skip + plan.block_bytes];
    let mut figures = Figures::default();
    for place in plan.places(thread, bytes) {
        let over = match plan.until {
            Until::Requests(most) => figures.requests + figures.errors >= most,
            Until::Seconds(seconds) => began.elapsed() >= Duration::from_secs(seconds),
        };
        if over {
            break;
        }
        let at = place * plan.block_bytes as u64;
        let done = match plan.direction {
            Direction::Read => file.read_exact_at(buffer, at),
            Direction::Write => file.write_all_at(buffer, at),
        };
        match done {
            Ok(()) => figures.requests += 1,
            Err(_) => figures.errors += 1,
        }
    }
    figures
}
