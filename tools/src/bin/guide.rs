// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the guide (`make doc`): pages ready for mdBook, mdBook's run, and a check of all links.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tools::guide;

/// Make the guide in out/doc from the pages in docs/, and check its links
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The program that makes HTML of it
    #[arg(long, default_value_os_t = tools::root().join(".cache/mdbook/bin/mdbook"))]
    mdbook: PathBuf,
    /// Where the book goes
    #[arg(long, default_value_os_t = tools::root().join("out/doc"))]
    out: PathBuf,
}

fn main() -> ExitCode {
    tools::exit("guide", make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let docs = tools::root().join("docs");
    let pages = tools::root().join("out/doc-pages");
    let missing = guide::stage(&docs, &pages)?;
    ensure!(
        missing.is_empty(),
        "these lead to no file, or to no part of it:\n  {}",
        missing.join("\n  ")
    );
    let unlisted = guide::unlisted(&docs)?;
    ensure!(
        unlisted.is_empty(),
        "docs/SUMMARY.md does not have:\n  {}",
        unlisted.join("\n  ")
    );
    let run = Command::new(&args.mdbook)
        .args(["build", "--dest-dir"])
        .arg(&args.out)
        .arg(&pages)
        .env("MDBOOK_LOG", "warn")
        .status();
    let status =
        run.with_context(|| format!("{}; `make doc` installs it", args.mdbook.display()))?;
    ensure!(status.success(), "mdBook failed");
    let (broken, count) = guide::broken_links(&args.out)?;
    ensure!(
        broken.is_empty(),
        "these lead to nothing:\n  {}",
        broken.join("\n  ")
    );
    let book = args.out.strip_prefix(tools::root()).unwrap_or(&args.out);
    println!(
        "doc     {}/index.html: {count} links, all whole",
        book.display()
    );
    Ok(())
}
