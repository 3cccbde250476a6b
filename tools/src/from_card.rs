// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stands in for the Pi's firmware: takes from a card's boot partition what its config.txt names.
//!
//! QEMU runs no VideoCore, so nothing on an emulated board reads the card before the kernel does. This reads
//! it as the firmware would, so that what was flashed is what runs: kernel, armstub, device tree
//! and command line. Overlays and clocks are the firmware's own business.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hadris_fat::FatVolume;
use mbrman::MBR;

use crate::card::SECTOR;
use crate::number;

/// What a card boots.
#[derive(Debug)]
pub struct Boot {
    /// `kernel=`.
    pub kernel: Vec<u8>,
    /// `kernel_address=`.
    pub kernel_address: u64,
    /// `armstub=`.
    pub armstub: Vec<u8>,
    /// `device_tree=`.
    pub device_tree: Vec<u8>,
    /// cmdline.txt, one line.
    pub cmdline: String,
}

impl Boot {
    /// Reads them from an image, or from a device with a card.
    ///
    /// # Errors
    /// No such partition, file or line in config.txt.
    pub fn read(card: &Path) -> Result<Self> {
        let shown = card.display();
        let mut file = File::open(card).with_context(|| format!("cannot read {shown}"))?;
        let table = MBR::read_from(&mut file, SECTOR as u32)
            .with_context(|| format!("{shown} has no partition table"))?;
        let entry = table.get(1).context("no first partition")?;
        ensure!(entry.sys == 0x0c, "{shown}: partition 1 is no FAT32");
        let start = u64::from(entry.starting_lba) * SECTOR;
        let part = Part {
            file,
            bytes: start..start + u64::from(entry.sectors) * SECTOR,
            at: 0,
        };
        let volume = FatVolume::builder(part)
            .open()
            .with_context(|| format!("{shown}: partition 1 has no file system"))?;
        let file = |name: &str| {
            let mut file = volume
                .open_file_path(name)
                .with_context(|| format!("{shown}: no {name} on the boot partition"))?;
            Ok::<_, anyhow::Error>(file.read_to_vec()?)
        };
        let config = String::from_utf8(file("config.txt")?).context("config.txt is no text")?;
        let option = |name: &str| {
            let values = config.lines().filter_map(|line| line.split_once('='));
            let mut values = values.filter_map(|(key, value)| (key == name).then_some(value));
            let value = values.next_back();
            value.with_context(|| format!("{shown}: config.txt does not say {name}="))
        };
        let address = option("kernel_address")?;
        let cmdline = String::from_utf8(file("cmdline.txt")?).context("cmdline.txt is no text")?;
        Ok(Self {
            kernel: file(option("kernel")?)?,
            kernel_address: number(address).map_err(anyhow::Error::msg)?,
            armstub: file(option("armstub")?)?,
            device_tree: file(option("device_tree")?)?,
            cmdline: cmdline.lines().next().unwrap_or_default().to_owned(),
        })
    }
}

/// A part of a file, as a file of its own.
struct Part {
    file: File,
    bytes: Range<u64>,
    at: u64,
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = (self.bytes.end - self.bytes.start).saturating_sub(self.at);
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file
            .seek(SeekFrom::Start(self.bytes.start + self.at))?;
        let read = self.file.read(&mut buf[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => (self.bytes.end - self.bytes.start).checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
