// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SD card image: a partition table, and three partitions.
//!
//! 1. FAT32: what boots, and what the console reads and writes.
//! 2. Type 0xda, [`CRASH_BYTES`]: where a kernel that panics leaves its dump.
//! 3. Type 0x83: data, without a file system. In the image that is released it is a stub of
//!    [`STUB_BYTES`], the mark of a card that has never run: the kernel makes it as long as the
//!    card (`kernel/src/bio/grow.rs`).
//!
//! Equal inputs give equal bytes: dates, volume id and disk signature are fixed. The file is
//! sparse. Every partition begins on a 4 MiB boundary, in an erase block of its own on ordinary
//! cards: a dump that breaks off harms neither neighbour. QEMU wants a card's size to be a power of
//! two; a card that is flashed gets the released image, which is as short as its content allows.

use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hadris_fat::format::{FatFormatOptions, FatTypeSelection, FatVolumeFormatter};
use hadris_fat::time::{FatDateTime, StaticTimeProvider};
use hadris_fat::{FatVolume, FatVolumeWriteExt};
use kernel::panic::dump::format::LABEL;
use mbrman::{BOOT_ACTIVE, BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
const ALIGN: u64 = 4 * MIB;
/// Length of the partition for a crash dump.
pub const CRASH_BYTES: u64 = MIB;
/// Length of the data partition before it grows.
pub const STUB_BYTES: u64 = kernel::bio::grow::STUB_SECTORS * SECTOR;
/// FAT32 has at least 65,525 clusters; somewhat more keeps every reader's rounding happy.
const CLUSTERS_MIN: u64 = 66_000;
const VOLUME_ID: u32 = 0x0474_1601;
const DISK_SIGNATURE: [u8; 4] = *b"ORTH";
/// Every date on the card: 2025-01-01.
static DATE: StaticTimeProvider = StaticTimeProvider(FatDateTime {
    date: 45 << 9 | 1 << 5 | 1,
    time: 0,
    time_tenth: 0,
});

/// Where the partitions lie, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Files that boot.
    pub boot: Range<u64>,
    /// The crash dump.
    pub crash: Range<u64>,
    /// Data.
    pub data: Range<u64>,
}

impl Layout {
    /// The image that is released: room on the boot partition for a few kernels and traces, and
    /// of the data partition a stub.
    pub fn released() -> Self {
        Self::new(17 * ALIGN, None)
    }

    /// A card of its full size. The boot partition takes half of it, 256 MiB at most.
    ///
    /// # Errors
    /// A size that QEMU or FAT32 cannot take.
    pub fn full(size_mib: u64) -> Result<Self> {
        ensure!(
            size_mib.is_power_of_two() && (128..=1 << 20).contains(&size_mib),
            "a card of {size_mib} MiB: take a power of two (QEMU's rule) from 128 on (FAT32's)"
        );
        let end = size_mib * MIB;
        Ok(Self::new((end / 2).min(256 * MIB), Some(end)))
    }

    fn new(boot_end: u64, data_end: Option<u64>) -> Self {
        let crash = boot_end..boot_end + CRASH_BYTES;
        let data = crash.end.next_multiple_of(ALIGN);
        Self {
            boot: ALIGN..boot_end,
            crash,
            data: data..data_end.unwrap_or(data + STUB_BYTES),
        }
    }
}

/// What goes on the card; [`Card::write`] makes the image.
#[derive(Debug, Default)]
pub struct Card {
    files: Vec<(String, Vec<u8>)>,
}

