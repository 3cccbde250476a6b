// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network's speed beside Linux's (`make bench-net`); see [`qemu_tests::net_bench`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use qemu_tests::net_bench::{
    MEASUREMENTS, Measurement, Rounds, Side, counted, counts, figures, head, rows,
};
use tools::figures::{Figure, Json};

/// Measure TCP, UDP and echoes in the kernel and in Linux
#[derive(Parser)]
#[command(version, name = "bench_net")]
struct Args {
    /// The program for Linux
    #[arg(
        long,
        default_value = "target/aarch64-unknown-linux-musl/release/linux-net"
    )]
    linux_net: PathBuf,
    /// How long each measurement takes
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// How often each is made; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Only measurements whose first row's name begins so
    #[arg(long, default_value = "")]
    only: String,
    #[command(flatten)]
    json: Json,
    /// Only count instructions
    #[arg(long)]
    instructions: bool,
}

fn main() -> ExitCode {
    tools::exit("bench_net", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let scratch = tools::out_dir().join("bench-net");
    let chosen = |what: &Measurement| what.rows()[0].0.starts_with(&args.only);
    let chosen: Vec<_> = MEASUREMENTS.into_iter().filter(chosen).collect();
    let mut all = Vec::new();
    if !args.instructions {
        rates(args, &scratch, &chosen, &mut all)?;
    }
    let program = &args.linux_net;
    let mut linux = Side::linux(program, &scratch.join("linux"), true)?;
    let mut kernel = Side::kernel(&scratch.join("kernel"), true)?;
    println!("\ninstructions on all CPUs:");
    for what in chosen {
        let (ours, theirs) = (kernel.count(what)?, linux.count(what)?);
        print!("{}", counts(what, ours, theirs));
        all.push(counted(what, ours, theirs));
    }
    args.json.write(&all)
}

fn rates(args: &Args, scratch: &Path, chosen: &[Measurement], all: &mut Vec<Figure>) -> Result<()> {
    let mut linux = Side::linux(&args.linux_net, &scratch.join("linux"), false)?;
    let mut kernel = Side::kernel(&scratch.join("kernel"), false)?;
    let mut emulator = Side::emulator(&scratch.join("emulator"))?;
    println!("{}", head());
    for what in chosen.iter().copied() {
        let mut rounds = Rounds::default();
        for _ in 0..args.rounds {
            rounds.kernel.push(kernel.measure(what, args.seconds)?);
            rounds.linux.push(linux.measure(what, args.seconds)?);
            rounds.emulator.push(emulator.measure(what, args.seconds)?);
        }
        print!("{}", rows(what, &rounds));
        all.extend(figures(what, &rounds));
    }
    Ok(())
}
