// SPDX-License-Identifier: MIT OR Apache-2.0
//! A FAT volume's boot sector, checked field by field before anything trusts it.
//!
//! # Theory
//!
//! The crate that reads the volume checks most of this, too, but says less about it and does not know the
//! device's size. After [`Geometry::read`] every cluster from 2 to [`Geometry::last_cluster`] lies on the
//! device and has its entry inside the FAT.
//!
//! # References
//!
//! Microsoft, FAT32 File System Specification 1.03, "Boot Sector and BPB" and "FAT Type Determination".

use core::fmt;
use core::ops::Range;

/// Bytes of the boot sector that are looked at.
pub(super) const BOOT_BYTES: usize = 512;

/// Width of a FAT entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 28 of 32 bits.
    Fat32,
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        })
    }
}

/// Where things are on a volume. Offsets are in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Which FAT it is.
    pub width: Width,
    /// A cluster's size in bytes.
    pub cluster_bytes: u32,
    /// How many data clusters there are.
    pub clusters: u32,
    /// Where the root directory begins; none on FAT12 and FAT16, where it is no chain.
    pub root_cluster: Option<u32>,
    /// Where the sector with the count of free clusters is (FAT32 only).
    pub(super) info_at: Option<u64>,
    /// Where the first FAT is, the size of each, and how many there are.
    pub(super) fat_at: u64,
    pub(super) fat_bytes: u64,
    pub(super) fats: u64,
    /// Where the byte is whose lowest bit says that the volume was not unmounted (if the boot sector has it).
    pub(super) state_at: Option<u64>,
    /// Where cluster 2 is.
    data_at: u64,
}

impl Geometry {
    /// The highest cluster number; the lowest is 2.
    pub fn last_cluster(&self) -> u32 {
        self.clusters + 1
    }

    /// Where `cluster` is. It must be from 2 to [`Self::last_cluster`].
    pub(super) fn offset(&self, cluster: u32) -> u64 {
        self.data_at + u64::from(cluster - 2) * u64::from(self.cluster_bytes)
    }

    /// The cluster that byte `offset` is in; none before the first.
    pub(super) fn cluster_at(&self, offset: u64) -> Option<u32> {
        let inside = offset.checked_sub(self.data_at)?;
        Some((inside / u64::from(self.cluster_bytes)) as u32 + 2)
    }

    /// Where the root directory of a FAT12 or FAT16 volume is.
    pub(super) fn fixed_root(&self) -> Range<u64> {
        self.fat_at + self.fats * self.fat_bytes..self.data_at
    }

