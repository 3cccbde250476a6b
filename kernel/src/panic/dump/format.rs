// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a crash dump is on the card: `docs/crashdump.5.md`, which is the interface; this is its one implementation.
//!
//! The partition begins with a label, which who made the card has written and nobody writes again: it says whose the
//! sectors are. Then come the header, the mark of a dump that was told at a boot, and the text.
use crate::bio::SECTOR_BYTES;
use crate::bio::gpt::crc32;
use core::fmt;

/// A sector.
pub type Sector = [u8; SECTOR_BYTES];

/// The label sector's first bytes; the rest is zero.
pub const LABEL: &[u8; 16] = b"Orthogon crash 1";
/// The header's place, in sectors from the partition's first.
pub const HEADER_SECTOR: u32 = 1;
/// The mark's place.
pub const TOLD_SECTOR: u32 = 2;
/// Where the text begins.
pub const TEXT_SECTOR: u32 = 3;

const MAGIC: &[u8; 8] = b"ORTHDUMP";
const TOLD: &[u8; 8] = b"ORTHTOLD";
const VERSION: u32 = 1;
const SUM_AT: usize = SECTOR_BYTES - 4;

/// Which build of the kernel: the linker's hash of it (`--build-id=sha1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildId(pub [u8; 20]);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What stands before the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of text.
    pub text_bytes: u32,
    /// The text's CRC-32.
    pub text_sum: u32,
    /// Counts the dumps on this card, from 1.
    pub sequence: u32,
    /// From the boot to the panic.
    pub uptime_ns: u64,
    /// When it was, since 1970; 0: nobody knew.
    pub utc_ns: u64,
    /// Who panicked.
    pub build: BuildId,
}

/// Why there is no dump to be shown: the medium is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// None was ever written, or it was cleared.
    None,
    /// The header is damaged.
    Header,
    /// It was written by a later version.
    Version(u32),
    /// The header tells more text than the partition holds.
    Length(u32),
    /// The text is not the header's: the writing of another dump broke off.
    Text,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no crash dump on the card"),
            Self::Header => f.write_str("the crash dump's header is damaged"),
            Self::Version(version) => {
                write!(f, "the crash dump has version {version}, not {VERSION}")
            }
            Self::Length(bytes) => {
                write!(f, "the crash dump tells {bytes} bytes, more than there are")
            }
            Self::Text => f.write_str("the crash dump is damaged: its writing broke off"),
        }
    }
}

impl core::error::Error for Error {}

fn put(sector: &mut Sector, at: usize, bytes: &[u8]) {
    sector[at..at + bytes.len()].copy_from_slice(bytes);
}

fn word(sector: &Sector, at: usize) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|n| sector[at + n]))
}

fn long(sector: &Sector, at: usize) -> u64 {
    u64::from(word(sector, at)) | u64::from(word(sector, at + 4)) << 32
}

fn seal(mut sector: Sector) -> Sector {
    let sum = crc32(&sector[..SUM_AT]);
    put(&mut sector, SUM_AT, &sum.to_le_bytes());
    sector
}

fn is_sealed(sector: &Sector) -> bool {
    word(sector, SUM_AT) == crc32(&sector[..SUM_AT])
}

/// Is this the first sector of a partition for crash dumps?
pub fn is_label(sector: &Sector) -> bool {
    let (label, rest) = sector.split_at(LABEL.len());
    label == LABEL && rest.iter().all(|byte| *byte == 0)
}

impl Header {
    /// As it stands on the card.
    pub fn encode(&self) -> Sector {
        let mut sector = [0; SECTOR_BYTES];
        put(&mut sector, 0, MAGIC);
        put(&mut sector, 8, &VERSION.to_le_bytes());
        put(&mut sector, 12, &self.text_bytes.to_le_bytes());
        put(&mut sector, 16, &self.text_sum.to_le_bytes());
        put(&mut sector, 20, &self.sequence.to_le_bytes());
        put(&mut sector, 24, &self.uptime_ns.to_le_bytes());
        put(&mut sector, 32, &self.utc_ns.to_le_bytes());
        put(&mut sector, 40, &self.build.0);
        seal(sector)
    }

