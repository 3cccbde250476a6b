// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes on the boot partition, and where it comes from.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::card::Card;
use crate::firmware;
use crate::read;

/// The files of the boot partition.
#[derive(Args, Clone, Debug)]
pub struct Contents {
    /// The kernel image
    #[arg(long, default_value_os_t = crate::out_dir().join("kernel8.img"))]
    pub kernel: PathBuf,
    /// The device tree, written as bcm2711-rpi-4-b.dtb, the name that the firmware looks for
    #[arg(long, default_value_os_t = crate::out_dir().join("orthogon-rpi4.dtb"))]
    pub dtb: PathBuf,
    /// The overlay that gives the PL011 to the console
    #[arg(long, default_value_os_t = crate::out_dir().join("disable-bt.dtbo"))]
    pub overlay: PathBuf,
    /// Take start4.elf and fixup4.dat from this folder, such as the boot partition of a card that boots
    #[arg(long, value_name = "DIR", conflicts_with = "no_firmware")]
    pub firmware: Option<PathBuf>,
    /// Leave the firmware out: such a card runs in QEMU and boots no board
    #[arg(long)]
    pub no_firmware: bool,
    /// The kernel's command line (cmdline.txt)
    #[arg(long)]
    pub cmdline: Option<String>,
    /// A further file for the boot partition, optionally under another name
    #[arg(long, value_name = "FILE[=NAME]")]
    pub add: Vec<String>,
}

/// From `make setup`, whoever's start4.elf is used: Trusted Firmware-A and its licence.
const TRUSTED: [&str; 2] = ["bl31.bin", "LICENCE.tf-a"];

impl Contents {
    /// Reads them.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what it should be.
    pub fn card(&self) -> Result<Card> {
        let config = crate::root().join("tools/card");
        let mut card = Card::new();
        for name in ["config.txt", "cmdline.txt"] {
            card = card.file(name, read(&config.join(name), "it is committed")?);
        }
        if let Some(cmdline) = &self.cmdline {
            card = card.file("cmdline.txt", format!("{cmdline}\n"));
        }
        let by_make = "`make image` builds it";
        card = card
            .file("kernel8.img", read(&self.kernel, by_make)?)
            .file("bcm2711-rpi-4-b.dtb", read(&self.dtb, by_make)?)
            .file("overlays/disable-bt.dtbo", read(&self.overlay, by_make)?);
        if !self.no_firmware {
            card = self.with_firmware(card)?;
        }
        for add in &self.add {
            let (path, name) = match add.split_once('=') {
                Some((path, name)) => (PathBuf::from(path), name.to_owned()),
                None => {
                    let path = PathBuf::from(add);
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let name = name.into();
                    (path, name)
                }
            };
            ensure!(!name.is_empty(), "--add {add}: the file needs a name");
            card = card.file(&name, read(&path, "it was given with --add")?);
        }
        Ok(card)
    }

    fn with_firmware(&self, mut card: Card) -> Result<Card> {
        let fetched = crate::firmware_dir();
        let by_setup = "`make setup` fetches it (or give --no-firmware)";
        for name in TRUSTED {
            card = card.file(name, read(&fetched.join(name), by_setup)?);
        }
        let dir = self.firmware.as_ref().unwrap_or(&fetched);
        let start = read(&dir.join("start4.elf"), by_setup)?;
        let fixup = read(
            &dir.join("fixup4.dat"),
            "start4.elf needs the one beside it",
        )?;
        let build = firmware::check(&start, &fixup)
            .with_context(|| format!("the firmware in {}", dir.display()))?;
        if self.firmware.is_some() {
            println!("card    firmware of {build}, from {}", dir.display());
        }
        let licence = "LICENCE.broadcom";
        let licence_path = match dir.join(licence) {
            beside if beside.exists() => beside,
            _ => fetched.join(licence),
        };
        Ok(card
            .file("start4.elf", start)
            .file("fixup4.dat", fixup)
            .file(licence, read(&licence_path, by_setup)?))
    }
}