    /// Reads and checks a boot sector. `device_bytes` is the size of what the volume lies on.
    ///
    /// # Errors
    /// [`BootError`] names the first field that cannot be right.
    pub fn read(boot: &[u8; BOOT_BYTES], device_bytes: u64) -> Result<Self, BootError> {
        let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| word(at) | word(at + 2) << 16;
        let byte = |at: usize| u64::from(boot[at]);

        match &boot[3..11] {
            b"EXFAT   " => return Err(BootError::Foreign("exFAT")),
            b"NTFS    " => return Err(BootError::Foreign("NTFS")),
            _ => {}
        }
        if boot[510..] != [0x55, 0xaa] {
            return Err(BootError::NoSignature([boot[510], boot[511]]));
        }
        let sector = word(11);
        check(
            "bytes per sector",
            sector,
            Want::OneOf("512, 1024, 2048 or 4096"),
            |v| v.is_power_of_two() && (512..=4096).contains(&v),
        )?;
        let per_cluster = byte(13);
        check(
            "sectors per cluster",
            per_cluster,
            Want::OneOf("1, 2, 4, 8, 16, 32, 64 or 128"),
            |v| v.is_power_of_two() && v <= 128,
        )?;
        let cluster_bytes = sector * per_cluster;
        check(
            "bytes per cluster",
            cluster_bytes,
            Want::AtMost(32 << 10),
            |v| v <= 32 << 10,
        )?;
        let reserved = word(14);
        check("reserved sectors", reserved, Want::AtLeast(1), |v| v >= 1)?;
        let fats = byte(16);
        check("number of FATs", fats, Want::OneOf("1 or 2"), |v| {
            (1..=2).contains(&v)
        })?;

        let (root_entries, fat_short) = (word(17), word(22));
        let wide = root_entries == 0 && fat_short == 0;
        let fat = if wide { long(36) } else { fat_short };
        check("sectors per FAT", fat, Want::AtLeast(1), |v| v >= 1)?;
        check(
            "root directory entries",
            root_entries,
            Want::AtLeast(1),
            |v| wide || v >= 1,
        )?;
        let total = if word(19) != 0 { word(19) } else { long(32) };
        let root_sectors = (root_entries * 32).div_ceil(sector);
        let before_data = reserved + fats * fat + root_sectors;
        let least = before_data + per_cluster;
        check("total sectors", total, Want::AtLeast(least), |v| v >= least)?;
        let most = device_bytes / sector;
        check("total sectors", total, Want::AtMost(most), |v| v <= most)?;

        let clusters = (total - before_data) / per_cluster;
        let (width, bits, most) = match clusters {
            _ if wide => (Width::Fat32, 32, 0x0fff_fff5),
            ..4085 => (Width::Fat12, 12, 4084),
            _ => (Width::Fat16, 16, 65524),
        };
        check("number of clusters", clusters, Want::AtMost(most), |v| {
            v <= most
        })?;
        let needed = ((clusters + 2) * bits).div_ceil(8 * sector);
        check("sectors per FAT", fat, Want::AtLeast(needed), |v| {
            v >= needed
        })?;

        let mut geometry = Self {
            width,
            cluster_bytes: cluster_bytes as u32,
            clusters: clusters as u32,
            root_cluster: None,
            info_at: None,
            fat_at: reserved * sector,
            fat_bytes: fat * sector,
            fats,
            state_at: None,
            data_at: before_data * sector,
        };
        // The extended signature vouches for the state byte before it.
        let state: u64 = if wide { 65 } else { 37 };
        if matches!(boot[state as usize + 1], 0x28 | 0x29) {
            geometry.state_at = Some(state);
        }
        if wide {
            // Bit 7: the FATs are not copies of each other, and bits 0 to 3 tell which one counts.
            let active = if word(40) & 0x80 != 0 {
                word(40) & 0xf
            } else {
                0
            };
            check("active FAT", active, Want::OneOf("0"), |v| v == 0)?;
            check("file system version", word(42), Want::OneOf("0"), |v| {
                v == 0
            })?;
            let (root, last) = (long(44), clusters + 1);
            check(
                "root directory cluster",
                root,
                Want::Between(2, last),
                |v| (2..=last).contains(&v),
            )?;
            let info = word(48);
            let below = Want::Between(1, reserved - 1);
            check("information sector", info, below, |v| {
                (1..reserved).contains(&v)
            })?;
            geometry.root_cluster = Some(root as u32);
            geometry.info_at = Some(info * sector);
        }
        Ok(geometry)
    }
}

fn check(
    field: &'static str,
    value: u64,
    want: Want,
    good: impl Fn(u64) -> bool,
) -> Result<(), BootError> {
    let error = BootError::Field { field, value, want };
    good(value).then_some(()).ok_or(error)
}

/// What is wrong with a boot sector: the medium is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// It does not end in 55 AA.
    NoSignature([u8; 2]),
    /// It begins a file system other than FAT.
    Foreign(&'static str),
    /// A field that cannot be right.
    Field {
        /// Its name.
        field: &'static str,
        /// What it says.
        value: u64,
        /// What would be right.
        want: Want,
    },
}

/// What a field may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// One of these.
    OneOf(&'static str),
    /// This or less.
    AtMost(u64),
    /// This or more.
    AtLeast(u64),
    /// From the first to the second.
    Between(u64, u64),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, value, want) = match self {
            Self::NoSignature([a, b]) => {
                return write!(
                    f,
                    "no FAT file system: its first sector ends in {a:02x} {b:02x}, not in 55 aa"
                );
            }
            Self::Foreign(name) => return write!(f, "no FAT file system, but {name}"),
            Self::Field { field, value, want } => (field, value, want),
        };
        write!(f, "damaged boot sector: {field} is {value}, must be ")?;
        match want {
            Want::OneOf(values) => f.write_str(values),
            Want::AtMost(most) => write!(f, "at most {most}"),
            Want::AtLeast(least) => write!(f, "at least {least}"),
            Want::Between(least, most) => write!(f, "{least} to {most}"),
        }
    }
}

impl core::error::Error for BootError {}