    /// The header of a partition of so many sectors.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn decode(sector: &Sector, partition_sectors: u32) -> Result<Self, Error> {
        if sector[..8] != *MAGIC {
            return Err(Error::None);
        }
        if !is_sealed(sector) {
            return Err(Error::Header);
        }
        match word(sector, 8) {
            VERSION => {}
            version => return Err(Error::Version(version)),
        }
        let mut build = BuildId([0; 20]);
        build.0.copy_from_slice(&sector[40..60]);
        let header = Self {
            text_bytes: word(sector, 12),
            text_sum: word(sector, 16),
            sequence: word(sector, 20),
            uptime_ns: long(sector, 24),
            utc_ns: long(sector, 32),
            build,
        };
        let room = u64::from(partition_sectors.saturating_sub(TEXT_SECTOR)) * SECTOR_BYTES as u64;
        match u64::from(header.text_bytes) <= room {
            true => Ok(header),
            false => Err(Error::Length(header.text_bytes)),
        }
    }

    /// How many sectors the text takes.
    pub const fn text_sectors(&self) -> u32 {
        self.text_bytes.div_ceil(SECTOR_BYTES as u32)
    }

    /// The text out of its sectors.
    ///
    /// # Errors
    /// It is not what was written.
    pub fn check<'a>(&self, sectors: &'a [u8]) -> Result<&'a str, Error> {
        let bytes = sectors.get(..self.text_bytes as usize);
        let bytes = bytes.filter(|bytes| crc32(bytes) == self.text_sum);
        core::str::from_utf8(bytes.ok_or(Error::Text)?).map_err(|_| Error::Text)
    }

    /// The sector that says that a boot has told of this dump.
    pub fn told(&self) -> Sector {
        let mut sector = [0; SECTOR_BYTES];
        put(&mut sector, 0, TOLD);
        put(&mut sector, 8, &self.sequence.to_le_bytes());
        put(&mut sector, 12, &self.text_sum.to_le_bytes());
        seal(sector)
    }
}

/// Finds the dump in a partition's bytes, from its label on: its header and its text.
///
/// # Errors
/// There is none, or it is damaged.
pub fn read(partition: &[u8]) -> Result<(Header, &str), Error> {
    let (sectors, _) = partition.as_chunks::<SECTOR_BYTES>();
    let header = sectors.get(HEADER_SECTOR as usize).ok_or(Error::None)?;
    let header = Header::decode(header, u32::try_from(sectors.len()).unwrap_or(u32::MAX))?;
    let text = header.check(&partition[TEXT_SECTOR as usize * SECTOR_BYTES..])?;
    Ok((header, text))
}

/// The text's parts, each begun by a line `== NAME ==`: name and lines.
pub fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (line, after) = rest.split_once('\n')?;
        let name = line.strip_prefix("== ")?.strip_suffix(" ==")?;
        let end = after.find("\n== ").map_or(after.len(), |at| at + 1);
        let (body, next) = after.split_at(end);
        rest = next;
        Some((name, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const TEXT: &str = "== report ==\n*** PANIC: x\n    at y\n== log ==\none\n";

    fn header(text: &str) -> Header {
        Header {
            text_bytes: text.len() as u32,
            text_sum: crc32(text.as_bytes()),
            sequence: 7,
            uptime_ns: 0x1_2345_6789,
            utc_ns: 0,
            build: BuildId([0xab; 20]),
        }
    }

    fn partition(header: Header, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; 8 * SECTOR_BYTES];
        bytes[..LABEL.len()].copy_from_slice(LABEL);
        bytes[SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(&header.encode());
        bytes[3 * SECTOR_BYTES..][..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let header = header(TEXT);
        let bytes = partition(header, TEXT);
        assert_eq!(read(&bytes), Ok((header, TEXT)));
        assert!(is_label(bytes.first_chunk().unwrap()));
        assert_eq!(header.text_sectors(), 1);
        let found: Vec<_> = sections(TEXT).collect();
        let report = "*** PANIC: x\n    at y\n";
        assert_eq!(found, [("report", report), ("log", "one\n")]);
        assert_eq!(sections("no section\n").count(), 0);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (header, text) = (header(TEXT), TEXT.len());
        let bytes = partition(header, TEXT);
        for at in 0..bytes.len() {
            let matters = (SECTOR_BYTES..2 * SECTOR_BYTES).contains(&at)
                || (3 * SECTOR_BYTES..3 * SECTOR_BYTES + text).contains(&at);
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            assert_eq!(read(&bytes).is_err(), matters, "byte {at}");
            assert_eq!(is_label(bytes.first_chunk().unwrap()), at >= SECTOR_BYTES);
        }
    }

    #[test]
    fn what_is_no_dump_is_named() {
        assert_eq!(read(&[]), Err(Error::None));
        assert_eq!(read(&[0; 4096]), Err(Error::None));
        let long = Header {
            text_bytes: 5 * 512 + 1,
            ..header(TEXT)
        };
        assert_eq!(read(&partition(long, TEXT)), Err(Error::Length(2561)));
        let mut later = header(TEXT).encode();
        later[8] = 2;
        assert_eq!(Header::decode(&seal(later), 8), Err(Error::Version(2)));
        assert_eq!(Header::decode(&later, 8), Err(Error::Header));
    }

    #[test]
    fn the_mark_is_of_one_dump() {
        let (one, other) = (header(TEXT), header("other"));
        assert_eq!(one.told(), one.told());
        assert_ne!(one.told(), other.told());
        let later = Header { sequence: 8, ..one };
        assert_ne!(one.told(), later.told());
    }
}
