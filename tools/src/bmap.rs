// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which blocks of an image have to be written, with their SHA-256: bmap-tools' format.
//!
//! # Theory
//!
//! What is not mapped may hold anything on the card afterwards, so *zero* and *without meaning* are
//! not the same: a free entry of a FAT is a zero that must be written over what an earlier system
//! left there. Hence the map is not made from the holes of a sparse file; who lays out the image
//! says what has a meaning ([`crate::release`]).
//!
//! The file carries its own checksum, of itself with 64 digits `0` in the checksum's place.
//!
//! # References
//!
//! bmap-tools 3.6, `BmapCreate.py` (the comments of the file it makes) and `BmapCopy.py`; version
//! 2.0. `bmaptool copy` takes what this writes, and this takes what `bmaptool create` writes.

use std::fmt::Write;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// A run of blocks that are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its bytes in the image.
    pub bytes: Range<u64>,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

/// What of an image is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmap {
    /// The image's length.
    pub image_bytes: u64,
    /// In ascending order, none touching another.
    pub extents: Vec<Extent>,
}

/// A digest as its files have it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl Bmap {
    /// Maps the blocks that these ranges of bytes reach into.
    pub fn of(image: &[u8], meaningful: &[Range<u64>]) -> Self {
        let mut mapped = vec![false; image.len().div_ceil(BLOCK as usize)];
        for range in meaningful {
            let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
            mapped[blocks.start as usize..blocks.end as usize].fill(true);
        }
        let mut extents = Vec::new();
        let mut at = 0;
        for run in mapped.chunk_by(|a, b| a == b) {
            let end = at + run.len();
            if run[0] {
                let bytes = at * BLOCK as usize..(end * BLOCK as usize).min(image.len());
                extents.push(Extent {
                    sha256: sha256(&image[bytes.clone()]),
                    bytes: bytes.start as u64..bytes.end as u64,
                });
            }
            at = end;
        }
        Self {
            image_bytes: image.len() as u64,
            extents,
        }
    }

    /// How many bytes are written.
    pub fn mapped_bytes(&self) -> u64 {
        let lengths = self.extents.iter().map(|e| e.bytes.end - e.bytes.start);
        lengths.sum()
    }

    /// The file.
    pub fn to_xml(&self) -> String {
        let mut ranges = String::new();
        let mut mapped = 0;
        for Extent { bytes, sha256 } in &self.extents {
            let (first, last) = (bytes.start / BLOCK, (bytes.end - 1) / BLOCK);
            mapped += last - first + 1;
            let place = match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            };
            writeln!(
                ranges,
                "        <Range chksum=\"{sha256}\"> {place} </Range>"
            )
            .expect("a string grows");
        }
        let unsigned = format!(
            "<?xml version=\"1.0\" ?>\n\
             <bmap version=\"2.0\">\n    \
             <ImageSize> {} </ImageSize>\n    \
             <BlockSize> {BLOCK} </BlockSize>\n    \
             <BlocksCount> {} </BlocksCount>\n    \
             <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    \
             <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {NO_SUM} </BmapFileChecksum>\n    \
             <BlockMap>\n{ranges}    </BlockMap>\n</bmap>\n",
            self.image_bytes,
            self.image_bytes.div_ceil(BLOCK),
        );
        unsigned.replacen(NO_SUM, &sha256(unsigned.as_bytes()), 1)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(xml: &str) -> Result<Self> {
        let document = roxmltree::Document::parse(xml).context("it is no XML")?;
        let root = document.root_element();
        ensure!(root.has_tag_name("bmap"), "it is no block map");
        let version = root.attribute("version").unwrap_or("");
        ensure!(
            version.starts_with("2."),
            "its version is {version:?}, not 2.0"
        );
        let text = |name: &str| {
            let found = root.descendants().find(|node| node.has_tag_name(name));
            let text = found.and_then(|node| node.text()).map(str::trim);
            text.with_context(|| format!("it has no {name}"))
        };
        let number = |name: &str| {
            let text = text(name)?;
            text.parse::<u64>()
                .with_context(|| format!("its {name} is {text:?}"))
        };
        let sum = text("BmapFileChecksum")?;
        ensure!(sum.len() == NO_SUM.len(), "its own checksum is no SHA-256");
        ensure!(
            sha256(xml.replacen(sum, NO_SUM, 1).as_bytes()) == sum,
            "it does not have its own checksum: it was damaged"
        );
        ensure!(text("ChecksumType")? == "sha256", "its sums are no SHA-256");
        ensure!(number("BlockSize")? == BLOCK, "its blocks are not 4096 B");
        let image_bytes = number("ImageSize")?;
        let blocks = image_bytes.div_ceil(BLOCK);
        ensure!(number("BlocksCount")? == blocks, "its sizes disagree");
        let mut extents: Vec<Extent> = Vec::new();
        let mut mapped = 0;
        for range in root.descendants().filter(|n| n.has_tag_name("Range")) {
            let place = range.text().unwrap_or("").trim();
            let (first, last) = place.split_once('-').unwrap_or((place, place));
            let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse()) else {
                bail!("a range of it is {place:?}");
            };
            let Some(sha256) = range.attribute("chksum") else {
                bail!("its range {place} has no checksum");
            };
            let after: u64 = extents.last().map_or(0, |e| e.bytes.end.div_ceil(BLOCK));
            ensure!(
                after <= first && first <= last && last < blocks,
                "its range {place} is out of order or beyond the image"
            );
            mapped += last - first + 1;
            extents.push(Extent {
                bytes: first * BLOCK..((last + 1) * BLOCK).min(image_bytes),
                sha256: sha256.to_owned(),
            });
        }
        ensure!(
            number("MappedBlocksCount")? == mapped,
            "a range of it is missing"
        );
        Ok(Self {
            image_bytes,
            extents,
        })
    }
}

