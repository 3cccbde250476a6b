// SPDX-License-Identifier: MIT OR Apache-2.0
//! A mixed load of disk and network for an hour (`make soak-net`); see [`qemu_tests::net_soak`].

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use qemu_tests::net_soak::{Sample, Soak, verdict};
use qemu_tests::soak_plot::draw;

/// Load disk and network at once, and sample what the kernel holds
#[derive(Parser)]
#[command(version, name = "soak_net")]
struct Args {
    /// For so long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Where the samples go, a line each while it runs
    #[arg(long, default_value_os_t = tools::out_dir().join("soak-net/samples.csv"))]
    samples: PathBuf,
    /// Where the card's copy and the cable's socket are
    #[arg(long, default_value_os_t = tools::out_dir().join("soak-net"))]
    scratch: PathBuf,
    /// Draw the samples into this file
    #[arg(long)]
    plot: Option<PathBuf>,
    /// No load: only judge and draw what is in the samples
    #[arg(long)]
    judge: bool,
}

fn main() -> ExitCode {
    tools::exit("soak_net", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    if !args.judge {
        load(args)?;
    }
    let text = std::fs::read_to_string(&args.samples)?;
    let samples: Result<Vec<Sample>> = text.lines().skip(1).map(Sample::parse).collect();
    let samples = samples?;
    if let Some(plot) = &args.plot {
        tools::write(plot, draw(&samples).as_bytes())?;
    }
    print!("{}", verdict(&samples)?);
    Ok(())
}

fn load(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.scratch)?;
    let card = args.scratch.join("card.img");
    std::fs::copy(tools::out_dir().join("card.img"), &card)
        .context("`make image` builds the card")?;
    let time = Duration::from_secs(args.minutes * 60);
    let mut soak = Soak::start(&card, &args.scratch, time)?;
    let mut samples = File::create(&args.samples)?;
    writeln!(samples, "{}", Sample::NAMES.join(","))?;
    let began = Instant::now();
    while began.elapsed() < time {
        let sample = soak.turn()?;
        writeln!(samples, "{}", sample.line())?;
        println!("{}", sample.line());
    }
    Ok(())
}
