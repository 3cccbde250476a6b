// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is released: the image, compressed, with its sum, its block map, and an entry for Raspberry
//! Pi Imager.
//!
//! Equal inputs give equal bytes: one thread compresses, by the library that is built in, and no file
//! says when it was made but the date that it is given.
//!
//! # References
//!
//! Raspberry Pi Imager, `doc/json-schema/os-list-schema.json`: what an entry must have; an icon is not
//! optional. The official list's device "Raspberry Pi 4" has the tag `pi4-64bit`.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use liblzma::write::XzEncoder;
use serde_json::json;

use crate::bmap::{Bmap, sha256};
use crate::card::{Card, Layout};
use crate::{read, write};

/// xz's best: the image is small.
const EFFORT: u32 = 9;

/// Names and words of a release.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version: a part of the files' names.
    pub version: String,
    /// The day of the sources, as 2026-11-22.
    pub date: String,
    /// Where the files will be found: Imager wants whole addresses.
    pub url: String,
}

impl Release {
    /// Name of the image before it is compressed.
    pub fn image_name(&self) -> String {
        format!("orthogon-{}-rpi4.img", self.version)
    }

    /// Makes the files in the folder, and says where the image is.
    ///
    /// # Errors
    /// A file cannot be written, or the card is too small for its files.
    pub fn make(&self, card: &Card, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let name = self.image_name();
        let raw = folder.join(&name);
        let layout = Layout::released();
        card.lay_out(&raw, &layout)?;
        let image = read(&raw, "it was just written")?;
        std::fs::remove_file(&raw)?;

        let map = Bmap::of(&image, &meaningful(&image, &layout)?);
        let mut packed = XzEncoder::new(Vec::new(), EFFORT);
        packed.write_all(&image)?;
        let packed = packed.finish()?;
        let sum = sha256(&packed);
        let icon = read(
            &crate::root().join("tools/card/icon.svg"),
            "it is committed",
        )?;
        let list = json!({ "os_list": [{
            "name": format!("Orthogon {}", self.version),
            "description": "SMP kernel with orthogonal interrupt priorities, for the Raspberry Pi 4",
            "icon": format!("{}/icon.svg", self.url),
            "url": format!("{}/{name}.xz", self.url),
            "extract_size": image.len(),
            "extract_sha256": sha256(&image),
            "image_download_size": packed.len(),
            "image_download_sha256": sum,
            "release_date": self.date,
            "devices": ["pi4-64bit"],
        }]});
        let path = folder.join(format!("{name}.xz"));
        write(&path, &packed)?;
        let sums = format!("{sum}  {name}.xz\n");
        write(&folder.join(format!("{name}.xz.sha256")), sums.as_bytes())?;
        write(
            &folder.join(format!("{name}.bmap")),
            map.to_xml().as_bytes(),
        )?;
        write(&folder.join("icon.svg"), &icon)?;
        let list = serde_json::to_string_pretty(&list)? + "\n";
        write(&folder.join("os_list.json"), list.as_bytes())?;
        println!(
            "release {}: {} KiB; on the card {} MiB, {} KiB of them written",
            path.display(),
            packed.len() >> 10,
            image.len() >> 20,
            map.mapped_bytes() >> 10
        );
        Ok(path)
    }
}

/// The bytes of the image that have a meaning, zero or not: the table and what lies before the first
/// partition (a card may have had a GUID partition table there); of the boot partition its tables and
/// the clusters in use; the crash area, lest an older dump be taken for one of this card's; the stub.
fn meaningful(image: &[u8], layout: &Layout) -> Result<Vec<Range<u64>>> {
    let start = layout.boot.start;
    let volume = &image[start as usize..layout.boot.end as usize];
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([volume[at], volume[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let (sector, per_cluster) = (u16_at(11), u64::from(volume[13]));
    let (reserved, fats, fat) = (u16_at(14), u64::from(volume[16]), u32_at(36));
    let clusters_at = (reserved + fats * fat) * sector;
    let (cluster, fat_at) = (per_cluster * sector, reserved * sector);
    ensure!(
        cluster > 0 && fat > 0 && clusters_at < volume.len() as u64,
        "the boot partition has no FAT32 file system"
    );
    let mut ranges = vec![
        0..start + clusters_at,
        layout.crash.clone(),
        layout.data.clone(),
    ];
    let clusters = (volume.len() as u64 - clusters_at) / cluster;
    for number in 0..clusters {
        let entry = u32_at((fat_at + 4 * (number + 2)) as usize) & 0x0fff_ffff;
        if entry != 0 {
            let at = start + clusters_at + number * cluster;
            ranges.push(at..at + cluster);
        }
    }
    Ok(ranges)
}
