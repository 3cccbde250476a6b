// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file allocation table: its entries, and which clusters are free.
//!
//! # Rejected
//!
//! The crate's allocator: it takes one cluster at a time, each found by reading entries one by one from the last on,
//! and what it takes it joins to the file at once.

use super::boot::{Geometry, Width};
use super::chain::ChainError;
use super::error::Fault;
use super::io::{Io, When};
use crate::bio::{BlockDevice, SECTOR_BYTES};

/// What ends a chain.
pub(super) const END: u32 = 0x0fff_ffff;

/// Where a cluster's entry is in the first FAT, in bytes from the volume's start, and how many bytes it touches.
pub(super) fn entry_at(geometry: &Geometry, cluster: u32) -> (u64, usize) {
    let cluster = u64::from(cluster);
    let (at, bytes) = match geometry.width {
        Width::Fat12 => (cluster * 3 / 2, 2),
        Width::Fat16 => (cluster * 2, 2),
        Width::Fat32 => (cluster * 4, 4),
    };
    (geometry.fat_at + at, bytes)
}

/// The cluster whose entry begins at byte `at` of a FAT.
pub(super) fn entry_before(width: Width, at: u64) -> u32 {
    (match width {
        Width::Fat12 => at / 3 * 2 + at % 3,
        Width::Fat16 => at / 2,
        Width::Fat32 => at / 4,
    }) as u32
}

/// What an entry says, from the bytes that it touches.
pub(super) fn decode(width: Width, cluster: u32, raw: [u8; 4]) -> u32 {
    let long = u32::from_le_bytes(raw);
    match width {
        Width::Fat12 if cluster.is_multiple_of(2) => long & 0xfff,
        Width::Fat12 => long >> 4 & 0xfff,
        Width::Fat16 => long & 0xffff,
        Width::Fat32 => long & 0x0fff_ffff,
    }
}

/// Sets an entry in the bytes that it touches; what else is in them stays.
pub(super) fn encode(width: Width, cluster: u32, value: u32, raw: &mut [u8; 4]) {
    let long = u32::from_le_bytes(*raw);
    let (mask, value) = match width {
        Width::Fat12 if cluster.is_multiple_of(2) => (0xfff, value),
        Width::Fat12 => (0xfff0, value << 4),
        Width::Fat16 => (0xffff, value),
        Width::Fat32 => (0x0fff_ffff, value),
    };
    *raw = (long & !mask | value & mask).to_le_bytes();
}

/// A cluster's entry: 0 if it is free.
pub(super) fn entry<D: BlockDevice>(
    io: &Io<D>,
    geometry: &Geometry,
    cluster: u32,
) -> Result<u32, Fault> {
    let (mut raw, (at, bytes)) = ([0; 4], entry_at(geometry, cluster));
    io.read_at(at, &mut raw[..bytes])?;
    Ok(decode(geometry.width, cluster, raw))
}

/// The entries, read a sector at a time.
struct Scan<'a, D> {
    io: &'a Io<D>,
    geometry: &'a Geometry,
    sector: [u8; SECTOR_BYTES],
    at: Option<u64>,
}

impl<'a, D: BlockDevice> Scan<'a, D> {
    fn new(io: &'a Io<D>, geometry: &'a Geometry) -> Self {
        Self {
            io,
            geometry,
            sector: [0; SECTOR_BYTES],
            at: None,
        }
    }

    fn is_free(&mut self, cluster: u32) -> Result<bool, Fault> {
        let (at, bytes) = entry_at(self.geometry, cluster);
        let (start, inside) = (
            at - at % SECTOR_BYTES as u64,
            (at % SECTOR_BYTES as u64) as usize,
        );
        if inside + bytes > SECTOR_BYTES {
            return Ok(entry(self.io, self.geometry, cluster)? == 0); // of a FAT12
        }
        if self.at != Some(start) {
            self.at = None;
            self.io.read_at(start, &mut self.sector)?;
            self.at = Some(start);
        }
        let mut raw = [0; 4];
        raw[..bytes].copy_from_slice(&self.sector[inside..inside + bytes]);
        Ok(decode(self.geometry.width, cluster, raw) == 0)
    }
}

