// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the kernel in QEMU with its console on the terminal.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// Run the kernel on QEMU's raspi4b, its console on this terminal
#[derive(Parser)]
#[command(version, name = "orthogon-run")]
struct Args {
    #[command(flatten)]
    qemu: tools::qemu::Qemu,
    /// Only print the QEMU command
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    tools::exit("orthogon-run", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let scratch = tools::out_dir().join("run");
    let mut command = args.qemu.command(&scratch, "mon:stdio")?;
    if args.dry_run {
        println!("{command:?}");
        return Ok(());
    }
    let log = &args.qemu.log;
    let log = log.strip_prefix(tools::root()).unwrap_or(log).display();
    eprintln!("run     Ctrl-A x ends QEMU, Ctrl-A c is its monitor; warnings go to {log}");
    // The monitor's keys must work: QEMU takes this process's place and its terminal.
    Err(command.exec()).context("cannot start qemu-system-aarch64; `make setup` installs it")
}
