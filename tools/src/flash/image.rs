// SPDX-License-Identifier: MIT OR Apache-2.0
//! A released image, unpacked in memory, every sum of it checked.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use liblzma::read::XzDecoder;

use crate::bmap::{Bmap, Extent, sha256};
use crate::card::{Layout, is_ours};

/// More than any image that is released, unpacked or not: memory is taken for it.
const MOST_BYTES: u64 = 1 << 30;

/// What will be written.
#[derive(Debug)]
pub struct Image {
    /// The whole image.
    pub bytes: Vec<u8>,
    /// What of it is written, in ascending order.
    pub extents: Vec<Range<u64>>,
}

impl Image {
    /// Reads `NAME.img.xz`, `NAME.img.xz.sha256` and `NAME.img.bmap`, and checks each against the others.
    ///
    /// # Errors
    /// A file that is missing, damaged, or does not belong to the others.
    pub fn load(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(plain) = name.strip_suffix(".xz").filter(|n| n.ends_with(".img")) else {
            bail!("{} is no .img.xz; `make release` makes one", path.display());
        };
        let packed = small(path)?;
        let sums = small(&path.with_file_name(format!("{name}.sha256")))?;
        check_sum(&name, &packed, &String::from_utf8_lossy(&sums))?;
        let map_path = path.with_file_name(format!("{plain}.bmap"));
        let map = String::from_utf8(small(&map_path)?).context("the block map is no text");
        let map = map
            .and_then(|xml| Bmap::parse(&xml))
            .with_context(|| format!("{} is damaged", map_path.display()))?;
        ensure!(
            map.image_bytes <= MOST_BYTES,
            "an image of {} bytes is none that `make release` makes",
            map.image_bytes
        );
        let mut bytes = Vec::new();
        XzDecoder::new(&packed[..])
            .take(map.image_bytes + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{} cannot be unpacked", path.display()))?;
        ensure!(
            bytes.len() as u64 == map.image_bytes,
            "{} is not of this image: it is for one of {} bytes",
            map_path.display(),
            map.image_bytes
        );
        for Extent {
            bytes: range,
            sha256: sum,
        } in &map.extents
        {
            ensure!(
                sha256(&bytes[range.start as usize..range.end as usize]) == *sum,
                "{} is not of this image: bytes {} to {} have another sum",
                map_path.display(),
                range.start,
                range.end
            );
        }
        let extents = map.extents.into_iter().map(|e| e.bytes);
        let image = Self {
            extents: extents.collect(),
            bytes,
        };
        image
            .check_content()
            .with_context(|| format!("{} is no card of Orthogon", path.display()))?;
        Ok(image)
    }

    /// How many bytes are written.
    pub fn mapped_bytes(&self) -> u64 {
        self.extents
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// A map could leave out what matters: the table must be ours, and written.
    fn check_content(&self) -> Result<()> {
        let first = self.extents.first().context("its map is empty")?;
        ensure!(first.start == 0, "its map leaves out the partition table");
        let sector = self.bytes.first_chunk::<512>();
        let sector = sector.context("it is shorter than a partition table")?;
        ensure!(is_ours(sector), "its partition table is another's");
        let layout = Layout::released();
        ensure!(
            self.bytes.len() as u64 == layout.data.end,
            "it is {} bytes long, and released ones have {}",
            self.bytes.len(),
            layout.data.end
        );
        Ok(())
    }
}

/// The sum file is `sha256sum`'s: digest, two spaces, name.
fn check_sum(name: &str, packed: &[u8], sums: &str) -> Result<()> {
    let line = sums.lines().find_map(|line| {
        let (sum, of) = line.split_once("  ")?;
        (of == name).then_some(sum)
    });
    let Some(sum) = line else {
        bail!("{name}.sha256 has no sum of {name}");
    };
    ensure!(
        sha256(packed) == sum,
        "{name} does not have the SHA-256 that {name}.sha256 says: it was damaged, or cut off"
    );
    Ok(())
}

fn small(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let path: PathBuf = path.into();
    let bytes = read()
        .with_context(|| format!("cannot read {}; `make release` makes it", path.display()))?;
    ensure!(
        bytes.len() as u64 <= MOST_BYTES,
        "{} is too long",
        path.display()
    );
    Ok(bytes)
}
