// SPDX-License-Identifier: MIT OR Apache-2.0
//! What disk and network cost each other (`make bench-domains`); see [`qemu_tests::domains_bench`].

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use qemu_tests::domains_bench::{Bench, figures, table};
use tools::figures::Json;

/// Measure disk and network beside each other, with the CPU's share taken out
#[derive(Parser)]
#[command(version, name = "bench_domains")]
struct Args {
    /// How long each load lasts; a measurement is a second shorter
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// How often each measurement is made; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The policy: eager, lazy or domain
    #[arg(long, default_value = "domain")]
    policy: String,
    #[command(flatten)]
    json: Json,
}

fn main() -> ExitCode {
    tools::exit("bench_domains", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let scratch = tools::out_dir().join("bench-domains");
    let mut bench = Bench::start(&scratch, &args.policy, args.seconds)?;
    let mut rounds = Vec::new();
    for n in 1..=args.rounds {
        let (round, [disk, flood]) = bench.round()?;
        println!("round {n}: CPUs busy, %: disk {disk:?}, flood {flood:?}");
        rounds.push(round);
    }
    print!("\nspl={}\n{}", args.policy, table(&rounds));
    args.json.write(&figures(&rounds))
}
