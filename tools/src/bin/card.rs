// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the SD card image that QEMU runs from and that is flashed for a Pi.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tools::card::Card;

/// Make an SD card image: FAT32 boot partition with kernel and firmware, data partition
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The image to write
    image: PathBuf,
    /// Size of the card in MiB: a power of two from 128 on
    #[arg(long, default_value_t = 256)]
    size: u64,
    /// The kernel image
    #[arg(long, default_value_os_t = tools::out_dir().join("kernel8.img"))]
    kernel: PathBuf,
    /// The device tree, written as bcm2711-rpi-4-b.dtb, the name that the firmware looks for
    #[arg(long, default_value_os_t = tools::out_dir().join("orthogon-rpi4.dtb"))]
    dtb: PathBuf,
    /// The overlay that gives the PL011 to the console
    #[arg(long, default_value_os_t = tools::out_dir().join("disable-bt.dtbo"))]
    overlay: PathBuf,
    /// Folder with bl31.bin, start4.elf, fixup4.dat and their licences
    #[arg(long, default_value_os_t = tools::firmware_dir())]
    firmware: PathBuf,
    /// Leave the firmware out: such a card runs in QEMU and boots no board
    #[arg(long)]
    no_firmware: bool,
    /// The kernel's command line (cmdline.txt)
    #[arg(long)]
    cmdline: Option<String>,
    /// A further file for the boot partition, optionally under another name
    #[arg(long, value_name = "FILE[=NAME]")]
    add: Vec<String>,
}

const FIRMWARE: [&str; 5] = [
    "bl31.bin",
    "start4.elf",
    "fixup4.dat",
    "LICENCE.broadcom",
    "LICENCE.tf-a",
];

fn main() -> ExitCode {
    tools::exit("card", make(&Args::parse()))
}

fn make(args: &Args) -> Result<()> {
    let config = tools::root().join("tools/card");
    let mut card = Card::new();
    for name in ["config.txt", "cmdline.txt"] {
        card = card.file(name, tools::read(&config.join(name), "it is committed")?);
    }
    if let Some(cmdline) = &args.cmdline {
        card = card.file("cmdline.txt", format!("{cmdline}\n"));
    }
    let by_make = "`make image` builds it";
    card = card
        .file("kernel8.img", tools::read(&args.kernel, by_make)?)
        .file("bcm2711-rpi-4-b.dtb", tools::read(&args.dtb, by_make)?)
        .file(
            "overlays/disable-bt.dtbo",
            tools::read(&args.overlay, by_make)?,
        );
    for name in FIRMWARE.iter().filter(|_| !args.no_firmware) {
        let by_setup = "`make setup` fetches it (or give --no-firmware)";
        card = card.file(name, tools::read(&args.firmware.join(name), by_setup)?);
    }
    for add in &args.add {
        let (path, name) = match add.split_once('=') {
            Some((path, name)) => (PathBuf::from(path), name.to_owned()),
            None => {
                let path = PathBuf::from(add);
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into();
                (path, name)
            }
        };
        ensure!(!name.is_empty(), "--add {add}: the file needs a name");
        card = card.file(&name, tools::read(&path, "it was given with --add")?);
    }
    card.write(&args.image, args.size)?;
    println!("card    {}: {} MiB", args.image.display(), args.size);
    Ok(())
}
