// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the SD card image that QEMU runs from.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tools::contents::Contents;

/// Make an SD card image: FAT32 boot partition with kernel and firmware, crash area, data partition
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The image to write
    image: PathBuf,
    /// Size of the card in MiB: a power of two from 128 on
    #[arg(long, default_value_t = 256)]
    size: u64,
    #[command(flatten)]
    contents: Contents,
}

fn main() -> ExitCode {
    tools::exit("card", make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    args.contents.card()?.write(&args.image, args.size)?;
    println!("card    {}: {} MiB", args.image.display(), args.size);
    Ok(())
}
