// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host tools: kernel image, SD card image, its release and flashing, the QEMU command, the import rules, the mutants of the locks,
//! the lines that tests reach.
//!
//! The programs in `src/bin/` only parse arguments; what they do is here, so that the tests
//! do the same.
#![forbid(unsafe_code)]

pub mod bench_page;
pub mod bmap;
pub mod card;
pub mod contents;
pub mod coverage;
pub mod dtb;
pub mod figures;
pub mod firmware;
pub mod flash;
pub mod from_card;
pub mod guide;
pub mod judge;
pub mod kimage;
pub mod ksyms;
pub mod layering;
pub mod monitor;
pub mod mutants;
pub mod pack;
pub mod paths;
pub mod qemu;
pub mod release;
pub mod runs;
pub mod symbolise;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Where the workspace lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
}

/// A path below the workspace, as short as it can be written from the current directory.
fn from_here(path: &str) -> PathBuf {
    match std::env::current_dir() {
        Ok(here) if here == root() => path.into(),
        _ => root().join(path),
    }
}

/// Where `make setup` puts bl31.bin and the Pi's boot firmware.
pub fn firmware_dir() -> PathBuf {
    from_here(".cache/firmware")
}

/// Where `make` puts what it builds: `kernel8.img`, `card.img`, `orthogon-rpi4.dtb`, logs.
pub fn out_dir() -> PathBuf {
    from_here("out")
}

/// The kernel as `make kernel` links it, with its symbols.
pub fn kernel_elf() -> PathBuf {
    from_here("target/aarch64-unknown-none-softfloat/release/kernel")
}

/// A program's end: an error is one line that says what to do, without a backtrace.
pub fn exit(program: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a file, naming it and its maker in the error.
pub fn read(path: &Path, made_by: &str) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}; {made_by}", path.display()))
}

/// Writes a file, naming it in the error.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the folder {}", dir.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Parses an address or a size: decimal, or hexadecimal after `0x`.
pub fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number; write 524288 or 0x80000"))
}
