// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a released image to a card.
//!
//! # Theory
//!
//! Nothing is written before everything that can be known is known: the image is unpacked and held
//! against its sums in memory first ([`image`]), then the target is judged ([`target`]), then
//! somebody says yes.
//!
//! The first block, which has the partition table, is zeroed before all else and written after all
//! else ([`write`]), with flushes between. So a card that was left half written has no partitions: no
//! system mounts it, no board boots it, and running the program again is all that it needs.
//!
//! # Rejected
//!
//! Asking the block device to discard itself first: readers of cards accept that and do nothing, or
//! forget the card.
//!
//! Comparing what is on the card, to write only what differs: a card that wears out is no less worn by
//! being read, and what differs is nearly all.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

pub mod image;
pub mod target;
pub mod write;

use image::Image;
use target::{Host, Target};

/// What to write where.
#[derive(Args, Clone, Debug)]
pub struct Order {
    /// The card's device, as /dev/sdb: the whole of it, not a partition
    #[arg(value_parser = given)]
    pub device: PathBuf,
    /// The image that `make release` makes, .img.xz, with its .sha256 and .bmap beside it
    #[arg(long)]
    pub image: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Also a device that does not say it is removable
    #[arg(long)]
    pub force: bool,
    /// The target is a file, for QEMU: it must exist, and is not made longer
    #[arg(long)]
    pub file: bool,
}

/// `make flash` without DEV passes an empty word.
fn given(word: &str) -> Result<PathBuf, String> {
    match word {
        "" => Err("say which device: make flash DEV=/dev/sdX (lsblk lists them)".to_owned()),
        word => Ok(word.into()),
    }
}

/// Does it. `answers` is asked for a yes.
///
/// # Errors
/// What was refused, or what failed.
pub fn run(order: &Order, answers: &mut dyn BufRead) -> Result<()> {
    let image = Image::load(&order.image)?;
    let (mib, written) = (image.bytes.len() >> 20, image.mapped_bytes() >> 10);
    println!(
        "Image   {}: {mib} MiB, {written} KiB of them to write; sums are right",
        name_of(&order.image)
    );
    let host = Host::real();
    let target = match order.file {
        true => Target::file(&order.device)?,
        false => Target::device(&host, &order.device, order.force)?,
    };
    ensure!(
        target.bytes >= image.bytes.len() as u64,
        "{} is too small: {} bytes, and the image has {}",
        order.device.display(),
        target.bytes,
        image.bytes.len()
    );
    println!("Target  {target}");
    if !order.yes {
        confirm(&target, answers)?;
    }

    let started = Instant::now();
    let bar = progress("writing", image.mapped_bytes());
    write::write(&target.open, &image, &|bytes| bar.inc(bytes))
        .with_context(|| format!("cannot write {}; run it again", target.path.display()))?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "Written {written} KiB in {seconds:.1} s ({:.1} MiB/s), flushed",
        written as f64 / 1024.0 / seconds.max(1e-3)
    );
    let bar = progress("reading back", image.mapped_bytes());
    let how = write::verify(&target.path, &image, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    println!("Checked all of it is there, read {how}");
    println!("Done    take the card out, and start with it");
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into()
}

fn confirm(target: &Target, answers: &mut dyn BufRead) -> Result<()> {
    let name = name_of(&target.path);
    print!("ALL THAT IS ON IT WILL BE LOST. Type {name} to go on: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    answers.read_line(&mut line).context("no answer")?;
    let answer = line.trim();
    ensure!(
        answer == name || Path::new(answer) == target.path,
        "not confirmed: nothing was written (in scripts: --yes)"
    );
    Ok(())
}

/// A bar with rate and time left; only on a terminal.
fn progress(what: &'static str, bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{msg:12} [{bar:24}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";
    let style = ProgressStyle::with_template(style).expect("a template that stands here");
    let bar = ProgressBar::new(bytes).with_style(style);
    bar.set_message(what);
    bar
}
