// SPDX-License-Identifier: MIT OR Apache-2.0
//! A card's image, seen from the host: its partitions, and what `fsck.fat` says of the first.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tools::card::write_sparse;

/// The bytes of a partition, counted from 1.
pub fn partition(image: &Path, number: usize) -> Result<Range<u64>> {
    let mut file = File::open(image).with_context(|| image.display().to_string())?;
    let table = mbrman::MBR::read_from(&mut file, 512)?;
    let entry = table.get(number).context("no such partition")?;
    let start = u64::from(entry.starting_lba) * 512;
    Ok(start..start + u64::from(entry.sectors) * 512)
}

/// Bytes of an image.
pub fn read(image: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
    File::open(image)?.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

/// The first partition's file system, in a file of its own.
pub struct Volume(tempfile::NamedTempFile);

impl Volume {
    /// A copy of what the image holds.
    pub fn of(image: &Path) -> Result<Self> {
        let volume = tempfile::NamedTempFile::new()?;
        let bytes = read(image, partition(image, 1)?)?;
        volume.as_file().set_len(bytes.len() as u64)?;
        write_sparse(&mut volume.reopen()?, 0, &bytes)?;
        Ok(Self(volume))
    }

    fn fsck(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let path = std::env::var("PATH").unwrap_or_default() + ":/sbin:/usr/sbin";
        let output = Command::new("fsck.fat")
            .env("PATH", path)
            .args(arguments)
            .arg(self.0.path())
            .output()
            .context("cannot start fsck.fat; `make setup` installs it")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        ensure!(
            matches!(code, Some(0 | 1)),
            "fsck.fat ended with {code:?}: {said}"
        );
        Ok((code == Some(0), said))
    }

    /// Whether it is clean, and what `fsck.fat` says; nothing is changed.
    pub fn check(&self) -> Result<(bool, String)> {
        self.fsck(&["-n"])
    }

    /// Has `fsck.fat` mend it, in as many goes as it needs.
    pub fn mend(&self) -> Result<()> {
        const GOES: usize = 4;
        for _ in 0..GOES {
            self.fsck(&["-a", "-w"])?;
            if self.check()?.0 {
                return Ok(());
            }
        }
        let (_, said) = self.check()?;
        anyhow::bail!("fsck.fat does not mend it in {GOES} goes: {said}")
    }

    /// A file's bytes; none if there is no such file.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let output = Command::new("mtype")
            .arg("-i")
            .arg(self.0.path())
            .arg(format!("::{path}"))
            .output()
            .context("cannot start mtype; `make setup` installs mtools")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        ensure!(said.contains("not found"), "mtype {path}: {said}");
        Ok(None)
    }
}

/// Checks the file system of the first partition and changes nothing: whether it is clean, and what `fsck.fat` said.
pub fn fsck(image: &Path) -> Result<(bool, String)> {
    Volume::of(image)?.check()
}
