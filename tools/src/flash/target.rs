// SPDX-License-Identifier: MIT OR Apache-2.0
//! What may be written to: a whole disk that nobody uses and that can be taken out.
//!
//! # Theory
//!
//! Everything is asked of the kernel, by device number: names lie (links, `/dev/disk/by-id`). Who uses
//! a disk is found from above: each mounted file system and each swap area is followed down, from a
//! partition to its disk, from a mapped or RAID device to those it is made of, until whole disks are
//! reached; one of these is refused, with the use that led there. What is set up and not mounted is
//! found from below, as holders of the disk or of its partitions. The last word is the kernel's:
//! opening a block device with O_EXCL fails if anybody has claimed it or a part of it.
//!
//! *Removable* is what the device says, and a slot with an SD card: Linux does not call that one
//! removable. `--force` is for a disk that does not say it, a loop device or some USB reader, and
//! overrides nothing else.
//!
//! # References
//!
//! Linux, Documentation/ABI/stable/sysfs-block, Documentation/filesystems/proc.rst (mountinfo);
//! open(2) on O_EXCL.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{OFlags, major, minor};

/// Bytes of sysfs' sectors, whatever the device's are.
const SYSFS_SECTOR: u64 = 512;

/// Where the kernel shows its devices and who uses them.
#[derive(Clone, Debug)]
pub struct Host {
    /// sysfs.
    pub sys: PathBuf,
    /// procfs.
    pub proc: PathBuf,
}

/// A disk that may be written to, if it is large enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name: `sdb`.
    pub name: String,
    /// Maker and model, or what stands for it.
    pub model: String,
    /// Its length.
    pub bytes: u64,
    /// It says that it is removable, or is an SD card.
    pub removable: bool,
}

/// What is written to.
#[derive(Debug)]
pub struct Target {
    /// As it was given.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Opened for writing; of a device, nobody else's.
    pub open: File,
    disk: Option<Disk>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.disk {
            Some(disk) => {
                let removable = if disk.removable { "" } else { " NOT" };
                write!(
                    f,
                    "{}, {},{removable} removable",
                    disk.model,
                    size(disk.bytes)
                )
            }
            None => write!(f, "a file, {}", size(self.bytes)),
        }
    }
}

/// As on the card's label, and as other programs say it.
fn size(bytes: u64) -> String {
    let gb = bytes as f64 / 1e9;
    format!("{gb:.1} GB ({} MiB)", bytes >> 20)
}

impl Target {
    /// A file.
    ///
    /// # Errors
    /// It is not there, is none, or cannot be opened.
    pub fn file(path: &Path) -> Result<Self> {
        let shown = path.display();
        let found = fs::metadata(path).with_context(|| format!("there is no {shown}"))?;
        ensure!(found.is_file(), "{shown} is no file: leave out --file");
        let open = File::options().write(true).open(path);
        Ok(Self {
            path: path.into(),
            bytes: found.len(),
            open: open.with_context(|| format!("cannot open {shown}"))?,
            disk: None,
        })
    }

    /// A disk. It is opened, and not written to.
    ///
    /// # Errors
    /// Why not this one.
    pub fn device(host: &Host, path: &Path, force: bool) -> Result<Self> {
        let shown = path.display();
        let found = fs::metadata(path).with_context(|| format!("there is no {shown}"))?;
        let kind = found.file_type();
        if kind.is_file() {
            bail!("{shown} is a file, not a device: a card in QEMU? then say --file");
        }
        ensure!(kind.is_block_device(), "{shown} is no disk");
        let number = (major(found.rdev()), minor(found.rdev()));
        let disk = host
            .judge(number, force)
            .with_context(|| format!("{shown} is refused"))?;
        let open = File::options()
            .write(true)
            .custom_flags(OFlags::EXCL.bits() as i32)
            .open(path);
        let open = match open {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                bail!("{shown} is refused: somebody has it in use")
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let line: Vec<String> = std::env::args().collect();
                bail!("{shown}: not permitted; as root: sudo {}", line.join(" "))
            }
            other => other.with_context(|| format!("cannot open {shown}"))?,
        };
        Ok(Self {
            path: path.into(),
            bytes: disk.bytes,
            open,
            disk: Some(disk),
        })
    }
}

