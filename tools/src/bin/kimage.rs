// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes kernel8.img from the kernel's ELF file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// Make kernel8.img from the kernel's ELF file, with its symbol table inside
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The linked kernel
    elf: PathBuf,
    /// The image to write
    out: PathBuf,
}

fn main() -> ExitCode {
    tools::exit("kimage", make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let elf = tools::read(&args.elf, "`make kernel` builds it")?;
    let image = tools::kimage::from_elf(&elf).with_context(|| args.elf.display().to_string())?;
    tools::write(&args.out, &image.bytes)?;
    let (table, room) = image.ksyms_bytes;
    println!(
        "kimage  {}: {} KiB, {} KiB in memory; {} symbols in {} of {} KiB",
        args.out.display(),
        image.bytes.len().div_ceil(1024),
        image.memory_bytes >> 10,
        image.symbols,
        table.div_ceil(1024),
        room >> 10,
    );
    Ok(())
}
