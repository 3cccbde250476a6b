// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows a crash dump, or what the console said of a panic, with functions, files and lines.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tools::symbolise::{Input, Kernel};

/// Show a crash dump, or console text, with the source lines of its backtraces
#[derive(Parser)]
#[command(version)]
struct Args {
    /// A card, its image, a copy of its crash partition, or a file of console text; without it,
    /// text from the standard input
    input: Option<PathBuf>,
    /// The ELF file that was built with the kernel
    #[arg(long, default_value_os_t = tools::kernel_elf())]
    elf: PathBuf,
    /// Show the dump's text as it is, without an ELF file
    #[arg(long)]
    raw: bool,
}

fn main() -> ExitCode {
    tools::exit("orthogon-symbolise", show(&Args::parse()))
}

fn show(args: &Args) -> Result<()> {
    let input = match &args.input {
        Some(path) => Input::open(path)?,
        None => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            Input::text(&text)
        }
    };
    let mut shown = String::new();
    if let Some(header) = &input.header {
        let ms = header.uptime_ns / 1_000_000;
        let (number, s, ms) = (header.sequence, ms / 1000, ms % 1000);
        shown += &format!("panic {number}, {s}.{ms:03} s after boot\n");
    }
    if args.raw {
        shown += &input.text;
    } else {
        let kernel = Kernel::open(&args.elf)?;
        if !kernel.fits(&input)? {
            eprintln!("orthogon-symbolise: the text names no build; it may be of another");
        }
        shown += &kernel.symbolise(&input.text);
    }
    let written = std::io::stdout().write_all(shown.as_bytes());
    written.context("cannot write to the standard output")
}