const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Vec<u8>, Bmap) {
        let image: Vec<u8> = (0..10 * BLOCK + 100).map(|i| (i / 100) as u8).collect();
        let map = Bmap::of(&image, &[0..1, 8192..12288, 12288..12289, 40960..41060]);
        (image, map)
    }

    #[test]
    fn it_reads_what_it_writes() {
        let (image, map) = example();
        let places: Vec<_> = map.extents.iter().map(|e| e.bytes.clone()).collect();
        assert_eq!(places, [0..4096, 8192..16384, 40960..41060]);
        for extent in &map.extents {
            let bytes = &image[extent.bytes.start as usize..extent.bytes.end as usize];
            assert_eq!(sha256(bytes), extent.sha256);
        }
        assert_eq!(Bmap::parse(&map.to_xml()).unwrap(), map);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let xml = example().1.to_xml();
        for at in 0..xml.len() {
            let mut bytes = xml.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(Bmap::parse(&changed).is_err(), "byte {at}: {changed}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let xml = example().1.to_xml();
        let signed = |from: &str, to: &str| {
            let changed = xml.replacen(from, to, 1);
            let start = changed.find("<BmapFileChecksum> ").unwrap() + 19;
            let blank = changed.replacen(&changed[start..start + 64], NO_SUM, 1);
            blank.replacen(NO_SUM, &sha256(blank.as_bytes()), 1)
        };
        for (from, to, why) in [
            ("version=\"2.0\"", "version=\"3.0\"", "version"),
            ("> 2-3 <", "> 0-3 <", "out of order"),
            ("> 10 <", "> 11 <", "beyond the image"),
            ("> 2-3 <", "> x-3 <", "a range of it"),
            ("<ImageSize> 4", "<ImageSize> 9", "disagree"),
            ("<MappedBlocksCount> 4", "<MappedBlocksCount> 5", "missing"),
            ("sha256 </Check", "sha1 </Check", "no SHA-256"),
            ("chksum=", "sum=", "no checksum"),
            ("ImageSize> 41060", "Size> 41060", "XML"),
        ] {
            assert!(xml.contains(from), "{from}");
            let error = Bmap::parse(&signed(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{from}: {error:#}");
        }
    }
}
