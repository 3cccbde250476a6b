// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a released image to a card: see [`tools::flash`].

use std::process::ExitCode;

use clap::Parser;
use tools::flash::{Order, run};

/// Write a released image to an SD card
///
/// It refuses what is no card: partitions, disks that are mounted, hold the system, are part of
/// something or cannot be removed. It shows what it found and asks, writes, flushes, and reads back.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    order: Order,
}

fn main() -> ExitCode {
    let order = Args::parse().order;
    tools::exit("flash", run(&order, &mut std::io::stdin().lock()))
}