impl Card {
    /// A card with an empty boot partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file to the boot partition; `/` in the name makes folders. A later file of the
    /// same name replaces the earlier one.
    pub fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.files.push((name.to_owned(), bytes.into()));
        self
    }

    /// A file's bytes, if it was added.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut files = self.files.iter();
        files.find_map(|(n, bytes)| (n == name).then_some(&bytes[..]))
    }

    /// Writes the image of a card of so many MiB, [`Layout::full`].
    pub fn write(&self, image: &Path, size_mib: u64) -> Result<()> {
        self.lay_out(image, &Layout::full(size_mib)?)
    }

    /// Writes the image with its partitions at these places.
    pub fn lay_out(&self, image: &Path, layout: &Layout) -> Result<()> {
        let Layout { boot, crash, data } = layout;
        let volume = self.boot_volume(boot.end - boot.start, boot.start)?;

        let mut file = File::create(image)
            .with_context(|| format!("cannot write the card {}", image.display()))?;
        file.set_len(data.end)?;
        let mut mbr = MBR::new_from(&mut file, SECTOR as u32, DISK_SIGNATURE)?;
        mbr[1] = partition(BOOT_ACTIVE, 0x0c, boot)?;
        mbr[2] = partition(BOOT_INACTIVE, 0xda, crash)?;
        mbr[3] = partition(BOOT_INACTIVE, 0x83, data)?;
        mbr.write_into(&mut file)?;
        write_sparse(&mut file, boot.start, &volume)?;
        write_sparse(&mut file, crash.start, LABEL)?;
        Ok(())
    }

    fn boot_volume(&self, size: u64, start: u64) -> Result<Vec<u8>> {
        let mut cluster = 4096;
        while size / cluster < CLUSTERS_MIN && cluster > SECTOR {
            cluster /= 2;
        }
        let options = FatFormatOptions::new(size)
            .fat_type(FatTypeSelection::Fat32)
            .sectors_per_cluster(u8::try_from(cluster / SECTOR)?)
            .hidden_sectors(u32::try_from(start / SECTOR)?)
            .volume_id(VOLUME_ID)
            .volume_label("ORTHOGON");
        let volume = Cursor::new(vec![0; usize::try_from(size)?]);
        let volume = FatVolumeFormatter::format(volume, options)
            .context("cannot format the boot partition")?
            .into_inner()
            .into_inner();
        let fs = FatVolume::builder(Cursor::new(volume))
            .time_provider(&DATE)
            .open()?;
        for (name, bytes) in &self.files {
            add(&fs, name, bytes).with_context(|| {
                let (n, mib) = (bytes.len(), size / MIB);
                format!("cannot put {name} ({n} bytes) on a boot partition of {mib} MiB")
            })?;
        }
        fs.sync()?;
        let mut volume = fs.into_inner().into_inner();
        date_label(&mut volume);
        Ok(volume)
    }
}

/// Is this the first sector of a card of ours, with the partitions where [`Layout`] puts them?
pub fn is_ours(sector: &[u8; SECTOR as usize]) -> bool {
    let kind = |number: usize| sector[446 + 16 * (number - 1) + 4];
    sector[440..444] == DISK_SIGNATURE
        && sector[510..] == [0x55, 0xaa]
        && [kind(1), kind(2), kind(3), kind(4)] == [0x0c, 0xda, 0x83, 0]
}

/// The formatter dates the label, the root directory's first entry, with the time of day.
fn date_label(volume: &mut [u8]) {
    let u16_at = |at: usize| u32::from(u16::from_le_bytes([volume[at], volume[at + 1]]));
    let (reserved, fats, fat_sectors) = (u16_at(14), volume[16], u16_at(36) | u16_at(38) << 16);
    let root = (reserved + u32::from(fats) * fat_sectors) as usize * SECTOR as usize;
    let (date, time, _) = DATE.0.to_raw();
    for (at, value) in [(14, time), (16, date), (18, date), (22, time), (24, date)] {
        volume[root + at..root + at + 2].copy_from_slice(&value.to_le_bytes());
    }
}

/// Writes bytes to a file from `start` on, leaving out blocks of zeros: the file is new.
pub fn write_sparse(file: &mut File, start: u64, bytes: &[u8]) -> std::io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    for (index, block) in bytes.chunks(ZEROS.len()).enumerate() {
        if *block != ZEROS[..block.len()] {
            file.seek(SeekFrom::Start(start + (ZEROS.len() * index) as u64))?;
            file.write_all(block)?;
        }
    }
    Ok(())
}

fn partition(boot: u8, kind: u8, bytes: &Range<u64>) -> Result<MBRPartitionEntry> {
    Ok(MBRPartitionEntry {
        boot,
        first_chs: CHS::empty(),
        sys: kind,
        last_chs: CHS::empty(),
        starting_lba: u32::try_from(bytes.start / SECTOR)?,
        sectors: u32::try_from((bytes.end - bytes.start) / SECTOR)?,
    })
}

fn add<T>(fs: &FatVolume<T>, path: &str, bytes: &[u8]) -> Result<()>
where
    T: hadris_fat::Read + hadris_fat::Write + hadris_fat::Seek,
{
    let mut dir = fs.root_dir();
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    for folder in folders.split('/').filter(|f| !f.is_empty()) {
        dir = match dir.find(folder)? {
            Some(entry) => dir.open_entry(&entry)?,
            None => fs.create_dir(&dir, folder)?,
        };
    }
    let mut writer = fs.write_file(&fs.create_file(&dir, name)?)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = writer.write(rest)?;
        ensure!(written > 0, "the partition is full");
        rest = &rest[written..];
    }
    Ok(writer.finish()?)
}
