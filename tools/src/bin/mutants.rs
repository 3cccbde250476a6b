// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows that the checks of the locks can fail; see `tools::mutants`.

use std::process::ExitCode;

use clap::Parser;

/// Weaken the locks, one place at a time: a check must notice
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Only the mutants whose names contain one of these
    names: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tools::exit("mutants", tools::mutants::run(tools::root(), &args.names))
}
