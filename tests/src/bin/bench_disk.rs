// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card's speed beside Linux's and the emulator's own, and the instructions of a request (`make bench-disk`); see
//! [`qemu_tests::disk_bench`] and [`disk_path`].

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use qemu_tests::disk_bench::{BUS_RATE, Bench, OPERATIONS, Speeds, figure, head, row};
use qemu_tests::disk_path;
use tools::figures::{Figure, Json};

/// Measure the card's speed in the kernel, in Linux, and in a loop that does nothing else
#[derive(Parser)]
#[command(version, name = "bench_disk")]
struct Args {
    /// The program for Linux
    #[arg(
        long,
        default_value = "target/aarch64-unknown-linux-musl/release/linux-disk"
    )]
    linux_disk: PathBuf,
    /// The image of the empty loop
    #[arg(long, default_value = "out/bare-disk.img")]
    bare: PathBuf,
    /// How long each measurement takes
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// How often each is made; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only the instructions of a request
    #[arg(long)]
    path: bool,
    #[command(flatten)]
    json: Json,
    /// Only the operations whose names, as the table has them, contain one of these
    names: Vec<String>,
}

fn main() -> ExitCode {
    tools::exit("bench_disk", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let mut figures = Vec::new();
    if !args.path {
        println!("as fast as the host moves data:");
        speeds(args, 0, "", &mut figures)?;
        println!("\nat the bus's rate of {BUS_RATE} bytes/s (four lines, high speed):");
        speeds(args, BUS_RATE, ", bus at 25 MB/s", &mut figures)?;
    }
    let (text, counted) = disk_path::report(&tools::out_dir().join("card.img"))?;
    print!("{text}");
    figures.extend(counted);
    args.json.write(&figures)
}

fn speeds(args: &Args, rate: u64, at: &str, figures: &mut Vec<Figure>) -> Result<()> {
    let scratch = tools::out_dir().join("bench-disk");
    let (linux_disk, bare) = (&args.linux_disk, &args.bare);
    let mut bench = Bench::start(linux_disk, bare, &scratch, args.seconds, rate)?;
    println!("{}", head());
    let names = &args.names;
    let wanted = |name: String| names.is_empty() || names.iter().any(|part| name.contains(part));
    for operation in OPERATIONS.iter().filter(|o| wanted(o.name())) {
        let mut speeds = Speeds::default();
        for _ in 0..args.rounds {
            bench.measure(operation, &mut speeds)?;
        }
        println!("{}", row(operation, &speeds));
        figures.push(figure(operation, &speeds, at));
    }
    println!("Orthogon's counters: {}", bench.troubles());
    Ok(())
}