impl Host {
    /// This machine.
    pub fn real() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
        }
    }

    /// May the block device of this number be written to?
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, (major, minor): (u32, u32), force: bool) -> Result<Disk> {
        let place = self.sys.join(format!("dev/block/{major}:{minor}"));
        let place = fs::canonicalize(&place)
            .with_context(|| format!("the kernel knows no device {major}:{minor}"))?;
        let name = base(&place);
        if let Some(number) = attribute(&place, "partition") {
            let disk = place.parent().map(base).unwrap_or_default();
            bail!("it is partition {number} of {disk}: give the disk, /dev/{disk}");
        }
        if let Some(usage) = self.usage(&place)? {
            bail!("{usage}");
        }
        if let Some(holder) = holder(&place)? {
            bail!("it is a part of {holder}");
        }
        if let Some(part) = list(&place.join("slaves"))?.first() {
            bail!("it is no disk, but made of others: {}", base(part));
        }
        let scsi_type = attribute(&place, "device/type");
        let is_sd = scsi_type.as_deref() == Some("SD");
        if let Some(number) = scsi_type.and_then(|kind| kind.parse::<u32>().ok()) {
            ensure!(number == 0, "it is no disk (SCSI type {number})");
        }
        ensure!(
            attribute(&place, "ro").as_deref() != Some("1"),
            "it is write-protected; cards have a slider at the side"
        );
        let sectors = attribute(&place, "size").and_then(|size| size.parse::<u64>().ok());
        let sectors = sectors.context("the kernel does not say how long it is")?;
        ensure!(sectors > 0, "there is no card in it");
        let removable = is_sd || attribute(&place, "removable").as_deref() == Some("1");
        ensure!(
            removable || force,
            "it is not removable ({}, {}); if it is the card nevertheless, say --force",
            model(&place),
            size(sectors * SYSFS_SECTOR)
        );
        Ok(Disk {
            name,
            model: model(&place),
            bytes: sectors * SYSFS_SECTOR,
            removable,
        })
    }

    /// What the disk is used for, if anything.
    fn usage(&self, disk: &Path) -> Result<Option<String>> {
        let mounts = fs::read_to_string(self.proc.join("self/mountinfo"))
            .context("cannot read what is mounted")?;
        let mut system = None;
        let mut mounted = None;
        for line in mounts.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let source = words.iter().position(|word| *word == "-").map(|at| at + 2);
            let source = source.and_then(|at| words.get(at));
            let (Some(number), Some(point), Some(source)) = (words.get(2), words.get(4), source)
            else {
                continue;
            };
            // A file system on several devices has a number of its own.
            let by_number = self.sys.join("dev/block").join(number);
            let places = [Some(by_number), self.by_name(source)];
            for place in places.into_iter().flatten() {
                if !disks_below(&place)?.iter().any(|below| below == disk) {
                    continue;
                }
                let point = unescape(point);
                let used = format!("{point} is mounted from {}", base(&real(&place)));
                let is_system = ["/", "/boot", "/usr", "/var", "/home"].contains(&point.as_str())
                    || point.starts_with("/boot/");
                let place = if is_system { &mut system } else { &mut mounted };
                place.get_or_insert(used);
            }
        }
        if let Some(used) = system {
            return Ok(Some(format!("it has the running system: {used}")));
        }
        if let Some(used) = mounted {
            return Ok(Some(format!("it is in use: {used}; unmount it first")));
        }
        let swaps = fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        for line in swaps.lines().skip(1) {
            let area = unescape(line.split_whitespace().next().unwrap_or_default());
            let Some(place) = self.by_name(&area) else {
                continue;
            };
            if disks_below(&place)?.iter().any(|below| below == disk) {
                return Ok(Some(format!("it is in use: {area} is swap space")));
            }
        }
        Ok(None)
    }

    /// sysfs' folder of `/dev/NAME`, also of a link to it.
    fn by_name(&self, path: &str) -> Option<PathBuf> {
        path.starts_with("/dev/").then(|| {
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
            self.sys.join("class/block").join(base(&path))
        })
    }
}

/// The whole disks that a block device is on; none if it is no block device.
fn disks_below(place: &Path) -> Result<Vec<PathBuf>> {
    let Ok(place) = fs::canonicalize(place) else {
        return Ok(Vec::new());
    };
    if attribute(&place, "partition").is_some() {
        return disks_below(place.parent().context("a partition of nothing")?);
    }
    let mut disks = vec![];
    for part in list(&place.join("slaves"))? {
        disks.extend(disks_below(&part)?);
    }
    disks.push(place);
    Ok(disks)
}

/// Who has claimed the disk or one of its partitions.
fn holder(disk: &Path) -> Result<Option<String>> {
    let mut places = vec![disk.to_path_buf()];
    let inside = list(disk)?.into_iter();
    places.extend(inside.filter(|inside| attribute(inside, "partition").is_some()));
    for place in places {
        if let Some(holder) = list(&place.join("holders"))?.first() {
            let mapped = attribute(holder, "dm/name").map(|name| format!(" ({name})"));
            return Ok(Some(base(holder) + &mapped.unwrap_or_default()));
        }
    }
    Ok(None)
}

fn model(disk: &Path) -> String {
    if let Some(file) = attribute(disk, "loop/backing_file") {
        return format!("loop device on {file}");
    }
    let words = ["device/vendor", "device/model", "device/name"];
    let words: Vec<String> = words.iter().filter_map(|w| attribute(disk, w)).collect();
    match words.is_empty() {
        true => "no model named".to_owned(),
        false => words.join(" "),
    }
}

/// A folder's entries in order; none if there is no such folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let entries = entries.map(|entry| Ok(entry?.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<std::io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

fn attribute(place: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(place.join(name)).ok()?;
    Some(text.trim().to_owned())
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

fn base(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into()
}

/// procfs writes spaces, tabs, line ends and backslashes in octal.
fn unescape(text: &str) -> String {
    let codes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let replaced = |text: String, (code, char): &(&str, &str)| text.replace(code, char);
    codes.iter().fold(text.to_owned(), replaced)
}

#[cfg(test)]
mod tests;
