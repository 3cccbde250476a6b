// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes what is released: the image as .img.xz, its sum, its block map, an entry for Raspberry Pi Imager.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tools::contents::Contents;
use tools::release::Release;

/// Make the released image: .img.xz, .img.xz.sha256, .img.bmap, os_list.json
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The folder to write to
    folder: PathBuf,
    /// The day of the sources, YYYY-MM-DD
    #[arg(long)]
    date: String,
    /// Where the files will be found [default: the folder, as file://...]
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    contents: Contents,
}

fn main() -> ExitCode {
    tools::exit("release", make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let url = match &args.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let folder = std::path::absolute(&args.folder).context("the folder")?;
            format!("file://{}", folder.display())
        }
    };
    let release = Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: args.date.clone(),
        url,
    };
    release.make(&args.contents.card()?, &args.folder)?;
    Ok(())
}
