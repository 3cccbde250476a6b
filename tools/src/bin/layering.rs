// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks the house's rules over the workspace; see `tools::layering`.

use std::process::ExitCode;

use clap::Parser;

/// Check who imports whom, the head and length of each file, and where unsafe is
#[derive(Parser)]
#[command(version)]
struct Args {}

fn main() -> ExitCode {
    Args::parse();
    tools::exit("layering", tools::layering::check(tools::root()))
}
