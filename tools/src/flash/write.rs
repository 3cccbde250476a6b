// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing the image's extents, and reading them back.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, OFlags, fadvise};

use super::image::Image;
use crate::bmap::BLOCK;

/// Bytes from one flush to the next: what the bar shows is on the card.
const CHUNK: usize = 4 << 20;
/// O_DIRECT wants memory, offsets and lengths that are multiples of this.
const ALIGN: usize = BLOCK as usize;

/// Writes them, the partition table last; `done` hears how many bytes more are on the medium.
///
/// # Errors
/// The medium's.
pub fn write(target: &File, image: &Image, done: &dyn Fn(u64)) -> Result<()> {
    let table = image.bytes.len().min(ALIGN);
    target.write_all_at(&vec![0; table], 0)?;
    target.sync_data().context("flush")?;
    for range in &image.extents {
        let start = (range.start as usize).max(table);
        for at in (start..range.end as usize).step_by(CHUNK) {
            let end = (at + CHUNK).min(range.end as usize);
            target
                .write_all_at(&image.bytes[at..end], at as u64)
                .with_context(|| format!("{} bytes at {at}", end - at))?;
            target.sync_data().context("flush")?;
            done((end - at) as u64);
        }
    }
    target.write_all_at(&image.bytes[..table], 0)?;
    target.sync_all().context("flush")?;
    done(table as u64);
    Ok(())
}

/// Reads them back from the medium, and says how.
///
/// # Errors
/// A place that cannot be read, or holds something else.
pub fn verify(path: &Path, image: &Image, done: &dyn Fn(u64)) -> Result<&'static str> {
    let direct = File::options()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path);
    let (file, how) = match direct {
        Ok(file) => (file, "from the device itself (O_DIRECT)"),
        Err(_) => {
            let file = File::open(path)?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
            (file, "after the host's cache of it was dropped")
        }
    };
    let mut memory = vec![0; CHUNK + ALIGN];
    let skip = memory.as_ptr().align_offset(ALIGN);
    for range in &image.extents {
        for at in (range.start as usize..range.end as usize).step_by(CHUNK) {
            let end = (at + CHUNK).min(range.end as usize);
            let bytes = &mut memory[skip..skip + (end - at)];
            file.read_exact_at(bytes, at as u64)
                .with_context(|| format!("cannot read {} bytes back from {at}", end - at))?;
            let expected = &image.bytes[at..end];
            if bytes != expected {
                let wrong = bytes.iter().zip(expected).position(|(a, b)| a != b);
                let wrong = wrong.expect("two that differ, of one length");
                bail!(
                    "byte {} of {} is not what was written: do not trust this card",
                    at + wrong,
                    path.display()
                );
            }
            done((end - at) as u64);
        }
    }
    Ok(how)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let bytes: Vec<u8> = (0..12 * ALIGN).map(|i| (i / 5) as u8 | 1).collect();
        let block = |range: std::ops::Range<u64>| range.start * BLOCK..range.end * BLOCK;
        Image {
            bytes,
            extents: vec![block(0..2), block(5..12)],
        }
    }

    #[test]
    fn what_is_mapped_is_written_and_nothing_else() {
        let image = image();
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = vec![0xee; image.bytes.len() + 77];
        std::fs::write(&file, &before).unwrap();
        let told = std::cell::Cell::new(0);
        write(file.as_file(), &image, &|bytes| {
            told.set(told.get() + bytes)
        })
        .unwrap();
        assert_eq!(told.get(), image.mapped_bytes());
        let after = std::fs::read(&file).unwrap();
        let mut expected = before;
        for range in &image.extents {
            let range = range.start as usize..range.end as usize;
            expected[range.clone()].copy_from_slice(&image.bytes[range]);
        }
        assert!(after == expected);
        verify(file.path(), &image, &|_| {}).unwrap();
    }

    #[test]
    fn one_wrong_byte_is_found() {
        let image = image();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, vec![0; image.bytes.len()]).unwrap();
        write(file.as_file(), &image, &|_| {}).unwrap();
        let at = 7 * ALIGN + 123;
        file.as_file().write_all_at(&[0], at as u64).unwrap();
        let error = verify(file.path(), &image, &|_| {}).unwrap_err();
        assert!(
            error.to_string().contains(&format!("byte {at} ")),
            "{error}"
        );
    }
}
