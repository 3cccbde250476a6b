// SPDX-License-Identifier: MIT OR Apache-2.0
//! `coverage`: how much of a package's lines its host tests reach, and whether that is enough.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tools::coverage::{self, Share};

/// Run a package's host tests and print the lines that they reach, file by file
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The package
    #[arg(long)]
    package: String,
    /// Percent of the lines of each PATH that must be reached
    #[arg(long, default_value_t = 0.0)]
    at_least: f64,
    /// Name the lines that are not
    #[arg(long)]
    missing: bool,
    /// Files and folders from the workspace's root; without, all of the package
    paths: Vec<String>,
}

fn main() -> ExitCode {
    tools::exit("coverage", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let files = coverage::measure(tools::root(), &args.package)?;
    let all = [args.package.clone()];
    let paths = match &args.paths[..] {
        [] => &all[..],
        some => some,
    };
    let row = |name: &str, share: Share| {
        let percent = share.percent();
        println!(
            "{name:<40} {:>6} {:>8} {percent:>8.1}",
            share.lines, share.covered
        );
    };
    println!(
        "{:<40} {:>6} {:>8} {:>8}",
        "file", "lines", "reached", "percent"
    );
    let mut totals = Vec::new();
    for path in paths {
        let mut total = Share::default();
        for (file, lines) in files.iter().filter(|(file, _)| lies_in(file, path)) {
            let share = Share::of(lines);
            total = total.plus(share);
            row(file, share);
            let missed = lines.iter().filter(|(_, count)| **count == 0);
            let missed: Vec<_> = missed.map(|(line, _)| line.to_string()).collect();
            if args.missing && !missed.is_empty() {
                println!("    not reached: {}", missed.join(" "));
            }
        }
        row(&format!("{path} in all"), total);
        totals.push((path, total));
    }
    for (path, total) in totals {
        ensure!(total.lines > 0, "{path} has no lines with code");
        ensure!(
            total.percent() >= args.at_least,
            "the tests reach less than {} % of {path}",
            args.at_least
        );
    }
    Ok(())
}

/// Whether `file` is `path`, or in that folder.
fn lies_in(file: &str, path: &str) -> bool {
    let rest = file.strip_prefix(path.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