/// Takes clusters: as many as follow each other, at most `most`, the first of them the first free one from `hint` on,
/// and makes a chain of them that nothing leads to. Returns the first, and how many.
///
/// # Errors
/// [`Fault::Full`], [`Fault::Disk`].
pub(super) fn take<D: BlockDevice>(
    io: &Io<D>,
    geometry: &Geometry,
    hint: u32,
    most: u32,
) -> Result<(u32, u32), Fault> {
    let last = geometry.last_cluster();
    let hint = if (2..=last).contains(&hint) { hint } else { 2 };
    let (mut first, mut scan) = (None, Scan::new(io, geometry));
    for cluster in (hint..=last).chain(2..hint) {
        if scan.is_free(cluster)? {
            first = Some(cluster);
            break;
        }
    }
    let first = first.ok_or(Fault::Full)?;
    let mut count = 1;
    while count < most && first + count <= last && scan.is_free(first + count)? {
        count += 1;
    }
    for cluster in first..first + count {
        let next = cluster + 1;
        let value = if next < first + count { next } else { END };
        io.set_entry(cluster, value, When::NewChain)?;
    }
    Ok((first, count))
}

/// Frees the chain from `first` on, as far as it can be followed.
///
/// # Errors
/// [`Fault::Disk`]; the rest of the chain then belongs to nobody.
pub(super) fn free<D: BlockDevice>(
    io: &Io<D>,
    geometry: &Geometry,
    first: u32,
) -> Result<(), Fault> {
    let mut cluster = first;
    while (2..=geometry.last_cluster()).contains(&cluster) {
        let next = entry(io, geometry, cluster)?;
        io.set_entry(cluster, 0, When::NewChain)?; // a loop thus ends where it began
        cluster = next;
    }
    Ok(())
}

/// Counts the free clusters.
///
/// # Errors
/// [`Fault::Disk`].
pub(super) fn count_free<D: BlockDevice>(io: &Io<D>, geometry: &Geometry) -> Result<u32, Fault> {
    let (mut free, mut scan) = (0, Scan::new(io, geometry));
    for cluster in 2..=geometry.last_cluster() {
        free += u32::from(scan.is_free(cluster)?);
    }
    Ok(free)
}

/// The last cluster of the chain of `length` clusters that begins at `first`.
///
/// # Errors
/// [`Fault::Chain`], [`Fault::Disk`].
pub(super) fn nth<D: BlockDevice>(
    io: &Io<D>,
    geometry: &Geometry,
    first: u32,
    length: u32,
) -> Result<u32, Fault> {
    let (mut at, last) = (first, geometry.last_cluster());
    for has in 1..=length {
        if !(2..=last).contains(&at) {
            return Err(ChainError::EndsEarly {
                at,
                has,
                needs: length,
            }
            .into());
        }
        if has < length {
            at = entry(io, geometry, at)?;
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_all_widths_do_not_touch_their_neighbours() {
        for width in [Width::Fat12, Width::Fat16, Width::Fat32] {
            let mask = [0xfff, 0xffff, 0x0fff_ffff][width as usize];
            for (cluster, filler) in (2..40).flat_map(|c| [(c, 0u8), (c, 0xff)]) {
                let mut raw = [filler; 4];
                encode(width, cluster, 0x0abc_def1, &mut raw);
                assert_eq!(decode(width, cluster, raw), 0x0abc_def1 & mask);
                encode(width, cluster, u32::MAX * u32::from(filler & 1), &mut raw);
                assert_eq!(raw, [filler; 4]);
            }
        }
        for cluster in 2..100 {
            assert_eq!(
                entry_before(Width::Fat12, u64::from(cluster) * 3 / 2),
                cluster
            );
        }
    }
}
